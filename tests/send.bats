#!/usr/bin/env bats
# eo-send: what is a message, what its frame looks like, what is refused.
# shellcheck disable=SC1003,SC2016,SC2258,SC2030,SC2031,SC2059,SC2094

load lib/helper

# said_taken FILE: the number of messages that eo-send says were taken
said_taken() {
	grep -oE '[0-9]+ messages?' "$1" | tail -n 1 | cut -d ' ' -f 1
}

# typed CMD: its standard output and error at a terminal, without CRs
typed() {
	script -qec "$1" /dev/null </dev/null | tr -d '\r'
}

# all_bytes: each byte value once, with what it looks like in a body
all_bytes() {
	local i oct

	for i in {0..255}; do
		printf -v oct '%03o' "$i"
		printf "\\$oct"
	done
}

all_bytes_escaped() {
	local i hex oct

	for i in {0..255}; do
		printf -v hex '%02x' "$i"
		printf -v oct '%03o' "$i"
		case $hex in
		09) printf '%s' '\t' ;;
		0a) printf '%s' '\n' ;;
		0d) printf '%s' '\r' ;;
		5c) printf '%s' '\\' ;;
		0? | 1? | 7f) printf '%s' "\\x$hex" ;;
		*) printf "\\$oct" ;;
		esac
	done
	echo
}

@test "a message is a line; an empty line is an empty message" {
	printf 'a\n\n b \n' | exits 0 eo-send -j a.db >frames
	verified frames
	is $'1\n2\n3' "$(kinds msg frames | field 5)"
	printf 'a\n\n b \n' >want
	decoded frames | cmp - want
}

@test "the base comes before anything else of a channel" {
	eo-send -j a.db -m x >frames
	is base "$(head -n 1 frames | field 2)"
	is "1	00000000	-	0" "$(kinds base frames | field 5-8)"
	is "$(source_of a.db)" "$(field 3 frames | sort -u)"
	[[ $(source_of a.db) =~ ^[0-9a-f]{32}$ ]]
	is default "$(field 4 frames | sort -u)"
}

@test "a last line without a newline is a message, an empty input none" {
	printf 'a\nb' | exits 0 eo-send -j a.db >frames
	is $'a\nb' "$(bodies frames)"
	exits 0 eo-send -j a.db </dev/null >frames
	is 0 "$(count msg frames)"
}

@test "-0 ends a message with a NUL; newlines are part of it" {
	printf 'a\nb\0\0c' | exits 0 eo-send -0 -j a.db >frames
	is $'a\\nb\n\nc' "$(bodies frames)"
	printf 'x\0' | exits 0 eo-send --null -j a.db >frames
	is x "$(bodies frames)"
}

@test "-w makes each input one message" {
	printf 'a\nb\n' >f1
	printf 'c' >f2
	: >f3
	printf 'std\nin' | exits 0 eo-send -w -j a.db f1 f2 - f3 >frames
	printf '%s\n' 'a\nb\n' c 'std\nin' '' >want
	bodies frames | cmp - want
	printf 'x\n\n' | exits 0 eo-send --whole -j a.db >frames
	is 'x\n\n' "$(bodies frames)"
}

@test "-m sends its argument, may be repeated, and leaves standard input alone" {
	printf 'left\n' | {
		exits 0 eo-send -j a.db -m one --message=$'t\two\n' -m '' >frames
		cat >rest
	}
	is left "$(cat rest)"
	printf '%s\n' one 't\two\n' '' >want
	bodies frames | cmp - want
}

@test "files are read in order, and - is standard input" {
	printf 'a\nb\n' >f1
	printf 'c' >f2
	printf 'd\n' | exits 0 eo-send -j a.db f1 - f2 >frames
	is $'a\nb\nd\nc' "$(bodies frames)"
}

@test "a file that is missing is named, 66, and what was taken is told" {
	seq 3 >f1
	exits 66 eo-send -q -j a.db f1 missing 2>missing.err
	says '^eo-send: .*missing' missing.err
	is "$(said_taken missing.err)" "$(eo-replay -j a.db | count msg)"
	exits_in "66 74" eo-send -q -j a.db . 2>missing.err
	says '^eo-send: ' missing.err
}

@test "a body is escaped exactly: \\ TAB LF CR, other controls as \\xHH" {
	all_bytes >all
	all_bytes_escaped >want
	is 256 "$(stat -c %s all)"
	exits 0 eo-send -w -j a.db all >frames
	verified frames
	bodies frames | cmp - want
	printf '%b' "$(bodies frames)" | cmp - all
}

@test "any bytes go through and come out as they were" {
	head -c 300000 /dev/urandom >noise
	exits 0 eo-send -w -j a.db noise >frames
	verified frames
	is 1 "$(count msg frames)"
	eo-recv -j b.db --append out <frames >/dev/null
	{ cat noise && echo; } | cmp - out
	# A line may hold NULs, CRs and whatever else is no LF.
	head -c 300000 /dev/urandom >>noise
	echo >>noise
	exits 0 eo-send -j c.db noise >frames
	eo-recv -j d.db --append lines <frames >/dev/null
	cmp noise lines
}

@test "a CR at the end of a line belongs to the message" {
	printf 'a\r\nb\r' | exits 0 eo-send -j a.db >frames
	is $'a\\r\nb\\r' "$(bodies frames)"
}

@test "frames are chained by their links, from run to run" {
	seq 5 | eo-send -j a.db >frames
	eo-send -j a.db -m six -k key >>frames
	seq 7 9 | eo-send -q -j a.db
	eo-replay -j a.db >>frames
	is 9 "$(count msg frames)"
	is 00000000 "$(kinds msg frames | head -n 1 | field 6)"
	chained frames
}

@test "each message carries its time: RFC 3339, UTC, milliseconds" {
	before=$(date +%s)
	eo-send -j a.db -m x >frames
	t=$(attr time frames)
	[[ $t =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z$ ]]
	now=$(date -d "$t" +%s)
	((now >= before && now <= before + 60))
}

@test "-q prints nothing; eo-replay sends it at once" {
	seq 3 | exits 0 eo-send -q -j a.db >out 2>quiet.err
	empty out
	empty quiet.err
	eo-replay -j a.db >frames
	is $'1\n2\n3' "$(bodies frames)"
}

@test "-R prints references, and eo-replay sends the messages at once" {
	eo-send -q -j a.db -c orders -m before
	seq 2 | exits 0 eo-send -R -c orders -j a.db >refs
	s=$(source_of a.db)
	is "$s/orders/2"$'\n'"$s/orders/3" "$(cat refs)"
	eo-send --references -j a.db -c north -c south -m x >refs
	is "$s/north/1"$'\n'"$s/south/1" "$(sort refs)"
	eo-replay -j a.db -c orders >frames
	is $'before\n1\n2' "$(bodies frames)"
}

@test "several -c send a copy on each channel, and nothing is printed" {
	seq 2 | exits 0 eo-send -j a.db -c north -c south -c east >out
	empty out
	for c in north south east; do
		is $'1\n2' "$(eo-replay -j a.db -c $c | bodies)"
	done
	is 0 "$(eo-replay -j a.db | count msg)"
}

@test "what was printed to a pipe or a file counts as sent" {
	eo-send -j a.db -m file >frames
	eo-send -j a.db -m pipe | cat >>frames
	is 0 "$(eo-replay -j a.db | count msg)"
	is $'file\npipe' "$(eo-replay -a -j a.db | bodies)"
}

@test "what was printed to /dev/null does not count as sent" {
	eo-send -j a.db -m x >/dev/null
	is x "$(eo-replay -j a.db | bodies)"
}

@test "at a terminal it tells what was journalled, and prints no frames" {
	typed "eo-send -j a.db -m hello" >screen
	says '^(eo-send: )?1 message journalled: default/1$' screen
	silent 'eo1' screen
	typed "eo-send -j a.db -m a -m b -m c" >screen
	says '^(eo-send: )?3 messages journalled: default/2-4$' screen
	is $'hello\na\nb\nc' "$(eo-replay -j a.db | bodies)"
}

@test "when its reader goes away it says so and journals to the end: 0" {
	n=$(big 50000 1000000)
	seq "$n" | {
		got=0
		eo-send -j a.db 2>gone.err || got=$?
		echo $got >status
	} | head -n 1 >/dev/null
	is 0 "$(cat status)"
	says '^eo-send: ' gone.err
	eo-replay -a -j a.db | bodies >all
	seq "$n" | cmp - all
}

@test "a message is journalled and printed while its input stays open" {
	mkfifo in
	eo-send -j a.db <in >frames 3>&- &
	started $!
	exec 7>in
	echo one >&7
	wait_until 5 grep -q one frames
	echo two >&7
	wait_until 5 grep -q two frames
	exec 7>&-
	finishes 0 $! 5
}

@test "TERM ends the reading: what was read is journalled, 75" {
	for s in TERM INT HUP; do
		rm -f in
		mkfifo in
		# An interactive shell would not ignore INT in the background.
		env --default-signal=INT,HUP,TERM eo-send -q -j $s.db <in 3>&- &
		p=$!
		started $p
		exec 7>in
		echo one >&7
		wait_until 5 eval '[[ -e $s.db && \
		    $(q $s.db "SELECT count(*) FROM eo_block" 2>/dev/null) == 1 ]]'
		kill -$s $p
		finishes 75 $p 5
		exec 7>&-
		is one "$(eo-replay -j $s.db | bodies)"
	done
}

@test "many eo-send at once leave numbers without holes and unbroken links" {
	for w in {1..8}; do
		(
			for i in {1..25}; do
				eo-send -q -j a.db -m "$w.$i" || exit
			done
		) 3>&- &
		started $!
	done
	for p in "${PIDS[@]}"; do
		finishes 0 "$p" 120
	done
	eo-replay -j a.db >frames
	kinds msg frames | field 5 >numbers
	seq 200 | cmp - numbers
	chained frames
	for w in {1..8}; do
		bodies frames | grep "^$w\." | cut -d . -f 2 >mine
		seq 25 | cmp - mine
	done
}

@test "-k and -H become attributes, escaped, and come out at the handler" {
	exits 0 eo-send -j a.db -k 'a key' -H 'Shop=north = 1\2' -H "tab=$(printf 'x\ty')" \
	    -H empty= -m x >frames
	verified frames
	is 'a\x20key' "$(attr key frames)"
	is 'north\x20=\x201\\2' "$(attr h.Shop frames)"
	is 'x\ty' "$(attr h.tab frames)"
	says ' h\.empty=( |	)' frames
	eo-recv -j b.db sh -c 'printf "%s\n" "$EO_KEY" "$EO_HEADER_tab" >got' \
	    <frames >/dev/null || :
	is 'a key' "$(head -n 1 got)"
}

@test "a header has a name of [A-Za-z0-9_-] and a value, and no name twice" {
	for h in '' = =x novalue 'a b=x' 'a.b=x' 'ä=x' $'a\n=x' 'a:b=x'; do
		echo "'$h'"
		exits 64 eo-send -j a.db -H "$h" -m x
	done
	exits 64 eo-send -j a.db -H a=1 -H a=2 -m x
	exits 0 eo-send -q -j a.db -H Aa_9-z=1 -H a=2 -m x
	is 1 "$(eo-replay -j a.db | count msg)"
}

@test "attributes longer than 8 KiB are refused" {
	long=$(head -c 8000 /dev/zero | tr '\0' x)
	exits 0 eo-send -q -j a.db -H "a=$long" -m x
	exits_in "64 65" eo-send -q -j a.db -H "a=${long}${long:0:200}" -m x 2>long.err
	says '^eo-send: ' long.err
	# It is what stands in the frame that counts: \x20 is four bytes.
	exits_in "64 65" eo-send -q -j a.db -H "a=${long:0:4000}$(printf '%2000s' x)" -m x
	exits_in "64 65" eo-send -q -j a.db -k "${long}${long}" -m x
	exits_in "64 65" eo-send -q -j a.db -i "${long}${long}" -m x
	is 1 "$(eo-replay -j a.db | count msg)"
}

@test "the same id with the same message is sent once" {
	exits 0 eo-send -q -j a.db -i o-1 -k k -H a=1 -m '3 apples'
	exits 0 eo-send -q -j a.db -i o-1 -k k -H a=1 -m '3 apples'
	exits 0 eo-send -q -j a.db -c other -i o-1 -m 'another channel'
	eo-replay -j a.db -c '*' >frames
	is $'3 apples\nanother channel' "$(bodies frames | sort)"
	is o-1 "$(attr id frames | sort -u)"
	# For ever: not only while the message is there.
	eo-replay -a -j a.db | eo-recv -j b.db true | eo-ack -j a.db
	exits 0 eo-send -q -j a.db -i o-1 -k k -H a=1 -m '3 apples'
	exits 0 eo-ack -j a.db </dev/null
	is 0 "$(eo-replay -a -j a.db | count msg)"
}

@test "the same id with another body, key or header is refused: 65" {
	exits 0 eo-send -q -j a.db -i o-1 -k k -H a=1 -m '3 apples'
	exits 65 eo-send -q -j a.db -i o-1 -k k -H a=1 -m '4 apples' 2>id.err
	says '^eo-send: .*\bid\b.*default/1' id.err
	exits 65 eo-send -q -j a.db -i o-1 -k other -H a=1 -m '3 apples'
	exits 65 eo-send -q -j a.db -i o-1 -k k -H a=2 -m '3 apples'
	exits 65 eo-send -q -j a.db -i o-1 -k k -m '3 apples'
	is '3 apples' "$(eo-replay -j a.db | bodies)"
}

@test "-i names one message; a second one in the run is refused: 65" {
	printf 'one\ntwo\n' | exits 65 eo-send -q -j a.db -i x 2>second.err
	says '^eo-send: .*-i' second.err
	is 1 "$(said_taken second.err)"
	is one "$(eo-replay -j a.db | bodies)"
	exits 64 eo-send -q -j a.db -i '' -m x
}

@test "-F takes channel, id, key, headers and body from the fields of a line" {
	printf '%s\n' $'orders\to-1\talice\tnorth\t3 apples' \
	    $'news\t\t\t\tbody\twith\tTABs' |
	    exits 0 eo-send -q -j a.db -F channel,id,key,h.shop,body
	eo-replay -j a.db -c orders >orders
	is '3 apples' "$(bodies orders)"
	is "o-1 alice north" \
	    "$(attr id orders) $(attr key orders) $(attr h.shop orders)"
	eo-replay -j a.db -c news >news
	is 'body\twith\tTABs' "$(bodies news)"
	is " " "$(attr id news) $(attr key news)"
	silent '(^| )(id|key)=' news
}

@test "the fields of -F are escaped as in frames" {
	printf '%s\n' 'k\x20\\\t\x01	a\tb\\c\n\r\x00d' |
	    exits 0 eo-send -j a.db -F key,body >frames
	verified frames
	is 'a\tb\\c\n\r\x00d' "$(bodies frames)"
	is 'k\x20\\\t\x01' "$(attr key frames)"
}

@test "a field that is not well-formed is refused, 65; the others are taken" {
	i=0
	for bad in 'a\' 'a\q' 'a\x1' 'a\xzz' 'a\X41'; do
		echo "$bad"
		((++i))
		printf 'k%s\tgood\nk%s\t%s\nk%s\tgood too\n' $i $i "$bad" $i |
		    exits 65 eo-send -j $i.db -F key,body >frames 2>bad.err
		says '^eo-send: ' bad.err
		says '(line|message|row|:) ?2' bad.err
		is "$(said_taken bad.err)" "$(count msg frames)"
		is "$(bodies frames)" "$(eo-replay -a -j $i.db | bodies)"
		says good frames
	done
	printf 'only one field\n' | exits 65 eo-send -q -j a.db -F key,body 2>bad.err
	printf 'bad channel\tx\n' | exits 65 eo-send -q -j a.db -F channel,body
	is 0 "$(eo-replay -a -j a.db -c '*' | count msg)"
}

@test "-r takes the fields of -F as they are" {
	printf '%s\n' 'k\x20\q	a\tb\' | exits 0 eo-send -r -j a.db -F key,body >frames
	is 'a\\tb\\' "$(bodies frames)"
	is 'k\\x20\\q' "$(attr key frames)"
}

@test "-F with -0 and ids: a rerun of the same input sends nothing twice" {
	seq 100 | awk '{ printf "id%d\tbody %d\n%c", $1, $1, 0 }' >in
	exits 0 eo-send -q -0 -j a.db -F id,body <in
	head -c 500 in | exits_in "0 65" eo-send -q -0 -j a.db -F id,body
	exits 0 eo-send -q -0 -j a.db -F id,body <in
	eo-replay -a -j a.db | bodies >out
	seq 100 | sed 's/.*/body &\\n/' | cmp - out
}

@test "a bad LIST of -F is a usage error" {
	for l in '' body,body nonsense h. 'h.a b,body' id,,body ,body body, pos2 \
	    'id body'; do
		echo "'$l'"
		exits 64 eo-send -j a.db -F "$l" </dev/null
	done
}

@test "a body longer than --max-body is refused, 65; the others are taken" {
	printf 'short\n0123456789\n01234567890\nend\n' |
	    exits 65 eo-send -q -j a.db --max-body=10 2>long.err
	says '^eo-send: ' long.err
	is $'short\n0123456789\nend' "$(eo-replay -j a.db | bodies)"
	is 3 "$(said_taken long.err)"
	printf '01234567890' | exits 65 eo-send -q -w -j a.db --max-body=10
	exits 65 eo-send -q -j a.db --max-body=1K -m "$(printf '%1025s' x)"
	exits 0 eo-send -q -j a.db --max-body=1K -m "$(printf '%1024s' x)"
}

@test "the longest body is 16 MiB" {
	head -c 16777216 /dev/zero | tr '\0' x >fits
	exits 0 eo-send -q -w -j a.db fits
	printf x >>fits
	exits 65 eo-send -q -w -j a.db fits 2>long.err
	eo-replay -j a.db | eo-recv -j b.db --append out | eo-ack -j a.db
	truncate -s -1 fits
	{ cat fits; echo; } | cmp - out
}

@test "a frame longer than --max-frame, newline included, is refused: 65" {
	exits 0 eo-send -q -j a.db -m 0123456789
	n=$(eo-replay -j a.db | kinds msg | wc -c)
	exits 0 eo-send -q -j a.db --max-frame="$n" -m 0123456789
	exits 65 eo-send -q -j a.db --max-frame="$((n - 1))" -m 0123456789 2>long.err
	says '^eo-send: ' long.err
	# It is the frame that counts, not the body.
	exits 65 eo-send -q -j a.db --max-frame="$n" -m $'\1\1\1\1\1\1\1\1\1\1'
	is 2 "$(eo-replay -a -j a.db | count msg)"
}

@test "INSERT INTO eo_submit is a send" {
	new_journal a.db
	sqlite3 a.db "INSERT INTO eo_submit(channel, body) VALUES ('default', 'text')"
	sqlite3 a.db "INSERT INTO eo_submit(body) VALUES (x'6100620a0d09')" \
	    "INSERT INTO eo_submit(channel, body, id, key) \
	    VALUES ('orders', '3 apples', 'o 1', 'alice')"
	eo-replay -j a.db -c '*' >frames
	verified frames
	is $'text\na\\x00b\\n\\r\\t' \
	    "$(kinds msg frames | awk '$4 == "default"' | bodies)"
	kinds msg frames | awk '$4 == "orders"' >orders
	is '3 apples' "$(bodies orders)"
	is 'o\x201 alice' "$(attr id orders) $(attr key orders)"
	is 0 "$(q a.db 'SELECT count(*) FROM eo_submit')"
	eo-replay -a -j a.db -c '*' >again
	is "$(kinds msg frames)" "$(kinds msg again)"
}

@test "eo-send and eo-recv number submitted messages, too" {
	new_journal a.db
	sqlite3 a.db "INSERT INTO eo_submit(body) VALUES ('first')"
	eo-send -j a.db -m second >/dev/null
	sqlite3 a.db "INSERT INTO eo_submit(body) VALUES ('third')"
	eo-recv -j a.db true </dev/null
	is 0 "$(q a.db 'SELECT count(*) FROM eo_submit')"
	is $'first\nsecond\nthird' "$(eo-replay -a -j a.db | bodies)"
}

@test "a submission lives and dies with the application's transaction" {
	new_journal a.db
	sqlite3 a.db "CREATE TABLE t(x); BEGIN; INSERT INTO t VALUES (1);
	    INSERT INTO eo_submit(body) VALUES ('never'); ROLLBACK;
	    BEGIN; INSERT INTO t VALUES (2);
	    INSERT INTO eo_submit(body) VALUES ('once'); COMMIT"
	is once "$(eo-replay -a -j a.db | bodies)"
	is 2 "$(q a.db 'SELECT x FROM t')"
}

@test "eo_submit refuses bad rows at the INSERT" {
	new_journal a.db
	for v in "('', 'x')" "('-x', 'x')" "('.x', 'x')" "('a b', 'x')" \
	    "('a', NULL)" "('a', 1)" "(NULL, 'x')" "('ä', 'x')" \
	    "('$(printf 'x%.0s' {1..129})', 'x')" "('a', zeroblob(16777217))"; do
		echo "$v"
		exits_in "1 19" sqlite3 a.db \
		    "INSERT INTO eo_submit(channel, body) VALUES $v" 2>check.err
		says 'constraint' check.err
	done
	is 0 "$(eo-replay -a -j a.db -c '*' | count msg)"
}

@test "a message submitted twice with one id is sent once; another body is kept and named" {
	new_journal a.db
	sqlite3 a.db "INSERT INTO eo_submit(body, id) VALUES ('x', 'i'), ('x', 'i')"
	is x "$(eo-replay -a -j a.db | bodies)"
	sqlite3 a.db "INSERT INTO eo_submit(body, id) VALUES ('other', 'i')"
	eo-replay -a -j a.db >frames 2>refused.err || :
	is x "$(bodies frames)"
	is other "$(q a.db 'SELECT body FROM eo_submit WHERE refused IS NOT NULL')"
}

@test "nothing of a message reaches a shell" {
	for t in '$(touch p)' '`touch p`' '; touch p' '-rf' '() { :;}; touch p' \
	    $'\e]0;touch p\a' '../../p' '%s%n'; do
		eo-send -q -j a.db -i "$t" -k "$t" -H "x=$t" -m "$t"
	done
	exits 64 eo-send -q -j a.db -H '$(touch p)=x' -m x
	eo-replay -j a.db | eo-recv -j b.db sh -c \
	    'cat >>bodies; printf "%s\n" "$EO_ID" >>ids' | eo-ack -j a.db
	[[ ! -e p ]]
	is 8 "$(wc -l <bodies)"
	cmp bodies ids
}

@test "the worked example of eo-journal(5) holds, for a tool that shares no code" {
	src=6f1d0c3b5a7e42989b20c4d7e8f3a165
	printf '%s\n' 'id=o-1 key=alice	2 apples\t3 pears' '-	1 plum' |
	    channel_of $src orders >frames
	is $'878ae169\n44a9467e\nd0fabd13' "$(awk '{ print $NF }' frames)"
	is c9635bd5 "$(tail -n 1 frames | field 6)"
	exits 0 eo-recv -j b.db -c orders sh -c 'cat >>out' <frames >acks
	is $'2 apples\t3 pears\n1 plum' "$(cat out)"
	is 19299032 "$(kinds ack acks | tail -n 1 | field 7)"
}

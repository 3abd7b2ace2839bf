#!/usr/bin/env bats
# eo-recv: what a handler is told and what its exit status means, what is done
# with lines that are no messages, --append, and the filter.
# shellcheck disable=SC2013,SC2016,SC2030,SC2031,SC2059,SC2094

load lib/helper

# acked FILE: upto, ranges and except of its last ack
acked() {
	kinds ack "$1" | tail -n 1 | field 6,8,9
}

# cron CMD...: the cron line of a receiver
cron() {
	eo-recv -j b.db "$@" </dev/null >>acks 2>>cron.err
}

# --- a handler -------------------------------------------------------------

@test "exit 0: the message is completed, acknowledged, and never run again" {
	seq 3 | forged >frames
	exits 0 eo-recv -j b.db sh -c 'cat >>out' <frames >acks
	verified acks
	is "3	-	-" "$(acked acks)"
	is "$(source_of b.db)" "$(field 5 acks | sort -u)"
	is "$SRC" "$(field 3 acks | sort -u)"
	before=$(kinds msg frames | tail -n 1 | field 6)
	is "$(frame --link "$before" - 3)" "$(tail -n 1 acks | field 7)"
	# Repeats are answered with an ack again, and do nothing.
	exits 0 eo-recv -j b.db sh -c 'cat >>out' <frames >again
	is "3	-	-" "$(acked again)"
	cat frames frames | exits 0 eo-recv -j b.db sh -c 'cat >>out' >again
	is $'1\n2\n3' "$(cat out)"
}

@test "exit 100: never; the message becomes a dead letter, here" {
	seq 3 | forged >frames
	exits 0 eo-recv -j b.db sh -c '
		echo run >>runs; [ "$EO_SEQ" != 2 ] || exit 100' <frames >acks
	is "3	-	2d" "$(acked acks)"
	is 2 "$(q b.db 'SELECT seq FROM eo_in_dead')"
	is "$(kinds msg frames | sed -n 2p)" \
	    "$(q b.db 'SELECT CAST(frame AS TEXT) FROM eo_in_dead')"
	exits 0 eo-recv -j b.db sh -c 'echo run >>runs' <frames >acks
	is "3	-	2d" "$(acked acks)"
	is 3 "$(wc -l <runs)"
}

@test "any other exit status: later; it stays pending, and eo-recv exits 75" {
	i=0
	for s in 1 2 64 65 75 77 99 101 125 126 127 128 255; do
		((++i))
		forged <<<x >frames
		exits 75 eo-recv -j $i.db sh -c "exit $s" <frames >acks
		is 0 "$(kinds ack acks | awk -F '\t' '$6 > 0' | wc -l)"
		is 1 "$(q $i.db 'SELECT tries FROM eo_try')"
		is 0 "$(q $i.db 'SELECT count(*) FROM eo_in_dead')"
	done
}

@test "a handler that dies of a signal is tried again later" {
	for s in KILL TERM SEGV PIPE INT; do
		forged <<<x >frames
		exits 75 eo-recv -j $s.db sh -c "kill -$s \$\$" <frames >acks
		is 1 "$(q $s.db 'SELECT tries FROM eo_try')"
	done
}

@test "a failed message does not hold up the others" {
	seq 4 | forged >frames
	exits 75 eo-recv -j b.db sh -c 'read -r n; [ "$n" != 2 ] && echo "$n" >>out' \
	    <frames >acks
	is $'1\n3\n4' "$(cat out)"
	link=$(frame --link "$(kinds msg frames | sed -n 4p | field 6)" - 4)
	is "1	3-4:$link	-" "$(acked acks)"
}

@test "the handler is told what the message is" {
	eo-send -j a.db -c orders -i 'an id' -k alice -H SHOP=north -H "N=$(printf 'a\nb')" \
	    -m body >frames
	eo-send -j a.db -c orders -m plain >>frames
	handler told <<'END'
	env -0 | grep -z ^EO_ | sort -z | tr '\0\n' '\n ' >told.$EO_SEQ
END
	EO_KEY=stale EO_ID=stale EO_HEADER_OLD=stale EO_PHASE=stale EO_TRY=9 \
	    exits 0 eo-recv -j b.db -c orders ./told <frames >acks
	s=$(source_of a.db)
	for line in "EO_CHANNEL=orders" "EO_HEADER_SHOP=north" "EO_HEADER_N=a b" \
	    "EO_ID=an id" "EO_JOURNAL=$(realpath b.db)" "EO_KEY=alice" \
	    "EO_REF=$s/orders/1" "EO_SEQ=1" "EO_SOURCE=$s" \
	    "EO_TIME=$(attr time frames | head -n 1)" "EO_TRY=1"; do
		echo "$line"
		grep -qxF -- "$line" told.1
	done
	silent '^EO_(PHASE|HEADER_OLD)=' told.1
	silent '^EO_(KEY|ID|HEADER_.*|PHASE)=' told.2
	says "^EO_REF=$s/orders/2$" told.2
}

@test "the handler reads the body and a newline, byte for byte" {
	for i in {1..255}; do
		printf "\\$(printf %03o "$i")"
	done >f1
	head -c 100000 /dev/urandom >f2
	: >f3
	printf 'no newline' >f4
	printf 'a\0b\n' >f5
	eo-send -w -j a.db f1 f2 f3 f4 f5 >frames
	exits 0 eo-recv -j b.db sh -c 'cat >got.$EO_SEQ' <frames >acks
	for i in 1 2 3 4 5; do
		{ cat f$i; echo; } | cmp - got.$i
	done
}

@test "what a handler prints goes to standard error; standard output has frames only" {
	seq 2 | forged >frames
	exits 0 eo-recv -j b.db sh -c 'echo to stdout; echo to stderr >&2' \
	    <frames >acks 2>words.err
	verified acks
	is 2 "$(grep -c 'to stdout' words.err)"
	is 2 "$(grep -c 'to stderr' words.err)"
}

@test "a handler that does not read its input may still succeed" {
	head -c 5000000 /dev/zero | tr '\0' x >big
	eo-send -w -j a.db big big >frames
	exits 0 eo-recv -j b.db true <frames >acks
	is "2	-	-" "$(acked acks)"
}

@test "the handler inherits no descriptor but the lock of its channel" {
	forged <<<x >frames
	exits 0 eo-recv -j b.db sh -c 'exec ls -l /proc/self/fd' <frames >acks 2>fds
	says ' 0 -> ' fds
	silent 'b\.db(-wal|-shm)?$' fds
	is 1 "$(grep -c -- 'b\.db-lock$' fds)"
}

@test "a CMD that cannot be found is 127, one that cannot be run 126; no try is counted" {
	forged <<<x >frames
	exits 127 eo-recv -j b.db ./none <frames >acks 2>cmd.err
	says '^eo-recv: .*\./none' cmd.err
	exits 127 eo-recv -j b.db no-such-command <frames >acks 2>cmd.err
	echo 'not a program' >plain
	exits 126 eo-recv -j b.db ./plain <frames >acks 2>cmd.err
	says '^eo-recv: .*\./plain' cmd.err
	exits 0 eo-recv -j b.db sh -c 'echo "$EO_TRY" >try' <frames >acks
	is 1 "$(cat try)"
}

@test "tries are counted, and spaced out: 1 s, then 2 s" {
	forged <<<x >frames
	exits 75 eo-recv -j b.db sh -c 'echo "$EO_TRY" >>tries; exit 1' <frames >acks
	# It is not due at once, however often it arrives.
	exits 75 eo-recv -j b.db sh -c 'echo "$EO_TRY" >>tries' <frames >acks
	exits 75 eo-recv -j b.db sh -c 'echo "$EO_TRY" >>tries' </dev/null >acks
	is 1 "$(cat tries)"
	due=$(q b.db 'SELECT due FROM eo_try')
	now=$(date +%s%3N)
	((due > now - 1000 && due < now + 2500))
	wait_until 10 eval 'cron sh -c "echo \$EO_TRY >>tries; exit 1";
	    (($(wc -l <tries) == 2))'
	is $'1\n2' "$(cat tries)"
	due=$(q b.db 'SELECT due FROM eo_try')
	now=$(date +%s%3N)
	((due > now && due < now + 4500))
}

@test "eo-recv CMD </dev/null is the cron line of a receiver: it tries what is due" {
	forged <<<x >frames
	exits 75 eo-recv -j b.db false <frames >acks
	wait_until 10 cron sh -c 'cat >>out'
	is x "$(cat out)"
	exits 0 cron sh -c 'cat >>out'
	is x "$(cat out)"
	# The ack was for nobody; the next one covers it.
	exits 0 eo-recv -j b.db false <frames >acks
	is "1	-	-" "$(acked acks)"
}

@test "eo-recv tries again by itself for as long as its input is open" {
	mkfifo in
	eo-recv -j b.db sh -c 'echo "$EO_TRY" >>tries; [ "$EO_TRY" = 2 ]' \
	    <in >acks 3>&- &
	started $!
	exec 7>in
	forged <<<x >&7
	wait_until 15 eval '(($(count ack acks) > 0)) &&
	    [[ $(acked acks) == "1	-	-" ]]'
	is $'1\n2' "$(cat tries)"
	exec 7>&-
	finishes 0 $! 10
}

@test "-x N: after N failed tries a message becomes a dead letter" {
	forged <<<x >frames
	exits 75 eo-recv -x 2 -j b.db sh -c 'echo why1 >&2; exit 1' <frames >acks
	is 0 "$(q b.db 'SELECT count(*) FROM eo_in_dead')"
	wait_until 10 cron -x 2 sh -c 'echo first >&2; printf "why 2" >&2; exit 1'
	is "1|2|why 2" "$(q b.db 'SELECT seq, tries, reason FROM eo_in_dead')"
	exits 0 eo-recv -x 2 -j b.db false <frames >acks
	is "1	-	1d" "$(acked acks)"
	forged once <<<x >frames
	exits 0 eo-recv --max-tries=1 -c once -j b.db false <frames >acks
	is "1	-	1d" "$(acked acks)"
}

@test "the last line of a failed try's standard error is kept as its reason" {
	forged <<<x >frames
	exits 75 eo-recv -j b.db sh -c 'echo one >&2; echo "no disk" >&2; exit 1' \
	    <frames >acks 2>words.err
	is "no disk" "$(q b.db 'SELECT reason FROM eo_try')"
	says 'no disk' words.err
}

@test "a try is noted before it starts: one that kills eo-recv is counted" {
	forged <<<x >frames
	handler killer <<'END'
	echo "$EO_TRY" >>tries
	kill -9 $PPID
	kill -9 $$
END
	got=0
	eo-recv -x 2 -j b.db ./killer <frames >acks 2>killed.err || got=$?
	is 137 $got
	is 1 "$(q b.db 'SELECT tries FROM eo_try')"
	wait_until 10 eval 'cron -x 2 ./killer || :; (($(wc -l <tries) == 2))'
	is $'1\n2' "$(cat tries)"
	# Two tries were allowed, and two there were: nobody has to see it fail.
	wait_until 10 cron -x 2 ./killer
	is $'1\n2' "$(cat tries)"
	is 1 "$(q b.db 'SELECT seq FROM eo_in_dead')"
}

@test "--timeout ends the whole process group of a handler, TERM first" {
	forged <<<x >frames
	handler slow <<'END'
	trap 'echo term >>log; exit 1' TERM
	sleep 600 &
	echo $! >child
	wait
END
	exits 75 eo-recv -j b.db --timeout=300ms ./slow <frames >acks
	is term "$(cat log)"
	wait_until 5 gone "$(cat child)"
	is 1 "$(q b.db 'SELECT tries FROM eo_try')"
}

@test "--timeout kills what does not heed TERM" {
	forged <<<x >frames
	handler deaf <<'END'
	trap '' TERM
	echo $$ >pid
	while :; do sleep 600; done
END
	exits 75 timeout 60 eo-recv -j b.db --timeout=200ms ./deaf <frames >acks
	wait_until 5 gone "$(cat pid)"
}

@test "an orphaned handler keeps its channel; another eo-recv journals and exits 75" {
	seq 2 | forged >frames
	head -n 2 frames >first
	handler slow <<'END'
	echo "$EO_SEQ $$" >>running
	until [[ -e go ]]; do sleep .02; done
	echo "$EO_SEQ" >>out
END
	eo-recv -j b.db ./slow <first >acks 3>&- &
	p=$!
	started $p
	wait_until 10 test -s running
	kill -9 $p
	wait $p || :
	exits 75 eo-recv -j b.db ./slow <frames >acks 2>busy.err
	says '^eo-recv: ' busy.err
	is 1 "$(wc -l <running)"
	is 2 "$(q b.db 'SELECT sum(last - first + 1) FROM eo_held')"
	exits_in "0 75" cron ./slow
	: >go
	read -r _ orphan <running
	wait_until 5 gone "$orphan"
	# 1 was under way when eo-recv died: nobody has seen it end.
	wait_until 15 cron ./slow
	is 2 "$(sort -u out | wc -l)"
	is 1 "$(grep -c 2 out)"
}

@test "while one eo-recv holds a channel another journals for it; the holder processes" {
	forged <<<1 >first
	seq 3 | forged >frames
	handler slow <<'END'
	until [[ -e go ]]; do sleep .02; done
	cat >>out
	echo "$PPID" >>parents
END
	mkfifo in
	eo-recv -j b.db ./slow <in >acks 3>&- &
	p=$!
	started $p
	exec 7>in
	cat first >&7
	wait_until 10 eval '[[ $(q b.db "SELECT count(*) FROM eo_try" 2>/dev/null) == 1 ]]'
	exits 75 eo-recv -j b.db ./slow <frames >other 2>busy.err
	: >go
	wait_until 10 eval '(($(wc -l <out) == 3))'
	exec 7>&-
	finishes 0 $p 10
	is $'1\n2\n3' "$(cat out)"
	is $p "$(sort -u parents)"
	is "3	-	-" "$(acked acks)"
}

@test "a daemon that a handler leaves behind does not keep the channel, nor eo-recv" {
	seq 2 | forged >frames
	handler daemon <<'END'
	setsid sleep 600 3>&- &
	echo $! >>daemons
END
	exits 0 timeout 20 eo-recv -j b.db ./daemon <frames >acks 2>daemon.err
	for p in $(cat daemons); do
		started "$p"
		kill -0 "$p"
	done
	is 2 "$(wc -l <daemons)"
	seq 3 | forged >frames
	exits 0 timeout 20 eo-recv -j b.db true <frames >acks
	is "3	-	-" "$(acked acks)"
}

@test "ten messages in a row that say never stop eo-recv: 75" {
	seq 15 | forged >frames
	exits 75 eo-recv -j b.db sh -c 'echo x >>runs; exit 100' <frames >acks 2>ten.err
	is 10 "$(wc -l <runs)"
	says '^eo-recv: .*(ten|10)' ten.err
	# One success in between, and it goes on.
	exits 0 eo-recv -j c.db sh -c '
		echo x >>runs2; [ "$EO_SEQ" = 8 ] || exit 100' <frames >acks
	is 15 "$(wc -l <runs2)"
	is "15	-	1-7d,9-15d" "$(acked acks)"
}

@test "acks follow the handler, not the arrival" {
	mkfifo in
	handler slow <<'END'
	: >running
	until [[ -e go ]]; do sleep .02; done
END
	eo-recv -j b.db ./slow <in >acks 3>&- &
	started $!
	exec 7>in
	forged <<<x >&7
	wait_until 10 test -e running
	is 0 "$(kinds ack acks | awk -F '\t' '$6 > 0' | wc -l)"
	: >go
	wait_until 10 eval '[[ $(acked acks) == "1	-	-" ]]'
	exec 7>&-
	finishes 0 $! 10
}

@test "TERM lets the running handler end, notes it, acknowledges, and exits 75 or 0" {
	seq 5 | forged >frames
	handler slow <<'END'
	: >running
	until [[ -e go ]]; do sleep .02; done
	cat >>out
END
	eo-recv -j b.db ./slow <frames >acks 3>&- &
	p=$!
	started $p
	wait_until 10 test -e running
	kill -TERM $p
	sleep .2
	: >go
	finishes 75 $p 10
	is 1 "$(cat out)"
	is "1	-	-" "$(acked acks)"
	# While it waits for input, too.
	mkfifo in
	eo-recv -j c.db true <in >acks 3>&- &
	p=$!
	started $p
	exec 7>in
	forged <<<x >&7
	wait_until 10 eval '[[ $(acked acks) == "1	-	-" ]]'
	kill -TERM $p
	finishes "0 75" $p 10
	exec 7>&-
}

@test "a message with a key waits for lower ones with that key, and for no others" {
	printf '%s\n' 'key=a	1' 'key=a	2' '-	3' 'key=b	4' |
	    channel_of "$SRC" default >frames
	exits 75 eo-recv -j b.db sh -c '
		echo "$EO_SEQ" >>runs; [ -e mended ] || [ "$EO_SEQ" != 1 ]' <frames >acks
	is $'1\n3\n4' "$(cat runs)"
	: >mended
	wait_until 10 cron sh -c 'echo "$EO_SEQ" >>runs'
	is $'1\n3\n4\n1\n2' "$(cat runs)"
}

@test "a message with a key waits for a gap, which may hold its key" {
	printf '%s\n' '-	1' 'key=a	2' 'key=a	3' '-	4' |
	    channel_of "$SRC" default >frames
	awk -F '\t' '!($2 == "msg" && $5 == 2)' frames >holed
	exits 75 eo-recv -j b.db sh -c 'echo "$EO_SEQ" >>runs' <holed >acks 2>gap.err
	is $'1\n4' "$(cat runs)"
	exits 0 eo-recv -j b.db sh -c 'echo "$EO_SEQ" >>runs' <frames >acks
	is $'1\n4\n2\n3' "$(cat runs)"
}

@test "a dead letter holds up nobody" {
	printf '%s\n' 'key=a	1' 'key=a	2' | channel_of "$SRC" default >frames
	exits 0 eo-recv -j b.db sh -c '
		echo "$EO_SEQ" >>runs; [ "$EO_SEQ" != 1 ] || exit 100' <frames >acks
	is $'1\n2' "$(cat runs)"
}

@test "one message of a channel and id is completed, whatever source it comes from" {
	printf '%s\n' 'id=night	from A' 'id=two	A2' | channel_of "$SRC" default >one
	printf '%s\n' 'id=other	B1' 'id=night	from B' | channel_of "$SRC2" default >two
	printf '%s\n' 'id=night	elsewhere' | channel_of "$SRC2" else >three
	cat one two three |
	    exits 0 eo-recv -j b.db -c default -c else sh -c 'cat >>out' >acks
	printf '%s\n' 'from A' A2 B1 elsewhere | sort >want
	sort out | cmp want -
	# The duplicate is settled, as completed.
	is "2	-	-" "$(kinds ack acks | grep "$SRC2	default" | tail -n 1 |
	    field 6,8,9)"
	is 1 "$(q b.db "SELECT duplicates FROM eo_in WHERE source = '$SRC2' AND
	    channel = 'default'")"
}

@test "while a message is to be tried again, another one with its id waits" {
	printf '%s\n' 'id=night	from A' | channel_of "$SRC" default >one
	printf '%s\n' 'id=night	from B' | channel_of "$SRC2" default >two
	exits 75 eo-recv -j b.db sh -c 'exit 1' <one >acks
	exits 75 eo-recv -j b.db sh -c 'cat >>out' <two >acks
	[[ ! -e out ]]
	wait_until 10 cron sh -c 'cat >>out'
	is 'from A' "$(cat out)"
	exits 0 eo-recv -j b.db false <two >acks
	is "1	-	-" "$(acked acks)"
}

@test "after a dead letter the next message with its id is processed" {
	printf '%s\n' 'id=night	bad' | channel_of "$SRC" default >one
	printf '%s\n' 'id=night	good' | channel_of "$SRC2" default >two
	cat one two | exits 0 eo-recv -j b.db sh -c '
		read -r b; echo "$b" >>out; [ "$b" = good ] || exit 100' >acks
	is $'bad\ngood' "$(cat out)"
	is 1 "$(q b.db "SELECT count(*) FROM eo_in_id")"
}

@test "messages without a key are processed in any order, each once" {
	seq 200 | forged >frames
	{ head -n 1 frames; tail -n +2 frames | shuf --random-source=frames; } >shuffled
	cat shuffled shuffled | exits 0 eo-recv -j b.db sh -c 'cat >>out' >acks
	seq 200 >want
	sort -n out | cmp want -
	is "200	-	-" "$(acked acks)"
	is 0 "$(q b.db 'SELECT count(*) FROM eo_in_range')"
}

@test "input that arrives a byte at a time is understood" {
	seq 20 | forged >frames
	dd bs=1 status=none if=frames | exits 0 eo-recv -j b.db sh -c 'cat >>out' >acks
	seq 20 | cmp - out
}

@test "a message is processed and acknowledged while the input stays open" {
	mkfifo in
	eo-recv -j b.db --append out <in >acks 3>&- &
	started $!
	exec 7>in
	seq 3 | forged >&7
	wait_until 5 eval '[[ -s out && $(acked acks) == "3	-	-" ]]'
	seq 3 | cmp - out
	exec 7>&-
	finishes 0 $! 5
}

# --- what is on the pipe ---------------------------------------------------

@test "nothing is processed before a base of the channel was read: 75" {
	seq 2 | forged >frames
	tail -n +2 frames | exits 75 eo-recv -j b.db touch ran 2>base.err
	[[ ! -e ran ]]
	says '^eo-recv: .*base' base.err
	exits 0 eo-recv -j b.db touch ran <frames >acks
	[[ -e ran ]]
}

@test "a base that comes later serves what comes after it" {
	seq 2 | forged >frames
	{ tail -n +2 frames; cat frames; } |
	    exits_in "0 75" eo-recv -j b.db sh -c 'cat >>out' >acks
	is $'1\n2' "$(cat out)"
	is "2	-	-" "$(acked acks)"
}

@test "a frame of a channel that was not given is named, 77, and not answered" {
	forged other <<<x >frames
	forged <<<mine >>frames
	exits 77 eo-recv -j b.db sh -c 'cat >>out' <frames >acks 2>channel.err
	says '^eo-recv: .*other' channel.err
	is mine "$(cat out)"
	is 1 "$(count ack acks)"
	silent other acks
	is 0 "$(q b.db "SELECT count(*) FROM eo_in WHERE channel = 'other'")"
}

@test "-c may be repeated and may be a pattern" {
	for c in orders.eu orders.us news; do
		forged $c <<<$c
	done >frames
	exits 77 eo-recv -j b.db -c 'orders.*' sh -c 'cat >>out' <frames >acks
	is $'orders.eu\norders.us' "$(sort out)"
	exits 0 eo-recv -j b.db -c 'orders.?s' -c news -c orders.eu sh -c 'cat >>out' \
	    <frames >acks
	is $'news\norders.eu\norders.us' "$(sort out)"
	exits 0 eo-recv -j b.db -c '*' sh -c 'cat >>out' <frames >acks
	is 3 "$(wc -l <out)"
}

@test "numbers that are missing at the end of the input are named: 75" {
	seq 6 | forged >frames
	awk -F '\t' '!($2 == "msg" && ($5 == 2 || $5 == 4 || $5 == 5))' frames >holed
	exits 75 eo-recv -j b.db sh -c 'cat >>out' <holed >acks 2>gap.err
	is $'1\n3\n6' "$(cat out)"
	says '^eo-recv: .*default.*2' gap.err
	says '4( to |-)5' gap.err
	l3=$(kinds msg frames | sed -n 4p | field 6)
	l6=$(frame --link "$(kinds msg frames | sed -n 6p | field 6)" - 6)
	eo-replay --acks -j b.db >present
	is "1	3-3:$l3,6-6:$l6	-" "$(acked present)"
	exits 0 eo-recv -j b.db sh -c 'cat >>out' <frames >acks
	is "6	-	-" "$(acked acks)"
	is 6 "$(wc -l <out)"
}

@test "a damaged frame is reported with its line and skipped: 65" {
	seq 4 | forged >frames
	sed '3s/	2	/	7	/' frames >damaged
	exits 65 eo-recv -j b.db sh -c 'cat >>out' <damaged >acks 2>damage.err
	says '^eo-recv: .*(line )?3\b' damage.err
	is $'1\n3\n4' "$(cat out)"
}

@test "no damage to a single byte of a frame is taken for a message" {
	forged <<<'the body' >frames
	base=$(head -n 1 frames)
	line=$(tail -n 1 frames)
	for ((i = 0; i < ${#line}; i++)); do
		c=${line:i:1}
		[[ $c == x ]] && r=y || r=x
		printf '%s\n%s%s%s\n' "$base" "${line:0:i}" "$r" "${line:i+1}"
	done >damaged
	exits 65 eo-recv -j b.db touch ran <damaged >acks 2>damage.err
	[[ ! -e ran ]]
	exits 0 eo-recv -j b.db touch ran <frames >acks
}

# wrong LINE...: each, with a check that holds, is reported and does nothing.
wrong() {
	local f=wrong.frames

	printf '%s\n' "$@" | frame >$f
	{ base_frame "$SRC" default 1 00000000 - 0; cat $f; } |
	    exits 65 eo-recv -j b.db touch ran >acks 2>wrong.err || return
	[[ ! -e ran ]] || return
	# Ten are told one by one, and how many there were in all.
	if (($# > 10)); then
		says "\b$# damaged lines" wrong.err
	else
		is $# "$(grep -c ', line [0-9]*:' wrong.err)"
	fi
}

@test "a frame that is not well-formed is no frame, though its check holds" {
	t=$'\t'
	p="eo1${t}msg$t$SRC${t}default$t"
	wrong "${p}1${t}00000000${t}-" "${p}1${t}00000000${t}-${t}a${t}b" \
	    "${p}0${t}00000000${t}-${t}x" "${p}01${t}00000000${t}-${t}x" \
	    "${p}+1${t}00000000${t}-${t}x" "${p}-1${t}00000000${t}-${t}x" \
	    "${p}9007199254740992${t}00000000${t}-${t}x" \
	    "${p}1${t}0000000${t}-${t}x" "${p}1${t}0000000G${t}-${t}x" \
	    "${p}1${t}00000000${t}${t}x" "${p}1${t}00000000${t}a${t}x" \
	    "${p}1${t}00000000${t}a=1 a=2${t}x" "${p}1${t}00000000${t} a=1${t}x" \
	    "${p}1${t}00000000${t}a=1  b=2${t}x" "${p}1${t}00000000${t}a=\\q${t}x"
	wrong "${p}1${t}00000000${t}-${t}a\\" "${p}1${t}00000000${t}-${t}a\\q" \
	    "${p}1${t}00000000${t}-${t}a\\x4"
	wrong "eo1${t}msg$t${SRC:1}${t}default${t}1${t}00000000${t}-${t}x" \
	    "eo1${t}msg$t${SRC^^}A${t}default${t}1${t}00000000${t}-${t}x" \
	    "eo1${t}msg$t$SRC${t}-x${t}1${t}00000000${t}-${t}x" \
	    "eo1${t}msg$t$SRC${t}${t}1${t}00000000${t}-${t}x" \
	    "eo1${t}msg$t$SRC${t}a b${t}1${t}00000000${t}-${t}x"
	wrong "eo1${t}base$t$SRC${t}default${t}0${t}00000000${t}-${t}0" \
	    "eo1${t}base$t$SRC${t}default${t}1${t}00000000${t}x${t}0" \
	    "eo1${t}base$t$SRC${t}default${t}1${t}00000000${t}-${t}" \
	    "eo1${t}abort$t$SRC${t}default${t}1${t}00000000" \
	    "eo1" "eo1${t}" "eo1${t}msg"
	long=$(head -c 8190 /dev/zero | tr '\0' x)
	wrong "${p}1${t}00000000${t}a=${long}x${t}x"
}

@test "unknown attributes are kept and passed on" {
	printf 'future=thing id=i\tx\n' | channel_of "$SRC" default >frames
	exits 0 eo-recv -j b.db <frames >printed
	is "$(kinds msg frames)" "$(kinds msg printed)"
}

@test "lines that are no frames are reported once, with their count; if there is nothing else, 65" {
	seq 2 | forged >frames
	{
		echo 'Welcome to hostB!'
		printf '\e[1mcolour\e[0m\n'
		head -n 2 frames
		printf 'a\0b\n'
		echo
		echo 'eo2	msg	x'
		tail -n 1 frames
	} | exits 0 eo-recv -j b.db sh -c 'cat >>out' >acks 2>foreign.err
	is $'1\n2' "$(cat out)"
	is 1 "$(grep -c '^eo-recv: ' foreign.err)"
	says '^eo-recv: .*\b5\b' foreign.err
	is "2	-	-" "$(acked acks)"
	printf 'Connection\nrefused\n' |
	    exits 65 eo-recv -j b.db true 2>foreign.err
	says '^eo-recv: .*\b2\b' foreign.err
}

@test "a well-formed frame of an unknown type is ignored" {
	{
		printf 'eo1\tfuture\t%s\tdefault\twhat\tever\n' "$SRC" | frame
		forged <<<x
	} | exits 0 eo-recv -j b.db sh -c 'cat >>out' >acks
	is x "$(cat out)"
}

@test "one CR before the newline is ignored, and only one" {
	seq 2 | forged | sed 's/$/\r/' >frames
	exits 0 eo-recv -j b.db sh -c 'cat >>out' <frames >acks
	is $'1\n2' "$(cat out)"
	sed 's/$/\r/' frames | exits 65 eo-recv -j c.db true >acks
}

@test "a last line without a newline is a frame if its check holds" {
	forged <<<x | head -c -1 | exits 0 eo-recv -j b.db sh -c 'cat >>out' >acks
	is x "$(cat out)"
}

@test "a last line that was cut off is told and left to redelivery: 75" {
	seq 2 | forged >frames
	size=$(stat -c %s frames)
	last=$(tail -n 1 frames | wc -c)
	for cut in 2 3 9 10 20 $((last - 5)) $((last - 1)); do
		echo "$cut"
		head -c $((size - cut)) frames |
		    exits 75 eo-recv -j $cut.db sh -c 'cat >>out' >acks 2>cut.err
		says '^eo-recv: .*cut' cut.err
	done
	is 1 "$(sort -u out)"
}

@test "acks and votes on its input are passed on unchanged" {
	ack_frame "$SRC2" default "$SRC" 4 01234567 - - >foreign
	printf 'eo1\tvote\t%s\tt\t%s\t1\t01234567\tyes\t-\n' "$SRC2" "$SRC" |
	    frame >>foreign
	forged <<<x | cat foreign - | exits 0 eo-recv -j b.db true >out
	while IFS= read -r line; do
		grep -qxF -- "$line" out
	done <foreign
	is 3 "$(wc -l <out)"
}

@test "a message whose link does not agree is not processed, 76, and answered with the present ack" {
	seq 3 | forged >frames
	exits 0 eo-recv -j b.db sh -c 'cat >>out' <frames >acks
	last=$(kinds msg frames | tail -n 1 | field 6)
	# Another 3, and a 4 that follows it.
	printf -- '-\tforged 3\n-\tforged 4\n' | frame --chain "$SRC" default 3 "$last" >forged
	{ head -n 1 frames; cat forged; } |
	    exits 76 eo-recv -j b.db sh -c 'cat >>out' >acks 2>fork.err
	is $'1\n2\n3' "$(cat out)"
	says '^eo-recv: .*default' fork.err
	is "3	-	-" "$(acked acks)"
	# An older repeat with another body, too.
	printf -- '-\tforged 1\n' | frame --chain "$SRC" default 1 00000000 |
	    cat <(head -n 1 frames) - |
	    exits_in "0 76" eo-recv -j b.db sh -c 'cat >>out' >acks
	is $'1\n2\n3' "$(cat out)"
}

@test "a conflict with a neighbour that is only pending is found, too" {
	printf '%s\n' '-	1' '-	2' '-	3' | channel_of "$SRC" default >frames
	exits 75 eo-recv -j b.db false <frames >acks
	printf -- '-\tforged\n' | frame --chain "$SRC" default 4 89abcdef |
	    cat <(head -n 1 frames) - |
	    exits 76 eo-recv -j b.db sh -c 'cat >>out' >acks 2>fork.err
	[[ ! -s out ]] || silent forged out
}

@test "a base above what the receiver has settled is a rollback or a stranger: 76" {
	seq 2 | forged >frames
	exits 0 eo-recv -j b.db true <frames >acks
	me=$(source_of b.db)
	{
		base_frame "$SRC" default 6 89abcdef "$me" 5
		printf -- '-\tsix\n' | frame --chain "$SRC" default 6 89abcdef
	} | exits 76 eo-recv -j b.db touch ran >acks 2>base.err
	[[ ! -e ran ]]
	says '3( to |-)5' base.err
}

@test "garbage without end takes no memory without end: 65" {
	n=$(big 100000000 2000000000)
	head -c "$n" /dev/zero | exits 65 peak kib eo-recv -j b.db true >acks
	sanitized || (($(cat kib) < 220000))
	head -c "$n" /dev/zero | tr '\0' '\n' | exits 65 peak kib eo-recv -j b.db true >acks
	sanitized || (($(cat kib) < 65536))
}

@test "one settled number in two makes no more than 10,000 ranges" {
	[[ ${EO_TEST_BIG:-} ]] || skip "needs EO_TEST_BIG=1"
	seq 30000 | forged | awk -F '\t' '$2 == "base" || $5 % 2 == 0' >frames
	exits 75 eo-recv -j b.db true <frames >acks 2>ranges.err
	(($(q b.db 'SELECT count(*) FROM eo_in_range') <= 10000))
	seq 30000 | forged | exits 0 eo-recv -j b.db true >acks 2>ranges.err
	is 0 "$(q b.db 'SELECT count(*) FROM eo_in_range')"
}

@test "a number of 2^53-1 is a number" {
	max=9007199254740991
	{
		base_frame "$SRC" default $max 89abcdef - 0
		printf -- '-\tlast\n' | frame --chain "$SRC" default $max 89abcdef
	} >frames
	exits_in "0 76" eo-recv -j b.db sh -c 'cat >>out' <frames >acks
	intact b.db
}

# --- --append --------------------------------------------------------------

@test "--append writes body and newline, in the order in which they were sent" {
	seq 500 | forged >frames
	{ head -n 1 frames; tail -n +2 frames | shuf --random-source=frames; } >shuffled
	exits 0 eo-recv -j b.db --append out <shuffled >acks
	seq 500 | cmp - out
	is "500	-	-" "$(acked acks)"
	exits 0 eo-recv -j b.db --append out <shuffled >acks
	seq 500 | cmp - out
}

@test "--append does not write past a gap" {
	seq 6 | forged >frames
	awk -F '\t' '!($2 == "msg" && $5 == 3)' frames >holed
	exits 75 eo-recv -j b.db --append out <holed >acks 2>gap.err
	seq 2 | cmp - out
	exits 0 eo-recv -j b.db --append out <frames >acks
	seq 6 | cmp - out
}

@test "--append makes its file, and adds to one that exists" {
	seq 2 | forged >frames
	exits 0 eo-recv -j b.db --append new <frames >acks
	seq 2 | cmp - new
	echo before >old
	chmod 640 old
	exits 0 eo-recv -j c.db --append old <frames >acks
	{ echo before; seq 2; } | cmp - old
	is 640 "$(stat -c %a old)"
}

@test "several channels may append to one file" {
	for c in x y z; do
		seq 100 | sed "s/^/$c/" | forged $c
	done | exits 0 eo-recv -j b.db -c '*' --append out >acks
	for c in x y z; do
		grep $c out | cmp - <(seq 100 | sed "s/^/$c/")
	done
	is 300 "$(wc -l <out)"
}

@test "bytes of another hand stop --append, 76, and nothing is touched" {
	seq 2 | forged >frames
	exits 0 eo-recv -j b.db --append out <frames >acks
	echo 'by another hand' >>out
	cp out before
	seq 3 | forged >frames
	exits 76 eo-recv -j b.db --append out <frames >acks 2>hand.err
	says '^eo-recv: .*out' hand.err
	cmp before out
	is 0 "$(kinds ack acks | awk -F '\t' '$6 > 2' | wc -l)"
	truncate -s -16 out
	exits 0 eo-recv -j b.db --append out <frames >acks
	seq 3 | cmp - out
}

@test "a file that has become shorter stops --append: 76" {
	seq 2 | forged >frames
	exits 0 eo-recv -j b.db --append out <frames >acks
	truncate -s 2 out
	seq 3 | forged >frames
	exits 76 eo-recv -j b.db --append out <frames >acks 2>hand.err
	echo 1 | cmp - out
}

@test "a file that was rotated away is begun anew" {
	seq 2 | forged >frames
	exits 0 eo-recv -j b.db --append out <frames >acks
	mv out out.1
	seq 4 | forged >frames
	exits 0 eo-recv -j b.db --append out <frames >acks
	seq 2 | cmp - out.1
	seq 3 4 | cmp - out
}

@test "a file that is rotated during a run is begun anew" {
	mkfifo in
	seq 4 | forged >frames
	eo-recv -j b.db --append out <in >acks 3>&- &
	started $!
	exec 7>in
	head -n 3 frames >&7
	wait_until 5 eval '[[ $(acked acks) == "2	-	-" ]]'
	mv out out.1
	tail -n +4 frames >&7
	wait_until 5 eval '[[ $(acked acks) == "4	-	-" ]]'
	exec 7>&-
	finishes 0 $! 5
	seq 2 | cmp - out.1
	seq 3 4 | cmp - out
}

@test "an unfinished write is set aside and cut, and the messages written again" {
	seq 3 | forged >frames
	exits 0 eo-recv -j b.db --append out <frames >acks
	seq 9 | forged >frames
	# Dies at the sync of what it has written to out.
	n=0
	until grep -q 4 out; do
		((++n < 40))
		traced -o /dev/null -P out -P "$PWD/out" \
		    -e inject=fsync,fdatasync,ftruncate,close:signal=KILL:when=$n \
		    eo-recv -j b.db --append out <frames >acks 2>killed.err || :
	done
	cp out unfinished
	printf 'half a li' >>out
	exits 0 eo-recv -j b.db --append out <frames >acks 2>aside.err
	seq 9 | cmp - out
	says '^eo-recv: .*out\.eo-aside' aside.err
	{ tail -c +7 unfinished; printf 'half a li'; } | cmp - out.eo-aside
}

@test "--append through a hundred kills: each line once, in order" {
	each=$(big 500 5000)
	seq $((100 * each)) | forged >frames
	kills=0
	for i in {1..100}; do
		got=0
		head -n $((1 + i * each)) frames |
		    timeout -s KILL "$(printf '.%03d' $((RANDOM % 20 + 3)))" \
		    eo-recv -j b.db --append out >>acks 2>killed.err || got=$?
		[[ $got == 0 || $got == 137 ]]
		((got == 0 || ++kills))
	done
	echo "$kills kills"
	((kills > 10))
	exits 0 eo-recv -j b.db --append out <frames >acks
	seq $((100 * each)) | cmp - out
	intact b.db
}

@test "--append to a file that cannot be written is an error, and acks nothing" {
	seq 2 | forged >frames
	exits_in "73 77" eo-recv -j b.db --append none/out <frames >acks 2>open.err
	says '^eo-recv: .*none/out' open.err
	exits_in "73 74 77" eo-recv -j c.db --append . <frames >acks 2>open.err
	exits_in "73 74 77" eo-recv -j d.db --append /dev/full <frames >acks 2>open.err
	is 0 "$(kinds ack acks | awk -F '\t' '$6 > 0' | wc -l)"
	exits 0 eo-recv -j c.db --append out <frames >acks
	seq 2 | cmp - out
}

@test "two eo-recv append to one file without mixing" {
	for i in 1 2 3 4; do
		seq 3000 | forged c$i >frames.$i
		eo-recv -j b.db -c c$i --append out <frames.$i >acks.$i 2>$i.err 3>&- &
		started $!
	done
	for p in "${PIDS[@]}"; do
		finishes "0 75" "$p" 60
	done
	for i in 1 2 3 4; do
		exits 0 eo-recv -j b.db -c c$i --append out <frames.$i >acks.$i
	done
	is 12000 "$(wc -l <out)"
	seq 3000 | sed p | sed p | sort >want
	sort out | cmp want -
}

# --- the filter ------------------------------------------------------------

@test "without CMD it is a filter: messages are printed, repeats acknowledged" {
	seq 3 | forged >frames
	exits 0 eo-recv -j b.db <frames >printed
	verified printed
	is "$(kinds msg frames)" "$(kinds msg printed)"
	is 0 "$(kinds ack printed | awk -F '\t' '$6 > 0' | wc -l)"
	eo-ack -j b.db <printed >acks
	is "3	-	-" "$(acked acks)"
	exits 0 eo-recv -j b.db <frames >printed
	is 0 "$(count msg printed)"
	is "3	-	-" "$(acked printed)"
}

@test "what was printed is not printed again within the lease, and again after it" {
	seq 2 | forged >frames
	exits 0 eo-recv -j b.db <frames >printed
	exits_in "0 75" eo-recv -j b.db <frames >again
	is 0 "$(count msg again)"
	exits 0 eo-recv -j c.db --lease=300ms <frames >printed
	is 2 "$(count msg printed)"
	wait_until 5 eval 'eo-recv -j c.db --lease=300ms </dev/null >again 2>lease.err || :
	    (($(count msg again) == 2))'
	is "$(kinds msg printed)" "$(kinds msg again)"
	sed 1q again | kinds msg | eo-ack -j c.db >acks || :
	sleep .4
	eo-recv -j c.db --lease=300ms </dev/null >again || :
	is 1 "$(count msg again)"
}

@test "a filter's messages go out in order of their keys, and a lease holds up nothing" {
	printf '%s\n' 'key=a	1' 'key=a	2' 'key=a	3' | channel_of "$SRC" default >frames
	{ sed -n 1p frames; sed -n 3p frames; } |
	    exits 75 eo-recv -j b.db >printed 2>gap.err
	is 0 "$(count msg printed)"
	exits 0 eo-recv -j b.db <frames >printed
	is $'1\n2\n3' "$(bodies printed)"
}

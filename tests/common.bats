#!/usr/bin/env bats
# What all programs have in common: the same list for each of them.
# shellcheck disable=SC2016

load lib/helper

# quick PROGRAM ARG...: the program where it has nothing to read.
quick() {
	"$@" </dev/null
}

# readers: those that do not make a journal.
readers=(eo-ack eo-replay)
if [[ -e $BATS_TEST_DIRNAME/../cmd/eo-fsck.c ]]; then
	readers+=(eo-fsck)
fi

# on PROGRAM JOURNAL: its plainest call
on() {
	case $1 in
	eo-send) eo-send -j "$2" -m hello ;;
	eo-recv) eo-recv -j "$2" true </dev/null ;;
	eo-fsck) eo-fsck "$2" ;;
	*) "$1" -j "$2" </dev/null ;;
	esac
}

# refused STATUSES JOURNAL WORD: by each program, with a reason, and the
# journal is as before.
refused() {
	local p

	cp -p "$2" before
	for p in "${PROGRAMS[@]}"; do
		echo "$p"
		exits_in "$1" on "$p" "$2" >out 2>on.err || return
		empty out || return
		says "^$p: .*$3" on.err || return
		cmp before "$2" || return
	done
}

@test "--help prints a screen of help on standard output and exits 0" {
	for p in "${PROGRAMS[@]}"; do
		echo "$p"
		exits 0 quick "$p" --help >out 2>help.err
		empty help.err
		(($(wc -l <out) >= 8 && $(wc -l <out) <= 30))
		(($(wc -L <out) <= 80))
		says "usage: $p" out
		exits 0 quick "$p" -h >short
		cmp out short
	done
}

@test "--version prints the program's name and version, the same for all" {
	for p in "${PROGRAMS[@]}"; do
		echo "$p"
		exits 0 quick "$p" --version >out 2>version.err
		empty version.err
		[[ $(head -n 1 out) =~ ^"$p "([^ ]*\ )*[0-9]+\.[0-9]+ ]]
		exits 0 quick "$p" -V >short
		cmp out short
		sed "1s/^$p //" out >>all
	done
	is 1 "$(sort -u all | grep -c '[0-9]\.[0-9]')"
}

@test "an option that does not exist is a usage error" {
	for p in "${PROGRAMS[@]}"; do
		for o in --no-such-option -Z -= --helpx; do
			echo "$p $o"
			exits 64 quick "$p" "$o" >out 2>bad.err
			empty out
			is "Try '$p --help'." "$(tail -n 1 bad.err)"
			says "^$p: " bad.err
		done
	done
	[[ -z $(find "$HOME" "$XDG_STATE_HOME" "$HERE" -name '*.db*') ]]
}

@test "an option without its argument, or with an empty one, is a usage error" {
	for p in "${PROGRAMS[@]}"; do
		for o in -j --journal --journal= '-c ' --channel= -c; do
			[[ $p != eo-fsck || $o == *-j* ]] || continue
			echo "$p $o"
			if [[ $o == '-c ' ]]; then
				exits 64 quick "$p" -j x.db -c ''
			elif [[ $o == *c* ]]; then
				exits 64 quick "$p" -j x.db "$o"
			else
				exits 64 quick "$p" "$o"
			fi >out 2>bad.err
			empty out
			is "Try '$p --help'." "$(tail -n 1 bad.err)"
		done
		exits 64 quick "$p" -j '' 2>bad.err
	done
	[[ ! -e x.db ]]
}

@test "durations and sizes are strict" {
	for v in '' ' 1' '1 ' +1 -1 0x10 1.5 1y 1S 01 1e3 ms 18446744073709551616 \
	    99999999999999999999d 1mss; do
		echo "'$v'"
		exits 64 eo-recv -j b.db "--timeout=$v" true </dev/null
		exits 64 eo-recv -j b.db "--lease=$v" </dev/null
	done
	for v in '' ' 1' '1 ' +1 -1 0x10 1.5 1KB 1k 01 1e3 K 18446744073709551616 \
	    18446744073709551615G; do
		echo "'$v'"
		exits 64 eo-send -j a.db "--max-body=$v" -m x
		exits 64 eo-send -j a.db "--max-frame=$v" -m x
	done
	for v in '' ' 1' +1 -1 0x10 1.5 1K 01 18446744073709551616; do
		echo "'$v'"
		exits 64 eo-recv -j b.db "--max-tries=$v" true </dev/null
	done
	[[ ! -e a.db && ! -e b.db ]]
}

@test "what cannot be written to standard output is an I/O error, 74" {
	for p in "${PROGRAMS[@]}"; do
		echo "$p"
		exits 74 quick "$p" --help >/dev/full
		exits 74 quick "$p" --version >/dev/full
	done
	exits 74 eo-send -j a.db -m one -m two >/dev/full 2>full.err
	says '^eo-send: ' full.err
	exits 74 eo-replay -a -j a.db >/dev/full 2>full.err
	says '^eo-replay: ' full.err
	# Nothing of it was lost, and nothing of it counts as sent.
	eo-replay -j a.db >frames
	is $'one\ntwo' "$(bodies frames)"
	exits 74 eo-recv -j b.db cat <frames >/dev/full 2>full.err
	says '^eo-recv: ' full.err
	ack_frame "$SRC" default "$SRC2" 1 01234567 - - >foreign
	exits 74 eo-ack -j a.db <foreign >/dev/full 2>full.err
	says '^eo-ack: ' full.err
	new_journal c.db
	forged <<<x | eo-recv -j c.db true >/dev/null
	exits 74 eo-replay --acks -j c.db >/dev/full
	! has eo-fsck || exits 74 eo-fsck a.db >/dev/full
}

@test "a closed standard input is an error, or is not read" {
	exits_in "65 66 74" eo-send -q -j a.db <&- 2>closed.err
	says '^eo-send: ' closed.err
	exits 0 eo-send -q -j a.db -m x <&-
	forged <<<x >frames
	exits_in "65 66 74" eo-recv -j b.db true <&- 2>closed.err
	says '^eo-recv: ' closed.err
	exits_in "65 66 74" eo-ack -j a.db <&- 2>closed.err
	says '^eo-ack: ' closed.err
	exits 0 eo-replay -j a.db <&- >frames
	is x "$(bodies frames)"
	intact a.db
}

@test "a closed standard output is an error where something is to be printed" {
	new_journal a.db
	for p in "${PROGRAMS[@]}"; do
		exits 74 quick "$p" --help >&-
	done
	exits 74 eo-send -j a.db -m x >&-
	exits 0 eo-send -q -j a.db -m y >&-
	exits 74 eo-replay -j a.db >&-
	forged <<<x >frames
	exits 74 eo-recv -j b.db cat <frames >&-
	exits_in "0 74 75" eo-ack -j a.db </dev/null >&-
	intact a.db b.db
	eo-replay -j a.db >out
	is $'x\ny' "$(bodies out)"
}

@test "a closed standard error loses the words, not the journal" {
	printf 'eo1\tjunk\n' >junk
	exits 0 eo-send -q -j a.db -m x 2>&-
	exits 66 eo-send -q -j a.db no-such-file 2>&-
	forged <<<x | cat - junk >frames
	exits 65 eo-recv -j b.db sh -c 'echo words; echo more >&2; cat' \
	    <frames >acks 2>&-
	eo-send -q -j a.db -m y
	exits 65 eo-ack -j a.db <junk >out 2>&-
	exits 66 eo-replay -j none.db >out 2>&-
	is 1 "$(count ack acks)"
	intact a.db b.db
}

@test "with all three closed nothing is written into the journal by mistake" {
	exits 0 eo-send -q -j a.db -m x <&- >&- 2>&-
	for p in "${PROGRAMS[@]}"; do
		echo "$p"
		exits_in "0 1 65 66 74 75" on_closed "$p"
	done
	intact a.db
	eo-replay -a -j a.db >frames
	verified frames
	says '	x	' frames
}

on_closed() {
	on "$1" a.db <&- >&- 2>&-
}

@test "a journal that does not exist is made by eo-send and eo-recv only" {
	for p in "${readers[@]}"; do
		echo "$p"
		exits 66 on "$p" none.db >out 2>none.err
		empty out
		says "^$p: .*none.db" none.err
		exits 66 quick "$p" 2>none.err
		says "^$p: .*journal.db" none.err
	done
	[[ -z $(find . "$HOME" "$XDG_STATE_HOME" -name '*.db*') ]]
	exits 0 eo-send -q -j a.db -m x
	exits 0 eo-recv -j b.db true </dev/null
	[[ -s a.db && -s b.db ]]
}

@test "a database without eo's tables is no journal, and is not made one by reading" {
	sqlite3 app.db 'CREATE TABLE t(x); INSERT INTO t VALUES (7)'
	cp app.db before
	for p in "${readers[@]}"; do
		echo "$p"
		exits 66 on "$p" app.db >out 2>none.err
		says "^$p: .*app.db" none.err
		cmp app.db before
	done
}

@test "a journal may be an application's database, which is switched to WAL" {
	sqlite3 app.db 'CREATE TABLE t(x); INSERT INTO t VALUES (7)'
	exits 0 eo-send -q -j app.db -m x 2>wal.err
	says '^eo-send: .*app.db.*WAL' wal.err
	is wal "$(q app.db 'PRAGMA journal_mode')"
	is 7 "$(q app.db 'SELECT x FROM t')"
	is '' "$(q app.db "SELECT name FROM sqlite_master WHERE type = 'table' \
	    AND name NOT LIKE 'eo\\_%' ESCAPE '\\' AND name <> 't'")"
	exits 0 eo-send -q -j app.db -m y 2>wal.err
	empty wal.err
	intact app.db
}

@test "a new journal has mode 0600, whatever the umask; its folder 0700" {
	umask 0
	exits 0 eo-send -q -m x
	is 600 "$(stat -c %a "$XDG_STATE_HOME/eo/journal.db")"
	is 700 "$(stat -c %a "$XDG_STATE_HOME/eo")"
	is '' "$(find "$XDG_STATE_HOME/eo" -type f -perm /077)"
	exits 0 eo-recv -j b.db true </dev/null
	is '' "$(find . -name 'b.db*' -perm /077)"
}

@test "the mode of a file that exists is kept" {
	install -m 640 /dev/null a.db
	exits 0 eo-send -q -j a.db -m x
	is 640 "$(stat -c %a a.db)"
}

@test "-j comes before EO_JOURNAL, and EO_JOURNAL before the default" {
	exits 0 eo-send -q -m in-default
	[[ -s $XDG_STATE_HOME/eo/journal.db ]]
	export EO_JOURNAL=$HERE/env.db
	exits 0 eo-send -q -m in-env
	exits 0 eo-send -q -j j.db -m in-j
	exits 0 eo-send -q --journal=j.db -m long
	exits 0 eo-send -q -jj.db -m short
	is in-env "$(eo-replay | bodies)"
	is $'in-j\nlong\nshort' "$(eo-replay -j j.db | bodies)"
	unset EO_JOURNAL
	is in-default "$(eo-replay | bodies)"
	unset XDG_STATE_HOME
	exits 0 eo-send -q -m in-home
	[[ -s $HOME/.local/state/eo/journal.db ]]
	is 700 "$(stat -c %a "$HOME/.local/state/eo")"
}

@test "a journal in a folder that does not exist, or below a file, cannot be made" {
	: >file
	for p in eo-send eo-recv; do
		exits 73 on "$p" none/x.db 2>make.err
		says "^$p: .*none/x.db" make.err
		exits_in "66 73" on "$p" file/x.db 2>make.err
		says "^$p: .*file/x.db" make.err
		exits_in "66 73 77" on "$p" . 2>make.err
		says "^$p: " make.err
	done
	[[ ! -e none ]]
}

as_nobody() {
	setpriv --reuid="$NOBODY" --regid="$NOBODY" --clear-groups "$@"
}

# ours_to_nobody: the test's folder can be reached by another user.
reachable() {
	local d=$HERE

	as_nobody "$(command -v eo-send)" --version >/dev/null 2>&1 ||
	    skip "another user cannot reach the programs"
	while [[ $d != / ]]; do
		as_nobody test -x "$d" || chmod o+x "$d"
		d=${d%/*}
		[[ $d ]] || d=/
	done
}

@test "a journal that may not be read or written is refused" {
	root_only
	reachable
	exits 0 eo-send -q -j a.db -m x
	for p in "${PROGRAMS[@]}"; do
		echo "$p"
		exits 77 as_nobody bash -c "$(declare -f on); on $p a.db" \
		    >out 2>perm.err
		empty out
		says "^$p: .*a.db" perm.err
	done
	chmod 644 a.db*
	for p in eo-send eo-recv; do
		echo "$p"
		exits_in "74 77" as_nobody bash -c "$(declare -f on); on $p a.db" \
		    >out 2>perm.err
		empty out
		says "^$p: .*a.db" perm.err
	done
	is x "$(eo-replay -j a.db | bodies)"
}

@test "a folder that may not be written to holds no new journal: 73" {
	root_only
	reachable
	chmod 755 .
	for p in eo-send eo-recv; do
		exits 73 as_nobody bash -c "$(declare -f on); on $p a.db" \
		    >out 2>perm.err
		says "^$p: .*a.db" perm.err
	done
	[[ ! -e a.db ]]
}

@test "root does not touch another user's journal" {
	root_only
	exits 0 eo-send -q -j a.db -m x
	chown "$NOBODY" a.db
	refused 77 a.db 'user'
	chown 0 a.db
	is x "$(eo-replay -j a.db | bodies)"
}

@test "a journal with several hard links is refused by name" {
	exits 0 eo-send -q -j a.db -m x
	ln a.db other.db
	refused 77 a.db 'hard links'
	rm other.db
	is x "$(eo-replay -j a.db | bodies)"
}

@test "a file that is not SQLite's is refused and left as it is" {
	seq 2000 >a.db
	refused "65 66 74 77" a.db a.db
	: >empty.db
	for p in "${readers[@]}"; do
		exits 66 on "$p" empty.db 2>empty.err
		[[ ! -s empty.db ]]
	done
}

@test "a journal of a newer schema is refused: 78" {
	exits 0 eo-send -q -j a.db -m x
	sqlite3 a.db 'UPDATE eo_schema SET version = version + 1' >/dev/null
	refused 78 a.db newer
}

@test "a journal whose schema another hand has changed is refused" {
	exits 0 eo-send -q -j a.db -m x
	sqlite3 a.db 'CREATE TRIGGER nasty AFTER INSERT ON eo_block
	    BEGIN DELETE FROM eo_frames; END'
	refused "65 76" a.db nasty
	sqlite3 a.db 'DROP TRIGGER nasty'
	is x "$(eo-replay -j a.db | bodies)"
}

@test "options end at the first operand, or at --" {
	new_journal a.db
	: >file
	exits 66 eo-send -q -j a.db file -m 2>operand.err
	says '^eo-send: -m' operand.err
	exits 66 eo-send -q -j a.db -- -m 2>operand.err
	says '^eo-send: -m' operand.err
	echo yes >./-m
	exits 0 eo-send -q -j a.db -- -m
	is yes "$(eo-replay -j a.db | bodies)"
	forged <<<x >frames
	exits 0 eo-recv -j b.db cat -n <frames >acks 2>handler.err
	says '^ *1	x' handler.err
	forged <<<x >frames
	exits 0 eo-recv -j c.db -- cat -n <frames >acks 2>handler.err
	says '^ *1	x' handler.err
}

@test "POSIXLY_CORRECT changes nothing" {
	export POSIXLY_CORRECT=1
	: >file
	exits 0 eo-send -q -j a.db -m x
	exits 66 eo-send -q -j a.db file -m 2>operand.err
	says '^eo-send: -m' operand.err
	eo-replay -j a.db >frames
	exits 0 eo-recv -j b.db sh -c 'cat; echo "$1"' -- -v --help \
	    <frames >acks 2>handler.err
	says '^--*v$' handler.err
	exits 0 eo-ack -j a.db -v <acks
	for p in "${PROGRAMS[@]}"; do
		exits 64 quick "$p" --no-such-option 2>bad.err
		is "Try '$p --help'." "$(tail -n 1 bad.err)"
		exits 0 quick "$p" --help >out
	done
}

@test "operands that a program does not take are a usage error" {
	new_journal a.db
	exits 64 eo-ack -j a.db operand </dev/null
	exits 64 eo-replay -j a.db operand </dev/null
	! has eo-fsck || exits 64 eo-fsck a.db a.db a.db
	exits 64 eo-recv -j b.db --append out operand </dev/null
	exits 64 eo-ack -j a.db --done </dev/null
	exits 64 eo-ack -j a.db --again </dev/null
	exits 64 eo-ack -j a.db --dead reason </dev/null
	[[ ! -e b.db ]]
}

@test "options that exclude each other are a usage error" {
	new_journal a.db
	exits 64 eo-send -j a.db -0 -w </dev/null
	exits 64 eo-send -j a.db -m x operand
	exits 64 eo-ack -j a.db --done --again default/1
	exits 64 eo-replay -j a.db --acks -f </dev/null
	exits 64 eo-replay -j a.db --acks -a </dev/null
	! has eo-fsck || exits 64 eo-fsck --repair --new-source a.db
}

@test "channel names: 1 to 128 of [A-Za-z0-9._:@-], not beginning with - or ." {
	long=$(printf 'x%.0s' {1..128})
	for c in a Z9 a.b_c:d@e-f "$long"; do
		echo "$c"
		exits 0 eo-send -q -j a.db -c "$c" -m x
	done
	for c in -x .x 'a b' a/b "${long}x" $'a\tb' $'a\n' ä 'a*' '$(touch p)'; do
		echo "$c"
		exits 64 eo-send -q -j a.db "--channel=$c" -m x
	done
	is 4 "$(q a.db 'SELECT count(*) FROM eo_out')"
	[[ ! -e p ]]
}

@test "without -c it is the channel default and no other" {
	exits 0 eo-send -q -j a.db -m mine
	exits 0 eo-send -q -j a.db -c other -m theirs
	is mine "$(eo-replay -a -j a.db | bodies)"
	is theirs "$(eo-replay -a -j a.db -c other | bodies)"
	eo-replay -a -j a.db -c 'o*' -c default >frames
	is $'mine\ntheirs' "$(bodies frames | sort)"
	# The other channel is not settled; nobody has asked.
	eo-replay -a -j a.db | eo-recv -j b.db true | exits 0 eo-ack -j a.db
	exits 75 eo-ack -j a.db -c other </dev/null
	exits 75 eo-ack -j a.db -c '*' </dev/null
}

@test "few descriptors are enough, and many open ones do no harm" {
	(
		ulimit -n 24
		exits 0 eo-send -q -j a.db -m x
		eo-replay -j a.db >frames
		exits 0 eo-recv -j b.db true <frames >acks
		exits 0 eo-ack -j a.db <acks
	)
	for n in {10..60}; do
		eval "exec $n</dev/null"
	done
	exits 0 eo-send -q -j a.db -m y
	eo-replay -j a.db >frames
	exits 0 eo-recv -j b.db true <frames >acks
	exits 0 eo-ack -j a.db <acks
	for n in {10..60}; do
		eval "exec $n<&-"
	done
}

@test "-v says more and changes nothing else" {
	exits 0 eo-send -v -q -j a.db -m x
	exits 0 eo-replay -v -j a.db >frames 2>v.err
	exits 0 eo-recv -v -j b.db true <frames >acks 2>v.err
	exits 0 eo-ack -v -j a.db <acks >out 2>v.err
	empty out
	verified acks
}

# waits_for_writer CMD...: not done while another one holds the writer lock of
# a.db, done when it does not; input is held up, not lost.
waits_for_writer() {
	local p

	rm -f held
	hold a.db-lock 0 held 3>&- &
	started $!
	wait_until 5 test -e held || return
	"$@" <in >out 2>waits.err 3>&- &
	p=$!
	started $p
	sleep .3
	if ended $p; then
		echo "it did not wait: $*"
		return 1
	fi
	rm held
	wait_until 10 ended $p
}

@test "each program waits for the writer lock, byte 0 of JOURNAL-lock" {
	exits 0 eo-send -q -j a.db -m x
	eo-replay -a -j a.db >frames
	eo-recv -j b.db true <frames >acks
	: >in
	waits_for_writer eo-send -q -j a.db -m y
	waits_for_writer eo-replay -a -j a.db
	is $'x\ny' "$(bodies out)"
	cp acks in
	waits_for_writer eo-ack -j a.db
	is y "$(eo-replay -a -j a.db | bodies)"
	forged <<<z >in
	waits_for_writer eo-recv -j a.db sh -c 'cat >>ran'
	is z "$(cat ran)"
	intact a.db
}

@test "reading needs no writer lock" {
	exits 0 eo-recv -j a.db true < <(forged <<<x) >acks
	rm -f held
	hold a.db-lock 0 held 3>&- &
	started $!
	wait_until 5 test -e held
	exits 0 timeout 10 eo-replay --acks -j a.db >present
	is 1 "$(count ack present)"
	! has eo-fsck || exits 0 timeout 10 eo-fsck a.db
	rm held
}

@test "a writer lock that is not freed within a minute: 75" {
	[[ ${EO_TEST_BIG:-} ]] || skip "takes a minute; needs EO_TEST_BIG=1"
	new_journal a.db
	hold a.db-lock 0 held 3>&- &
	started $!
	wait_until 5 test -e held
	exits 75 eo-send -q -j a.db -m x 2>busy.err
	says '^eo-send: .*a\.db' busy.err
	rm held
}

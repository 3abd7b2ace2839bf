#!/usr/bin/env bats
# Journals that are restored, copied, deleted, or two where there should be
# one: each is noticed and named (76), nothing is lost, nothing done twice.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2094

load lib/helper

keep=(sh -c 'cat >>out')

# sent A FIRST LAST
sent() {
	seq "$2" "$3" | eo-send -q -j "$1"
}

# once FILE LINES...: each of these lines stands in FILE exactly once, and
# there are no others
once() {
	local f=$1

	shift
	is "$(printf '%s\n' "$@" | sort)" "$(sort "$f")"
}

# numbers_once LAST: out holds 1 to LAST, each once
numbers_once() {
	is "$(seq "$1")" "$(sort -n out)"
}

unsure() {
	q a.db 'SELECT CAST(frame AS TEXT) FROM eo_out_dead WHERE unsure' | bodies
}

# --- the sender ------------------------------------------------------------

@test "a restored sender is found by an ack beyond its last number: 76" {
	sent a.db 1 5
	passes 3 a.db b.db "${keep[@]}"
	snap old a.db
	sent a.db 6 10
	passes 3 a.db b.db "${keep[@]}"
	was=$(source_of a.db)
	put_back old a.db
	printf '%s\n' 'new 6' 'new 7' | eo-send -q -j a.db
	is "$was" "$(source_of a.db)"
	pass a.db b.db "${keep[@]}"
	statuses 0 "0 76" 76
	says '^eo-ack: .*default' ack.err
	numbers_once 10
	[[ $(source_of a.db) != "$was" ]]
	is $'new 6\nnew 7' "$(unsure)"
	# A person decides; under the new source they are sent, each once.
	eo-ack -j a.db --again "$was/default/6-7" || :
	eo-send -q -j a.db -m 'new 8'
	passes 3 a.db b.db "${keep[@]}"
	once out {1..10} 'new 6' 'new 7' 'new 8'
	is "new 8" "$(tail -n 1 out)"
}

@test "a restored sender that has sent more since is found by a link: 76" {
	sent a.db 1 5
	passes 3 a.db b.db "${keep[@]}"
	snap old a.db
	sent a.db 6 10
	passes 3 a.db b.db "${keep[@]}"
	was=$(source_of a.db)
	put_back old a.db
	seq 6 20 | sed 's/^/new /' | eo-send -q -j a.db
	pass a.db b.db "${keep[@]}"
	statuses 0 76 76
	says '^eo-recv: .*default' recv.err
	numbers_once 10
	is "$(seq 6 20 | sed 's/^/new /')" "$(unsure)"
	eo-ack -j a.db --again "$was/default/6-20" || :
	passes 3 a.db b.db "${keep[@]}"
	mapfile -t all < <(seq 10; seq 6 20 | sed 's/^/new /')
	once out "${all[@]}"
}

@test "a sender restored to a state with unsettled messages does none of them twice" {
	sent a.db 1 5
	snap old a.db
	sent a.db 6 10
	passes 3 a.db b.db "${keep[@]}"
	put_back old a.db
	pass a.db b.db "${keep[@]}"
	statuses 0 "0 76" 76
	numbers_once 10
	is 0 "$(eo-replay -a -j a.db | count msg)"
	is "$(seq 5)" "$(unsure)"
}

@test "a sender that has lost its -wal is found" {
	sent a.db 1 5
	passes 3 a.db b.db "${keep[@]}"
	sqlite3 a.db 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
	sent a.db 6 10
	passes 3 a.db b.db "${keep[@]}"
	[[ -s a.db-wal ]]
	rm -f a.db-wal a.db-shm
	sent a.db 11 12
	pass a.db b.db "${keep[@]}"
	statuses 0 "0 76" 76
	numbers_once 10
	is $'11\n12' "$(unsure)"
}

@test "a copy of a sender, in use beside the original, takes a new source and says so" {
	sent a.db 1 3
	snap there a.db
	cp there/a.db c.db
	[[ ! -e there/a.db-wal ]] || cp there/a.db-wal c.db-wal
	eo-send -q -j a.db -m 'from a'
	exits_in "0 76" eo-send -q -j c.db -m 'from c' 2>copy.err
	says '^eo-send: .*c\.db.*cop' copy.err
	[[ $(source_of a.db) != "$(source_of c.db)" ]]
	says "$(source_of c.db)" copy.err
	# Only once.
	exits 0 eo-send -q -j c.db -m 'from c again' 2>copy.err
	empty copy.err
	# Both deliver what both had.  Nothing comes twice.  The copy learns
	# that numbers of its old source were given elsewhere, or nothing.
	passes 3 a.db b.db "${keep[@]}"
	for i in 1 2 3; do
		pass c.db b.db "${keep[@]}"
		statuses "0 76" "0 76" "0 75 76"
	done
	passes 3 a.db b.db "${keep[@]}"
	once out 1 2 3 'from a' 'from c' 'from c again'
	is 0 "$(eo-replay -a -j c.db -c '*' | count msg)"
}

@test "a copy of a sender that delivers first leaves the original its messages" {
	sent a.db 1 3
	cp -p a.db c.db
	[[ ! -e a.db-wal ]] || cp -p a.db-wal c.db-wal
	eo-send -q -j c.db -m 'from c' 2>copy.err || :
	passes 4 c.db b.db "${keep[@]}"
	eo-send -q -j a.db -m 'from a'
	passes 3 a.db b.db "${keep[@]}"
	once out 1 2 3 'from a' 'from c'
}

@test "a journal that is renamed while nothing runs keeps its source" {
	sent a.db 1 3
	was=$(source_of a.db)
	for f in a.db*; do
		mv "$f" "c.db${f#a.db}"
	done
	exits 0 eo-send -q -j c.db -m 4 2>move.err
	empty move.err
	is "$was" "$(source_of c.db)"
	is $'1\n2\n3\n4' "$(eo-replay -j c.db | bodies)"
}

@test "a restore declared with eo-fsck --new-source begins a new source at once" {
	sent a.db 1 5
	passes 3 a.db b.db "${keep[@]}"
	snap old a.db
	sent a.db 6 10
	passes 3 a.db b.db "${keep[@]}"
	was=$(source_of a.db)
	put_back old a.db
	exits 0 eo-fsck --new-source a.db
	[[ $(source_of a.db) != "$was" ]]
	sent a.db 11 12
	# The receiver has more of the old source than this journal gave.
	pass a.db b.db "${keep[@]}"
	statuses 0 0 "0 76"
	numbers_once 12
	passes 2 a.db b.db "${keep[@]}"
	numbers_once 12
	is 0 "$(q a.db 'SELECT count(*) FROM eo_out_dead')"
}

@test "a sender that was deleted and made again is another source; nothing comes twice" {
	sent a.db 1 3
	passes 3 a.db b.db "${keep[@]}"
	rm a.db*
	sent a.db 4 6
	passes 3 a.db b.db "${keep[@]}"
	numbers_once 6
	is 2 "$(q b.db 'SELECT count(DISTINCT source) FROM eo_in')"
	# A late ack for its former life is not its own.
	cp acks.sent late
	exits 0 eo-ack -j a.db <late >passed
}

@test "a journal that is deleted or replaced while in use is noticed: nothing goes into nowhere" {
	mkfifo in
	for how in removed replaced; do
		rm -f a.db*
		eo-send -j a.db <in >frames 2>gone.err 3>&- &
		p=$!
		started $p
		exec 7>in
		echo one >&7
		wait_until 5 grep -q one frames
		rm a.db*
		[[ $how == removed ]] || eo-send -q -j a.db -m other
		echo two >&7
		exec 7>&-
		finishes "74 76" $p 10
		says '^eo-send: .*a\.db' gone.err
		silent two frames
	done
	is other "$(eo-replay -a -j a.db | bodies)"
}

# --- the receiver ----------------------------------------------------------

@test "a restored receiver processes nothing, 76, and names the numbers it lacks" {
	sent a.db 1 5
	passes 3 a.db b.db "${keep[@]}"
	snap old b.db
	sent a.db 6 10
	passes 3 a.db b.db "${keep[@]}"
	put_back old b.db
	eo-send -q -j a.db -m 11
	pass a.db b.db "${keep[@]}"
	statuses 0 76 "75 76"
	says '6( to |-)10' recv.err
	says 'eo-recv.* --take-over' recv.err
	numbers_once 10
	is 11 "$(eo-replay -a -j a.db | bodies)"
	# And again, however often.
	pass a.db b.db "${keep[@]}"
	statuses 0 76 "75 76"
	numbers_once 10
	# A person has looked.
	pass a.db b.db --take-over "${keep[@]}"
	statuses 0 0 0
	numbers_once 11
	is 6,10 "$(q b.db "SELECT min(first) || ',' || max(last) FROM eo_pass")"
	eo-send -q -j a.db -m 12
	passes 3 a.db b.db "${keep[@]}"
	numbers_once 12
}

@test "a restored receiver is found before old frames make it process again" {
	sent a.db 1 5
	passes 3 a.db b.db "${keep[@]}"
	snap old b.db
	sent a.db 6 10
	passes 3 a.db b.db "${keep[@]}"
	cp frames.sent old.frames
	put_back old b.db
	eo-send -q -j a.db -m 11
	eo-replay -a -j a.db >now
	# The base of now comes first; after it, 6-10 once more.
	cat now old.frames | exits 76 eo-recv -j b.db "${keep[@]}" >acks 2>recv.err
	numbers_once 10
}

@test "a second receiver processes nothing, 76, and says how to move the channel" {
	sent a.db 1 3
	passes 3 a.db b.db "${keep[@]}"
	eo-send -q -j a.db -m 4
	pass a.db c.db "${keep[@]}"
	statuses 0 76 "75 76"
	numbers_once 3
	c=$(source_of c.db)
	says "eo-ack .*--receiver '?$c" recv.err
	says 'default' recv.err
	# The first one goes on as if nothing had been.
	passes 3 a.db b.db "${keep[@]}"
	numbers_once 4
}

@test "of two receivers of a new channel the one that acks first has it" {
	sent a.db 1 3
	eo-replay -a -j a.db >frames
	eo-recv -j b.db sh -c 'cat >>out' <frames >acks.b
	eo-recv -j c.db sh -c 'cat >>out.c' <frames >acks.c
	exits 0 eo-ack -j a.db <acks.b
	eo-send -q -j a.db -m 4
	exits 76 eo-ack -j a.db <acks.c 2>second.err
	says "eo-ack .*--receiver '?$(source_of c.db)" second.err
	is "$(source_of b.db)" "$(eo-replay -a -j a.db | kinds base | field 7)"
	pass a.db c.db sh -c 'cat >>out.c'
	statuses 0 76 "75 76"
	is 3 "$(wc -l <out.c)"
	passes 3 a.db b.db "${keep[@]}"
	numbers_once 4
}

@test "a receiver that was deleted and made again is another receiver: 76" {
	sent a.db 1 3
	passes 3 a.db b.db "${keep[@]}"
	rm b.db*
	eo-send -q -j a.db -m 4
	pass a.db b.db "${keep[@]}"
	statuses 0 76 "75 76"
	numbers_once 3
	# Both halves of the move, in either order.
	pass a.db b.db --take-over "${keep[@]}"
	exits 0 eo-ack -j a.db --receiver "$(source_of b.db)"
	passes 4 a.db b.db "${keep[@]}"
	numbers_once 4
	is '1,3' "$(q b.db "SELECT min(first) || ',' || max(last) FROM eo_pass")"
}

@test "a take-over passes what the former receiver had settled, and no more" {
	sent a.db 1 3
	passes 3 a.db b.db "${keep[@]}"
	sent a.db 4 6
	new_journal c.db
	exits 0 eo-ack -j a.db --receiver "$(source_of c.db)"
	pass a.db c.db "${keep[@]}"
	statuses 0 76 "75 76"
	pass a.db c.db --take-over "${keep[@]}"
	statuses 0 0 0
	numbers_once 6
	# From now on the new one needs no telling, and the old one is refused.
	eo-send -q -j a.db -m 7
	pass a.db b.db "${keep[@]}"
	statuses 0 76 "75 76"
	passes 3 a.db c.db "${keep[@]}"
	numbers_once 7
}

@test "a copied receiver names its ancestor and is accepted once; the old one no more" {
	sent a.db 1 3
	passes 3 a.db b.db "${keep[@]}"
	b=$(source_of b.db)
	cp -p b.db c.db
	[[ ! -e b.db-wal ]] || cp -p b.db-wal c.db-wal
	eo-send -q -j a.db -m 4
	pass a.db c.db "${keep[@]}"
	says '^eo-recv: .*c\.db.*cop' recv.err
	statuses 0 "0 76" "0 75"
	c=$(source_of c.db)
	is "$c/$b" "$(kinds ack acks.sent | tail -n 1 | field 5)"
	passes 3 a.db c.db "${keep[@]}"
	numbers_once 4
	eo-send -q -j a.db -m 5
	is "$c" "$(eo-replay -a -j a.db | kinds base | field 7)"
	pass a.db b.db "${keep[@]}"
	statuses 0 76 "75 76"
	numbers_once 4
	pass a.db c.db "${keep[@]}"
	statuses 0 0 0
	numbers_once 5
	# It no longer needs its ancestor.
	is "$c" "$(kinds ack acks.sent | tail -n 1 | field 5)"
}

@test "a copied receiver that is behind the original processes nothing: 76" {
	sent a.db 1 3
	passes 3 a.db b.db "${keep[@]}"
	cp -p b.db c.db
	[[ ! -e b.db-wal ]] || cp -p b.db-wal c.db-wal
	sent a.db 4 6
	passes 3 a.db b.db "${keep[@]}"
	eo-send -q -j a.db -m 7
	pass a.db c.db "${keep[@]}"
	statuses 0 76 "75 76"
	says '4( to |-)6' recv.err
	numbers_once 6
	passes 3 a.db b.db "${keep[@]}"
	numbers_once 7
}

@test "an ack of an heir is believed once only: two copies of one receiver cannot both have it" {
	sent a.db 1 3
	passes 3 a.db b.db "${keep[@]}"
	for x in c d; do
		cp -p b.db $x.db
		[[ ! -e b.db-wal ]] || cp -p b.db-wal $x.db-wal
	done
	eo-send -q -j a.db -m 4
	eo-replay -a -j a.db >frames
	eo-recv -j c.db "${keep[@]}" <frames >acks.c 2>c.err || :
	eo-recv -j d.db sh -c 'cat >>out.d' <frames >acks.d 2>d.err || :
	eo-ack -j a.db <acks.c || :
	eo-send -q -j a.db -m 5
	exits 76 eo-ack -j a.db <acks.d 2>heir.err
	is "$(source_of c.db)" "$(eo-replay -a -j a.db | kinds base | head -n 1 | field 7)"
	pass a.db d.db sh -c 'cat >>out.d'
	statuses 0 76 "75 76"
	passes 3 a.db c.db "${keep[@]}"
	numbers_once 5
}

@test "a journal under a new source processes nothing before it has read a base again" {
	sent a.db 1 2
	eo-replay -j a.db >frames
	head -n 2 frames | exits 0 eo-recv -j b.db "${keep[@]}" >acks
	cp -p b.db c.db
	[[ ! -e b.db-wal ]] || cp -p b.db-wal c.db-wal
	tail -n +3 frames | exits_in "75 76" eo-recv -j c.db "${keep[@]}" >acks 2>base.err
	is 1 "$(cat out)"
	exits_in "0 76" eo-recv -j c.db "${keep[@]}" <frames >acks 2>base.err
	numbers_once 2
}

@test "both ends restored to states that fit go on without alarm" {
	sent a.db 1 5
	passes 3 a.db b.db "${keep[@]}"
	snap old a.db b.db
	cp out old/out
	sent a.db 6 10
	passes 3 a.db b.db "${keep[@]}"
	put_back old a.db b.db
	cp old/out out
	sent a.db 6 8
	pass a.db b.db "${keep[@]}"
	statuses 0 0 0
	numbers_once 8
}

@test "a receiver found rolled back is not let go on by an older base that comes late: 76" {
	seq 5 | eo-send -j a.db >first
	eo-recv -j b.db sh -c 'cat >>ran' <first | eo-ack -j a.db
	sqlite3 b.db 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
	cp b.db b.old
	seq 6 10 | eo-send -j a.db >second
	eo-recv -j b.db sh -c 'cat >>ran' <second | eo-ack -j a.db
	cat b.old >b.db
	rm -f b.db-wal b.db-shm
	eo-replay -a -j a.db >now
	exits 76 eo-recv -j b.db sh -c 'cat >>ran' <now >acks 2>now.err
	says '6 to 10' now.err
	# What was sent before that says nothing of 6 to 10 being settled.
	exits 76 eo-recv -j b.db sh -c 'cat >>ran' <second >acks 2>late.err
	seq 10 | cmp - ran
	exits 0 eo-recv -j b.db --take-over sh -c 'cat >>ran' <now >acks
	seq 10 | cmp - ran
}

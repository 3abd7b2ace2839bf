#!/usr/bin/env bats
# eo-ack: what settles, what is left, what is believed; the operator's verbs.
# shellcheck disable=SC2016,SC2030,SC2031,SC2086,SC2094

load lib/helper

# acked FILE: upto, ranges and except of its last ack
acked() {
	kinds ack "$1" | tail -n 1 | field 6,8,9
}

# links A: the link after each message of the channel default, a line each
links() {
	eo-replay -a -j "$1" | kinds msg | while IFS=$'\t' read -r _ _ _ _ _ b a t _; do
		frame --link "$b" "$a" "$t"
	done
}

# three: journal a.db with three messages, and $s, its source
three() {
	seq 3 | eo-send -q -j a.db
	s=$(source_of a.db)
}

@test "eo-ack exits 75 while a message is not settled, printed or not" {
	exits 0 eo-send -q -j a.db -m x
	exits 75 eo-ack -j a.db </dev/null
	eo-replay -j a.db >frames
	exits 75 eo-ack -j a.db </dev/null
	eo-recv -j b.db true <frames >acks
	exits 0 eo-ack -j a.db <acks >out
	empty out
	exits 0 eo-ack -j a.db </dev/null
	eo-send -j a.db -m y >/dev/null
	exits 75 eo-ack -j a.db <acks
}

@test "a dead letter at the receiver is settled for the sender" {
	three
	eo-replay -j a.db | eo-recv -j b.db sh -c 'exit 100' | exits 0 eo-ack -j a.db
	is 0 "$(q a.db 'SELECT count(*) FROM eo_out_dead')"
	is 3 "$(q b.db 'SELECT count(*) FROM eo_in_dead')"
}

@test "acks are cumulative: the last one makes good all the lost ones" {
	for i in {1..10}; do
		eo-send -j a.db -m $i | eo-recv -j b.db true >ack.$i || :
	done
	exits 0 eo-ack -j a.db <ack.10
}

@test "an ack that comes late or twice does no harm" {
	for i in 1 2 3; do
		eo-send -j a.db -m $i | eo-recv -j b.db true >ack.$i || :
	done
	exits 75 eo-ack -j a.db <ack.2
	exits 75 eo-ack -j a.db <ack.1
	cat ack.3 ack.1 ack.3 ack.2 | exits 0 eo-ack -j a.db
	exits 0 eo-ack -j a.db <ack.1
	is 0 "$(eo-replay -a -j a.db | count msg)"
}

@test "ranges settle what they name, and no more" {
	seq 6 | eo-send -q -j a.db
	eo-replay -j a.db >frames
	awk -F '\t' '!($2 == "msg" && ($5 == 2 || $5 == 5))' frames |
	    eo-recv -j b.db true >acks 2>gap.err || :
	exits 75 eo-ack -j a.db <acks
	is $'2\n5' "$(eo-replay -a -j a.db | bodies)"
	is 2 "$(eo-replay -a -j a.db | kinds base | field 5 | head -n 1)"
	eo-replay -a -j a.db | eo-recv -j b.db true | exits 0 eo-ack -j a.db
}

@test "frames of another journal, or of a channel not given, are passed on" {
	three
	eo-replay -j a.db | eo-recv -j b.db true >mine
	eo-send -j a.db -c other -m x | eo-recv -j b.db -c other true >theirs
	ack_frame "$SRC" default "$SRC2" 3 01234567 - - >foreign
	forged <<<foreign >>foreign
	printf 'eo1\tvote\t%s\tt\t%s\t1\t01234567\tyes\t-\n' "$SRC" "$SRC2" |
	    frame >>foreign
	cat foreign theirs mine foreign | exits 0 eo-ack -j a.db >passed
	cat foreign theirs foreign | cmp - passed
	exits 75 eo-ack -j a.db -c other </dev/null
	exits 0 eo-ack -j a.db -c 'o*' <theirs
}

@test "lines that are no frames are reported, and the others are used" {
	three
	eo-replay -j a.db | eo-recv -j b.db true >acks
	{ echo 'Welcome'; cat acks; } | exits 0 eo-ack -j a.db >out 2>foreign.err
	empty out
	says '^eo-ack: ' foreign.err
	exits 0 eo-ack -j a.db </dev/null
	sed 's/	3	/	2	/' acks | exits 65 eo-ack -j a.db
	exits 65 eo-ack -j a.db <<<'Connection refused'
}

@test "what a filter has printed is completed when it comes by, and its ack printed" {
	three
	eo-replay -j a.db >frames
	eo-recv -j b.db <frames >printed
	exits 75 eo-ack -j b.db </dev/null
	kinds msg printed | head -n 2 | exits 75 eo-ack -j b.db >acks
	is "2	-	-" "$(acked acks)"
	kinds msg printed | exits 0 eo-ack -j b.db >acks
	is "3	-	-" "$(acked acks)"
	# Once more: the ack again.
	kinds msg printed | exits 0 eo-ack -j b.db >acks
	is "3	-	-" "$(acked acks)"
	exits 0 eo-ack -j a.db <acks
}

@test "a whole pipeline around a filter: eo-recv | work | eo-ack | eo-ack" {
	seq 100 | eo-send -q -j a.db
	n=0
	until eo-replay -a -j a.db | eo-recv -j b.db | tee -a log |
	    eo-ack -j b.db | eo-ack -j a.db; do
		((++n < 20))
	done
	is 100 "$(kinds msg log | sort -u | wc -l)"
	is 100 "$(count msg log)"
}

@test "a message that no filter of this journal has printed is refused: 65" {
	seq 2 | forged >frames
	eo-recv -j b.db sh -c 'exit 1' <frames >/dev/null || :
	kinds msg frames | exits_in "65" eo-ack -j b.db >out 2>refused.err
	says '^eo-ack: ' refused.err
	is 0 "$(kinds ack out | awk -F '\t' '$6 > 0' | wc -l)"
	is 2 "$(q b.db 'SELECT sum(last - first + 1) FROM eo_held')"
	# A number it has never seen.
	last=$(kinds msg frames | tail -n 1 | field 6)
	printf -- '-\tnever seen\n' |
	    frame --chain "$SRC" default 3 "$(frame --link "$last" - 2)" |
	    exits 65 eo-ack -j b.db >out 2>refused.err
}

@test "a forged message in place of the one that was printed completes nothing" {
	forged <<<true >frames
	eo-recv -j b.db <frames >printed
	printf -- '-\tforged\n' | frame --chain "$SRC" default |
	    exits_in "65 76" eo-ack -j b.db >out 2>forged.err
	is 0 "$(kinds ack out | awk -F '\t' '$6 > 0' | wc -l)"
	exits 0 eo-ack -j b.db <printed >out
	is "1	-	-" "$(acked out)"
}

@test "an ack beyond the last number given is a fork, 76: a new source, and the unsettled are dead letters" {
	three
	ack_frame "$s" default "$SRC2" 4 01234567 - - |
	    exits 76 eo-ack -j a.db >out 2>fork.err
	says '^eo-ack: .*default' fork.err
	[[ $(source_of a.db) != "$s" ]]
	is "3|3" "$(q a.db 'SELECT count(*), sum(unsure) FROM eo_out_dead')"
	is 0 "$(eo-replay -a -j a.db | count msg)"
	# Nothing is lost: a person may send them again, in their order.
	exits_in "0 75" eo-ack -j a.db --again "$s/default/1-3"
	eo-replay -j a.db >frames
	is $'1\n2\n3' "$(bodies frames)"
	is "$(source_of a.db)" "$(field 3 frames | sort -u)"
	is "$s/default/1" "$(attr was frames | head -n 1)"
	is 0 "$(q a.db 'SELECT count(*) FROM eo_out_dead')"
}

@test "an ack with another link is a fork: 76" {
	three
	ack_frame "$s" default "$SRC2" 2 01234567 - - |
	    exits 76 eo-ack -j a.db >out 2>fork.err
	is 3 "$(q a.db 'SELECT count(*) FROM eo_out_dead')"
	[[ $(source_of a.db) != "$s" ]]
}

@test "an ack of another receiver is refused, 76, and the command to move the channel is printed" {
	three
	eo-replay -j a.db >frames
	eo-recv -j b.db true <frames >mine
	eo-send -q -j a.db -m 4
	l=$(links a.db | sed -n 4p)
	exits 75 eo-ack -j a.db <mine
	ack_frame "$s" default "$SRC2" 4 "$l" - - |
	    exits 76 eo-ack -j a.db >out 2>other.err
	says "eo-ack.* --receiver '?$SRC2" other.err
	is "$s" "$(source_of a.db)"
	is 4 "$(eo-replay -a -j a.db | bodies)"
	is "$(source_of b.db)" "$(eo-replay -a -j a.db | kinds base | head -n 1 | field 7)"
}

@test "an ack of this journal for a channel it never had settles nothing" {
	three
	ack_frame "$s" other "$SRC2" 1 01234567 - - >forged
	exits_in "65 76" eo-ack -j a.db -c '*' <forged >out 2>forged.err
	is 3 "$(eo-replay -a -j a.db | count msg)"
	is 1 "$(q a.db 'SELECT count(DISTINCT channel) FROM eo_out WHERE forked = 0')"
}

@test "an ack of 0 settles nothing and harms nothing" {
	three
	ack_frame "$s" default "$SRC2" 0 00000000 - - | exits 75 eo-ack -j a.db
	is 3 "$(eo-replay -a -j a.db | count msg)"
}

@test "the receiver is the author of the first ack that was accepted" {
	three
	is - "$(eo-replay -j a.db | kinds base | field 7)"
	eo-replay -a -j a.db | eo-recv -j b.db true | eo-ack -j a.db
	eo-send -q -j a.db -m 4
	is "4	$(source_of b.db)	3" \
	    "$(eo-replay -j a.db | kinds base | field 5,7,8)"
}

# --- the operator's verbs --------------------------------------------------

@test "--done: at the receiver, what is pending counts as completed" {
	three
	eo-replay -j a.db >frames
	exits 75 eo-recv -j b.db false <frames >acks
	exits 0 eo-ack -j b.db --done default/1 default/3
	exits 75 eo-recv -j b.db true <frames >acks
	says '^1	3-3' <(acked acks)
	exits 0 eo-ack -j b.db --done "$s/default/2"
	exits 0 eo-recv -j b.db touch ran <frames >acks
	[[ ! -e ran ]]
	is "3	-	-" "$(acked acks)"
	is 3 "$(q b.db "SELECT count(*) FROM eo_operator WHERE verb LIKE '%done%'")"
}

@test "--dead: withdrawn, aborted by the receiver, and only then a dead letter" {
	three
	eo-replay -j a.db >late
	exits_in "0 75" eo-ack -j a.db --dead 'a typing error' default/2
	is 0 "$(q a.db 'SELECT count(*) FROM eo_out_dead')"
	exits 75 eo-ack -j a.db </dev/null
	eo-replay -a -j a.db >frames
	is $'1\n3' "$(bodies frames)"
	is 2 "$(kinds abort frames | field 5)"
	exits 0 eo-recv -j b.db sh -c 'cat >>out' <frames >acks
	is $'1\n3' "$(cat out)"
	is "3	-	2a" "$(acked acks)"
	exits 0 eo-ack -j a.db <acks
	is "2|a typing error|0" "$(q a.db 'SELECT seq, reason, unsure FROM eo_out_dead')"
	is 0 "$(q b.db 'SELECT count(*) FROM eo_in_dead')"
	# The message itself comes late: it is settled, and not processed.
	exits 0 eo-recv -j b.db sh -c 'cat >>out' <late >acks
	is $'1\n3' "$(cat out)"
	is "3	-	2a" "$(acked acks)"
}

@test "--dead comes too late for what the receiver had completed" {
	three
	eo-replay -j a.db >frames
	exits 0 eo-recv -j b.db sh -c 'cat >>out' <frames >lost
	exits_in "0 75" eo-ack -j a.db --dead 'too late' default/2
	eo-replay -a -j a.db | exits 0 eo-recv -j b.db sh -c 'cat >>out' >acks
	exits 0 eo-ack -j a.db <acks
	is 0 "$(q a.db 'SELECT count(*) FROM eo_out_dead')"
	is 3 "$(wc -l <out)"
}

@test "--dead of what died at the receiver leaves one dead letter, at the receiver" {
	three
	eo-replay -j a.db >frames
	exits 0 eo-recv -j b.db sh -c '[ "$EO_SEQ" != 2 ] || exit 100' <frames >lost
	exits_in "0 75" eo-ack -j a.db --dead 'too late' default/2
	eo-replay -a -j a.db | exits 0 eo-recv -j b.db false >acks
	exits 0 eo-ack -j a.db <acks
	is 0 "$(q a.db 'SELECT count(*) FROM eo_out_dead')"
	is 2 "$(q b.db 'SELECT seq FROM eo_in_dead')"
}

@test "--dead of a message that waits to be tried again aborts it there" {
	three
	eo-replay -j a.db >frames
	exits 75 eo-recv -j b.db sh -c '[ "$EO_SEQ" != 2 ]' <frames >acks
	exits 75 eo-ack -j a.db <acks
	exits_in "0 75" eo-ack -j a.db --dead gone default/2
	eo-replay -a -j a.db | exits 0 eo-recv -j b.db touch ran >acks
	exits 0 eo-ack -j a.db <acks
	[[ ! -e ran ]]
	is 2 "$(q a.db 'SELECT seq FROM eo_out_dead')"
	is 0 "$(q b.db 'SELECT count(*) FROM eo_held')"
}

@test "--again at the receiver: a dead letter is due; it stays one until it is completed" {
	three
	eo-replay -j a.db | eo-recv -j b.db sh -c 'exit 100' | eo-ack -j a.db
	exits 0 eo-ack -j b.db --again default/1-2
	exits_in "0 75" eo-recv -j b.db false </dev/null
	is 3 "$(q b.db 'SELECT count(*) FROM eo_in_dead')"
	exits 0 eo-ack -j b.db --again default/1-2
	exits 0 eo-recv -j b.db sh -c 'cat >>out' </dev/null >acks
	is $'1\n2' "$(cat out)"
	is 3 "$(q b.db 'SELECT seq FROM eo_in_dead')"
	exits 0 eo-recv -j b.db sh -c 'cat >>out' </dev/null >acks
	is 2 "$(wc -l <out)"
}

@test "--again at the receiver: a message that waits for its next try is due now" {
	three
	eo-replay -j a.db >frames
	exits 75 eo-recv -j b.db false <frames >acks
	sqlite3 b.db 'UPDATE eo_try SET due = due + 3600000'
	exits 0 eo-ack -j b.db --again default/2
	exits 75 eo-recv -j b.db sh -c 'cat >>out' </dev/null >acks
	is 2 "$(cat out)"
}

@test "--again at the sender: a dead letter becomes a new message, with was=" {
	eo-send -q -j a.db -k key -H a=1 -m x
	s=$(source_of a.db)
	eo-ack -j a.db --dead why default/1 || :
	eo-replay -j a.db | eo-recv -j b.db false | eo-ack -j a.db
	exits_in "0 75" eo-ack -j a.db --again default/1
	is 0 "$(q a.db 'SELECT count(*) FROM eo_out_dead')"
	eo-replay -j a.db >frames
	is "2 x key 1 $s/default/1" "$(kinds msg frames | field 5) $(bodies frames) \
$(attr key frames) $(attr h.a frames) $(attr was frames)"
	eo-recv -j b.db sh -c 'cat >>out' <frames | exits 0 eo-ack -j a.db
	is x "$(cat out)"
}

@test "--again keeps the id, and -i on the id of a dead letter is refused by name" {
	eo-send -q -j a.db -i job -m x
	eo-ack -j a.db --dead why default/1 || :
	eo-replay -j a.db | eo-recv -j b.db false | eo-ack -j a.db
	exits 65 eo-send -q -j a.db -i job -m x 2>dead.err
	says '^eo-send: .*default/1' dead.err
	exits_in "0 75" eo-ack -j a.db --again default/1
	exits 0 eo-send -q -j a.db -i job -m x
	eo-replay -j a.db >frames
	is "1 job" "$(count msg frames) $(attr id frames)"
}

@test "each verb is recorded" {
	three
	eo-ack -j a.db --dead 'the reason' default/2 || :
	says 'dead.*default/2.*the reason' <(q a.db 'SELECT * FROM eo_operator')
}

@test "a reference may leave out the source, or cut it, where that is unambiguous" {
	printf '%s\n' '-	1' '-	2' | channel_of "$SRC" default >one
	printf '%s\n' '-	1' '-	2' | channel_of "$SRC2" default >two
	printf '%s\n' '-	1' '-	2' '-	3' | channel_of "$SRC2" orders >three
	cat one two three | eo-recv -j b.db -c '*' false >acks || :
	exits_in "64 65" eo-ack -j b.db --done default/1 2>ref.err
	says 'ambiguous|unambiguous|several|more than one' ref.err
	is 7 "$(q b.db 'SELECT count(*) FROM eo_try')"
	exits 0 eo-ack -j b.db --done 1/default/1
	exits 0 eo-ack -j b.db --done "$SRC2/default/2" orders/2-3
	cat one two three | eo-recv -j b.db -c '*' false >acks 2>left.err || :
	eo-replay --acks -j b.db -c '*' >acks
	is "1	-" "$(kinds ack acks | grep "$SRC	default" | field 6,8)"
	is "0	2-2" "$(kinds ack acks | grep "$SRC2	default" | field 6,8 | cut -d : -f 1)"
	is "0	2-3" "$(kinds ack acks | grep "$SRC2	orders" | field 6,8 | cut -d : -f 1)"
}

@test "a reference that names nothing the verb applies to is refused, and nothing is done" {
	three
	eo-replay -j a.db >frames
	eo-recv -j b.db false <frames >acks || :
	for r in default/4 other/1 default/0 default/3-1 default 3 default/x \
	    ffffffffffff/default/1 "$s/default/1/1" default/-1 /default/1 ''; do
		echo "$r"
		exits_in "64 65" eo-ack -j b.db --done "$r" 2>ref.err
		says '^eo-ack: ' ref.err
	done
	exits_in "64 65" eo-ack -j a.db --dead why default/9
	exits_in "64 65" eo-ack -j a.db --again default/9
	is 3 "$(q b.db 'SELECT count(*) FROM eo_try')"
}

@test "the verbs leave a channel alone that is being processed: 75" {
	three
	eo-replay -j a.db >frames
	handler slow <<'END'
	: >running
	until [[ -e go ]]; do sleep .02; done
	exit 100
END
	eo-recv -j b.db ./slow <frames >acks 3>&- &
	started $!
	wait_until 10 test -e running
	exits 75 eo-ack -j b.db --done default/1 2>busy.err
	says '^eo-ack: ' busy.err
	: >go
	finishes 0 $! 10
	is 3 "$(q b.db 'SELECT count(*) FROM eo_in_dead')"
}

@test "the verbs do not read standard input" {
	three
	eo-replay -j a.db | eo-recv -j b.db false >acks || :
	printf 'left\n' | {
		exits 0 eo-ack -j b.db --done default/1
		cat >rest
	}
	is left "$(cat rest)"
}

@test "--receiver: the channel is moved, with --take-over at the new receiver" {
	three
	eo-replay -j a.db | eo-recv -j b.db sh -c 'cat >>out' | eo-ack -j a.db
	eo-send -q -j a.db -m 4
	new_journal c.db
	exits 0 eo-ack -j a.db --receiver "$(source_of c.db)"
	is "$(source_of c.db)" "$(eo-replay -j a.db | kinds base | field 7)"
	eo-replay -a -j a.db |
	    exits 0 eo-recv --take-over -j c.db sh -c 'cat >>out' >acks
	exits 0 eo-ack -j a.db <acks
	is $'1\n2\n3\n4' "$(cat out)"
	# The old one is told so.
	eo-send -q -j a.db -m 5
	eo-replay -a -j a.db | exits 76 eo-recv -j b.db sh -c 'cat >>out' >acks
	is 4 "$(wc -l <out)"
	says "receiver.*$(source_of c.db)" <(q a.db 'SELECT * FROM eo_operator')
	exits_in "64 65" eo-ack -j a.db --receiver nonsense
	exits_in "64 65" eo-ack -j a.db --receiver "${SRC:1}"
}

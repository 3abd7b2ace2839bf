#!/usr/bin/env bats
# eo-replay: what is due, and -f.
# shellcheck disable=SC2016,SC2086

load lib/helper

# follow: eo-replay -f in the background, to the FIFO that fd 8 reads;
# its process is $p
follow() {
	rm -f out
	mkfifo out
	eo-replay -f -j a.db >out 2>follow.err 3>&- &
	p=$!
	started $p
	exec 8<out
}

# next_msg: the body of the next message that the follower sends
next_msg() {
	local line

	while IFS= read -r -t "${1:-5}" -u 8 line; do
		[[ $line == *$'\tmsg\t'* ]] || continue
		cut -f 8 <<<"$line"
		return
	done
	return 1
}

# ticks PID: the CPU time it has used, in 1/100 s
ticks() {
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

@test "what was never sent is due at once, in the order of its numbers, after its base" {
	seq 5 | eo-send -q -j a.db
	exits 0 eo-replay -j a.db >frames
	verified frames
	chained frames
	is base "$(head -n 1 frames | field 2)"
	is $'1\n2\n3\n4\n5' "$(bodies frames)"
}

@test "what was sent is not due again for some 10 seconds, and then is" {
	eo-send -q -j a.db -m x
	eo-replay -j a.db >frames
	start=$(date +%s)
	exits 0 eo-replay -j a.db >again
	is 0 "$(count msg again)"
	eo-send -q -j a.db -m y
	is y "$(eo-replay -j a.db | bodies)"
	wait_until 20 eval '[[ $(eo-replay -j a.db | bodies | head -n 1) == x ]]'
	took=$(($(date +%s) - start))
	((took >= 5 && took <= 16))
	is 0 "$(eo-replay -j a.db | bodies | grep -c x)"
}

@test "-a: all that is not settled is due; what is settled never is" {
	seq 5 | eo-send -q -j a.db
	eo-replay -j a.db >frames
	for i in 1 2; do
		exits 0 eo-replay -a -j a.db >again
		is "$(kinds msg frames)" "$(kinds msg again)"
	done
	head -n 4 frames | eo-recv -j b.db true | eo-ack -j a.db || :
	is $'4\n5' "$(eo-replay --all -j a.db | bodies)"
	eo-replay -a -j a.db | eo-recv -j b.db true | eo-ack -j a.db
	exits 0 eo-replay -a -j a.db >none
	is 0 "$(count msg none)"
}

@test "-c chooses channels, by name or pattern" {
	for c in default orders.eu orders.us; do
		eo-send -q -j a.db -c $c -m $c
	done
	is default "$(eo-replay -a -j a.db | bodies)"
	is $'orders.eu\norders.us' "$(eo-replay -a -j a.db -c 'orders.*' | bodies | sort)"
	is $'default\norders.us' \
	    "$(eo-replay -a -j a.db -c default -c '*us' | bodies | sort)"
	eo-replay -a -j a.db -c '*' >frames
	awk -F '\t' '$2 == "base" { base[$4] = 1 }
	    $2 == "msg" && !($4 in base) { exit 1 }' frames
}

@test "frames to /dev/null or a terminal do not count as sent" {
	eo-send -q -j a.db -m x
	eo-replay -j a.db >/dev/null
	script -qec 'eo-replay -j a.db' /dev/null </dev/null >screen
	says '	x	' screen
	is x "$(eo-replay -j a.db | bodies)"
	is 0 "$(eo-replay -j a.db | count msg)"
}

@test "at a terminal with nothing due it says what is unacknowledged, and when" {
	seq 40 | eo-send -j a.db >frames
	script -qec 'eo-replay -j a.db' /dev/null </dev/null >screen
	says 'nothing due; 40 unacknowledged, next in [0-9]+ s \(-a sends them now\)' screen
	silent 'eo1	msg' screen
	new_journal b.db
	script -qec 'eo-replay -j b.db' /dev/null </dev/null >screen
	says 'nothing due' screen
	eo-replay -j a.db >quiet 2>quiet.err
	empty quiet.err
}

@test "redelivery copies the bytes: the same frames, from whatever program" {
	seq 100 | eo-send -j a.db -H a=b >frames
	eo-replay -a -j a.db >again
	is "$(kinds msg frames)" "$(kinds msg again)"
}

@test "-f sends what others journal, within 200 ms, from eo-send and from SQL" {
	new_journal a.db
	follow
	eo-send -q -j a.db -m first
	is first "$(next_msg)"
	quick=0
	for i in {1..10}; do
		eo-send -q -j a.db -m "$i"
		start=${EPOCHREALTIME/./}
		is "$i" "$(next_msg)"
		(((${EPOCHREALTIME/./} - start) / 1000 < 200)) && ((++quick))
	done
	echo "$quick of 10"
	((quick >= 7))
	sqlite3 a.db "INSERT INTO eo_submit(body) VALUES ('sql')"
	is sql "$(next_msg)"
	kill -0 $p
}

@test "-f uses no CPU while it is idle" {
	eo-send -q -j a.db -m x
	follow
	is x "$(next_msg)"
	sleep .5
	before=$(ticks $p)
	switches=$(awk '/^voluntary/ { print $2 }' /proc/$p/status)
	sleep 3
	used=$(($(ticks $p) - before))
	switches=$(($(awk '/^voluntary/ { print $2 }' /proc/$p/status) - switches))
	echo "$used ticks, $switches wake-ups"
	((used <= 2 && switches <= 40))
}

@test "-f ends at once when its reader is gone, even while idle" {
	eo-send -q -j a.db -m x
	follow
	is x "$(next_msg)"
	sleep .3
	exec 8<&-
	wait_until 2 ended $p
	got=0
	wait $p || got=$?
	((got < 128))
}

@test "-f in a pipeline ends when the next program does" {
	eo-send -q -j a.db -m x
	timeout 20 bash -c 'eo-replay -f -j a.db | head -n 2 >frames' 3>&-
	is x "$(bodies frames)"
}

@test "-f sends again what was not acknowledged, and stops when it is" {
	eo-send -q -j a.db -m x -m y
	follow
	is x "$(next_msg)"
	is y "$(next_msg)"
	eo-replay -a -j a.db | head -n 2 | eo-recv -j b.db true | eo-ack -j a.db || :
	# x is settled, y is not.
	is y "$(next_msg 40)"
}

@test "-f starts on an empty journal, and TERM ends it" {
	new_journal a.db
	for s in TERM INT HUP; do
		rm -f out
		mkfifo out
		env --default-signal=INT,HUP,TERM eo-replay -f -j a.db >out 3>&- &
		p=$!
		started $p
		exec 8<out
		eo-send -q -j a.db -m $s
		is $s "$(next_msg)"
		kill -$s $p
		finishes "0 75" $p 5
		exec 8<&-
	done
}

@test "when its reader goes away in the middle it is not killed by that" {
	seq 50000 | eo-send -q -j a.db
	{
		got=0
		eo-replay -j a.db 2>gone.err || got=$?
		echo $got >status
	} | head -n 1 >first
	(($(cat status) < 128))
	is 50000 "$(eo-replay -a -j a.db | count msg)"
}

@test "what a broken pipe swallowed is due again within seconds, not lost" {
	seq 50000 | eo-send -q -j a.db
	eo-replay -j a.db 2>gone.err | head -n 1 >first
	wait_until 60 eval 'eo-replay -j a.db | eo-recv -j b.db --append out |
	    eo-ack -j a.db'
	seq 50000 | cmp - out
}

@test "--acks prints a receiver's present acks, one line a channel, and mends lost ones" {
	seq 10 | eo-send -q -j a.db
	seq 20 | eo-send -q -j a.db -c other
	eo-replay -j a.db -c '*' | eo-recv -j b.db -c '*' true >/dev/null
	exits 75 eo-ack -j a.db -c '*' </dev/null
	exits 0 eo-replay --acks -j b.db -c '*' >acks
	verified acks
	is 2 "$(wc -l <acks)"
	is 2 "$(count ack acks)"
	is 1 "$(eo-replay --acks -j b.db | wc -l)"
	exits 0 eo-ack -j a.db -c '*' <acks
	# Asking changes nothing.
	eo-replay --acks -j b.db -c '*' | cmp acks -
}

@test "--acks tells ranges and what is dead" {
	seq 5 | eo-send -q -j a.db
	eo-replay -j a.db | awk -F '\t' '!($2 == "msg" && $5 == 3)' |
	    eo-recv -j b.db sh -c '[ "$EO_SEQ" != 2 ] || exit 100' >lost 2>gap.err || :
	eo-replay --acks -j b.db >acks
	is 2 "$(field 6 acks)"
	says '^4-5:[0-9a-f]{8}$' <(field 8 acks)
	is 2d "$(field 9 acks)"
	exits 75 eo-ack -j a.db <acks
	is 3 "$(eo-replay -a -j a.db | bodies)"
}

@test "a message of several blocks and megabytes is sent whole" {
	head -c 3000000 /dev/urandom >noise
	eo-send -q -w -j a.db noise noise
	seq 10 | eo-send -q -j a.db
	eo-replay -j a.db >frames
	verified frames
	is 12 "$(count msg frames)"
	chained frames
}

@test "two eo-replay at once: what they send twice is processed once" {
	seq 2000 | eo-send -q -j a.db
	for i in 1 2; do
		eo-replay -a -j a.db >frames.$i 3>&- &
		started $!
	done
	for p in "${PIDS[@]}"; do
		finishes 0 "$p" 20
	done
	cat frames.1 frames.2 | eo-recv -j b.db --append out | exits 0 eo-ack -j a.db
	seq 2000 | cmp - out
}

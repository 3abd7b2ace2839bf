#!/usr/bin/env bats
# The tools that other tests and the bench stand on.

load lib/helper

# changed A B: how many of their lines differ, place by place
changed() {
	paste "$1" "$2" | awk -F '\t' '$1 != $2' | wc -l
}

@test "faulty without a fault is cat: NULs, long lines, no last LF" {
	head -c 3000000 /dev/urandom >in
	head -c 2000000 /dev/zero >>in
	faulty <in >out
	cmp in out
	printf 'a\nb' >in
	faulty <in >out
	cmp in out
	faulty </dev/null >out
	[ ! -s out ]
}

@test "faulty gives the same output for the same seed and another for another" {
	seq 20000 >in
	all=(--lose 20 --repeat 20 --corrupt 1 --shuffle 100 --delay 50
	    --delayed 3 --splice 1)
	faulty --seed 7 "${all[@]}" <in >one
	dd if=in bs=777 status=none | faulty --seed 7 "${all[@]}" >two
	faulty --seed 8 "${all[@]}" <in >three
	cmp one two
	exits 1 cmp -s one three
}

@test "faulty loses about as many lines as asked for, and the same ones beside other faults" {
	seq 20000 >in
	faulty --seed 1 --lose 20 <in >lost
	n=$(wc -l <lost)
	[ "$n" -gt 15500 ]
	[ "$n" -lt 16500 ]
	faulty --seed 1 --lose 20 --shuffle 1000 --repeat 30 <in |
	    sort -nu | cmp - lost
	faulty --lose 100 <in >none
	[ ! -s none ]
}

@test "faulty repeats, shuffles and delays lines without losing one" {
	seq 20000 >in
	faulty --seed 2 --repeat 100 <in | uniq -d | cmp - in
	faulty --seed 2 --shuffle 1000 <in >shuffled
	[ "$(changed in shuffled)" -gt 19000 ]
	sort -n shuffled | cmp - in
	faulty --seed 2 --delay 500 <in >delayed
	exits 1 cmp -s in delayed
	sort -n delayed | cmp - in
}

@test "faulty corrupts one byte of a line and never ends it early" {
	seq 10000 20000 >in
	faulty --seed 3 --corrupt 100 <in >out
	is "$(wc -l <out) $(wc -c <out)" "$(wc -l <in) $(wc -c <in)"
	is "$(cmp -l in out | wc -l)" 10001
	is "$(changed in out)" 10001
}

@test "faulty splices: the end of a line is gone, the next one joins it" {
	seq 20000 >in
	faulty --seed 4 --splice 5 -v <in >out 2>said
	spliced=$(sed 's/.* \([0-9]*\) spliced.*/\1/' said)
	[ "$spliced" -gt 800 ]
	is $(($(wc -l <out) + spliced)) 20000
}

@test "faulty cuts its output at any byte" {
	seq 1000 >in
	for n in 0 1 2 1000 3892 3893 9999; do
		exits 0 faulty --cut-after $n <in >out
		head -c $n in | cmp - out
	done
}

@test "faulty passes a line on while its input waits" {
	mkfifo to from
	faulty <to >from 3>&- &
	started $!
	exec 4>to 5<from
	echo hello >&4
	read -r -t 20 got <&5
	is "$got" hello
	exec 4>&- 5<&-
}

@test "faulty refuses what it does not understand" {
	for a in '--lose -1' '--lose 101' '--lose nan' '--seed 1x' \
	    '--shuffle 0x9' '--bogus' operand; do
		# shellcheck disable=SC2086
		exits 64 faulty $a </dev/null >out 2>said
		[ ! -s out ]
	done
	seq 10 >in
	exits 74 faulty <in >/dev/full 2>said
}

@test "floor takes lines of any bytes to its sink, in order" {
	{
		head -c 3000000 /dev/urandom
		head -c 2000000 /dev/zero
		printf '\n\n\\x41\\\n\t\r\\\n'
		seq 100000
	} >in
	floor send journal <in | floor recv note sink | floor ack acked
	cmp in sink
	is "$(wc -l <journal)" "$(wc -l <in)"
}

@test "floor stops at a frame that is damaged, missing or repeated" {
	seq 1000 | floor send journal >frames
	cmp journal frames
	for s in 's/.$/x/;' 5d 5p 5s/0/1/; do
		sed "$s" frames >bad
		exits 65 floor recv note sink <bad >ack 2>said
	done
}

#!/usr/bin/env bats
# The whole pipeline with real amounts of data, while its parts are killed and
# its pipe misbehaves.  EO_TEST_BIG=1: the full sizes.
# shellcheck disable=SC2016,SC2030,SC2031,SC2086,SC2094

load lib/helper

# killed SECONDS CMD...: killed after so long, if it has not ended
killed() {
	timeout -s KILL "$@" 2>>killed.err
}

# reaped SECONDS CMD...: the same, and it is really gone: a process that dies may
# yet be in the middle of a sync.
reaped() {
	timeout --foreground -s KILL "$@" 2>>killed.err
}

# rough_text BYTES: lines with TABs, backslashes, CRs, NULs and any other
# bytes, some of them of 1 MB
rough_text() {
	local n=0 i

	head -c 1000000 /dev/urandom | tr '\n' '\t' >long.line
	head -c 300000 /dev/urandom >noise
	{
		cat noise
		printf 'a\tb\\c\\\\n\r\n\r\r\n\n\n\\x00\0\0x\0\n \n\t\n\x7f\x1b[1m\n'
		seq 20000 | sed 's/$/\tfield\\two \\t\r/'
	} >chunk
	for ((i = 0; n < $1; i++)); do
		cat chunk
		if ((i % 8 == 0)); then
			cat long.line
			echo
		fi
		n=$((n + $(stat -c %s chunk)))
	done
}

# drained JOURNAL...: each is under 8 MB, what SQLite keeps beside it included
drained() {
	local j size

	for j; do
		du -bc "$j" "$j-wal" >size
		cat size
		size=$(tail -n 1 size | cut -f 1)
		((size < 8 << 20)) || return
	done
}

# moment: of a second; the machine's speed decides how far a program gets in it.
# After many rounds it is longer, so that there is an end.
moment() {
	local ms=$((RANDOM % 90 + 10 + ${rounds:-0} * 5))

	printf '%d.%03d\n' $((ms / 1000)) $((ms % 1000))
}

@test "a million lines, the receiver killed again and again: each once, in order" {
	n=1000000
	seq "$n" | exits 0 eo-send -q -j a.db
	rounds=0
	until eo-replay -a -j a.db 2>>replay.err |
	    killed "$(moment)" eo-recv -j b.db --append out | eo-ack -j a.db; do
		((++rounds < 500))
	done
	echo "$rounds rounds"
	((rounds > 5))
	seq "$n" | cmp - out
	is 0 "$(eo-replay -a -j a.db | count msg)"
	drained a.db b.db
	sound a.db b.db
}

@test "a million lines through one pipe, with nothing killed" {
	n=1000000
	seq "$n" | eo-send -q -j a.db
	eo-replay -j a.db | eo-recv -j b.db --append out | exits 0 eo-ack -j a.db
	seq "$n" | cmp - out
	drained a.db b.db
}

@test "eo-send | eo-recv | eo-ack is a pipeline, too" {
	seq 100000 | eo-send -j a.db | eo-recv -j b.db --append out |
	    exits 0 eo-ack -j a.db
	seq 100000 | cmp - out
}

@test "the sender is killed again and again: what was taken is a prefix, and durable" {
	n=$(big 300000 1000000)
	rounds=0
	taken=0
	until seq $((taken + 1)) "$n" | reaped "$(moment)" \
	    eo-send -j a.db >printed; do
		((++rounds < 1000))
		new=0
		[[ ! -s a.db ]] || new=$(q a.db 'SELECT coalesce(
		    sum(last - first + 1), 0) FROM eo_block' 2>/dev/null || echo 0)
		# What was printed, whole lines of it, is in the journal.
		if kinds msg printed | grep -E '	[0-9a-f]{8}$' >whole; then
			(($(tail -n 1 whole | field 5) <= new))
		fi
		((new >= taken))
		taken=$new
	done
	echo "$rounds rounds"
	eo-replay -a -j a.db | eo-recv -j b.db --append out | exits 0 eo-ack -j a.db
	seq "$n" | cmp - out
}

# bats test_tags=slow
@test "with ids a producer is simply run again when eo-send was killed" {
	n=$(big 30000 300000)
	rounds=0
	until seq "$n" | sed 's/.*/id&	&/' | killed "$(moment)" \
	    eo-send -q -j a.db -F id,body; do
		((++rounds < 500))
	done
	seq "$n" | sed 's/.*/id&	&/' | exits 0 eo-send -q -j a.db -F id,body
	eo-replay -a -j a.db | eo-recv -j b.db --append out | exits 0 eo-ack -j a.db
	seq "$n" | cmp - out
}

@test "eo-ack is killed again and again" {
	n=$(big 500000 1000000)
	seq "$n" | eo-send -q -j a.db
	rounds=0
	until eo-replay -a -j a.db 2>>replay.err |
	    eo-recv -j b.db --append out 2>>recv.err |
	    killed "$(moment)" eo-ack -j a.db; do
		((++rounds < 500))
	done
	echo "$rounds rounds"
	seq "$n" | cmp - out
	sound a.db b.db
}

@test "eo-replay is killed again and again" {
	n=$(big 500000 1000000)
	seq "$n" | eo-send -q -j a.db
	rounds=0
	until killed "$(moment)" eo-replay -a -j a.db |
	    eo-recv -j b.db --append out 2>>recv.err | eo-ack -j a.db; do
		((++rounds < 500))
	done
	echo "$rounds rounds"
	seq "$n" | cmp - out
	sound a.db b.db
}

@test "all of them are killed again and again, eo-send as well" {
	n=$(big 300000 1000000)
	rounds=0
	taken=0
	sent=1
	until ((sent == 0)) && {
		killed "$(moment)" eo-replay -a -j a.db |
		    killed "$(moment)" eo-recv -j b.db --append out |
		    killed "$(moment)" eo-ack -j a.db
	}; do
		((++rounds < 1000))
		if ((sent != 0)); then
			[[ ! -s a.db ]] || taken=$(q a.db 'SELECT coalesce(
			    max(last), 0) FROM eo_out' 2>/dev/null || echo 0)
			sent=0
			seq $((taken + 1)) "$n" |
			    reaped "$(moment)" eo-send -q -j a.db || sent=1
		fi
	done
	echo "$rounds rounds"
	seq "$n" | cmp - out
	sound a.db b.db
}

@test "a text with TABs, backslashes, CRs, NULs and lines of 1 MB comes out as it was" {
	rough_text "$(big 10000000 300000000)" >text
	exits 0 eo-send -q -j a.db text
	rounds=0
	until eo-replay -a -j a.db 2>>replay.err |
	    killed "$(moment)" eo-recv -j b.db --append out | eo-ack -j a.db; do
		((++rounds < 500))
	done
	echo "$rounds rounds"
	cmp text out
	drained a.db b.db
}

@test "with -0 any bytes but NUL make a message" {
	rough_text "$(big 10000000 300000000)" | tr '\n\0' '\0\n' >text
	exits 0 eo-send -q -0 -j a.db text
	rounds=0
	until eo-replay -a -j a.db 2>>replay.err |
	    killed "$(moment)" eo-recv -j b.db --append out | eo-ack -j a.db; do
		((++rounds < 500))
	done
	tr '\0' '\n' <text | cmp - out
}

@test "through a pipe that loses, repeats, shuffles and corrupts, each message comes once" {
	seed=${EO_SEED:-$((RANDOM + 1))}
	n=100000
	echo "seed $seed"
	seq "$n" | eo-send -q -j a.db
	rounds=0
	until eo-replay -a -j a.db | faulty --seed $((seed + 2 * rounds)) \
	    --lose 20 --repeat 20 --shuffle 1000 --corrupt 1 |
	    eo-recv -j b.db --append out 2>recv.err |
	    faulty --seed $((seed + 2 * rounds + 1)) \
	    --lose 20 --repeat 20 --shuffle 1000 --corrupt 1 |
	    eo-ack -j a.db 2>ack.err; do
		((++rounds < 200))
	done
	echo "$rounds rounds"
	((rounds > 2))
	seq "$n" | cmp - out
	# The dedup store: one row for the channel, no ranges.
	is 1 "$(q b.db 'SELECT count(*) FROM eo_in')"
	is 0 "$(q b.db 'SELECT count(*) FROM eo_in_range')"
	is "$n" "$(q b.db 'SELECT low FROM eo_in')"
	is 0 "$(q b.db 'SELECT count(*) FROM eo_held')"
	drained a.db b.db
	sound a.db b.db
}

@test "the same with a handler, splices, cuts, and a receiver that is killed" {
	seed=${EO_SEED:-$((RANDOM + 1))}
	n=$(big 300 3000)
	echo "seed $seed"
	seq "$n" | eo-send -q -j a.db
	handler keep <<'END'
	read -r n
	: >"kept/$n" && echo "$EO_REF $n" >>log
END
	mkdir kept
	rounds=0
	until eo-replay -a -j a.db | faulty --seed $((seed + rounds)) \
	    --lose 20 --repeat 20 --shuffle 50 --corrupt 1 --splice 2 |
	    killed "$(moment)" eo-recv -j b.db ./keep | eo-ack -j a.db 2>ack.err; do
		((++rounds < 300))
		# What was under way when eo-recv was killed is due now.
		for m in $(q b.db 'SELECT seq FROM eo_try'); do
			eo-ack -j b.db --again "default/$m" 2>>again.err || :
		done
	done
	echo "$rounds rounds"
	is "$n" "$(find kept -type f | wc -l)"
	# A reference has one body, and a body one reference.
	sort -u log >pairs
	is "$n" "$(wc -l <pairs)"
	is "$n" "$(cut -d ' ' -f 1 pairs | sort -u | wc -l)"
	# Run twice: at most what a kill has interrupted.
	(($(wc -l <log) <= n + rounds + 1))
}

@test "both ends may be one journal" {
	n=$(big 100000 1000000)
	seq "$n" | eo-send -q -j q.db
	rounds=0
	until eo-replay -a -j q.db 2>>replay.err |
	    killed "$(moment)" eo-recv -j q.db --append out | eo-ack -j q.db; do
		((++rounds < 500))
	done
	seq "$n" | cmp - out
	drained q.db
	# With a handler, and with a filter.
	seq 20 | eo-send -q -j q.db -c h
	eo-replay -j q.db -c h | eo-recv -j q.db -c h sh -c 'cat >>handled' |
	    exits 0 eo-ack -j q.db -c h
	seq 20 | cmp - handled
	seq 20 | eo-send -q -j q.db -c f
	eo-replay -j q.db -c f | eo-recv -j q.db -c f | tee log |
	    eo-ack -j q.db -c f | exits 0 eo-ack -j q.db -c f
	is 20 "$(count msg log)"
}

# fifty FRAMES-PER-SOURCE: frames.1 to frames.50, each of a source of its own
fifty() {
	local i

	for i in {1..50}; do
		seq "$1" | sed "s/^/-	$i./" |
		    channel_of "$(printf '%032x' "$i")" default >frames.$i
	done
}

# race STATUSES CMD...: fifty at once, {} standing for its number; each must end
# in time, with one of these
race() {
	local i p start=$SECONDS want=$1

	shift
	for i in {1..50}; do
		eo-recv -j b.db "${@//\{\}/$i}" <frames.$i >acks.$i 2>$i.err 3>&- &
		started $!
	done
	for p in "${PIDS[@]}"; do
		finishes "$want" "$p" 120 || return
	done
	PIDS=()
	echo "$((SECONDS - start)) s"
}

@test "fifty eo-recv on one journal, each with a file of its own" {
	each=$(big 1000 20000)
	fifty "$each"
	race 0 --append out.{}
	for i in {1..50}; do
		seq "$each" | sed "s/^/$i./" | cmp - out.$i
		is "$each" "$(kinds ack acks.$i | tail -n 1 | field 6)"
	done
	is 50 "$(q b.db 'SELECT count(*) FROM eo_in')"
	is 0 "$(q b.db 'SELECT count(*) FROM eo_in_range')"
	intact b.db
}

@test "fifty eo-recv on one journal, each with a handler" {
	each=$(big 5 50)
	fifty "$each"
	# One that is done may see that others are not, 75; or it helps them.
	race "0 75" sh -c 'cat >>"out.$EO_SOURCE"'
	exits 0 eo-recv -j b.db sh -c 'cat >>"out.$EO_SOURCE"' </dev/null
	for i in {1..50}; do
		seq "$each" | sed "s/^/$i./" |
		    cmp - <(sort -t . -k 2n "out.$(printf '%032x' $i)")
	done
	is 0 "$(q b.db 'SELECT count(*) FROM eo_held')"
}

@test "many eo-recv with the same frames on one journal process each message once" {
	n=$(big 300 3000)
	seq "$n" | forged >frames
	for i in {1..8}; do
		eo-recv -j b.db sh -c 'cat >>out' <frames >acks.$i 2>$i.err 3>&- &
		started $!
		eo-recv -j c.db --append lines <frames >acks.$i.c 2>$i.c.err 3>&- &
		started $!
		eo-recv -j d.db <frames >printed.$i 2>$i.d.err 3>&- &
		started $!
	done
	for p in "${PIDS[@]}"; do
		finishes "0 75" "$p" 120
	done
	PIDS=()
	exits 0 eo-recv -j b.db sh -c 'cat >>out' <frames >acks
	exits 0 eo-recv -j c.db --append lines <frames >acks
	seq "$n" | cmp - <(sort -n out)
	seq "$n" | cmp - lines
	cat printed.* | bodies | sort -n | cmp - <(seq "$n")
}

@test "eight writers share a journal, and none waits long" {
	for w in {1..8}; do
		(
			worst=0
			for i in {1..30}; do
				start=${EPOCHREALTIME/./}
				eo-send -q -j a.db -m "$w.$i" || exit
				took=$(((${EPOCHREALTIME/./} - start) / 1000))
				((took <= worst)) || worst=$took
			done
			echo $worst >worst.$w
		) 3>&- &
		started $!
	done
	for p in "${PIDS[@]}"; do
		finishes 0 "$p" 120
	done
	echo "worst: $(sort -n worst.* | tail -n 1) ms"
	(($(sort -n worst.* | tail -n 1) < 5000))
	is 240 "$(eo-replay -a -j a.db | count msg)"
}

# bats test_tags=nosan
@test "memory stays under 64 MB, and drained journals under 8 MB, whatever the length of the input" {
	! sanitized || skip "a sanitizer's memory is its own"
	n=$(big 1000000 10000000)
	seq "$n" | exits 0 peak send.kib eo-send -q -j a.db
	(($(stat -c %s a.db-wal) < 32 << 20))
	exits 0 peak replay.kib eo-replay -a -j a.db >frames
	exits 0 peak recv.kib eo-recv -j b.db --append out <frames >acks
	exits 0 peak ack.kib eo-ack -j a.db <acks
	# The other way round: the receiver has to keep all of it.
	{ head -n 1 frames; tail -n +3 frames; sed -n 2p frames; } |
	    exits 0 peak recv2.kib eo-recv -j c.db --append out.c >acks
	seq "$n" | cmp - out
	cmp out out.c
	echo "KiB: $(head -n 1 ./*.kib | xargs)"
	for f in *.kib; do
		(($(cat "$f") < 65536))
	done
	drained a.db b.db c.db
}

# bats test_tags=nosan
@test "a line of 16 MiB does not take many times its size" {
	! sanitized || skip "a sanitizer's memory is its own"
	head -c 16777216 /dev/urandom >noise
	exits 0 peak send.kib eo-send -q -w -j a.db noise
	exits 0 peak replay.kib eo-replay -j a.db >frames
	exits 0 peak recv.kib eo-recv -j b.db --append out <frames >acks
	exits 0 eo-ack -j a.db <acks
	{ cat noise; echo; } | cmp - out
	echo "KiB: $(head -n 1 ./*.kib | xargs)"
	for f in *.kib; do
		(($(cat "$f") < 300000))
	done
}

@test "pipes of 4 KiB in a ring do not get stuck" {
	n=$(big 20000 100000)
	seq "$n" | eo-send -q -j a.db
	mkfifo back
	# Both directions share one process, as over a socket.
	timeout 120 bash -c '
		eo-ack -j a.db <back >ack.out &
		eo-replay -a -j a.db | dd bs=512 status=none |
		    eo-recv -j b.db --append out | dd bs=512 status=none >back
		wait $!' 3>&-
	seq "$n" | cmp - out
	exits 0 eo-ack -j a.db </dev/null
}

@test "eo-replay -f | eo-recv | eo-ack stays connected while messages come" {
	new_journal a.db
	(
		eo-replay -f -j a.db | eo-recv -j b.db --append out | eo-ack -j a.db
	) >follow.out 2>follow.err 3>&- &
	started $!
	for i in 1 2 3 4 5; do
		seq $((i * 100 - 99)) $((i * 100)) | eo-send -q -j a.db
		wait_until 5 eval '[[ $(wc -l <out) == '$((i * 100))' ]]'
		wait_until 5 eo-ack -j a.db </dev/null
	done
	seq 500 | cmp - out
	pkill -TERM -P $! eo-replay
	finishes 0 $! 5
}

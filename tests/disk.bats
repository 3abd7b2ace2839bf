#!/usr/bin/env bats
# Full disks, failing disks, and a kill at each system call that writes.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2086,SC2094

load lib/helper

# small SIZE: a file system of this size on ./small
small() {
	root_only
	mkdir -p small
	mount -t tmpfs -o "size=$1" none small 2>/dev/null ||
	    skip "tmpfs cannot be mounted here"
	MOUNTS+=("$PWD/small")
}

no_small() {
	umount small
	MOUNTS=()
}

grow() {
	mount -o remount,size=256m small
}

# said_taken FILE: the number of messages that eo-send says were taken
said_taken() {
	grep -oE '[0-9]+ messages?' "$1" | tail -n 1 | cut -d ' ' -f 1
}

has_strace() {
	command -v strace >/dev/null || skip "no strace"
	strace -o /dev/null true 2>/dev/null || skip "strace may not trace here"
}

# --- full ------------------------------------------------------------------

@test "a full disk stops eo-send with 74 and loses nothing that was taken" {
	# To begin with one that holds no journal at all.
	for size in 16k 64k 128k 200k 300k 500k 1m 2m 5m; do
		echo "$size"
		small $size
		seq 1000000 | exits "73 74" eo-send -q -j small/a.db 2>full.err
		says '^eo-send: ' full.err
		[[ ! -e small/a.db-ioerror ]]
		grow
		taken=$(eo-replay -a -j small/a.db 2>none.err | count msg || :)
		[[ -z $(said_taken full.err) ]] || is "$(said_taken full.err)" "$taken"
		seq $((taken + 1)) $((taken + 1000)) | exits 0 eo-send -q -j small/a.db
		eo-replay -a -j small/a.db | bodies >all
		seq $((taken + 1000)) | cmp - all
		intact small/a.db
		no_small
	done
	((taken > 1000))
}

@test "a full disk stops --append with 74; what it has written is finished later" {
	seq 50000 | forged >frames
	for size in 16k 64k 128k 200k 250k 300k 400k; do
		echo "$size"
		small $size
		exits "73 74" eo-recv -j small/b.db --append small/out <frames >acks 2>full.err
		says '^eo-recv: ' full.err
		[[ ! -e small/b.db-ioerror ]]
		grow
		exits 0 eo-recv -j small/b.db --append small/out <frames >acks 2>mend.err
		seq 50000 | cmp - small/out
		intact small/b.db
		no_small
	done
}

@test "a disk that is full for the file only, or for the journal only, loses nothing" {
	seq 50000 | forged >frames
	small 64k
	exits 74 eo-recv -j b.db --append small/out <frames >acks 2>full.err
	says '^eo-recv: .*out' full.err
	grow
	exits 0 eo-recv -j b.db --append small/out <frames >acks
	seq 50000 | cmp - small/out
	no_small
	small 2m
	new_journal small/c.db
	# What is out of order has to be kept.
	{ head -n 1 frames; tail -n +3 frames; } >holed
	exits 74 eo-recv -j small/c.db --append out <holed >acks 2>full.err
	[[ ! -s out ]]
	grow
	exits 0 eo-recv -j small/c.db --append out <frames >acks
	seq 50000 | cmp - out
}

@test "a full disk at the note of a handler's success: it is run again, and counted once" {
	small 2m
	new_journal small/b.db
	seq 3 | forged >frames
	exits 74 eo-recv -j small/b.db sh -c 'cat >>out
		dd if=/dev/zero of=small/fill bs=4k status=none' <frames >acks 2>full.err || :
	rm small/fill
	for n in 1 2 3; do
		eo-ack -j small/b.db --again default/$n 2>again.err || :
	done
	exits 0 eo-recv -j small/b.db sh -c 'cat >>out' <frames >acks
	is $'1\n2\n3' "$(sort -u out)"
	(($(wc -l <out) <= 4))
	is 3 "$(kinds ack acks | tail -n 1 | field 6)"
}

@test "on a full disk eo-replay says so, and what it printed may come again" {
	small 16m
	seq 20000 | eo-send -q -j small/a.db
	dd if=/dev/zero of=small/fill bs=4k status=none 2>/dev/null || :
	exits_in "0 74" eo-replay -j small/a.db >frames 2>full.err
	grow
	eo-replay -a -j small/a.db | eo-recv -j b.db --append out |
	    exits 0 eo-ack -j small/a.db
	seq 20000 | cmp - out
}

@test "a file-size limit is a full disk: 74, and no death by SIGXFSZ" {
	for kib in 8 64 200 300 1000; do
		echo "$kib KiB"
		rm -f a.db*
		(
			ulimit -f $kib
			seq 200000 | exits "73 74" eo-send -q -j a.db
		) 2>limit.err
		taken=$(eo-replay -a -j a.db 2>none.err | count msg || :)
		seq $((taken + 1)) 200000 | exits 0 eo-send -q -j a.db
		eo-replay -a -j a.db | bodies >all
		seq 200000 | cmp - all
	done
	((taken > 0))
	eo-replay -a -j a.db >frames
	(
		ulimit -f 300
		exits 74 eo-recv -j b.db --append out <frames >acks
	) 2>limit.err
	exits 0 eo-recv -j b.db --append out <frames >acks
	seq 200000 | cmp - out
}

# --- failing ---------------------------------------------------------------

# with_eio N CMD...: the Nth sync of it fails
with_eio() {
	local n=$1

	shift
	traced -f -o eio.trace -e trace=fdatasync,fsync \
	    -e "inject=fdatasync,fsync:error=EIO:when=$n" "$@"
}

# failed: there was an Nth sync
failed() {
	grep -q INJECTED eio.trace
}

# repair JOURNAL: 0, or 1 if something is pending in it
repair() {
	exits_in "0 1" eo-fsck --repair "$1" >repair.out || return
	[[ ! -e $1-ioerror ]]
}

@test "after a failed sync: 74, a marker, and each program refuses the journal" {
	has_strace
	eo-send -q -j a.db -m before
	exits 74 with_eio 1 eo-send -j a.db -m unknown >printed 2>eio.err
	says '^eo-send: ' eio.err
	is 0 "$(count msg printed)"
	[[ -e a.db-ioerror ]]
	exits 74 eo-send -q -j a.db -m more 2>marked.err
	says '^eo-send: .*eo-fsck --repair' marked.err
	exits 74 eo-recv -j a.db true </dev/null 2>marked.err
	exits 74 eo-ack -j a.db </dev/null 2>marked.err
	exits 74 eo-replay -j a.db 2>marked.err >printed
	is 0 "$(count msg printed)"
	exits_in "65 74" eo-fsck a.db 2>marked.err
	repair a.db
	intact a.db
	exits 0 eo-send -q -j a.db -m after
	eo-replay -a -j a.db >frames 2>repaired.err
	verified frames
	bodies frames | grep -vx unknown >known
	is $'before\nafter' "$(cat known)"
}

@test "a sync that fails while the journal is made: what is advised mends it" {
	has_strace
	n=0
	while :; do
		((++n < 40))
		rm -f a.db*
		got=0
		with_eio $n eo-send -q -j a.db -m x 2>eio.err || got=$?
		failed || break
		[[ $got == 0 || $got == 74 ]]
		[[ ! -e a.db-ioerror ]] || repair a.db
		exits 0 eo-send -q -j a.db -m y
		eo-replay -a -j a.db 2>/dev/null | bodies >all
		is y "$(tail -n 1 all)"
		((got != 0)) || is x "$(head -n 1 all)"
	done
	echo "$n points"
	((n > 3))
}

@test "a repaired journal is still the sender that its receiver knows, or says that it is not" {
	has_strace
	seq 5 | eo-send -q -j a.db
	passes 3 a.db b.db sh -c 'cat >>out'
	eo-send -q -j a.db -m six
	with_eio 1 eo-send -q -j a.db -m seven || :
	repair a.db
	eo-send -q -j a.db -m eight
	passes 5 a.db b.db sh -c 'cat >>out'
	# In order, but perhaps under a new source.
	is "$(printf '%s\n' {1..5} six eight | sort)" "$(grep -vx seven out | sort)"
	is "$(sort -u out | wc -l)" "$(wc -l <out)"
}

@test "a sync that fails at any point of any program: 74, and after the repair nothing is lost or twice" {
	has_strace
	seq 20 | eo-send -q -j a.db
	points=0
	n=0
	while :; do
		((++n < 40))
		got=0
		echo $((20 + n)) | with_eio $n eo-send -q -j a.db 2>eio.err || got=$?
		[[ $got == 74 || $got == 0 ]]
		! failed || ((++points))
		[[ ! -e a.db-ioerror ]] || repair a.db
		# Whoever was told 74 does not know, and looks.
		eo-replay -a -j a.db 2>/dev/null | bodies >all
		if ((got == 0)); then
			grep -qx $((20 + n)) all
		else
			grep -qx $((20 + n)) all || eo-send -q -j a.db -m $((20 + n))
		fi
		failed || break
	done
	last=$((20 + n))
	for prog in eo-recv eo-ack eo-replay; do
		n=0
		while :; do
			((++n < 40))
			got=0
			case $prog in
			eo-recv)
				eo-replay -a -j a.db >frames
				with_eio $n eo-recv -j b.db --append out <frames \
				    >acks 2>eio.err || got=$? ;;
			eo-ack)
				with_eio $n eo-ack -j a.db <acks 2>eio.err || got=$? ;;
			eo-replay)
				with_eio $n eo-replay -a -j a.db >frames 2>eio.err ||
				    got=$? ;;
			esac
			[[ $got == 74 || $got == 0 ]]
			! failed || ((++points))
			for j in a b; do
				[[ ! -e $j.db-ioerror ]] || repair $j.db
			done
			failed || break
		done
	done
	echo "$points points"
	((points >= 4))
	passes 5 a.db b.db --append out
	sort -n out | uniq | cmp - out
	seq "$last" | cmp - out
}

# --- accepted is durable ----------------------------------------------------

# synced TRACE WHAT: nothing was written to a file before `WHAT` went to
# standard output that had not been synced by then.
synced() {
	awk -v what="$2" '
	function path(line) {
		return match(line, /<[^>]*>/) ? substr(line, RSTART, RLENGTH) : ""
	}
	/ = -1 / { next }
	/(pwrite64|pwritev2?|write|writev|ftruncate)\([0-9]+<[^>]*(a\.db|b\.db|out\.txt)/ {
		if (path($0) !~ /-lock|-shm/)
			dirty[path($0)] = 1
		next
	}
	/(fdatasync|fsync)\(/ { delete dirty[path($0)]; syncs++; next }
	/(write|writev)\(1</ && index($0, what) {
		seen++
		for (p in dirty) {
			print "not synced: " p
			bad = 1
		}
	}
	END {
		print seen + 0 " prints, " syncs + 0 " syncs"
		exit bad || !seen || !syncs
	}' "$1"
}

@test "a message is on stable storage before its frame is printed" {
	has_strace
	for i in 1 2; do
		traced -f -y -s 200 -o trace eo-send -j a.db -m "hello" | cat >frames
		is 1 "$(count msg frames)"
		synced trace '\\tmsg\\t'
	done
}

@test "an effect and its note are on stable storage before the ack is printed" {
	has_strace
	seq 100 | forged >frames
	traced -f -y -s 200 -o trace eo-recv -j b.db --append out.txt <frames | cat >acks
	is 1 "$(count ack acks)"
	synced trace '\\tack\\t'
	seq 100 | forged other >frames
	traced -f -y -s 200 -o trace eo-recv -c other -j b.db true <frames | cat >acks
	synced trace '\\tack\\t'
}

# --- killed at each call ----------------------------------------------------

# sweep CALL SCENE: SCENE_prepare, then SCENE_run killed at the Nth CALL, then
# SCENE_check, for each N until it is not killed any more.  Adds to $points.
sweep() {
	local call=$1 scene=$2 n=0 got=1 here=0

	while ((got != 0)); do
		((++n))
		((n < 500)) || return
		${scene}_prepare || return
		got=0
		${scene}_run traced -o /dev/null \
		    -e "inject=$call:signal=KILL:when=$n" 2>killed.err || got=$?
		if ((got != 0 && got != 137)); then
			echo "exit $got at $call $n"
			return 1
		fi
		((got == 0)) || ((++here))
		${scene}_check || {
			echo "after a kill at $call $n"
			return 1
		}
	done
	points=$((points + here))
	echo "$call: $here points"
}

send_prepare() {
	rm -f a.db*
	[[ $how == new ]] || seq 3 | eo-send -q -j a.db -c old
	seq 30 | awk '{ print "c" $1 % 3 "\tid" $1 "\t" $1 }' >in
}

send_run() {
	"$@" eo-send -j a.db -F channel,id,body <in >printed
}

send_check() {
	# What was printed is in the journal.
	kinds msg printed | grep -E '	[0-9a-f]{8}$' | sort >whole
	if [[ -s whole ]]; then
		eo-replay -a -j a.db -c '*' | kinds msg | sort >in.journal || return
		is '' "$(comm -23 whole in.journal)" || return
	fi
	exits 0 eo-send -q -j a.db -F channel,id,body <in || return
	eo-replay -a -j a.db -c 'c?' >all || return
	bodies all | sort -n | cmp - <(seq 30) || return
	[[ $how == new ]] ||
	    eo-replay -a -j a.db -c old | bodies | cmp - <(seq 3) || return
	intact a.db
}

# bats test_tags=slow
@test "eo-send killed at each call that writes: what it printed is there, and a rerun adds the rest" {
	has_strace
	points=0
	for how in new old; do
		for call in pwrite64 fdatasync fsync write ftruncate openat; do
			sweep $call send
		done
	done
	echo "$points points"
	((points >= 60))
}

append_prepare() {
	rm -f b.db* out*
	if [[ $how == old ]]; then
		head -n 100 frames | eo-recv -j b.db --append out >/dev/null
	fi
}

append_run() {
	"$@" eo-recv -j b.db --append out <frames >acks
}

append_check() {
	local upto

	# What was acked is in the file.
	upto=$(kinds ack acks | tail -n 1 | field 6)
	(($(wc -l <out 2>/dev/null || echo 0) >= ${upto:-0})) || return
	exits 0 eo-recv -j b.db --append out <frames >acks || return
	seq 300 | cmp - out || return
	intact b.db
}

# bats test_tags=slow
@test "eo-recv --append killed at each call that writes: each line once" {
	has_strace
	seq 300 | forged >frames
	points=0
	for how in new old; do
		for call in pwrite64 fdatasync fsync write ftruncate openat; do
			sweep $call append
		done
	done
	echo "$points points"
	((points >= 60))
}

handler_prepare() {
	rm -f b.db* ran
	[[ $how == new ]] || new_journal b.db
}

handler_run() {
	"$@" eo-recv -j b.db sh -c 'echo "$EO_REF $(cat)" >>ran' <frames >acks
}

handler_check() {
	local upto

	upto=$(kinds ack acks | tail -n 1 | field 6)
	(($(sort -u ran 2>/dev/null | wc -l) >= ${upto:-0})) || return
	# Let an orphan end, and do not wait for the next try.
	wait_until 5 eval '[[ ! -e b.db-lock ]] || flock_free' || return
	for upto in 1 2 3; do
		[[ ! -s b.db ]] || eo-ack -j b.db --again default/$upto 2>/dev/null || :
	done
	exits 0 eo-recv -j b.db sh -c 'echo "$EO_REF $(cat)" >>ran' <frames >acks ||
	    return
	is 3 "$(kinds ack acks | tail -n 1 | field 6)" || return
	is 3 "$(sort -u ran | wc -l)" || return
	# One kill, one run more at most.
	(($(wc -l <ran) <= 4))
}

flock_free() {
	! fuser -s b.db-lock 2>/dev/null
}

# bats test_tags=slow
@test "eo-recv killed round its handler: each message completed, at most one run twice" {
	has_strace
	seq 3 | forged >frames
	points=0
	for how in new old; do
		for call in fdatasync pwrite64 wait4,waitid,pidfd_open poll,ppoll; do
			sweep $call handler
		done
	done
	echo "$points points"
	((points >= 40))
}

ack_prepare() {
	rm -f a.db* b.db*
	seq 30 | eo-send -q -j a.db
	eo-send -q -j a.db -c other -m x
	eo-replay -a -j a.db >frames
	awk -F '\t' '!($2 == "msg" && $5 == 20)' frames |
	    eo-recv -j b.db true >acks 2>gap.err || :
}

ack_run() {
	local got=0

	"$@" eo-ack -j a.db <acks || got=$?
	((got == 75)) || return $got
}

ack_check() {
	exits 75 eo-ack -j a.db <acks || return
	eo-replay -a -j a.db | bodies | cmp - <(echo 20) || return
	is x "$(eo-replay -a -j a.db -c other | bodies)" || return
	intact a.db
}

# bats test_tags=slow
@test "eo-ack killed at each call that writes: what is settled is settled once" {
	has_strace
	points=0
	for call in pwrite64 fdatasync fsync openat; do
		sweep $call ack
	done
	echo "$points points"
	((points >= 12))
}

replay_prepare() {
	rm -f a.db*
	seq 30 | eo-send -q -j a.db
}

replay_run() {
	"$@" eo-replay -j a.db >printed
}

replay_check() {
	eo-replay -a -j a.db | bodies | cmp - <(seq 30) || return
	intact a.db
}

# bats test_tags=slow
@test "eo-replay killed at each call that writes: all is still to be had" {
	has_strace
	points=0
	for call in pwrite64 fdatasync fsync write openat; do
		sweep $call replay
	done
	echo "$points points"
	((points >= 8))
}

fsck_prepare() {
	rm -f a.db*
	seq 30 | eo-send -q -j a.db
	: >a.db-ioerror
}

fsck_run() {
	local got=0

	"$@" eo-fsck --repair a.db >fsck.out || got=$?
	((got == 1)) || return $got
}

fsck_check() {
	# Either still marked, or repaired; never half.
	[[ ! -e a.db-ioerror ]] || repair a.db || return
	eo-replay -a -j a.db 2>/dev/null | bodies | cmp - <(seq 30) || return
	intact a.db
}

# bats test_tags=slow
@test "eo-fsck --repair killed at each call that writes leaves the old journal or the new one" {
	has_strace
	points=0
	for call in pwrite64 fdatasync fsync rename,renameat,renameat2 unlink,unlinkat \
	    openat; do
		sweep $call fsck
	done
	echo "$points points"
	((points >= 20))
}

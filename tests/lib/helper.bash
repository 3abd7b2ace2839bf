# shellcheck shell=bash disable=SC2034,SC2016
# What every test file loads: a closed environment, exact exit statuses,
# conditions to wait for, and tools to look at frames and journals.
#
#	load lib/helper
#	@test "a sentence of the manual" { exits 0 eo-send -q -m x; }
#
# Each test runs in an empty folder of its own ($PWD), with the programs of
# $EO_BUILD (default: build) and its tests/ first in PATH.  Files *.err that it
# leaves behind are shown when it fails.  Background processes are given to
# `started`, and are gone when the test is over.
#
# EO_TEST_BIG=1 asks for the full sizes; `big SMALL FULL` chooses.

# A test that hangs is ended, and is a failure.
: "${BATS_TEST_TIMEOUT:=$([[ ${EO_TEST_BIG:-} ]] && echo 1800 || echo 200)}"
# The sources of forged frames.
SRC=11111111111111111111111111111111
SRC2=22222222222222222222222222222222
NOBODY=65534

setup() {
	eo_setup
}

teardown() {
	eo_teardown
}

eo_setup() {
	local v

	REPO=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PROGRAMS=("$REPO"/cmd/*.c)
	PROGRAMS=("${PROGRAMS[@]##*/}")
	PROGRAMS=("${PROGRAMS[@]%.c}")
	BUILD=${EO_BUILD:-build}
	[[ $BUILD == /* ]] || BUILD=$REPO/$BUILD
	for v in "${!EO_@}"; do
		[[ $v == EO_TEST_* || $v == EO_BUILD ]] || unset "$v"
	done
	unset POSIXLY_CORRECT
	PATH=$BUILD:$BUILD/tests:$PATH:/usr/sbin:/sbin
	HERE=$BATS_TEST_TMPDIR/here
	HOME=$BATS_TEST_TMPDIR/home
	XDG_STATE_HOME=$BATS_TEST_TMPDIR/state
	XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/config
	XDG_DATA_HOME=$BATS_TEST_TMPDIR/data
	XDG_CACHE_HOME=$BATS_TEST_TMPDIR/cache
	XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run
	TMPDIR=$BATS_TEST_TMPDIR
	LC_ALL=C
	TZ=UTC
	export PATH HOME XDG_STATE_HOME XDG_CONFIG_HOME XDG_DATA_HOME \
	    XDG_CACHE_HOME XDG_RUNTIME_DIR TMPDIR LC_ALL TZ
	umask 022
	mkdir -p "$HERE" "$HOME" "$XDG_STATE_HOME"
	cd "$HERE" || return
	PIDS=()
	MOUNTS=()
}

eo_teardown() {
	local f pid

	for pid in "${PIDS[@]}"; do
		stop "$pid"
	done
	for f in "${MOUNTS[@]}"; do
		umount "$f" || umount -l "$f"
	done
	if [[ -z ${BATS_TEST_COMPLETED:-} ]]; then
		for f in "$HERE"/*.err; do
			[[ -s $f ]] || continue
			echo "${f##*/}:"
			head -c 2000 "$f"
		done
	fi
	return 0
}

# exits N CMD...: its exit status is N, exactly.
exits() {
	exits_in "$@"
}

# exits_in "N M" CMD...: its exit status is one of these.  A signal never is.
exits_in() {
	local want=$1 got=0

	shift
	"$@" || got=$?
	[[ " $want " == *" $got "* ]] && return
	echo "exit status $got, not $want: $*" | tee -a "$HERE/exits.err"
	return 1
}

# wait_until SECONDS CMD...: until it succeeds.
wait_until() {
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000))

	shift
	until "$@"; do
		if ((${EPOCHREALTIME/./} > end)); then
			echo "waited in vain for: $*" | tee -a "$HERE/wait.err"
			return 1
		fi
		sleep .02
	done
}

# started PID: to be stopped at the end of the test, if it still runs.
started() {
	PIDS+=("$1")
}

# stop PID
stop() {
	kill -9 "$1" 2>/dev/null || :
	wait "$1" 2>/dev/null || :
}

# stop_group PID: it and what it has started; it leads a process group.
stop_group() {
	kill -9 -- "-$1" 2>/dev/null || :
	wait "$1" 2>/dev/null || :
}

gone() {
	! kill -0 "$1" 2>/dev/null
}

# finishes N PID SECONDS: the background process ends with exit status N.
finishes() {
	local got=0

	wait_until "$3" ended "$2" || return
	wait "$2" || got=$?
	[[ " $1 " == *" $got "* ]] && return
	echo "process $2: exit status $got, not $1"
	return 1
}

# ended PID: a child that is dead, waited for or not.
ended() {
	local stat

	read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
	[[ ${stat##*) } == Z* ]]
}

# is A B: equal
is() {
	[[ $1 == "$2" ]] && return
	printf 'not equal:\n%s\n%s\n' "${1:0:2000}" "${2:0:2000}"
	return 1
}

# says PATTERN FILE...: a line matches (extended, any case).
says() {
	grep -Eqi -- "$@" && return
	echo "no line matches '$1':"
	head -c 2000 "${@:2}"
	return 1
}

# silent PATTERN FILE...: no line matches, and the files can be read.
silent() {
	local got=0

	grep -Eqi -- "$@" || got=$?
	((got == 1)) && return
	echo "grep '$1' says $got:"
	grep -Ei -m 5 -- "$@"
	return 1
}

empty() {
	[[ -f $1 && ! -s $1 ]] && return
	echo "$1 is not an empty file:"
	head -c 2000 "$1"
	return 1
}

big() {
	if [[ ${EO_TEST_BIG:-} ]]; then echo "$2"; else echo "$1"; fi
}

sanitized() {
	grep -q __asan_init "$BUILD/eo-send"
}

root_only() {
	((EUID == 0)) || skip "only root can do this"
}

# q JOURNAL SQL: look, and leave no trace.
q() {
	sqlite3 -readonly -cmd '.timeout 5000' "$1" "$2"
}

# intact JOURNAL...: SQLite finds nothing.
intact() {
	local j

	for j; do
		is ok "$(q "$j" 'PRAGMA integrity_check')" || return
	done
}

# sound A [B]: eo-fsck finds nothing, and nothing is pending.
sound() {
	if ! has eo-fsck; then
		intact "$@"
		return
	fi
	exits 0 eo-fsck "$@" >fsck.err 2>&1 || return
	if (($# == 2)); then
		says 'lost 0, twice 0' fsck.err
	fi
}

# has PROGRAM: it is among those built
has() {
	[[ " ${PROGRAMS[*]} " == *" $1 "* ]]
}

# source_of JOURNAL: the current one
source_of() {
	q "$1" 'SELECT source FROM eo_source ORDER BY id DESC LIMIT 1'
}

# pending JOURNAL: how many messages are not settled; what eo-replay -a shows.
pending() {
	eo-replay -a -c '*' -j "$1" | kinds msg | wc -l
}

# kinds TYPE [FILE]: the frames of this type
kinds() {
	awk -F '\t' -v t="$1" '$1 == "eo1" && $2 == t' "${@:2}"
}

# count TYPE [FILE]
count() {
	kinds "$@" | wc -l
}

# field N [FILE]: a field of each line
field() {
	cut -f "$1" "${@:2}"
}

# bodies [FILE]: those of msg frames, as they stand there
bodies() {
	kinds msg "$@" | cut -f 8
}

# decoded [FILE]: the same, each decoded and ended by an LF; shell's printf
# knows these escapes.
decoded() {
	local b

	bodies "$@" | while IFS= read -r b; do
		printf '%b\n' "$b"
	done
}

# attr NAME [FILE]: its value in each msg frame
attr() {
	kinds msg "${@:2}" | cut -f 7 | awk -v n="$1=" '{
		v = ""
		for (i = 1; i <= NF; i++)
			if (index($i, n) == 1)
				v = substr($i, length(n) + 1)
		print v
	}'
}

# verified FILE: all checks hold, and there are frames.
verified() {
	[[ -s $1 ]] && frame --verify <"$1"
}

# chained FILE: its msg frames follow each other in number and link, from the
# first; made again from their attrs and bodies they are the same.
chained() {
	local src ch seq before

	kinds msg "$1" >chained.has
	IFS=$'\t' read -r _ _ src ch seq before _ <chained.has
	cut -f 7,8 chained.has | frame --chain "$src" "$ch" "$seq" "$before" |
	    cmp - chained.has
}

# base_frame SOURCE CHANNEL SEQ BEFORE RECEIVER ACKED
base_frame() {
	printf 'eo1\tbase\t%s\t%s\t%s\t%s\t%s\t%s\n' "$@" | frame
}

# ack_frame SOURCE CHANNEL RECEIVER UPTO LINK RANGES EXCEPT
ack_frame() {
	printf 'eo1\tack\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$@" | frame
}

# channel_of SOURCE CHANNEL: a base, and a msg for each `ATTRS TAB BODY` line
channel_of() {
	base_frame "$1" "$2" 1 00000000 - 0
	frame --chain "$1" "$2"
}

# forged [CHANNEL]: bodies, a line each, become the channel of $SRC.
forged() {
	sed "s/^/-$(printf '\t')/" | channel_of "$SRC" "${1:-default}"
}

# statuses N... : those of the last `pass`; a number may be a list, "0 75".
statuses() {
	local i=0 want

	for want; do
		if [[ " $want " != *" ${st[i]} "* ]]; then
			echo "exit statuses ${st[*]}, not $*"
			return 1
		fi
		((++i))
	done
}

# pass A B [ARG...]: the pipeline once; statuses in ${st[@]}, words in *.err,
# what passed in A.frames and A.acks.
pass() {
	local a=$1 b=$2

	shift 2
	if eo-replay -a -j "$a" "${CH[@]}" 2>replay.err | tee frames.sent |
	    eo-recv -j "$b" "${CH[@]}" "$@" 2>recv.err | tee acks.sent |
	    eo-ack -j "$a" "${CH[@]}" 2>ack.err >passed.on; then
		st=("${PIPESTATUS[@]}")
	else
		st=("${PIPESTATUS[@]}")
	fi
	st=("${st[0]}" "${st[2]}" "${st[4]}")
}

# passes ROUNDS A B [ARG...]: again and again, until the sender is done.
passes() {
	local n=0 rounds=$1

	shift
	until pass "$@"; ((st[2] == 0)); do
		if ((++n >= rounds)); then
			echo "not done after $n rounds: ${st[*]}"
			return 1
		fi
		sleep .1
	done
}

# handler NAME: an executable from standard input
handler() {
	{
		echo '#!/bin/bash'
		cat
	} >"$1"
	chmod +x "$1"
}

# snap DIR JOURNAL...: a copy as cp(1) makes it while nothing runs.
snap() {
	local d=$1 j f

	shift
	mkdir -p "$d"
	for j; do
		for f in "$j" "$j-wal"; do
			[[ ! -e $f ]] || cp -p "$f" "$d/"
		done
	done
}

# put_back DIR JOURNAL...: over the file that is there, which keeps its inode.
put_back() {
	local d=$1 j

	shift
	for j; do
		rm -f "$j-wal" "$j-shm"
		cp "$d/$j" "$j"
		[[ ! -e $d/$j-wal ]] || cp "$d/$j-wal" "$j-wal"
	done
}

# new_journal FILE: an empty one
new_journal() {
	eo-send -q -j "$1" </dev/null
}

# traced ARG... CMD...: strace, quietly; sanitizers cannot look for leaks
# under it.
traced() {
	ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 \
	    strace -qq "$@"
}

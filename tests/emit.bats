#!/usr/bin/env bats
# eo-recv --emit and -o: a message becomes messages, once and in order.
# shellcheck disable=SC2016,SC2086

load lib/helper

# what_went_on JOURNAL CHANNEL: the bodies that are in its outbox, in order
what_went_on() {
	eo-replay -a -j "$1" -c "$2" | bodies
}

@test "--emit without a CMD: the message itself goes on, with its id, key and headers" {
	printf 'n1\tk\tred\ta\\tb\nn2\tk\tblue\t\n' |
	    eo-send -j a.db -F id,key,h.color,body >frames
	exits 0 eo-recv -j b.db --emit next <frames >acks
	exits 0 eo-ack -j a.db <acks
	eo-replay -a -j b.db -c next >on
	is 'a\tb' "$(bodies <on | head -n 1)"
	is 2 "$(kinds msg on | wc -l)"
	kinds msg on | head -n 1 | field 7 >attrs
	says 'id=n1 key=k .*h.color=red' attrs
	# A repeat emits nothing.
	exits 0 eo-recv -j b.db --emit next <frames >acks
	is 2 "$(eo-replay -a -j b.db -c next | count msg)"
	sound a.db
}

@test "--emit CMD: what CMD prints, a message a line, with the note that its input is completed" {
	printf 'one two\nnone\nthree\n' | eo-send -j a.db >frames
	exits 0 eo-recv -j b.db --emit words sh -c 'tr " " "\n" | grep -v none || :' \
	    <frames >acks
	is $'one\ntwo\nthree' "$(what_went_on b.db words)"
	exits 0 eo-ack -j a.db <acks
}

@test "--emit CMD: what a failed run has printed is discarded" {
	seq 3 | eo-send -j a.db >frames
	exits 75 eo-recv -j b.db --emit out sh -c \
	    'read -r n; echo "$n"; [ "$n" != 2 ] || exit 1' <frames >acks
	is $'1\n3' "$(what_went_on b.db out)"
	eo-ack -j b.db --again default/2
	exits 0 eo-recv -j b.db --emit out cat </dev/null >acks
	is $'1\n3\n2' "$(what_went_on b.db out)"
}

@test "--emit: a message whose id stands for another one there is a dead letter" {
	eo-send -q -j b.db -c next -i job -m mine
	eo-send -j a.db -i job -m theirs >frames
	exits 0 eo-recv -j b.db --emit next <frames >acks
	is mine "$(what_went_on b.db next)"
	says 'used on the channel' <(q b.db 'SELECT reason FROM eo_in_dead')
	is 1d "$(kinds ack acks | field 9)"
}

@test "-o: a message that fails holds up all that come after it" {
	seq 5 | eo-send -j a.db >frames
	exits 75 eo-recv -o -j b.db sh -c \
	    'read -r n; [ "$n" != 3 ] || [ -e good ] || exit 1; echo "$n" >>out' \
	    <frames >acks
	is $'1\n2' "$(cat out)"
	: >good
	eo-ack -j b.db --again default/3
	exits 0 eo-recv -o -j b.db sh -c 'cat >>out' </dev/null >acks
	seq 5 | cmp - out
}

@test "-o waits for gaps, with a handler, a filter and --emit" {
	seq 4 | eo-send -j a.db >frames
	{ head -n 2 frames; tail -n 2 frames; } >holed
	for j in h f e; do
		case $j in
		h) set -- sh -c 'cat >>ran' ;;
		f) set -- ;;
		e) set -- --emit on ;;
		esac
		new_journal $j.db
		exits 75 eo-recv -o -j $j.db "$@" <holed >first.$j 2>gap.err
		exits 0 eo-recv -o -j $j.db "$@" <frames >second.$j
	done
	seq 4 | cmp - ran
	is 1 "$(kinds msg first.f | wc -l)"
	is $'1\n2\n3\n4' "$(cat first.f second.f | bodies)"
	is $'1\n2\n3\n4' "$(what_went_on e.db on)"
}

@test "three --emit filters over three journals, each killed at random, give what f | g | h gives" {
	n=$(big 500 2000)
	seq "$n" | eo-send -q -j a.db
	rounds=0
	until {
		eo-replay -a -j a.db |
		    timeout -s KILL .2 eo-recv -o -j b.db --emit on sed 's/.*/<&>/' |
		    eo-ack -j a.db
		one=$?
		eo-replay -a -j b.db -c on |
		    timeout -s KILL .2 eo-recv -o -j c.db -c on --emit on sh -c \
		    'read -r l; echo "$l"; echo "$l!"' |
		    eo-ack -j b.db -c on
		two=$?
		eo-replay -a -j c.db -c on |
		    timeout -s KILL .2 eo-recv -j d.db -c on --append out |
		    eo-ack -j c.db -c on
		((one + two + $? == 0))
	} 2>>noise; do
		((++rounds < 500))
		# A try that was killed counts, and would wait for its turn.
		eo-ack -j b.db --again "default/1-$n" 2>>noise || :
		eo-ack -j c.db --again "on/1-$n" 2>>noise || :
	done
	echo "$rounds rounds"
	((rounds > 1))
	seq "$n" | sed 's/.*/<&>/' | sed 'p; s/$/!/' | cmp - out
	sound a.db b.db
	sound c.db d.db
}

@test "--emit killed at each call that writes: each message goes on once" {
	command -v strace >out.txt || skip "no strace"
	seq 10 | eo-send -j a.db >frames
	points=0
	for how in plain cmd; do
		case $how in
		plain) set -- --emit on ;;
		cmd) set -- --emit on cat ;;
		esac
		for call in fdatasync pwrite64; do
			step=1
			[[ $call == fdatasync ]] || step=7
			n=0
			got=137
			while ((got == 137)); do
				n=$((n + step))
				((n < 1000))
				rm -f b.db*
				new_journal b.db
				got=0
				{
					traced -o /dev/null \
					    -e "inject=$call:signal=KILL:when=$n" \
					    eo-recv -j b.db "$@" <frames >acks || got=$?
				} 2>killed.err
				((got != 137)) || ((++points))
				eo-ack -j b.db --again default/1-10 2>/dev/null || :
				exits 0 eo-recv -j b.db "$@" <frames >acks 2>again.err
				what_went_on b.db on | sort -n >went
				seq 10 | cmp - went
			done
		done
	done
	echo "$points points"
	((points > 30))
}

@test "--emit needs a channel's name, and excludes --append" {
	exits 64 eo-recv -j b.db --emit -x </dev/null 2>bad.err
	exits 64 eo-recv -j b.db --emit 'a b' </dev/null 2>bad.err
	says 'no channel' bad.err
	exits 64 eo-recv -j b.db --emit a --append out </dev/null 2>bad.err
}

#!/usr/bin/env bats
# A real transport: ssh over loopback, with keys that are thrown away, its
# connection cut in the middle.

# shellcheck disable=SC2015,SC2016,SC2034,SC2086
load lib/helper

# sshd_up: a daemon of our own on a free port, or skip with the reason
sshd_up() {
	local sshd try

	sshd=$(command -v sshd) || skip "no sshd"
	command -v ssh >/dev/null && command -v ssh-keygen >/dev/null ||
	    skip "no ssh"
	ssh-keygen -q -t ed25519 -N '' -f host.key || skip "no keys"
	ssh-keygen -q -t ed25519 -N '' -f user.key
	cp user.key.pub authorized
	# As root sshd wants its folder.
	((EUID != 0)) || mkdir -p /run/sshd 2>/dev/null || :
	for try in {1..10}; do
		port=$((20000 + RANDOM % 20000))
		cat >sshd.conf <<-END
			ListenAddress 127.0.0.1
			Port $port
			HostKey $PWD/host.key
			AuthorizedKeysFile $PWD/authorized
			PidFile none
			StrictModes no
			UsePAM no
			PermitRootLogin prohibit-password
			PasswordAuthentication no
			KbdInteractiveAuthentication no
			PrintMotd no
			MaxStartups 100
		END
		"$sshd" -D -e -f sshd.conf >sshd.err 2>&1 3>&- &
		daemon=$!
		started $daemon
		if wait_until 5 eval 'ended $daemon || over true 2>/dev/null' &&
		    ! ended $daemon; then
			return
		fi
		stop $daemon
	done
	skip "sshd does not run here: $(tail -n 1 sshd.err)"
}

# over CMD: at the other end, in this folder and with these programs
over() {
	ssh -p "$port" -i user.key -F none -o BatchMode=yes -o LogLevel=ERROR \
	    -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
	    -o UserKnownHostsFile=known -o ConnectTimeout=5 127.0.0.1 \
	    "cd '$PWD' && PATH='$PATH' && export PATH && $1"
}

# cut_connection: kills what sshd has started for it
cut_connection() {
	local p

	for p in $(pgrep -P "$daemon"); do
		pkill -9 -P "$p" || :
		kill -9 "$p" || :
	done
}

@test "eo-replay | ssh host eo-recv | eo-ack delivers" {
	sshd_up
	seq 20000 | eo-send -q -j a.db
	eo-replay -j a.db | over 'eo-recv -j b.db --append out' | exits 0 eo-ack -j a.db
	seq 20000 | cmp - out
}

@test "a connection that is cut in the middle is resumed to the end: each line once" {
	sshd_up
	n=$(big 200000 1000000)
	seq "$n" | eo-send -q -j a.db
	for cut in 1 2 3; do
		# What follows the first half waits until the connection is cut.
		(
			eo-replay -a -j a.db 2>/dev/null | {
				head -n $((cut * n / 10))
				until [[ -e cut.$cut ]]; do sleep .02; done
				cat
			} | over 'eo-recv -j b.db --append out' | eo-ack -j a.db
		) >cut.out 2>cut.err 3>&- &
		p=$!
		started $p
		wait_until 60 eval '(($(wc -l <out) >= '"$((cut * n / 20))"'))'
		cut_connection
		: >cut.$cut
		wait_until 30 ended $p
		(($(wc -l <out) < n))
	done 2>>cut.err
	rounds=0
	until eo-replay -a -j a.db | over 'eo-recv -j b.db --append out' |
	    eo-ack -j a.db; do
		((++rounds < 20))
		sleep .2
	done
	seq "$n" | cmp - out
	sound a.db b.db
}

@test "a connection that stays, eo-replay -f, ends when it is cut, and the next one goes on" {
	sshd_up
	seq 100 | eo-send -q -j a.db
	(
		eo-replay -f -j a.db | over 'eo-recv -j b.db --append out' | eo-ack -j a.db
	) >follow.out 2>follow.err 3>&- &
	p=$!
	started $p
	wait_until 20 eval '(($(wc -l <out) == 100))'
	seq 101 200 | eo-send -q -j a.db
	wait_until 20 eval '(($(wc -l <out) == 200))'
	cut_connection
	wait_until 10 ended $p
	seq 201 300 | eo-send -q -j a.db
	rounds=0
	until eo-replay -a -j a.db | over 'eo-recv -j b.db --append out' |
	    eo-ack -j a.db; do
		((++rounds < 20))
	done
	seq 300 | cmp - out
}

@test "pulling over ssh, and mending lost acks with eo-replay --acks" {
	sshd_up
	seq 1000 | eo-send -q -j a.db
	over 'eo-replay -j a.db' | eo-recv -j b.db --append out >lost
	seq 1000 | cmp - out
	exits 75 eo-ack -j a.db </dev/null
	over 'eo-replay --acks -j b.db' | exits 0 eo-ack -j a.db
}

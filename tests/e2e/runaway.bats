#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Guests that run wild: the host stays well, other sandboxes answer, and the runaway can be stopped.

setup_file() {
	load lib
	shared_sandbox
	LIMIT=300 hull create -q --name runaway --cpus 1 -m 1g --disk 6g shell
	LIMIT=300 hull start runaway
}
teardown_file() {
	load lib
	LIMIT=180 hull rm -f runaway || true
}
setup() { load lib; }
teardown() {
	remove_own
	# The next test gets it in order again.
	if ! LIMIT=30 hull exec runaway true 2>/dev/null; then
		LIMIT=60 hull stop -f runaway || true
		LIMIT=300 hull start runaway
	fi
}

rss_kib() { awk '/^VmRSS:/ {print $2}' "/proc/$1/status"; }
others_answer() { for _ in 1 2 3; do [ "$(hull exec shared echo well)" = well ] || return 1; done; }

@test "runaway: a fork bomb" {
	"$HULL" exec runaway bash -c ':(){ :|:& };:; sleep 1000' >/dev/null 2>&1 3>&- &
	local bomb=$!
	sleep 3
	others_answer
	LIMIT=100 hull stop -f runaway
	state_is runaway stopped
	reap $bomb
	[ "$status" != 0 ]
}

@test "runaway: a memory bomb ends in the guest" {
	local engine
	engine=$(engine_pid runaway)
	run hull exec runaway python3 -c 'x = []
while True: x.append(bytearray(1 << 24))'
	[ "$status" = 137 ]
	# Who was killed, and why, is said where it ran and in the log.
	[[ "$output" == *"python3 (process "*") was killed: out of memory"* ]]
	hull logs runaway -n 5 | grep -q 'guest: python3 (process .*) was killed: out of memory'
	others_answer
	# Not more than the VM's memory and what emulating it takes.
	[ "$(rss_kib "$engine")" -lt $(((1024 + 700) * 1024)) ]
	[ "$(hull exec runaway echo still here)" = "still here" ]
}

@test "runaway: page cache that nobody uses goes back to the host" {
	local engine before
	engine=$(engine_pid runaway)
	hull exec runaway sh -c 'head -c 300M /dev/zero >cached; cat cached >/dev/null; sync'
	before=$(rss_kib "$engine")
	eventually 75 less_than "$engine" $((before - 150 * 1024))
	hull exec runaway rm cached
}
less_than() { [ "$(rss_kib "$1")" -lt "$2" ]; }

@test "runaway: a full disk, and room again" {
	# Most of it without writing, the rest written until nothing goes in any more.
	run hull exec -u root runaway sh -c 'fallocate -l $(($(df --output=avail -B1M . | tail -n 1) - 64))M big; dd if=/dev/zero of=rest bs=1M 2>&1'
	[ "$status" = 1 ]
	[[ "$output" == *"No space left"* ]]
	others_answer
	hull exec runaway sh -c 'sudo rm ~root/big ~root/rest; echo fits >small; cat small' | grep -qx fits
}

@test "runaway: output without end to a reader that stalls: the keeper's memory is bounded" {
	local fifo=$BATS_TEST_TMPDIR/out keeper before i pids=()
	keeper=$(keeper_pid runaway)
	mkfifo "$fifo"
	exec {from}<>"$fifo"
	before=$(rss_kib "$keeper")
	for i in 1 2 3 4; do
		"$HULL" exec runaway cat /dev/zero >"$fifo" 3>&- &
		pids+=($!)
	done
	for i in 1 2 3 4 5; do
		others_answer
		[ "$(hull exec runaway echo "$i")" = "$i" ]
	done
	echo "keeper: $before KiB before, $(rss_kib "$keeper") KiB with four stalled readers"
	[ "$(rss_kib "$keeper")" -lt $((before + 16384)) ]
	kill -9 "${pids[@]}"
	exec {from}>&-
	eventually 60 not hull exec runaway pgrep -x cat
}

@test "runaway: output without end to a reader that reads is stopped by a signal" {
	"$HULL" exec runaway yes >/dev/null 3>&- &
	local pid=$!
	sleep 2
	kill -TERM $pid
	reap $pid
	[ "$status" = 143 ]
	eventually 60 not hull exec runaway pgrep -x yes
}

@test "runaway: a hundred sessions at once are refused or served, and the sandbox goes on" {
	local i pids=() served=0 refused=0
	for i in $(seq 1 100); do
		"$HULL" exec runaway sleep 3 >/dev/null 2>>"$BATS_TEST_TMPDIR/err" 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		reap "$i"
		if [ "$status" = 0 ]; then served=$((served + 1)); else refused=$((refused + 1)); fi
	done
	echo "served $served, refused $refused: $(sort "$BATS_TEST_TMPDIR/err" | uniq -c | head -n 3)"
	[ "$served" -ge 50 ]
	[ "$(hull exec runaway echo well)" = well ]
}

# The port has one opener, PID 1: take its descriptor (pidfd_open, pidfd_getfd) and write on.
garbage='import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
port = [int(n) for n in os.listdir("/proc/1/fd") if "/vport" in os.readlink("/proc/1/fd/" + n)]
fd = libc.syscall(438, libc.syscall(434, 1, 0), port[0], 0)
assert fd >= 0, os.strerror(ctypes.get_errno())
os.set_blocking(fd, True)
print("writing", flush=True)
for _ in range(64):
    os.write(fd, os.urandom(4096))'

@test "runaway: root in the guest writes garbage on the wire's device" {
	local pids
	mapfile -t pids < <(family runaway)
	run hull exec -u root runaway python3 -c "$garbage"
	echo "$output"
	[ "$status" = 125 ]
	others_answer
	eventually 30 state_is runaway crashed
	[[ "$(sandbox_field runaway error)" == *"wire protocol"* ]]
	assert_stopped runaway "${pids[@]}"
	LIMIT=300 hull start runaway
	[ "$(hull exec runaway echo back)" = back ]
}

@test "runaway: root in the guest kills, crashes and powers off what it likes" {
	run hull exec -u root runaway sh -c 'kill -9 -1'
	[ "$(hull exec runaway echo alive)" = alive ]
	run hull exec -u root runaway sh -c 'echo c >/proc/sysrq-trigger'
	eventually 60 not state_is runaway running
	hull start runaway
	[ "$(hull exec runaway echo again)" = again ]
}

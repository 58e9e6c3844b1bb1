#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Deaths: any process of the family killed at any moment takes its sandbox down and nothing else, leaves nothing
# behind, and the disk is as good as it was promised to be.

setup() { load lib; }
teardown() { remove_own; }

# Write files without end, each fsynced before its number is printed.
writer='i=0; while :; do i=$((i+1)); echo content-$i >f.$i; sync f.$i .; echo $i; done'

# A number below N, from the seed that is printed: the same again with CRASH_SEED.
setup_file() {
	export CRASH_SEED=${CRASH_SEED:-$(((RANDOM << 15) + RANDOM))}
	echo "# CRASH_SEED=$CRASH_SEED" >&3
}
seed_random() { RANDOM=$((CRASH_SEED % 32768 + BATS_TEST_NUMBER)); }
moment() { sleep "$(printf '%d.%03d' $((RANDOM % ${1:-1})) $((RANDOM % 1000)))"; } # [SECONDS]

# As after a loss of power: the journal is replayed at the next mount; then all must be well.
assert_disk_sound() { # NAME
	cp --sparse=always "$HULL_HOME/sandboxes/$1/disk.img" "$BATS_TEST_TMPDIR/disk.img"
	e2fsck -fp "$BATS_TEST_TMPDIR/disk.img" || [ $? = 1 ]
	e2fsck -fn "$BATS_TEST_TMPDIR/disk.img"
	rm "$BATS_TEST_TMPDIR/disk.img"
}
# The process that is to be killed in NAME, or whose session is $session. It must be there.
victim() { # WHICH NAME
	case $1 in
	cli) echo "$session" ;;
	*) "${1}_pid" "$2" ;;
	esac
}

# Kill process WHICH (keeper, engine, cli: the command line in an exec) at a random moment of a command that writes,
# three times over.
kill_at_random() { # WHICH [ARGUMENT OF own_sandbox...]
	local which=$1 round written=$BATS_TEST_TMPDIR/written pids last session victim kills=0
	seed_random
	own_sandbox "${@:2}"
	for round in 1 2 3; do
		hull start "$name"
		mapfile -t pids < <(family "$name")
		rm -f "$written" # or the wait below would see the last round's
		"$HULL" exec "$name" sh -c "mkdir -p round$round; cd round$round; $writer" >"$written" 2>/dev/null 3>&- &
		session=$!
		eventually 60 test -s "$written"
		moment
		victim=$(victim "$which" "$name")
		kill -9 "$victim"
		reap "$session"
		if [ "$which" = cli ]; then
			[ "$status" = 137 ]
			# Its command goes with it, the sandbox does not.
			eventually 60 not hull exec "$name" pgrep -f "cd round$round"
			kill -9 "$(engine_pid "$name")"
		else
			[ "$status" = 125 ]
		fi
		kills=$((kills + 1))
		assert_stopped "$name" "${pids[@]}"
		state_is "$name" crashed
		# Only whole lines were announced.
		last=$(sed '/^[0-9]*$/!d' "$written" | head -c -1 | tail -n 1)
		echo "round $round: killed $which ($victim) after $last files"
		assert_disk_sound "$name"
		hull start "$name"
		[ "$(hull exec "$name" cat "round$round/f.$last")" = "content-$last" ]
	done
	[ "$kills" = 3 ]
	[ "$(hull exec "$name" cat "round1/f.1")" = "content-1" ]
	hull stop "$name"
	e2fsck -fn "$HULL_HOME/sandboxes/$name/disk.img"
}

@test "crash: kill -9 of the keeper, three times, disk intact" {
	kill_at_random keeper --no-docker
}

@test "crash: kill -9 of the engine, three times, disk intact; hull says why it stopped" {
	kill_at_random engine
}

@test "crash: kill -9 of the command line in an exec, three times: its command ends, and the disk is intact after a crash" {
	kill_at_random cli --no-docker
}

starting_engine() { # NAME
	local keeper p
	keeper=$(starting_keeper "$1")
	[ -n "$keeper" ] || return 1
	for p in $(descendants "$keeper"); do
		case $(cat "/proc/$p/comm" 2>/dev/null) in
		hull-vm | qemu*)
			echo "$p"
			return
			;;
		esac
	done
	return 1
}
# In $victim, once it is there.
find_starting() { # WHICH NAME
	victim=$("starting_$1" "$2") && [ -n "$victim" ]
}

# Kill WHICH at a random moment after it has come into being, until the start is over: what was begun goes, the disk is
# as it was, and the next start works.
kill_while_starting() { # WHICH
	local which=$1 round pid pids victim kills=0
	seed_random
	own_sandbox
	hull start "$name"
	hull exec "$name" sh -c 'echo kept >kept; sync kept .'
	hull stop "$name"
	for round in 1 2 3; do
		timeout 300 "$HULL" start "$name" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
		pid=$!
		eventually 60 find_starting "$which" "$name"
		[ "$round" = 1 ] || moment 3
		# The start ends in seconds: too late is a round without a kill, which the count below does not forgive.
		if kill -0 "$pid" 2>/dev/null; then kills=$((kills + 1)); fi
		mapfile -t pids < <(starting_keeper "$name"; descendants "$(starting_keeper "$name")")
		kill -9 "$victim"
		reap $pid
		echo "round $round: killed $which ($victim): start ended with $status, $(tail -n 1 "$BATS_TEST_TMPDIR/out")"
		assert_stopped "$name" "${pids[@]}"
		state_is "$name" crashed || state_is "$name" stopped
		assert_disk_sound "$name"
	done
	[ "$kills" -ge 2 ]
	hull start "$name"
	[ "$(hull exec "$name" cat kept)" = kept ]
	hull stop "$name"
	e2fsck -fn "$HULL_HOME/sandboxes/$name/disk.img"
}

@test "crash: kill -9 of the keeper while it starts" {
	local lock pids
	kill_while_starting keeper
	hull start "$name"
	lock=$(lock_inode "$name")
	mapfile -t pids < <(family "$name")
	kill -9 "${pids[0]}"
	eventually 10 all_gone "${pids[0]}"
	hull rm "$name"
	assert_gone "$name" "$lock" "${pids[@]}"
}

@test "crash: kill -9 of the engine while it starts" {
	kill_while_starting engine
}

@test "crash: kill -9 of the command line in run --rm leaves a sandbox that works, or none" {
	local name=tkill-$RANDOM
	echo "$name" >>"$BATS_TEST_TMPDIR/own"
	"$HULL" run --rm --name "$name" --cpus 1 -m 1g -- sleep 1000 >/dev/null 2>&1 3>&- &
	eventually 120 runs_sleep "$name"
	kill -9 $!
	reap $!
	# The session ended with its client; what remains of the sandbox can be used and removed.
	if [ -e "$HULL_HOME/sandboxes/$name" ]; then
		hull rm -f "$name"
	fi
	assert_gone "$name" ""
}
runs_sleep() { [ "$(sandbox_field "$1" state)" = running ] && hull exec "$1" pgrep -x sleep; }

@test "crash: one sandbox's death is not another's" {
	shared_sandbox
	own_sandbox
	hull start "$name"
	hull exec shared sleep 3 3>&- &
	kill -9 "$(keeper_pid "$name")"
	reap $!
	[ "$status" = 0 ]
	[ "$(hull exec shared echo alive)" = alive ]
}

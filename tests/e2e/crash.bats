#!/usr/bin/env bats
# Deaths: any process of the family killed at any moment takes its sandbox down and nothing else, leaves nothing
# behind, and the disk is as good as it was promised to be.

setup() { load lib; }
teardown() { remove_own; }

# Write files without end, each fsynced before its number is printed.
writer='i=0; while :; do i=$((i+1)); echo content-$i >f.$i; sync f.$i .; echo $i; done'

# Kill process WHICH (keeper, engine) at a random moment of that, three times over.
kill_at_random() {
	local which=$1 round written pids last
	own_sandbox
	for round in 1 2 3; do
		hull start "$name"
		mapfile -t pids < <(family "$name")
		rm -f "$BATS_TEST_TMPDIR/written" # or the wait below would see the last round's
		LIMIT=300 hull exec "$name" sh -c "mkdir -p round$round; cd round$round; $writer" >"$BATS_TEST_TMPDIR/written" 2>/dev/null 3>&- &
		eventually 60 test -s "$BATS_TEST_TMPDIR/written"
		sleep "0.$((RANDOM % 10))"
		kill -9 "$("${which}_pid" "$name")"
		reap $!
		[ "$status" = 125 ]
		assert_stopped "$name" "${pids[@]}"
		state_is "$name" crashed
		written=$BATS_TEST_TMPDIR/written
		# Only whole lines were announced.
		last=$(sed '/^[0-9]*$/!d' "$written" | head -c -1 | tail -n 1)
		echo "round $round: killed after $last files"
		# As after a loss of power: the journal is replayed at the next mount; then all must be well.
		cp --sparse=always "$HULL_HOME/sandboxes/$name/disk.img" "$BATS_TEST_TMPDIR/disk.img"
		e2fsck -fp "$BATS_TEST_TMPDIR/disk.img" || [ $? = 1 ]
		e2fsck -fn "$BATS_TEST_TMPDIR/disk.img"
		rm "$BATS_TEST_TMPDIR/disk.img"
	done
	hull start "$name"
	[ "$(hull exec "$name" cat "round3/f.$last")" = "content-$last" ]
	[ "$(hull exec "$name" cat "round1/f.1")" = "content-1" ]
	hull stop "$name"
	e2fsck -fn "$HULL_HOME/sandboxes/$name/disk.img"
}

@test "crash: kill -9 of the keeper, three times, disk intact" {
	kill_at_random keeper
}

@test "crash: kill -9 of the engine, three times, disk intact; hull says why it stopped" {
	kill_at_random engine
}

@test "crash: kill -9 of the keeper while it starts" {
	local delay keeper
	own_sandbox
	for delay in 0.05 0.3 1 3; do
		timeout 300 "$HULL" start "$name" >/dev/null 2>&1 3>&- &
		sleep $delay
		keeper=$(pgrep -f "hull-keeper.*$name" | head -n 1) || true
		if [ -n "$keeper" ]; then
			mapfile -t pids < <(echo "$keeper"; descendants "$keeper")
			kill -9 "$keeper"
			reap $!
			assert_stopped "$name" "${pids[@]}"
		else
			reap $!
			hull stop "$name" || true
		fi
	done
	hull start "$name"
	[ "$(hull exec "$name" echo well)" = well ]
	lock=$(lock_inode "$name")
	mapfile -t pids < <(family "$name")
	kill -9 "${pids[0]}"
	eventually 10 all_gone "${pids[0]}"
	hull rm "$name"
	assert_gone "$name" "$lock" "${pids[@]}"
}

@test "crash: kill -9 of the command line in run --rm leaves a sandbox that works, or none" {
	local name=tkill-$RANDOM
	echo "$name" >>"$BATS_TEST_TMPDIR/own"
	"$HULL" run --rm --name "$name" -m 768m -- sleep 1000 >/dev/null 2>&1 3>&- &
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

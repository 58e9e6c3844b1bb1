#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# create, run, ls, stop, start, rm: what they do and what they leave.

setup() { load lib; }
teardown() { remove_own; }

@test "lifecycle: create, start, stop, start again, rm: the disk stays until rm, then nothing does" {
	local lock pids
	own_sandbox -e KEPT=always
	state_is "$name" created
	hull start "$name"
	state_is "$name" running
	hull exec "$name" sh -c 'echo mine >~/file; sync'
	as_root "$name" sh -c 'echo roots >/etc/mine'
	# A second start is no harm: it says so, and that is all.
	run hull start "$name"
	assert_says 0 'running already'

	mapfile -t pids < <(family "$name")
	[ ${#pids[@]} -ge 2 ]
	hull stop "$name"
	state_is "$name" stopped
	assert_stopped "$name" "${pids[@]}"
	[ ! -e "$runtime/$name/control.sock" ]
	# It was unmounted, not torn off.
	e2fsck -fn "$HULL_HOME/sandboxes/$name/disk.img"

	hull start "$name"
	[ "$(hull exec "$name" cat file /etc/mine)" = "$(printf 'mine\nroots')" ]
	[ "$(hull exec "$name" printenv KEPT)" = always ]

	run hull rm "$name"
	assert_refused 125 'running'
	lock=$(lock_inode "$name")
	mapfile -t pids < <(family "$name")
	hull rm -f "$name"
	assert_gone "$name" "$lock" "${pids[@]}"
	run hull exec "$name" true
	assert_refused 125 "$name"
}

@test "lifecycle: exec starts a stopped sandbox; the guest may power itself off" {
	local pids
	own_sandbox
	[ "$(hull exec "$name" echo up)" = up ]
	mapfile -t pids < <(family "$name")
	run hull exec "$name" sudo poweroff
	eventually 60 state_is "$name" stopped
	assert_stopped "$name" "${pids[@]}"
}

@test "lifecycle: run with a command gives its output and code, and --rm leaves nothing" {
	local name=trun-$RANDOM lock
	run --separate-stderr hull run --rm --name "$name" --cpus 1 -m 1g -- sh -c 'echo from inside; exit 5'
	[ "$status" = 5 ]
	[ "$output" = "from inside" ]
	eventually 10 not test -e "$HULL_HOME/sandboxes/$name"
	assert_gone "$name" ""
}

@test "lifecycle: start, interrupted, has stopped what it had begun to start" {
	local pid
	own_sandbox --cold
	env --default-signal=INT "$HULL" start "$name" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	pid=$!
	until [ -e "$runtime/$name" ]; do :; done
	kill -INT "$pid"
	reap "$pid"
	cat "$BATS_TEST_TMPDIR/out"
	[ "$status" = 130 ]
	grep -q interrupted "$BATS_TEST_TMPDIR/out"
	assert_stopped "$name"
	state_is "$name" stopped
	# Later on it is only the wait that ends, and it is said.
	env --default-signal=INT "$HULL" start "$name" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	pid=$!
	until [ -e "$runtime/$name/control.sock" ]; do :; done
	eventually 60 grep -q 'waiting for the guest' "$BATS_TEST_TMPDIR/out"
	kill -INT "$pid"
	reap "$pid"
	cat "$BATS_TEST_TMPDIR/out"
	[ "$status" = 130 ]
	grep -q "$name continues to start" "$BATS_TEST_TMPDIR/out"
	[ "$(hull exec "$name" echo well)" = well ]
}

@test "lifecycle: with as many clients as there may be it is looked at and stopped, and others are told why not" {
	local crowd
	own_sandbox
	hull start "$name"
	mapfile -t pids < <(family "$name")
	# 300 who connect and ask nothing.
	python3 -c 'import signal, socket, sys
crowd = [socket.socket(socket.AF_UNIX) for _ in range(300)]
for s in crowd:
    s.connect(sys.argv[1])
print("connected", flush=True)
signal.pause()' "$runtime/$name/control.sock" >"$BATS_TEST_TMPDIR/crowd" 3>&- &
	crowd=$!
	eventually 60 grep -q connected "$BATS_TEST_TMPDIR/crowd"
	run hull exec "$name" true
	local code=$status said=$output
	local state
	state=$(sandbox_field "$name" state)
	run hull stop "$name"
	kill "$crowd"
	echo "$said; $output"
	[ "$code" = 125 ]
	[[ "$said" == *"clients are connected to $name already"* ]]
	[ "$state" = running ]
	[ "$status" = 0 ]
	assert_stopped "$name" "${pids[@]}"
	state_is "$name" stopped
}

@test "lifecycle: ls for people and for programs" {
	shared_sandbox
	hull ls | grep -qE '^NAME'
	hull ls | grep -qE '^shared .*running'
	[ "$(hull ls -q | grep -cx shared)" = 1 ]
	hull_json ls --json -- '.[] | select(.name == "shared") | .state == "running" and .cpus == 1 and .memory_limit == 1073741824 and (.memory > 1000000) and (.engine | length > 0)'
	eventually 120 docker_ready shared
	hull_json ls --json -- 'length >= 1 and all(.[]; has("name") and has("state"))'
}
docker_ready() { [ "$(sandbox_field "$1" docker)" = ready ]; }

@test "lifecycle: a sandbox takes nothing of its starter along" {
	# A descriptor, the directory, the session: the keeper holds none of them.
	local keeper
	own_sandbox
	exec 7>"$BATS_TEST_TMPDIR/held"
	(cd "$BATS_TEST_TMPDIR" && hull start "$name")
	exec 7>&-
	keeper=$(keeper_pid "$name")
	run grep -F "$BATS_TEST_TMPDIR" < <(find "/proc/$keeper/fd" -printf '%l\n')
	[ "$status" = 1 ]
	[ "$(readlink "/proc/$keeper/cwd")" != "$BATS_TEST_TMPDIR" ]
	[ "$(ps -o sid= -p "$keeper" | tr -d ' ')" != "$(ps -o sid= -p $$ | tr -d ' ')" ]
	# And an idle one does nothing that shows.
	hull stop "$name"
}

@test "lifecycle: its files are for their owner alone" {
	shared_sandbox
	[ "$(stat -c %a "$HULL_HOME/sandboxes/shared")" = 700 ]
	[ "$(stat -c %a "$runtime/shared")" = 700 ]
	# Another user gets no answer.
	if [ "$(id -u)" = 0 ]; then
		run setpriv --reuid 65534 --regid 65534 --clear-groups curl -sS --max-time 10 --unix-socket "$runtime/shared/docker.sock" http://x/_ping
		[ "$status" != 0 ]
	fi
}

@test "lifecycle: df says what du says, for each sandbox what it takes, and what prune frees" {
	# A home of its own, for no other test may write there meanwhile. To df names are enough; all in it is damaged.
	export HULL_HOME=$PWD/home
	local web=$HULL_HOME/sandboxes/web key=0123456789abcdef0123456789abcdef before freed
	taken() { du -s -B1 "$@" | cut -f 1; }
	data() { dd if=/dev/urandom of="$1" bs=64K count="$2" status=none; }
	mkdir -p "$HULL_HOME"/{images,templates/{$key,mine},sandboxes/web/{snapshots/one,frozen,.tmp-left,.tmp-held}} outside
	data "$HULL_HOME/templates/$key/memory" 6
	data "$HULL_HOME/templates/mine/memory" 2
	data "$web/disk.img" 5
	truncate -s 1T "$web/disk.img"
	data "$web/snapshots/one/memory" 3
	data "$web/frozen/memory" 2
	data "$web/keeper.log.1" 1
	data "$web/.tmp-left/memory" 4
	data "$web/.tmp-held/memory" 1
	data outside/file 8
	ln -s "$PWD/outside" "$web/link"
	ln "$HULL_HOME/templates/mine/memory" "$web/twice"
	sync
	exec 8<"$web/.tmp-held" # work under way
	flock 8

	before=$(taken "$HULL_HOME")
	hull_json df --json -- --argjson all "$before" '.size == $all and .problems == [] and
		.templates.count == 2 and .sandboxes.count == 1 and .snapshots.count == 1 and .images.count == 0'
	hull_json df --json -- --argjson disk "$(taken "$web/disk.img")" --argjson memory "$(taken "$web/frozen")" \
		--argjson snapshots "$(taken "$web/snapshots")" --argjson logs "$(taken "$web/keeper.log.1")" \
		'.sandboxes.items[0] | .name == "web" and .disk == $disk and .memory == $memory and .logs == $logs and
		.snapshots == $snapshots and .size == .disk + .memory + .logs + .other + .snapshots'
	run hull df --verbose
	assert_says 0 'web'

	# What prune would free is what df says, and what is gone afterwards.
	freed=$(hull df --json | jq .reclaimable)
	[ "$freed" = "$(taken -c "$HULL_HOME/templates/$key" "$web/.tmp-left" | tail -n 1)" ]
	hull_json prune -n --json -- --argjson size "$freed" '(map(.size) | add) == $size and
		map(.name) == ["0123456789abcdef0123456789abcdef", "sandboxes/web/.tmp-left"]'
	[ "$(taken "$HULL_HOME")" = "$before" ]
	hull prune >/dev/null
	[ "$(taken "$HULL_HOME")" = $((before - freed)) ]
	hull_json df --json -- '.reclaimable == 0'
	exec 8<&-

	# A symlink in place of a directory is not followed, and told.
	rm -r "$web/snapshots"
	ln -s "$PWD/outside" "$web/snapshots"
	run hull df
	assert_says 1 'snapshots was not measured'
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Bad input: one clear line, and the documented code. Nothing here starts a machine.

setup() { load lib; }
teardown() { remove_own; }

@test "input: an unknown command or flag suggests the right one" {
	run hull strat
	assert_refused 125 'start'
	run hull exec --evn A=1 x true
	assert_refused 125 '--env'
	run hull create --memroy 1g
	assert_refused 125 '--memory'
	run hull ls --jsn
	assert_refused 125 '--json'
	run hull list
	assert_refused 125 'ls'
	run hull start --no-such-flag-at-all x
	assert_refused 125 'no-such-flag-at-all'
}

@test "input: an unknown sandbox" {
	local verb
	for verb in start stop rm logs; do
		run hull $verb no-such-sandbox
		assert_refused 125 'no-such-sandbox'
	done
	run hull exec no-such-sandbox true
	assert_refused 125 'no-such-sandbox'
	run hull docker no-such-sandbox ps
	assert_refused 125 'no-such-sandbox'
}

@test "input: a bad name" {
	local bad
	for bad in '' . .. a/b ../x -x 'a b' "$(printf 'a\033[31m')" "$(printf 'x%.0s' $(seq 1 64))"; do
		run hull create "--name=$bad" shell
		[ "$status" = 125 ]
		[[ "$output" != *$'\033'* ]]
		[ "$(grep -c . <<<"$output")" = 1 ]
	done
	[ -z "$(hull ls -q | grep -vx -e shared -e runaway || true)" ]
}

@test "input: a name that is taken" {
	own_sandbox
	run hull create --name "$name" shell
	assert_refused 125 "$name"
	# Before anything that takes long: there is no template of this kind.
	run hull create --name "$name" -m 3g shell
	assert_refused 125 "$name"
	# Nor does a sandbox stand still for it, or have to run.
	run hull fork "$name" "$name"
	assert_refused 125 'taken'
}

@test "input: memory, processors and disk out of bounds" {
	run hull create --name tm -m 1m shell
	assert_refused 125 'memory'
	run hull create --name tm -m 999t shell
	assert_refused 125 'memory'
	run hull create --name tm -m lots shell
	assert_refused 125 'lots'
	run hull create --name tm -m -1g shell
	[ "$status" = 125 ]
	run hull create --name tm --cpus 100000 shell
	assert_refused 125 'cpu'
	run hull create --name tm --cpus two shell
	assert_refused 125 'two'
	run hull create --name tm --disk 1k shell
	assert_refused 125 'disk'
	[ ! -e "$HULL_HOME/sandboxes/tm" ]
}

@test "input: a bad environment variable, a missing value, too many words" {
	run hull create --name tm -e '=x' shell
	[ "$status" = 125 ]
	run hull create --name
	assert_refused 125 'name'
	run hull stop
	[ "$status" = 125 ]
	run hull exec
	[ "$status" = 125 ]
}

@test "input: no base image: says how to build one" {
	run env HULL_HOME="$BATS_TEST_TMPDIR/empty" "$HULL" create --name x shell
	assert_refused 125 'hull image build'
	run hull create --name tm --image no-such-image shell
	assert_refused 125 'no-such-image'
}

@test "input: a corrupt sandbox.json: refused with its path, listed, removable" {
	own_sandbox
	local file=$HULL_HOME/sandboxes/$name/sandbox.json content
	for content in '' '{' '[]' '{"name": 7}' "$(head -c 200 /dev/zero | tr '\0' '[')"; do
		printf '%s' "$content" >"$file"
		run hull start "$name"
		assert_refused 125 'sandbox.json'
		run hull exec "$name" true
		assert_refused 125 'sandbox.json'
	done
	run hull ls
	[ "$status" = 0 ]
	[[ "$output" == *"$name"* ]]
	hull rm -f "$name"
	[ ! -e "$HULL_HOME/sandboxes/$name" ]
}

@test "input: what a death in create left is swept; a directory that is no sandbox is said to be damaged" {
	mkdir "$HULL_HOME/sandboxes/.new-0123456789ab" "$HULL_HOME/sandboxes/not-one"
	own_sandbox
	[ ! -e "$HULL_HOME/sandboxes/.new-0123456789ab" ]
	state_is not-one damaged
	hull rm -f not-one
	[ ! -e "$HULL_HOME/sandboxes/not-one" ]
}

@test "input: a stale socket and runtime directory are no obstacle" {
	own_sandbox
	mkdir -p "$runtime/$name"
	chmod 700 "$runtime/$name"
	python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$runtime/$name/control.sock"
	state_is "$name" created
	run hull stop "$name"
	[[ "$output" != *"onnection refused"* ]]
	LIMIT=300 hull start "$name"
	[ "$(hull exec "$name" echo up)" = up ]
}

@test "input: no room for the disk: refused, nothing left" {
	if [ "$(id -u)" != 0 ]; then skip "needs a file system of its own"; fi
	local small=$BATS_TEST_TMPDIR/small
	mkdir "$small"
	mount -t tmpfs -o size=1m,mode=700 hull-small "$small"
	mkdir "$small/home"
	ln -s "$HULL_HOME/images" "$small/home/images"
	run env HULL_HOME="$small/home" "$HULL" create --cold --name x shell
	local left
	left=$(find "$small/home/sandboxes" -mindepth 1 2>/dev/null | grep -v 'lock$' || true)
	umount "$small"
	assert_refused 125 'space'
	[ -z "$left" ]
}

@test "input: a runtime directory that is someone else's" {
	if [ "$(id -u)" != 0 ]; then skip "needs root to make one"; fi
	mkdir -p "$BATS_TEST_TMPDIR/r/hull"
	chown -R 65534 "$BATS_TEST_TMPDIR/r"
	run env XDG_RUNTIME_DIR="$BATS_TEST_TMPDIR/r" "$HULL" ls
	[ "$status" = 125 ]
}

@test "input: output that cannot be written is a failure" {
	if ! [ -w /dev/full ]; then skip "no /dev/full"; fi
	run bash -c '"$HULL" help >/dev/full'
	assert_refused 125 'space'
}

@test "help, version and completion" {
	local verb
	[[ "$(hull version)" == *hull* ]]
	hull --version
	hull help | grep -q exec
	for verb in run create exec ls start stop rm logs image docker doctor version; do
		hull help $verb | grep -qi usage
		hull $verb --help | grep -qi usage
	done
	hull completion bash >"$BATS_TEST_TMPDIR/c.bash"
	bash -n "$BATS_TEST_TMPDIR/c.bash"
	hull completion zsh | grep -q compdef
	run hull completion tcsh
	assert_refused 125 'tcsh'
}

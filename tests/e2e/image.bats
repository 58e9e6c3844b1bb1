#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hull image and hull doctor. The build that works was done before the tests; here are the ways in which one fails.

setup() { load lib; }

nothing_half_done() { # HOME
	[ -z "$(find "$1/images" -mindepth 1 -maxdepth 1 ! -name '.*' ! -name failed-build.log 2>/dev/null)" ]
	[ -z "$(find "$1/images" -mindepth 1 -maxdepth 1 -name '.tmp-*' -type d 2>/dev/null)" ]
}

@test "image: ls and inspect" {
	hull image ls | grep -q default
	hull_json image ls --json -- 'length >= 1 and (.[0].digest | length == 32)'
	hull_json image inspect default -- '.kernel and .suite and .mirror'
	run hull image inspect no-such-image
	assert_refused 125 'no-such-image'
}

@test "image: a second build finds nothing to do" {
	local before
	before=$(readlink "$HULL_HOME/images/default")
	LIMIT=60 hull image build
	[ "$(readlink "$HULL_HOME/images/default")" = "$before" ]
}

@test "image: in use, it is not removed" {
	LIMIT=60 hull create --cold --name tuses shell
	run hull image rm default
	local code=$status said=$output
	hull rm -f tuses
	[ "$code" = 125 ] || [ "$code" = 1 ]
	[[ "$said" == *tuses* ]]
	hull image inspect default >/dev/null
}

@test "image: a mirror that does not answer: said so, nothing half done" {
	# A port of the loopback where nothing listens.
	local home=$BATS_TEST_TMPDIR/home
	run env HULL_HOME="$home" HULL_MIRROR=http://127.0.0.1:1/debian timeout 120 "$HULL" image build
	[ "$status" = 125 ]
	[[ "$output" == *127.0.0.1:1* ]]
	nothing_half_done "$home"
}

@test "image: a build that is interrupted leaves nothing half done" {
	local home=$BATS_TEST_TMPDIR/home pid
	HULL_HOME=$home "$HULL" image build >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	pid=$!
	eventually 60 has_temporary "$home"
	sleep 1
	kill -INT $pid
	reap $pid
	[ "$status" = 130 ] || [ "$status" = 125 ]
	nothing_half_done "$home"
	run pgrep -f "$home"
	[ "$status" = 1 ]
	run grep -F "$home" /proc/mounts
	[ "$status" = 1 ]
}
has_temporary() { [ -n "$(find "$1/images" -maxdepth 1 -name '.tmp-*' 2>/dev/null)" ]; }

# A build of this home in which tests/e2e/mmdebstrap stands in for the real one. Further words are its environment.
quick_build() { # HOME [VARIABLE=VALUE...]
	local home=$1
	shift
	mkdir -p "$BATS_TEST_TMPDIR/bin"
	ln -sf "$top/tests/e2e/mmdebstrap" "$BATS_TEST_TMPDIR/bin/mmdebstrap"
	exec env PATH="$BATS_TEST_TMPDIR/bin:$PATH" FAKE_IMAGE="$(realpath "$HULL_HOME/images/default")" HULL_HOME="$home" \
		HULL_MIRROR=http://127.0.0.1:1/debian "$@" timeout 400 "$HULL" image build
}
# The machine that preloads Docker's store in HOME is there: its runtime directory is in $aside.
preloads() { # HOME
	local dir
	for dir in "$runtime"/.seed-*; do
		[ -e "$dir/hull/seed/control.sock" ] || continue
		aside=$dir
		seed_home=$(echo "$1"/images/.tmp-*/seed-home)
		[ -d "$seed_home" ] && return
	done
	return 1
}

@test "image: a build that is killed while it preloads leaves no process, and no file after the next build" {
	local home=$BATS_TEST_TMPDIR/home pid pids aside seed_home
	quick_build "$home" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	pid=$!
	eventually 120 preloads "$home" || { cat "$BATS_TEST_TMPDIR/out"; return 1; }
	mapfile -t pids < <(XDG_RUNTIME_DIR=$aside HULL_HOME=$seed_home family seed)
	[ ${#pids[@]} -ge 2 ]
	# `timeout` has the build as its child.
	mapfile -t builders < <(echo "$pid"; descendants "$pid")
	kill -9 "${builders[@]}"
	reap $pid
	eventually 30 all_gone "${pids[@]}"
	run quick_build "$home" FAKE_FAIL=1
	[ "$status" = 125 ]
	nothing_half_done "$home"
	[ ! -e "$aside" ]
}

@test "image: a recipe without Docker makes an image that says so to whoever waits for Docker" {
	local home=$BATS_TEST_TMPDIR/home digest
	run quick_build "$home" FAKE_DOCKERD=no
	echo "$output"
	[ "$status" = 0 ]
	[[ "$output" == *"no docker.io"* ]]
	nothing_half_done_but_image "$home"
	digest=$(readlink "$home/images/default")
	# It is whole: the next build finds nothing to do.
	run quick_build "$home" FAKE_FAIL=1
	[ "$status" = 0 ]
	[ "$(readlink "$home/images/default")" = "$digest" ]
	export HULL_HOME=$home
	hull create -q --name tplain -m 512m shell
	run hull start --wait docker tplain
	local started=$status said=$output
	run hull docker tplain ps
	local asked=$status answer=$output
	run timeout 30 python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print(s.recv(1))' "$runtime/tplain/docker.sock"
	local pinged=$output state
	state=$(sandbox_field tplain docker)
	run hull exec tplain echo well
	hull rm -f tplain
	[ "$output" = well ]
	[ "$started" = 125 ]
	[[ "$said" == *"tplain has no Docker"* ]]
	[ "$asked" = 125 ]
	[[ "$answer" == *"tplain has no Docker"* ]]
	# Closed without an answer, and not left waiting.
	[ "$pinged" = "b''" ]
	[ "$state" = absent ]
}
nothing_half_done_but_image() {
	[ -z "$(find "$1/images" -mindepth 1 -maxdepth 1 -name '.tmp-*')" ] && [ -z "$(find "$runtime" -maxdepth 1 -name '.seed-*')" ]
}

@test "image: a recipe that cannot be read, or names no package" {
	run env HULL_HOME="$BATS_TEST_TMPDIR/home" timeout 60 "$HULL" image build --recipe "$BATS_TEST_TMPDIR/none"
	[ "$status" = 125 ]
	[[ "$output" == *"$BATS_TEST_TMPDIR/none"* ]]
	nothing_half_done "$BATS_TEST_TMPDIR/home"
}

@test "doctor: says what this machine can do, and which engine is used" {
	run hull doctor
	[ "$status" = 0 ]
	[[ "$output" == *qemu* || "$output" == *QEMU* ]]
	[[ "$output" == */dev/kvm* || "$output" == *KVM* || "$output" == *kvm* ]]
	hull_json doctor --json -- 'length >= 3 and all(.[]; type == "object")'
}

#!/usr/bin/env bats
# hull image and hull doctor. The build that works was done before the tests; here are the ways in which one fails.

setup() { load lib; }

nothing_half_done() { # HOME
	[ -z "$(find "$1/images" -mindepth 1 -maxdepth 1 ! -name '.*' ! -name failed-build.log 2>/dev/null)" ]
	[ -z "$(find "$1/images" -mindepth 1 -maxdepth 1 -name '.tmp-*' -type d 2>/dev/null)" ]
}

@test "image: ls and inspect" {
	hull image ls | grep -q default
	hull image ls --json | jq -e 'length >= 1 and (.[0].digest | length == 32)'
	hull image inspect default | jq -e '.kernel and .suite and .mirror' >/dev/null
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
	LIMIT=60 hull create --name tuses -m 768m shell
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
	hull doctor --json | jq -e . >/dev/null
}

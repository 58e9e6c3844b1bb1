#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The main job, as `make run` does it: a project built and run with Docker in a sandbox.

setup() { load lib; }

@test "example: the guestbook, from nothing to answered requests, and nothing left" {
	local before
	before=$(hull ls -q | sort)
	run timeout 600 "$top/examples/guestbook/run" "$HULL"
	echo "$output"
	[ "$status" = 0 ]
	[[ "$output" == *'signed by the host'* ]]
	[ "$(hull ls -q | sort)" = "$before" ]
}

@test "example: interrupted, it removes its sandbox" {
	local before
	before=$(hull ls -q | sort)
	# The shell ignores ^C in what it starts in the background.
	env --default-signal=INT "$top/examples/guestbook/run" "$HULL" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	eventually 120 grep -q 'sandbox' "$BATS_TEST_TMPDIR/out"
	sleep 2
	kill -INT $!
	reap $!
	[ "$status" = 130 ]
	[ "$(hull ls -q | sort)" = "$before" ]
}

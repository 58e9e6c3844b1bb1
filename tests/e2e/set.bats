#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hull set: the size of a sandbox that is there.

setup() {
	load lib
}

teardown() {
	remove_own
}

root_size() { # in MiB
	hull exec "$name" df -BM --output=size / | tail -n 1 | tr -dc 0-9
}

@test "a disk grows while the sandbox runs, and keeps what is on it" {
	own_sandbox
	hull start -q "$name"
	hull exec "$name" sh -c 'echo kept >~/file'
	local before
	before=$(root_size)
	hull set -q "$name" --disk 80g
	[ "$(root_size)" -gt $((before + 14000)) ]
	[ "$(hull exec "$name" cat /home/agent/file)" = kept ]
	hull_json ls --json -- --arg n "$name" '.[] | select(.name == $n) | .disk == 80 * 1024 * 1024 * 1024'
	run hull set "$name" --disk 70g
	assert_refused 125 'larger only'
	run hull set "$name" --cpus 2
	assert_refused 125 'hull stop'
	# It is the size it starts with.
	LIMIT=180 hull stop -q "$name"
	LIMIT=180 hull start -q "$name"
	[ "$(root_size)" -gt $((before + 14000)) ]
	[ "$(hull exec "$name" cat /home/agent/file)" = kept ]
}

@test "cpus, memory and disk of a stopped sandbox hold from its next start on, also when it came from a template" {
	own_sandbox
	hull set -q "$name" --memory 640m --cpus 2 --disk 66g
	run hull set "$name"
	assert_refused 125 'nothing to change'
	run hull set "$name" --memory 1m
	assert_refused 125 'too little'
	LIMIT=180 hull start -q "$name"
	[ "$(hull exec "$name" nproc)" = 2 ]
	[ "$(hull exec "$name" awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" -lt 640 ]
	[ "$(root_size)" -gt $((64 * 1024)) ]
}

@test "a paused sandbox keeps the size that its memory is of" {
	own_sandbox
	LIMIT=180 hull start -q "$name"
	LIMIT=180 hull pause -q "$name"
	run hull set "$name" --memory 640m
	assert_refused 125 'has saved memory'
	LIMIT=180 hull resume -q "$name"
	hull exec "$name" true
}

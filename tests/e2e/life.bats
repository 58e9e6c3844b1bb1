#!/usr/bin/env bats
# What a sandbox goes through in a day: it is paused and copied while things run in it, its runtime directory goes
# away, it is started twice at once.

setup() {
	load lib
	export LIMIT=300
}
teardown() { remove_own; }

# How far the sandbox's clock is behind the host's, in ms, give or take half a round trip.
behind() { # NAME
	local before after there
	before=$(date +%s%N)
	there=$(hull exec "$1" date +%s%N)
	after=$(date +%s%N)
	echo $((((before + after) / 2 - there) / 1000000))
}

@test "life: the clock is right after snapshots, and after a pause" {
	own_sandbox
	hull start -q "$name"
	hull exec "$name" sh -c 'head -c 100M /dev/zero | tr "\0" x >/dev/shm/x'
	local before after
	before=$(behind "$name")
	# Set behind by a stop of its own, as the kernel of a host that slept would leave it.
	as_root "$name" date -s '10 seconds ago'
	hull snapshot create -q -f "$name@t"
	after=$(behind "$name")
	echo "$before ms, then $after ms"
	[ $((after - before)) -lt 300 ]
	[ $((after - before)) -gt -300 ]
	hull pause -q "$name"
	hull resume -q "$name"
	after=$(behind "$name")
	[ $((after - before)) -lt 300 ]
	[ $((after - before)) -gt -300 ]
}

@test "life: two runs at once in a new directory share one sandbox" {
	mkdir my_project
	cd my_project
	for i in 1 2 3; do hull run -q --cpus 1 -m 1g -- sh -c "echo $i >>who" & done
	wait
	hull ls --json | jq -r --arg p "$PWD" '.[] | select(.paths | index($p)) | .name' >>"$BATS_TEST_TMPDIR/own"
	[ "$(sort who | tr -d '\n')" = 123 ]
	[ "$(wc -l <"$BATS_TEST_TMPDIR/own")" = 1 ]
}

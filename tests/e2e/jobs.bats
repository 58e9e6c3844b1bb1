#!/usr/bin/env bats
# hull exec -d: jobs that outlive the client, and their output in hull logs.

setup_file() {
	load lib
	shared_sandbox
}
setup() { load lib; }

@test "job: -d prints an id and returns while the command runs; its output is kept" {
	local id
	id=$(hull exec -d shared sh -c 'echo begun; echo to-stderr >&2; while ! [ -e /tmp/finish ]; do sleep 0.1; done; echo ended; exit 3')
	[ -n "$id" ]
	[ "$(wc -l <<<"$id")" = 1 ]
	eventually 60 job_says "$id" begun
	hull logs shared --job "$id" | grep -qx to-stderr
	run grep -x ended <<<"$(hull logs shared --job "$id")"
	[ "$status" = 1 ]
	hull exec shared touch /tmp/finish
	eventually 60 job_says "$id" ended
	hull exec shared rm /tmp/finish
}
job_says() { hull logs shared --job "$1" | grep -qx "$2"; }

@test "job: -f follows its output to its end" {
	local id
	id=$(hull exec -d shared sh -c 'for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done')
	run hull logs -f shared --job "$id"
	[ "$status" = 0 ]
	[ "$(grep '^line' <<<"$output")" = "$(printf 'line %d\n' 1 2 3 4 5)" ]
}

@test "job: large output is whole, and bounded in the keeper" {
	local id
	id=$(hull exec -d shared sh -c 'seq 1 200000')
	hull logs -f shared --job "$id" >"$BATS_TEST_TMPDIR/out"
	[ "$(grep -c '^[0-9]*$' "$BATS_TEST_TMPDIR/out")" = 200000 ]
	[ "$(tail -n 1 "$BATS_TEST_TMPDIR/out")" = 200000 ]
}

@test "job: user, directory and environment are as asked" {
	local id
	id=$(hull exec -d -u root -w /usr -e X=y shared sh -c 'id -un; pwd; echo $X $FROM_SANDBOX')
	[ "$(hull logs -f shared --job "$id")" = "$(printf 'root\n/usr\ny yes')" ]
}

@test "job: one that cannot be executed is refused, or listed as failed with the reason" {
	run hull exec -d shared no-such-command
	if [ "$status" = 0 ]; then
		eventually 30 job_failed "$output"
	else
		assert_says 127 no-such-command
	fi
}
job_failed() { hull logs shared --jobs --json | jq -e --arg id "$1" '.[] | select(.id == $id) | .state == "failed" and (.error | contains("no-such-command"))'; }

@test "job: an unknown id is refused" {
	run hull logs shared --job 999999
	assert_refused 125 '999999'
	run hull logs shared --job ../../sandbox
	assert_refused 125 'job'
}

@test "logs: keeper, serial console and dockerd have theirs" {
	hull logs shared | grep -q .
	hull logs shared --serial | grep -q 'hull-init: .*ready'
	hull logs shared --docker | grep -qi 'daemon'
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hull exec -d: jobs that outlive the client, and their output in hull logs.

setup_file() {
	load lib
	shared_sandbox
}
setup() { load lib; }
teardown() { remove_own; }

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

@test "job: one that cannot be executed is refused as by exec, and is no job" {
	local before
	before=$(hull logs shared --jobs --json)
	run hull exec -d shared no-such-command
	assert_refused 127 'no-such-command: not found'
	run hull exec -d shared /etc/passwd
	assert_refused 126 '/etc/passwd: cannot execute: permission denied'
	run hull exec -d -w /no/such/dir shared true
	assert_refused 126 'cannot execute: directory /no/such/dir: not found'
	run hull exec -d -u nobody-at-all shared true
	assert_refused 126 'nobody-at-all'
	[ "$(hull logs shared --jobs --json)" = "$before" ]
}

@test "job: one that runs when the sandbox is stopped was stopped, one that finished for it has exited" {
	own_sandbox
	local id other
	id=$(hull exec -d "$name" sleep 1000)
	other=$(hull exec -d "$name" sh -c 'trap "exit 5" TERM; touch /tmp/set; while :; do sleep 0.1; done')
	eventually 60 hull exec "$name" test -e /tmp/set
	hull stop "$name"
	stopped_and_exited "$id" "$other"
	hull logs "$name" --jobs | grep -qE "^$other +exited +5 "
	# As a keeper tells it that did not see them.
	hull start "$name"
	stopped_and_exited "$id" "$other"
}
stopped_and_exited() {
	hull_json logs "$name" --jobs --json -- --arg id "$1" '.[] | select(.id == $id) | .state == "stopped" and .exit == null'
	hull_json logs "$name" --jobs --json -- --arg id "$2" '.[] | select(.id == $id) | .state == "exited" and .exit == 5'
}

# A cgroup is empty before its last process can be reaped: the end of that one is told all the same.
@test "job: all that finish while the sandbox stops have exited" {
	own_sandbox --no-docker
	for _ in {1..12}; do
		hull exec -d "$name" sh -c 'trap "exit 5" TERM; : >/tmp/set.$$; while :; do sleep 0.1; done'
	done
	eventually 60 hull exec "$name" sh -c '[ $(ls /tmp | grep -c "^set") = 12 ]'
	hull stop "$name"
	hull_json logs "$name" --jobs --json -- 'map(select(.state == "exited" and .exit == 5)) | length == 12'
}

@test "job: one that ran when its keeper was killed was stopped" {
	own_sandbox
	local id pids
	id=$(hull exec -d "$name" sleep 1000)
	mapfile -t pids < <(family "$name")
	kill -9 "${pids[0]}"
	assert_stopped "$name" "${pids[@]}"
	hull_json logs "$name" --jobs --json -- --arg id "$id" '.[] | select(.id == $id) | .state == "stopped"'
}

@test "job: output beyond what one file of it holds is whole, also its last lines" {
	local id out=$BATS_TEST_TMPDIR/out
	id=$(hull exec -d shared seq 1 5000000)
	LIMIT=300 hull logs -f shared --job "$id" >/dev/null
	[ -s "$HULL_HOME/sandboxes/shared/jobs/$id.log.1" ]
	hull logs shared --job "$id" >"$out"
	seq 1 5000000 | cmp - "$out"
	# The last ones of both files, of one, and none.
	hull logs -n 2000000 shared --job "$id" >"$out"
	seq 3000001 5000000 | cmp - "$out"
	[ "$(hull logs -n 2 shared --job "$id")" = "$(printf '4999999\n5000000')" ]
	[ -z "$(hull logs -n 0 shared --job "$id")" ]
	hull logs -n 9000000 shared --job "$id" | cmp - <(seq 1 5000000)
}

@test "job: an unknown id is refused" {
	run hull logs shared --job 999999
	assert_refused 125 '999999'
	run hull logs shared --job ../../sandbox
	assert_refused 125 'job'
}

@test "job: kill reaches all of it, setsid children included, and ps tells whose a process is" {
	local id
	id=$(hull exec -d shared sh -c 'setsid sleep 7777 & exec sleep 8888')
	eventually 30 ps_has "$id" 'sleep 7777'
	ps_has "$id" 'sleep 8888'
	hull_json top shared --json -- --arg id "$id" 'map(select(.job == $id)) | length == 2 and all(.memory > 0)'
	[ "$(hull kill shared "$id")" = "$id" ]
	eventually 30 not hull exec shared pgrep -f 'sleep (7777|8888)'
	eventually 30 job_state "$id" exited
	hull_json logs shared --jobs --json -- --arg id "$id" '.[] | select(.id == $id) | .exit == 143'
	# TERM is not heeded: KILL. What an ended job left behind is reached too.
	id=$(hull exec -d shared sh -c 'trap "" TERM; setsid sleep 7777 & while :; do sleep 1; done')
	eventually 30 ps_has "$id" 'sleep 7777'
	hull kill -s KILL shared "$id"
	eventually 30 not hull exec shared pgrep -f 'sleep 7777'
	id=$(hull exec -d shared sh -c 'setsid sleep 7777 >/dev/null 2>&1 &')
	eventually 30 job_state "$id" exited
	run hull kill shared "$id"
	assert_says 0 'has ended'
	eventually 30 not hull exec shared pgrep -f 'sleep 7777'
}
ps_has() { hull_json ps shared --json -- --arg id "$1" --arg c "$2" 'any(.[]; .job == $id and (.command | endswith($c)))' >/dev/null; }
job_state() { hull_json logs shared --jobs --json -- --arg id "$1" --arg s "$2" '.[] | select(.id == $id) | .state == $s' >/dev/null; }

@test "job: attach shows what it prints, feeds its stdin, and ends with its code" {
	local id
	id=$(hull exec -d -i shared sh -c 'read a; echo "got $a"; cat; exit 4')
	run hull attach shared "$id" <<<$'one\ntwo'
	[ "$status" = 4 ]
	[ "$output" = $'got one\ntwo' ]
	[ "$(hull logs shared --job "$id")" = $'got one\ntwo' ]
	# Left open for the next; stdin that nobody asked for is empty.
	id=$(hull exec -d -i shared cat)
	LIMIT=5 hull attach --keep-stdin --sig-proxy=false shared "$id" <<<first || true
	[ "$(hull attach shared "$id" <<<second)" = second ]
	[ "$(hull logs shared --job "$id")" = $'first\nsecond' ]
	id=$(hull exec -d shared cat)
	eventually 30 job_state "$id" exited
	run hull attach shared "$id"
	assert_refused 125 'has ended'
}

@test "kill: without a job the sandbox goes off; signals and ids that are none are refused" {
	run hull kill shared -s HUP
	assert_refused 125 'KILL only'
	run hull kill shared -s NOPE 00000000
	assert_refused 125 'no signal'
	run hull kill shared 00000000
	assert_refused 125 'no such job'
	run hull ps no-such-sandbox
	assert_refused 125 'no-such-sandbox'
	own_sandbox --no-docker
	hull start "$name"
	[ "$(hull kill "$name")" = "$name" ]
	state_is "$name" stopped
}

@test "logs: keeper and serial console have theirs" {
	hull logs shared | grep -q .
	as_root shared sh -c 'echo said on the console >/dev/console'
	eventually 20 console_says 'said on the console'
}
console_says() { hull logs shared --serial | grep -q "$1"; }

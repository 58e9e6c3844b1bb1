#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
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
	local pids=()
	for i in 1 2 3; do
		hull run -q --cpus 1 -m 1g -- sh -c "echo $i >>who" &
		pids+=($!)
	done
	# By id: a bare `wait` would wait for the timer of bats as well.
	for i in "${pids[@]}"; do wait "$i"; done
	hull ls --json | jq -r --arg p "$PWD" '.[] | select(.paths | index($p)) | .name' >>"$BATS_TEST_TMPDIR/own"
	[ "$(sort who | tr -d '\n')" = 123 ]
	[ "$(wc -l <"$BATS_TEST_TMPDIR/own")" = 1 ]
}

answers() { hull exec "$1" curl -fsS -m 5 -o /dev/null http://127.0.0.1:8000/; }
job_state() { hull logs "$1" --jobs --json | jq -r --arg id "$2" '.[] | select(.id == $id) | .state'; }
last_line() { hull logs "$1" --job "$2" -n 1; }
grows() { [ "$(last_line "$1" "$2")" -gt "$3" ]; }

@test "life: commands and jobs go on in a copy, in the original, and after a pause" {
	own_sandbox
	local job client n copy=$name-copy
	echo "$copy" >>"$BATS_TEST_TMPDIR/own"
	job=$(hull exec -d "$name" sh -c 'i=0; while sleep 1; do i=$((i+1)); echo $i; done')
	hull exec "$name" python3 -m http.server -b 127.0.0.1 8000 >client.out 2>&1 &
	client=$!
	eventually 60 answers "$name"
	hull fork -q "$name" "$copy"
	answers "$copy"
	answers "$name"
	[ "$(job_state "$copy" "$job")" = running ]
	n=$(last_line "$copy" "$job")
	eventually 30 grows "$copy" "$job" "${n:-0}"
	# The client's command is a job there, and an end of it is noticed.
	n=$(hull logs "$copy" --jobs --json | jq -r '.[] | select(.argv[0] == "python3") | .id')
	hull exec "$copy" pkill -TERM -f http.server
	eventually 30 ended "$copy" "$n"
	kill -0 "$client"
	hull pause -q "$name"
	reap "$client"
	[ "$status" = 125 ]
	grep -q 'paused; the command goes on' client.out
	[ "$(job_state "$name" "$job")" = paused ]
	n=$(last_line "$name" "$job")
	hull resume -q "$name"
	answers "$name"
	[ "$(job_state "$name" "$job")" = running ]
	eventually 30 grows "$name" "$job" "$n"
	hull stop -q "$name"
	[ "$(job_state "$name" "$job")" = stopped ]
}
ended() { [ "$(job_state "$1" "$2")" = exited ]; }

@test "life: a sandbox whose runtime directory is taken away is found again, from another login too" {
	own_sandbox
	local own=$XDG_RUNTIME_DIR mine keeper
	mine=$(mktemp -d /tmp/hr.XXXXXX)
	export XDG_RUNTIME_DIR=$mine
	hull start -q "$name"
	# Its sockets are gone and not there again yet: it runs all the same.
	keeper=$(keeper_pid "$name")
	kill -STOP "$keeper"
	rm -rf "$mine/hull"
	state_is "$name" running
	kill -CONT "$keeper"
	eventually 20 hull exec "$name" true
	# The login has ended, and this is another.
	rm -rf "$mine"
	export XDG_RUNTIME_DIR=$own
	eventually 20 hull exec "$name" true
	state_is "$name" running
	hull stop -q "$name"
	state_is "$name" stopped
	[ ! -e "$mine" ]
}

@test "life: long names in a deep runtime directory, and a host name for any name" {
	local own=$XDG_RUNTIME_DIR
	XDG_RUNTIME_DIR=$own/$(printf 'r%.0s' {1..70})
	export XDG_RUNTIME_DIR
	mkdir -m 700 "$XDG_RUNTIME_DIR"
	name=my_project.$(printf 'n%.0s' {1..52})
	echo "$name" >>"$BATS_TEST_TMPDIR/own"
	hull create -q --name "$name" --cpus 1 -m 1g shell
	hull start -q "$name"
	[ "$(hull exec "$name" hostname)" = "my-project.$(printf 'n%.0s' {1..52})" ]
	if command -v docker >/dev/null; then hull docker "$name" ps -q; fi
	hull pause -q "$name"
	hull resume -q "$name"
	hull exec "$name" true
	hull rm -f "$name"
	rm -rf "$XDG_RUNTIME_DIR"
	export XDG_RUNTIME_DIR=$own
}

@test "life: a keeper that hangs is found by what it wrote down, and killed" {
	own_sandbox
	hull start -q "$name"
	local keeper
	keeper=$(head -n 1 "$HULL_HOME/sandboxes/$name/lock" | cut -d ' ' -f 1)
	[ "$keeper" = "$(keeper_pid "$name")" ]
	kill -STOP "$keeper"
	hull rm -f "$name"
	[ ! -e "$HULL_HOME/sandboxes/$name" ]
	eventually 10 all_gone "$keeper"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Many clones of one template, at once and one after the other: they share what they can and leave nothing.
#
# HULL_TEST_CLONES (12) clones at once, HULL_TEST_ROUNDS (25) times create, exec, rm; a release is tested with 50 and 1000.

: "${HULL_TEST_CLONES:=12}" "${HULL_TEST_ROUNDS:=25}"

setup() {
	load lib
	export LIMIT=300
}
teardown() { remove_own; }

kind=(--cpus 1 -m 512m --no-docker)
# Sums of a field of smaps_rollup over all processes of these sandboxes, engines, keepers and helpers, in MiB.
memory_of() { # FIELD NAME...
	local field=$1 n p sum=0
	shift
	for n; do
		for p in $(family "$n"); do
			sum=$((sum + $(awk -v f="$field:" '$1 == f {n = $2} END {print n + 0}' "/proc/$p/smaps_rollup")))
		done
	done
	echo $((sum / 1024))
}

@test "clones: $HULL_TEST_CLONES of one template at once, each answers, and they share their memory" {
	local i n names=() pids=() rss pss
	hull rm -f "$(hull create -q --name "first-$RANDOM" "${kind[@]}" shell)"
	for ((i = 0; i < HULL_TEST_CLONES; i++)); do
		n=many$i-$RANDOM
		names+=("$n")
		echo "$n" >>"$BATS_TEST_TMPDIR/own"
		hull create -q --name "$n" "${kind[@]}" shell &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i"; done
	pids=()
	for n in "${names[@]}"; do
		LIMIT=600 hull exec "$n" hostname >"out-$n" &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i"; done
	for n in "${names[@]}"; do [ "$(cat "out-$n")" = "$n" ]; done
	rss=$(memory_of Rss "${names[@]}")
	pss=$(memory_of Pss "${names[@]}")
	echo "# $HULL_TEST_CLONES clones: $rss MiB resident, $pss MiB with what is shared counted once" >&3
	[ $((pss * 2)) -lt "$rss" ]
	# Each has its own: what one writes the others have not.
	as_root "${names[0]}" sh -c 'echo only here >/root/mine'
	run as_root "${names[1]}" cat /root/mine
	[ "$status" = 1 ]
	hull rm -f "${names[@]}"
}

# What would grow: files, processes, mounts, sockets, shared memory, locks, blocks of the disk (in MiB).
census() {
	find "$HULL_HOME" "$XDG_RUNTIME_DIR/hull" -not -name probe | sort
	pgrep -fc -- '(hull-keeper |guest=)(round|first)-' | sed 's/^/processes /'
	grep -cF "$XDG_RUNTIME_DIR" /proc/self/mountinfo | sed 's/^/mounts /'
	grep -cF "$XDG_RUNTIME_DIR" /proc/net/unix | sed 's/^/sockets /'
	find /dev/shm -maxdepth 1 -name '*hull*' | sort
	grep -cF "$HULL_HOME" /proc/locks | sed 's/^/locks /'
	find "$HULL_HOME" -type f -printf '%b\n' | awk '{s += $1} END {print "blocks", int(s / 2048)}'
}

@test "clones: create, exec, rm, $HULL_TEST_ROUNDS times over: nothing is left" {
	local i n before after
	hull rm -f "$(hull create -q --name "first-$RANDOM" "${kind[@]}" shell)"
	before=$(census)
	for ((i = 0; i < HULL_TEST_ROUNDS; i++)); do
		n=round-$RANDOM
		echo "$n" >>"$BATS_TEST_TMPDIR/own"
		hull create -q --name "$n" "${kind[@]}" shell >/dev/null
		hull exec "$n" true
		hull rm -f "$n" >/dev/null
	done
	after=$(census)
	diff <(echo "$before") <(echo "$after")
}

@test "clones: one that lives long leaks neither memory nor files: the keeper's own, over execs, forks and saves" {
	local i keeper fds rss
	own_sandbox --no-docker
	hull start -q "$name"
	keeper=$(keeper_pid "$name")
	round() {
		hull exec "$name" true
		hull snapshot create -q -f "$name" >/dev/null
	}
	for ((i = 0; i < 3; i++)); do round; done
	fds=$(open_files "$keeper")
	rss=$(awk '/^VmRSS/ {print $2}' "/proc/$keeper/status")
	for ((i = 0; i < HULL_TEST_ROUNDS; i++)); do round; done
	fewer() { [ "$(open_files "$keeper")" -le "$fds" ]; }
	eventually 10 fewer
	# Some slack for the allocator; a leak per round would show with a thousand of them.
	[ "$(awk '/^VmRSS/ {print $2}' "/proc/$keeper/status")" -lt $((rss + 2048)) ]
	[ "$(find "$HULL_HOME/sandboxes/$name/snapshots" -mindepth 1 -maxdepth 1 | wc -l)" = 1 ]
}

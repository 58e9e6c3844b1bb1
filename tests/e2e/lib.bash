# SPDX-License-Identifier: Apache-2.0
# Helpers of the end-to-end tests: load with `load lib`.
#
# Tests talk to a real microVM through the command that users have. Where isolation is not the point they share one
# sandbox, "shared", which shared_sandbox makes on first use and setup_suite.bash removes; a test that breaks or stops
# its sandbox makes one of its own with own_sandbox, removed in the test's teardown. Every call has a time limit: a
# hang is a failure, not a wait. Nothing here waits by sleeping for a fixed time; eventually() looks again until
# something has become so or the limit is reached.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${HULL:=$top/build/hull}"
: "${HULL_HOME:?run the tests with tools/run-tests, which gives them a home of their own}"
runtime=$XDG_RUNTIME_DIR/hull
export HULL top runtime

bats_require_minimum_version 1.5.0

# hull, within LIMIT seconds (120): exit code 124 means that it hung.
hull() {
	timeout --kill-after=5 "${LIMIT:-120}" "$HULL" "$@"
}

# `hull COMMAND...` succeeds, and jq says yes to the JSON that it prints. (To no input at all, `jq -e` says yes too.)
hull_json() { # COMMAND... -- JQ-ARGUMENT...
	local words=() said
	while [ "$1" != -- ]; do
		words+=("$1")
		shift
	done
	shift
	said=$(hull "${words[@]}") || return 1
	if [ -z "$said" ]; then
		echo "hull ${words[*]}: printed nothing" >&2
		return 1
	fi
	jq -e "$@" <<<"$said"
}

# Run a command in a sandbox as root.
as_root() { # NAME COMMAND...
	local name=$1
	shift
	hull exec -u root "$name" "$@"
}

# The shared sandbox, started and with Docker ready. Its memory is small: tests must not need more.
shared_sandbox() {
	(
		flock 9
		if [ "$("$HULL" ls --json | jq -r '.[] | select(.name == "shared") | .state')" != running ]; then
			if [ -e "$HULL_HOME/sandboxes/shared" ]; then LIMIT=180 hull rm -f shared; fi
			LIMIT=300 hull create -q --name shared --cpus 1 -m 1g -e FROM_SANDBOX=yes shell
			LIMIT=300 hull start -q shared
		fi
	) 9>"$XDG_RUNTIME_DIR/shared.lock"
}

# A sandbox for this test alone; its name is in $name. Further arguments go to `hull create`.
own_sandbox() {
	name=t$BATS_SUITE_TEST_NUMBER-$RANDOM
	echo "$name" >>"$BATS_TEST_TMPDIR/own"
	LIMIT=300 hull create -q --name "$name" --cpus 1 -m 1g "$@" shell
}
# What teardown() of a file that uses own_sandbox calls.
remove_own() {
	local n
	[ -e "$BATS_TEST_TMPDIR/own" ] || return 0
	while IFS= read -r n; do
		if [ -e "$HULL_HOME/sandboxes/$n" ]; then LIMIT=120 hull rm -f "$n" || true; fi
	done <"$BATS_TEST_TMPDIR/own"
}

# Look again until COMMAND succeeds; fail after SECONDS.
eventually() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "not within the time: $*" >&2
			return 1
		fi
		sleep 0.2
	done
}

not() { ! "$@"; }
# The exit code of a background process, in $status. (`run wait` would not do: it runs in a subshell.)
reap() { # PID
	status=0
	wait "$1" || status=$?
}
open_files() { find "/proc/$1/fd" -mindepth 1 | wc -l; }
no_zombies() { [ "$(hull exec "$1" sh -c 'ps -eo stat= | grep -c ^Z || true')" = 0 ]; }

sandbox_field() { # NAME FIELD
	hull ls --json | jq -r --arg n "$1" --arg f "$2" '.[] | select(.name == $n) | .[$f]'
}
state_is() { [ "$(sandbox_field "$1" state)" = "$2" ]; }

# Process ids: of the keeper, of everything below it.
keeper_pid() { # NAME
	sandbox_field "$1" pid
}
descendants() { # PID
	local child
	for child in $(ps -o pid= --ppid "$1"); do
		echo "$child"
		descendants "$child"
	done
}
family() { # NAME
	local keeper
	keeper=$(keeper_pid "$1")
	[ -n "$keeper" ] && [ "$keeper" != null ] || return 1
	echo "$keeper"
	descendants "$keeper"
	# For the end: their bound names do not tell whose they are.
	# shellcheck disable=SC2046
	listening $(echo "$keeper"; descendants "$keeper") >>"${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}/listening-$1"
}
# The inodes of the sockets on which these processes listen.
listening() { # PID...
	local p
	for p; do
		find "/proc/$p/fd" -maxdepth 1 -lname 'socket:*' -printf '%l\n' 2>/dev/null | tr -dc '0-9\n'
	done | sort -u | grep -Fxf <(all_listening) || true
}
# Those of the machine: unix sockets that accept, TCP sockets in LISTEN.
all_listening() {
	awk '$4 == "00010000" { print $7 }' /proc/net/unix
	awk '$4 == "0A" { print $10 }' /proc/net/tcp /proc/net/tcp6
}
# None of those that family() saw the sandbox listen on is open, in whatever process.
assert_silent() { # NAME
	local seen=${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}/listening-$1 left
	[ -e "$seen" ] || return 0
	if ! [ -s "$seen" ]; then
		echo "$1 was seen to run and to listen on nothing" >&2
		return 1
	fi
	left=$(all_listening | grep -Fxf "$seen") || return 0
	echo "sockets left: $left" >&2
	return 1
}
# The process that is the virtual machine: of the family, the one that holds the most memory.
engine_pid() { # NAME
	# shellcheck disable=SC2046
	ps -o pid=,rss= -p $(family "$1" | paste -sd,) | sort -k2 -n | tail -n 1 | awk '{print $1}'
}
all_gone() { # PID...
	local p
	for p; do
		if [ -e "/proc/$p" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$p/status" 2>/dev/null; then return 1; fi
	done
}

# Nothing on this machine belongs to sandbox NAME any more. LOCK is the lock file's inode, asked for while it was there;
# PIDs are those of its family then.
lock_inode() { stat -c %i "$HULL_HOME/sandboxes/$1/lock"; }
assert_gone() { # NAME LOCK PID...
	local name=$1 lock=$2 p status=0
	shift 2
	eventually 10 all_gone "$@" || { ps -o pid,ppid,stat,args -p "$(printf '%s,' "$@" | sed 's/,$//')" >&2; status=1; }
	for p in /proc/[0-9]*; do
		if tr '\0' '\n' <"$p/cmdline" 2>/dev/null | grep -qwF -- "$name"; then
			echo "process left: ${p#/proc/} $(tr '\0' ' ' <"$p/cmdline")" >&2
			status=1
		fi
		if grep -qF "/$name/" "$p/mountinfo" 2>/dev/null; then
			echo "mount left: ${p#/proc/} $(grep -F "/$name/" "$p/mountinfo")" >&2
			status=1
		fi
		if find "$p/fd" "$p/cwd" "$p/root" -maxdepth 1 -type l -printf '%l\n' 2>/dev/null | grep -qF "/$name/"; then
			echo "open file left: ${p#/proc/} $(tr '\0' ' ' <"$p/cmdline")" >&2
			status=1
		fi
	done
	for p in "$HULL_HOME/sandboxes/$name" "$runtime/$name"; do
		if [ -e "$p" ]; then echo "left: $p" >&2; status=1; fi
	done
	assert_silent "$name" || status=1
	if [ -n "$lock" ] && grep -qE ":$lock " /proc/locks; then echo "lock left: $(grep -E ":$lock " /proc/locks)" >&2; status=1; fi
	return $status
}
# Stopped by whatever means: nothing runs for it, nobody holds its lock, and nothing of it is in the runtime directory
# (where a keeper that was killed leaves what the next `hull ls` sweeps), but its files are there.
assert_stopped() { # NAME PID...
	local name=$1 p status=0
	shift
	eventually 10 all_gone "$@" || { ps -o pid,ppid,stat,args -p "$(printf '%s,' "$@" | sed 's/,$//')" >&2; status=1; }
	for p in /proc/[0-9]*; do
		if grep -qF "/$name/" "$p/mountinfo" 2>/dev/null; then echo "mount left: $(grep -F "/$name/" "$p/mountinfo")" >&2; status=1; fi
	done
	p=$(lock_inode "$name")
	if grep -qE ":$p " /proc/locks; then echo "lock left: $(grep -E ":$p " /proc/locks)" >&2; status=1; fi
	assert_silent "$name" || status=1
	hull ls >/dev/null
	if [ -e "$runtime/$name" ]; then echo "left: $(find "$runtime/$name")" >&2; status=1; fi
	# One that has never run may have none yet.
	[ -e "$HULL_HOME/sandboxes/$name/disk.img" ] || [ "$(jq .restore "$HULL_HOME/sandboxes/$name/sandbox.json")" != null ] ||
		{ echo "its disk is gone" >&2; status=1; }
	return $status
}

# The keeper of NAME while it starts, when `ls` may not get an answer yet: whoever holds the lock.
starting_keeper() { # NAME
	local inode
	inode=$(lock_inode "$1") || return 1
	awk -v i=":$inode\$" '$2 == "FLOCK" && $6 ~ i { print $5; exit }' /proc/locks
}

# The run before ended with this code, and its output is one line that has these words (a pattern for grep -E).
assert_refused() { # CODE PATTERN
	assert_says "$@" || return 1
	if [ "$(grep -c . <<<"$output")" != 1 ]; then
		echo "not one line: $output" >&2
		return 1
	fi
}
# The same, however many lines.
assert_says() { # CODE PATTERN
	if [ "$status" != "$1" ]; then
		echo "exit code $status instead of $1; output: $output" >&2
		return 1
	fi
	if ! grep -qiE -- "$2" <<<"$output"; then
		echo "no /$2/ in: $output" >&2
		return 1
	fi
}

# `hull run` mounts the directory it is called from: not the tree, which holds the tests' own home.
if [ -n "${BATS_TEST_TMPDIR:-}" ]; then cd "$BATS_TEST_TMPDIR" || exit 1; fi

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Seeing inside: levels by area, one number for a command and one for a FUSE request on all their way, the bundle.

setup() { load lib; }
teardown() { remove_own; }

# A sandbox of this test's alone, for DIRECTORY; its name is in $name.
sandbox_for() { # DIRECTORY FLAG...
	name=t$BATS_SUITE_TEST_NUMBER-$RANDOM
	echo "$name" >>"$BATS_TEST_TMPDIR/own"
	mkdir -p "$1"
	LIMIT=300 hull create -q --name "$name" --cpus 1 -m 1g "${@:2}" shell "$1"
}

# The lines of the sandbox's logs that have TEXT.
logged() { # NAME TEXT
	cat "$HULL_HOME/sandboxes/$1"/keeper.log "$HULL_HOME/sandboxes/$1"/guest.log 2>/dev/null | grep -F -- "$2"
}

@test "debug: a command and a FUSE request are followed through all processes by one number each" {
	sandbox_for "$BATS_TEST_TMPDIR/work"
	HULL_LOG=wire=trace,share=trace hull start -q "$name"
	HULL_LOG=wire=trace hull exec "$name" sh -c 'echo hello >file' 2>client.log
	local id request line
	id=$(sed -n 's/.*this request is \[\([0-9a-f]*\)\].*/\1/p' client.log | tail -n 1)
	[ ${#id} = 8 ]
	grep -F "to keeper #1 OPEN" client.log | grep -F "[$id]"
	for line in 'keeper: wire trace: from client' 'keeper: wire trace: to guest' 'guest: wire trace: from keeper' \
		'guest: wire trace: to keeper' 'keeper: wire trace: from guest' 'keeper: wire trace: to client'; do
		logged "$name" "[$id]" | grep -F "$line" >/dev/null || {
			echo "not there: $line"
			return 1
		}
	done
	# CREATE is 35.
	request=$(logged "$name" 'guest: share trace: fuse ' | sed -n 's/.*fuse \([0-9]*\): asked, opcode 35,.*/\1/p' | tail -n 1)
	[ -n "$request" ]
	logged "$name" "share: share trace: fuse $request: came, opcode 35"
	logged "$name" "share: share trace: fuse $request: answered, error 0"
	logged "$name" "guest: share trace: fuse $request: answer came, error 0"
	not logged "$name" hello
	# Nothing unless it is asked for, and a wrong word is told.
	hull exec "$name" true 2>client.log
	[ ! -s client.log ]
	run hull exec --debug "$name" true
	[ "$status" = 125 ]
	HULL_LOG=noise run hull ls
	[ "$status" = 125 ]
	[[ $output == *"levels are off, debug and trace"* ]]
	# The guest forgets it with the next keeper, also when its memory is restored.
	hull pause -q "$name"
	hull resume -q "$name"
	: >"$HULL_HOME/sandboxes/$name/keeper.log"
	hull exec "$name" true
	not logged "$name" trace:
}

@test "debug: hull doctor --bundle has the logs, and no name of the person's" {
	sandbox_for "$BATS_TEST_TMPDIR/diary of ann" -e "KEY=hidden-value-42"
	hull start -q "$name"
	hull exec "$name" sh -c 'echo x >secretfile'
	hull doctor --bundle "$BATS_TEST_TMPDIR/b.tar.gz" >/dev/null || [ $? = 1 ]
	run hull doctor --bundle "$BATS_TEST_TMPDIR/b.tar.gz"
	[ "$status" = 125 ]
	[[ $output == *"File exists"* ]]
	mkdir out
	tar -C out -xzf "$BATS_TEST_TMPDIR/b.tar.gz"
	grep -q 'hull-init: .*ready for the host\|restor' out/sandbox-*/*.log
	grep -q '^state running' out/sandbox-*/state
	for text in 'diary of ann' hidden-value-42 secretfile "$name" "$HULL_HOME"; do
		if grep -rqF -- "$text" out; then
			grep -rF -- "$text" out | head
			return 1
		fi
	done
}

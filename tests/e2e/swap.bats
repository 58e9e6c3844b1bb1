#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# --swap: a file on the sandbox's disk, set up after the restore from a template and at each boot.

setup() {
	load lib
}

teardown() {
	remove_own
}

has_swap() { # in MiB, without the header's page
	[ "$(hull exec "$name" awk '/^SwapTotal:/ { print int($2 / 1024 + 0.5) }' /proc/meminfo)" = "$1" ]
}

# Fills 64 MiB more than what runs in the sandbox may have of its memory, and looks at what was swapped out first.
hog='
import mmap
most = int(open("/sys/fs/cgroup/work/memory.max").read())
block = b"x" * (1 << 20)
m = mmap.mmap(-1, (most & -1 << 20) + (64 << 20))
for i in range(0, len(m), len(block)):
    m[i:i + len(block)] = block
assert all(m[i] == 120 for i in range(0, 16 << 20, 4096))
print("survived")
'

@test "swap: there after a start from a template and after a boot, and memory reaches into it" {
	own_sandbox --no-docker --swap 256m
	hull_json ls --json -- --arg n "$name" '.[] | select(.name == $n) | .swap == 256 * 1024 * 1024'
	LIMIT=300 hull start -q "$name"
	eventually 20 has_swap 256
	[[ "$(as_root "$name" swapon --noheadings --show=TYPE)" = file ]]
	[ "$(LIMIT=300 hull exec "$name" python3 -c "$hog")" = survived ]
	LIMIT=180 hull stop -q "$name"
	run hull logs -n 40 "$name" --serial
	[[ $output != *'cannot unmount'* ]]
	[[ $output != *'cannot switch the swap'* ]]
	LIMIT=180 hull start -q "$name"
	eventually 20 has_swap 256
	# The disk itself takes a swap file of root's own; the overlay that is the root does not.
	as_root "$name" sh -ec 'f=/var/lib/docker/own
		fallocate -l 32M $f; chmod 600 $f; mkswap -q $f; swapon $f'
	has_swap 288
	run as_root "$name" sh -ec 'fallocate -l 32M /own; chmod 600 /own; mkswap -q /own; swapon /own'
	[ "$status" != 0 ]
	LIMIT=180 hull stop -q "$name"
	run hull logs -n 40 "$name" --serial
	[[ $output != *'cannot unmount'* ]]
	hull set -q "$name" --swap 0
	run hull set "$name" --swap 1k
	assert_refused 125 'too little'
	LIMIT=180 hull start -q "$name"
	has_swap 0
	run as_root "$name" ls /run/hull/disk/swap
	[ "$status" != 0 ]
}

@test "swap: run does not take another size of it than the sandbox has" {
	name=t$BATS_SUITE_TEST_NUMBER-$RANDOM
	echo "$name" >>"$BATS_TEST_TMPDIR/own"
	mkdir "$BATS_TEST_TMPDIR/work"
	cd "$BATS_TEST_TMPDIR/work"
	hull create -q --cold --name "$name" --cpus 1 -m 1g --swap 256m shell .
	run hull run --name "$name" --swap 128m -- true
	assert_refused 125 'made with another --swap'
	run hull create --cold --swap 33g --disk 64g shell .
	assert_refused 125 'more than half'
}

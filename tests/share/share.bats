#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The share server under real file system workloads, mounted by the host's own /dev/fuse. Needs root and a build:
#     SHARE_BUILD=build/tests/share bats tests/share/share.bats
# HULL_TEST_SCALE (default 1) makes it longer.

setup()
{
	if [ "$(id -u)" != 0 ] || ! [ -c /dev/fuse ]; then skip "needs root and /dev/fuse"; fi
	scale=${HULL_TEST_SCALE:-1}
	bin=$(realpath "${SHARE_BUILD:-build/tests/share}")
	here=$(realpath "$BATS_TEST_DIRNAME")
	top=$(mktemp -d)
	mkdir "$top/host" "$top/guest"
	# As an ordinary user's files, served by that user.
	chown 1000:1000 "$top/host"
	chmod 755 "$top"
	user="setpriv --reuid 1000 --regid 1000 --clear-groups"
}

teardown()
{
	local m
	for m in host/small host; do
		[ -z "${top:-}" ] || ! mountpoint -q "$top/$m" || umount "$top/$m"
	done
	[ -z "${top:-}" ] || rm -rf --one-file-system "$top"
}

mounted() { "$bin/share-mount" --uid 1000 "$@"; }

@test "names and metadata" { mounted "$top/host" "$top/guest" "$bin/share-names" "$top/guest" $((20000 * scale)); }
@test "names and metadata over a stream, few descriptors" {
	mounted --stream --dirs 16 "$top/host" "$top/guest" "$bin/share-names" "$top/guest" $((3000 * scale))
}
@test "content, mappings and locks" { mounted "$top/host" "$top/guest" "$bin/share-data" "$top/guest"; }
@test "content, mappings and locks over a stream" {
	mounted --stream "$top/host" "$top/guest" "$bin/share-data" "$top/guest"
}
@test "random operations" {
	mounted "$top/host" "$top/guest" "$bin/share-fsx" -s 1 -n $((8000 * scale)) "$top/guest/f"
}
@test "random operations from both sides, over a stream" {
	mounted --stream "$top/host" "$top/guest" "$bin/share-fsx" -s 2 -n $((4000 * scale)) -o "$top/host/f" "$top/guest/f"
}
@test "both sides see each other's changes, and watchers fire" {
	# shellcheck disable=SC2086
	mounted --announce --stream "$top/host" "$top/guest" $user "$bin/share-coherence" -w "$top/guest" "$top/host"
}
@test "without watching, changes show all the same" {
	# shellcheck disable=SC2086
	mounted --no-watch "$top/host" "$top/guest" $user "$bin/share-coherence" "$top/guest" "$top/host"
}
@test "a file that the guest has read is not kept open once it is removed, on either side" {
	head -c 3000000 /dev/zero >"$top/host/big"
	echo small >"$top/host/small"
	echo mine >"$top/host/mine"
	chown 1000:1000 "$top/host"/*
	open_still() { find /proc/[0-9]*/fd -lname "$top/host/*" -lname '*(deleted)' 2>/dev/null | grep -q .; }
	read_and_remove() {
		cat "$top/guest/big" "$top/guest/small" "$top/guest/mine" >/dev/null && cat "$top/guest/small" &&
			[ "$(find /proc/[0-9]*/fd -lname "$top/host/*" 2>/dev/null | wc -l)" -ge 3 ] &&
			rm "$top/host/big" "$top/guest/mine" && mv "$top/host/small" "$top/host/other" && rm "$top/host/other" || return
		local end=$((SECONDS + 20))
		while open_still; do [ "$SECONDS" -lt "$end" ] || return; done
	}
	export top
	export -f open_still read_and_remove
	mounted --stream "$top/host" "$top/guest" bash -c read_and_remove
}
@test "parallel git" {
	# shellcheck disable=SC2086
	mounted "$top/host" "$top/guest" $user "$here/git.sh" "$top/guest" 8 $((1 + scale))
}
@test "parallel git over a stream" {
	# shellcheck disable=SC2086
	mounted --stream "$top/host" "$top/guest" $user "$here/git.sh" "$top/guest" 8 $((1 + scale))
}
@test "the boundary holds under races" { "$bin/share-race" -s 1 -n $((15000 * scale)) "$top"; }

@test "a file system mounted below has its own size" {
	mkdir "$top/host/small"
	mount -t tmpfs -o size=4m,uid=1000,gid=1000 small "$top/host/small" || skip "no tmpfs can be mounted"
	echo x >"$top/host/small/file"
	mounted "$top/host" "$top/guest" bash -ec '
		[ "$(stat -f -c "%b %S" "$1/small")" = "$(stat -f -c "%b %S" "$2/small")" ]
		[ "$(stat -f -c %b "$1/small/file")" = 1024 ]
		[ "$(stat -f -c "%b %S" "$1")" = "$(stat -f -c "%b %S" "$2")" ]' - "$top/guest" "$top/host"
	umount "$top/host/small"
}

# --- what the host refuses ---

@test "a full disk" {
	mount -t tmpfs -o size=4m,nr_inodes=200,uid=1000,gid=1000 small "$top/host" || skip "no tmpfs can be mounted"
	# shellcheck disable=SC2086
	mounted "$top/host" "$top/guest" $user "$bin/share-errors" full "$top/guest"
}
@test "a quota" {
	mount -t tmpfs -o size=64m,usrquota,usrquota_block_hardlimit=4m,usrquota_inode_hardlimit=100 small "$top/host" ||
		skip "this kernel has no quotas on tmpfs (6.6 and CONFIG_QUOTA)"
	chown 1000:1000 "$top/host"
	# shellcheck disable=SC2086
	mounted "$top/host" "$top/guest" $user "$bin/share-errors" quota "$top/guest"
}
@test "a disk that fails" {
	truncate -s 32M "$top/disk"
	mke2fs -q -t ext4 "$top/disk"
	mount -o loop "$top/disk" "$top/host" || skip "no loop device"
	head -c 1000000 /dev/urandom >"$top/host/file"
	chmod 644 "$top/host/file"
	chown 1000:1000 "$top/host" "$top/host/file"
	umount "$top/host"
	mount -o loop "$top/disk" "$top/host"
	local blocks
	stat "$top/host/file" >/dev/null
	# All but what describes it is cut off.
	blocks=$(filefrag -b4096 -v "$top/host/file" | awk '$1 == "0:" {sub(/\.\..*/, "", $4); print $4}')
	[ -n "$blocks" ]
	truncate -s "$((blocks * 4096))" "$top/disk"
	# Nothing of it may be left in memory. (Somebody who made a mount namespace at the wrong moment keeps the first mount.)
	dd if="$top/host/file" iflag=nocache count=0 status=none
	# shellcheck disable=SC2086
	mounted "$top/host" "$top/guest" $user "$bin/share-errors" io "$top/guest/file"
}
@test "what is somebody else's" {
	echo theirs >"$top/host/readable"
	echo theirs >"$top/host/secret"
	chmod 600 "$top/host/secret"
	mkdir "$top/host/theirs"
	echo theirs >"$top/host/theirs/file"
	# shellcheck disable=SC2086
	mounted "$top/host" "$top/guest" $user "$bin/share-errors" denied "$top/guest"
}
@test "an owner of a symlink that the file system cannot hold is not another owner" {
	truncate -s 32M "$top/disk"
	mke2fs -q -t ext4 -I 128 "$top/disk"
	mount -o loop "$top/disk" "$top/host" || skip "no loop device"
	chown 1000:1000 "$top/host"
	mounted "$top/host" "$top/guest" bash -ec '
		ln -s x "$1/l" && chown -h 999:998 "$1/l"
		[ "$(stat -c %u:%g "$1/l")" = 1000:1000 ]
		[ "$(stat -c %X "$1/l")" -le "$(date +%s)" ]' - "$top/guest"
}

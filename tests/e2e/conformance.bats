#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The workspace in a real guest against the programs of tests/share, and both sides at once: POSIX and Linux semantics,
# random operations, parallel git, and attempts to get out of it.
#
# SHARE_BUILD is where those programs were built (default: build/tests/share beside the command). Random tests print
# their seed; HULL_TEST_SEED repeats one. HULL_TEST_SCALE (default 1) makes them longer.

setup_file() {
	load lib
	export ws=/tmp/hull-conform-$$ scale=${HULL_TEST_SCALE:-1} seed=${HULL_TEST_SEED:-$RANDOM}
	export programs=${SHARE_BUILD:-$(dirname "$(realpath "$HULL")")/tests/share}
	[ -d "$programs" ] || programs=$(dirname "$(realpath "$HULL")")/../../tests/share
	export owner=$UID
	mkdir -p "$ws/rw" "$ws/outside" "$ws/small"
	echo precious >"$ws/outside/file"
	if [ "$UID" = 0 ]; then
		owner=54321
		chown -R "$owner:$owner" "$ws"
	fi
	LIMIT=300 hull create -q --name conform --cpus 2 -m 1g --no-docker shell "$ws/rw"
	LIMIT=300 hull start -q conform
	local p
	for p in names data fsx errors race; do hull cp "$programs/share-$p" conform:/usr/local/bin/; done
	hull cp "$top/tests/share/git.sh" conform:/usr/local/bin/git.sh
	echo "# seed $seed, scale $scale" >&3
}
teardown_file() {
	load lib
	LIMIT=120 hull rm -f conform || true
	! mountpoint -q "$ws/small" || umount "$ws/small"
	rm -rf --one-file-system "$ws"
}
setup() {
	load lib
	[ -x "$programs/share-fsx" ] || skip "the programs of tests/share are not built"
}
teardown() {
	find "$ws/rw" -mindepth 1 -delete
}

# As the user whose files they are.
as_owner() {
	if [ "$UID" = 0 ]; then setpriv --reuid "$owner" --regid "$owner" --clear-groups "$@"; else "$@"; fi
}

@test "conformance: names and metadata" { LIMIT=120 hull exec conform share-names "$ws/rw" "$((1000 * scale))"; }

@test "conformance: content, mappings and locks" { LIMIT=120 hull exec conform share-data "$ws/rw" "$((30 * scale))"; }

@test "conformance: random operations on a file" {
	LIMIT=180 hull exec conform share-fsx -s "$seed" -n "$((2000 * scale))" "$ws/rw/f"
	# What the guest believes, the host has.
	[ "$(hull exec conform sha256sum f)" = "$(cd "$ws/rw" && sha256sum f)" ]
}

@test "conformance: random operations from both sides, each seen by the other" {
	timeout 180 python3 "$BATS_TEST_DIRNAME/coherence.py" "$seed" "$((100 * scale))" "$ws/rw" \
		"$HULL" exec -i conform
}

# Eight processes clone a repository of 10 files, commit, gc, rebase and push; then all work in that one.
@test "conformance: parallel git in the guest" {
	LIMIT=400 hull exec conform env FILES=10 ROUNDS=1 bash /usr/local/bin/git.sh "$ws/rw" 8 "$((1 + scale))"
	as_owner env HOME="$ws" git -C "$ws/rw/origin" fsck --full --strict
}

@test "conformance: parallel git on the host, in a workspace that the guest reads" {
	as_owner env FILES=50 bash "$top/tests/share/git.sh" "$ws/rw" 8 "$((1 + scale))"
	LIMIT=120 hull exec conform git -C "$ws/rw/origin" fsck --full --strict
	[ -z "$(LIMIT=120 hull exec conform git -C "$ws/rw/c8" status --porcelain)" ]
	[ "$(hull exec conform git -C "$ws/rw/origin" log --all --format=%H | sort)" = "$(git -c safe.directory='*' -C "$ws/rw/origin" log --all --format=%H | sort)" ]
}

# Four processes on either side: clones, commits, gc, rebases and pushes at once, then commits in the one repository.
@test "conformance: parallel git from the guest and from the host at once" {
	as_owner env FILES=10 bash "$top/tests/share/git.sh" --origin "$ws/rw"
	LIMIT=400 hull exec conform bash /usr/local/bin/git.sh --clones "$ws/rw" 1 4 "$((1 + scale))" &
	local there=$!
	as_owner bash "$top/tests/share/git.sh" --clones "$ws/rw" 5 8 "$((1 + scale))"
	reap "$there"
	[ "$status" = 0 ]
	[ "$(git -c safe.directory='*' -C "$ws/rw/origin" branch | wc -l)" = 9 ]
	LIMIT=400 hull exec conform env ROUNDS=1 bash /usr/local/bin/git.sh --shared "$ws/rw" 11 14 &
	there=$!
	as_owner bash "$top/tests/share/git.sh" --shared "$ws/rw" 15 18
	reap "$there"
	[ "$status" = 0 ]
	as_owner bash "$top/tests/share/git.sh" --check "$ws/rw" 8
	LIMIT=200 hull exec conform git -C "$ws/rw/origin" fsck --full --strict
	[ "$(git -c safe.directory='*' -C "$ws/rw/origin" ls-files 'shared-*' | wc -l)" = 16 ]
}

# What the host refuses, as the guest sees it: a disk of 4 MiB that fills up, and files that are somebody else's.
@test "conformance: errors of the host" {
	[ "$UID" = 0 ] || skip "needs root here"
	mount -t tmpfs -o "size=4m,nr_inodes=200,uid=$owner,gid=$owner" small "$ws/small" || skip "no tmpfs can be mounted"
	LIMIT=120 hull mount conform "$ws/small"
	LIMIT=120 hull exec conform share-errors full "$ws/small"
	LIMIT=120 hull unmount conform "$ws/small"
	echo theirs | tee "$ws/rw/readable" >"$ws/rw/secret"
	chmod 644 "$ws/rw/readable"
	chmod 600 "$ws/rw/secret"
	mkdir "$ws/rw/theirs"
	chmod 755 "$ws/rw/theirs"
	echo theirs >"$ws/rw/theirs/file"
	LIMIT=120 hull exec conform share-errors denied "$ws/rw"
}

# Clients that speak the protocol raw, against a server whose files a sandbox changes meanwhile.
@test "conformance: the boundary holds under races, in a workspace" {
	LIMIT=200 hull exec conform sh -ec 'mkdir race; share-race -s '"$seed"' -n '"$((500 * scale))"' race'
}

@test "conformance: directories swapped for symlinks to the outside while the guest works in them" {
	local before after end pid
	before=$(cd "$ws" && find outside /etc/hostname -printf '%p %i %m %s %C@\n')
	hull exec conform sh -ec 'mkdir -p a b x; for d in a b; do mkdir -p $d/deep; done; ln -s '"$ws"'/outside out'
	# What is outside here exists there as well, as the guest's own: operations that follow the links do not just fail.
	as_root conform sh -c "mkdir -p $ws/outside; echo guest >$ws/outside/file; chmod -R 777 $ws/outside"
	# The guest, as root, swaps names and works through them; the host swaps a directory for a link meanwhile.
	as_root conform sh -c "cd $ws/rw; end=\$((\$(date +%s) + 10 * $scale)); while [ \$(date +%s) -lt \$end ]; do
		for i in 1 2 3 4; do
			echo evil >a/deep/f\$i; cat a/deep/f\$i; mv a/deep b/deep\$i; rm -rf a/deep; ln -sfn $ws/outside a/deep
			echo evil >a/deep/new; rm -f a/deep/file; chmod 777 a/deep/file; rm -f a/deep; mv b/deep\$i a/deep
			echo evil >swap/file; rm -f swap/file; mkdir swap/dir; echo evil >swap/dir/f; ls swap; touch swap/../../evil
		done
	done" >/dev/null 2>&1 &
	pid=$!
	end=$((SECONDS + 10 * scale))
	as_owner mkdir "$ws/rw/real"
	while [ "$SECONDS" -lt "$end" ]; do
		as_owner mv -T "$ws/rw/real" "$ws/rw/swap"
		as_owner mv -T "$ws/rw/swap" "$ws/rw/real"
		as_owner ln -s "$ws/outside" "$ws/rw/swap"
		as_owner rm "$ws/rw/swap"
	done
	wait "$pid" || true
	after=$(cd "$ws" && find outside /etc/hostname -printf '%p %i %m %s %C@\n')
	[ "$before" = "$after" ]
	[ "$(ls "$ws")" = "$(printf 'outside\nrw\nsmall')" ]
	[ "$(cat "$ws/outside/file")" = precious ]
	# And it serves on.
	[ "$(hull exec conform sh -c 'echo on >f && cat f')" = on ]
}

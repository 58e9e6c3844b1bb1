#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What makes a sandbox the person's own: git's name and email, and the names by which they know their directories.

setup() { load lib; }
teardown() { remove_own; }

@test "person: the symlink they stand in and their git identity are in the sandbox" {
	mkdir -p real/app home
	ln -s "$PWD/real/app" link
	echo 1 >real/app/f
	printf '[user]\n\tname = Ann O\n\temail = ann@example.org\n[credential]\n\thelper = store\n' >home/.gitconfig
	cd link
	local here=$PWD
	name=t$BATS_SUITE_TEST_NUMBER-$RANDOM
	echo "$name" >>"$BATS_TEST_TMPDIR/own"
	HOME=$BATS_TEST_TMPDIR/home LIMIT=300 hull create -q --name "$name" --cpus 1 -m 1g --no-docker shell .
	hull start -q "$name"
	[ "$(hull exec "$name" sh -c 'pwd; cat "$1/f"' x "$here")" = "$here"$'\n1' ]
	[ "$(hull exec "$name" bash -lc pwd)" = "$here" ]
	[ "$(hull exec "$name" readlink "$here")" = "$(realpath .)" ]
	[ "$(hull exec "$name" git config user.name)" = "Ann O" ]
	[ "$(hull exec "$name" git config user.email)" = ann@example.org ]
	run hull exec "$name" git config credential.helper
	[ "$status" = 1 ]
	# What is set inside wins, also after the next start; so does what stands where a link would.
	hull exec "$name" git config --global user.name Inside
	as_root "$name" sh -c 'rm "$1" && mkdir "$1" && echo own >"$1/g"' x "$here"
	hull stop "$name"
	hull start -q "$name"
	[ "$(hull exec "$name" git config user.name)" = Inside ]
	[ "$(hull exec "$name" cat "$here/g")" = own ]
	[ "$(hull exec "$name" pwd)" = "$(realpath .)" ]
	[ "$(hull exec "$name" grep -c 'Hull: the name' /etc/gitconfig)" = 1 ]
}

@test "person: --no-git-identity keeps it here" {
	mkdir home
	printf '[user]\n\tname = Ann O\n' >home/.gitconfig
	HOME=$BATS_TEST_TMPDIR/home own_sandbox --no-docker --no-git-identity
	hull start -q "$name"
	run hull exec "$name" git config user.name
	[ "$status" = 1 ]
}

#!/usr/bin/env bats
# make install: what is installed works from where it is, without the tree.

setup() { load lib; }
teardown() { remove_own; }

@test "install: program, helpers, recipe, completion and man page; the installed hull runs a sandbox" {
	local root=$BATS_TEST_TMPDIR/root
	DESTDIR=$root meson install -C "$top/build" --no-rebuild
	local at
	at=$(find "$root" -path '*/bin/hull') # the prefix is the build directory's
	at=${at%/bin/hull}
	[ -x "$at/bin/hull" ]
	[ -x "$at/libexec/hull/hull-keeper" ]
	[ -x "$at/libexec/hull/hull-init" ]
	[ -x "$at/libexec/hull/hull-clone" ]
	[ -x "$at/bin/git-remote-hull" ]
	[ -s "$at/share/hull/images/debian-trixie.packages" ]
	[ -s "$at/share/zsh/site-functions/_hull" ]
	[ -n "$(find "$at/share/bash-completion/completions" -name 'hull*')" ]
	[ -s "$at/share/man/man1/hull.1" ]
	export HULL=$at/bin/hull
	own_sandbox
	LIMIT=300 hull start "$name"
	[ "$(readlink "/proc/$(keeper_pid "$name")/exe")" = "$(realpath "$at/libexec/hull/hull-keeper")" ]
	[ "$(hull exec "$name" echo installed)" = installed ]
	hull rm -f "$name"
}

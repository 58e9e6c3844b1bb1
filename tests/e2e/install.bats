#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
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
	[ -s "$at/share/man/man3/libhull.3" ]
	own_sandbox
	LIMIT=300 hull start "$name"
	[ "$(readlink "/proc/$(keeper_pid "$name")/exe")" = "$(realpath "$at/libexec/hull/hull-keeper")" ]
	[ "$(hull exec "$name" echo installed)" = installed ]
	hull rm -f "$name"
}

# The example, as somebody would build it who has Hull from a package: with the header, the library and the pkg-config file
# that were installed, and nothing of the tree.
@test "install: a program built with pkg-config makes a sandbox, runs a command in it and removes it" {
	local root=$BATS_TEST_TMPDIR/root at pc before
	DESTDIR=$root meson install -C "$top/build" --no-rebuild
	pc=$(find "$root" -name libhull.pc)
	at=$(find "$root" -path '*/bin/hull')
	at=${at%/bin/hull}
	cp "$top/examples/sandbox.c" .
	export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$root
	# shellcheck disable=SC2046
	cc -Wall -Werror sandbox.c -o sandbox $(pkg-config --cflags --libs libhull)
	# shellcheck disable=SC2046
	cc sandbox.c -o static -Wl,-Bstatic $(pkg-config --cflags --libs libhull) -Wl,-Bdynamic \
		$(PKG_CONFIG_SYSROOT_DIR='' pkg-config --libs jansson libcrypto libzstd libseccomp libfyaml libarchive)
	[[ "$(readelf -d sandbox)" == *libhull.so.0* ]]
	[[ "$(readelf -d static)" != *libhull.so* ]]
	before=$(hull ls -q)
	LD_LIBRARY_PATH=$(dirname "${pc%/*}")
	export LD_LIBRARY_PATH
	run --separate-stderr timeout 300 ./sandbox sh -c 'echo "from $(id -un)"; exit 4'
	echo "$stderr"
	[ "$output" = "from agent" ]
	[ "$status" = 4 ]
	[ "$(hull ls -q)" = "$before" ]
	run timeout 300 ./sandbox no-such-command
	assert_says 127 'no-such-command'
	[ "$(hull ls -q)" = "$before" ]
}

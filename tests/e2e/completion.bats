#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hull completion: what a shell offers, by the function it would call.

setup() {
	load lib
	PATH=$(dirname "$HULL"):$PATH
	# shellcheck disable=SC1090
	source <("$HULL" completion bash)
	mkdir project
	touch notes
}
teardown() { remove_own; }

# What is offered for the last of these words, sorted, on one line.
offers() { # WORD...
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	COMPREPLY=()
	_hull || true
	printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd' '
}

@test "completion: commands, flags and their values, in bash" {
	[[ " $(offers hull "") " == *" exec "* ]]
	[[ " $(offers hull --) " == *" --version "* ]]
	[ "$(offers hull star)" = start ]
	[ "$(offers hull start --wait '')" = "docker exec none" ]
	[ "$(offers hull start --wait = '')" = "docker exec none" ]
	[ "$(offers hull start --wait =)" = "docker exec none" ]
	[ "$(offers hull wait x --for d)" = docker ]
	[ "$(offers hull create --engine '')" = "auto qemu" ]
	[[ " $(offers hull create --no-d) " == *" --no-docker "* ]]
	[[ " $(offers hull image b) " == " build " ]]
	[[ " $(offers hull image build --) " == *" --recipe "* ]]
	[ "$(offers hull image build --recipe no)" = notes ]
	[ "$(offers hull completion '')" = "bash zsh" ]
}

@test "completion: words by their place, in bash" {
	local a b
	own_sandbox
	a=$name
	own_sandbox
	b=$name
	[[ " $(offers hull rm '') " == *" $a "* ]]
	[ "$(offers hull rm "$a" "$b")" = "$b" ]
	[ "$(offers hull exec -e X=y "${a%?}")" = "$a" ]
	# The command is not ours.
	[ -z "$(offers hull exec "$a" '')" ]
	[[ " $(offers hull exec "$a" --wo) " == *" --workdir "* ]]
	[ -z "$(offers hull exec "$a" ls --wo)" ]
	[ -z "$(offers hull exec "$a" -- --wo)" ]
	[ -z "$(offers hull docker "$a" --)" ]
	[ -z "$(offers hull fork "$a" '')" ]
	[ -z "$(offers hull wait "$a" '')" ]
	[ "$(offers hull logs "$a" '')" = "docker engine guest keeper serial" ]
	[ "$(offers hull logs -n 5 "$a" se)" = serial ]
	[ "$(offers hull mount "${b%?}")" = "$b" ]
	[ "$(offers hull mount "$b" pro)" = project ]
	[ "$(offers hull run '')" = "project shell" ]
	[ "$(offers hull run shell '')" = project ]
}

@test "completion: the zsh script is one" {
	"$HULL" completion zsh >_hull
	grep -q '^#compdef hull' _hull
	if ! command -v zsh; then skip "no zsh here"; fi
	zsh -n _hull
}

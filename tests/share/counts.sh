#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# counts.sh: how many messages a workload costs in a workspace, and of which kinds. Each is run in a fresh mount, once
# (cold: the guest's kernel knows nothing) and for some twice (warm: what the second time added). Needs root, /dev/fuse,
# git, gcc and a build:
#     SHARE_BUILD=build/tests/share tests/share/counts.sh [NAME...]
#
# Prints a line a workload: its name, the round trips somebody waits for, then the messages by kind, fewest last. Counts
# are of the server's side of the stream, so what the guest answers by itself is not among them.
set -eu

bin=$(realpath "${SHARE_BUILD:-build/tests/share}")
top=$(mktemp -d)
trap 'rm -rf --one-file-system "$top"' EXIT
chmod 755 "$top"
mkdir "$top/host" "$top/guest"
user="setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=$top/home GIT_OPTIONAL_LOCKS=0"
mkdir "$top/home"
git config --file "$top/home/.gitconfig" user.name t
git config --file "$top/home/.gitconfig" user.email t@example.org
git config --file "$top/home/.gitconfig" --add safe.directory '*'

# A repository of 2,000 files in 410 directories.
repository()
{
	local a b c
	mkdir "$top/host/repo"
	for a in {0..9}; do
		for b in {0..39}; do
			mkdir -p "$top/host/repo/d$a/e$b"
			for c in {0..4}; do echo "content $a $b $c needle" >"$top/host/repo/d$a/e$b/f$c.txt"; done
		done
	done
	mkdir "$top/host/c"
	for a in {0..19}; do
		printf '#include <stdio.h>\n#include "common.h"\nint f%s(void) { return puts("%s"); }\n' "$a" "$a" \
			>"$top/host/c/f$a.c"
	done
	echo '#define COMMON 1' >"$top/host/c/common.h"
	chown -R 1000:1000 "$top/host" "$top/home"
	# shellcheck disable=SC2086
	(cd "$top/host/repo" && $user git init -q && $user git add . && $user git commit -qm one && $user git gc -q)
	# Older than the index, so that git has no reason to look into the files.
	find "$top/host/repo" -name '*.txt' -exec touch -d '1 hour ago' {} +
	# shellcheck disable=SC2086
	(cd "$top/host/repo" && sleep 1.1 && GIT_OPTIONAL_LOCKS=1 $user env GIT_OPTIONAL_LOCKS=1 git status >/dev/null)
}

# counted OUT COMMAND: the messages of the shell command, in a mount of its own.
counted()
{
	local out=$1
	shift
	# shellcheck disable=SC2086
	"$bin/share-mount" --stream --uid 1000 --count "$out" "$top/host" "$top/guest" \
		$user bash -c "cd '$top/guest/' && { $1; } >/dev/null" || echo "failed: $1" >&2
}

show()
{
	awk '{d = $2}
		$1 != "NOTIFY" && $1 != "REPLY" && $1 != "INIT" && $1 != "DESTROY" && $1 !~ /FORGET/ && d > 0 {
			if ($1 != "RELEASE" && $1 != "RELEASEDIR") waited += d
			print d, $1 > "/dev/fd/3"
		}
		$1 ~ /FORGET|NOTIFY/ && d > 0 {print d, $1 > "/dev/fd/3"}
		END {print waited + 0}' "$2" 3>"$top/kinds" >"$top/waited"
	printf '%-26s %6d   %s\n' "$1" "$(cat "$top/waited")" \
		"$(sort -rn "$top/kinds" | awk '{printf "%s%s %d", (NR > 1 ? ", " : ""), $2, $1}')"
}

minus()
{
	awk 'NR == FNR {base[$1] = $2; next} {print $1, $2 - base[$1]}' "$1" "$2"
}

wanted=" $* "
measure()
{
	[ "$wanted" = "  " ] || [[ $wanted = *" $1 "* ]] || return 0
	counted "$top/once" "$3"
	show "$1, cold" "$top/once"
	[ "$2" = warm ] || return 0
	counted "$top/twice" "$3; $3"
	minus "$top/once" "$top/twice" >"$top/second"
	show "$1, again" "$top/second"
}

# measure_after NAME SETUP COMMAND: what the command adds, in a mount where the setup was run before it.
measure_after()
{
	[ "$wanted" = "  " ] || [[ $wanted = *" $1 "* ]] || return 0
	counted "$top/once" "$2"
	rm -rf "${top:?}/host/new"
	counted "$top/twice" "$2; $3"
	rm -rf "${top:?}/host/new"
	minus "$top/once" "$top/twice" >"$top/second"
	show "$1" "$top/second"
}

repository
measure status warm 'git -C repo status'
measure find warm 'find repo'
measure ls warm 'ls -lR repo'
measure grep warm 'grep -r needle repo/d0'
measure create cold 'mkdir new && for i in {0..499}; do echo x >new/f$i; done'
rm -rf "$top/host/new"
measure create-delete cold 'mkdir new && for i in {0..499}; do echo x >new/f$i; done; rm -r new'
rm -rf "$top/host/new"
measure copy cold 'cp -a repo/d1 copy'
rm -rf "$top/host/copy"
measure clone cold 'git clone -q --no-hardlinks repo clone'
rm -rf "$top/host/clone"
files='mkdir new && cd new && for i in {0..999}; do mkdir -p d$((i % 100)); echo "content $i" >d$((i % 100))/f$i; done; git init -q'
commit='git add . && git commit -qm one'
measure_after commit "$files" "$commit"
measure_after loose "$files; $commit" 'git clone -q --no-local . clone'
measure_after mkdir 'mkdir -p new/{0..9}/{0..9}' 'for i in {0..9}; do mkdir -p new/$i/{0..9}; done'
measure build cold 'cd c; for i in {0..19}; do gcc -O0 -c f$i.c; done; cd ..'

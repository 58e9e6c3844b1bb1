#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# git.sh DIR [PROCESSES [COMMITS]]: git in so many processes (8), each in a clone of one repository (commit, gc, rebase,
# push), then all in that one itself at once; then fsck of all must find nothing.
# Its parts, for two machines with the same directory: git.sh --origin DIR makes that repository, --clones DIR FIRST LAST
# COMMITS works in clones as processes FIRST to LAST, --shared DIR FIRST LAST in the repository itself, --check DIR PROCESSES is
# the end. FILES (200) is how many there are, ROUNDS (3) how often a process commits to the repository itself.
set -eu
part=all
case $1 in --*)
	part=${1#--}
	shift
	;;
esac
cd "$1"
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@a
export GIT_CONFIG_GLOBAL=/dev/null HOME="$1" XDG_CONFIG_HOME="$1"

fail()
{
	echo "not ok 1 - git: $*"
	exit 1
}

in_a_clone()
{
	local n=$1 i
	git clone -q origin "c$n"
	cd "c$n"
	git checkout -q -b "b$n"
	for i in $(seq "$commits"); do
		echo "$n $i" >"d$n/new$i"
		git add -A
		git commit -qm "c$n $i"
		[ "$i" != 2 ] || git gc -q
	done
	git checkout -q -b "r$n" HEAD~2
	echo up >"d$n/rebased"
	git add -A
	git commit -qm rebased
	git rebase -q "b$n"
	# The other side may be busy with a push of another's.
	for i in $(seq 50); do
		git push -q origin "b$n" && return
	done
	return 1
}

in_the_origin()
{
	local n=$1 i
	cd origin
	for i in $(seq "${ROUNDS:-3}"); do
		echo "$n $i" >"shared-$n-$i"
		# One process at a time has the index; the others try again.
		for _ in $(seq 500); do
			if git cat-file -e "HEAD:shared-$n-$i"; then break; fi
			if git add "shared-$n-$i"; then git commit -qm "shared $n $i" -- "shared-$n-$i" || true; fi
		done
		git cat-file -e "HEAD:shared-$n-$i"
	done
}

# Run FUNCTION for each number from FIRST to LAST, all at once.
at_once()
{
	local n pids=
	for n in $(seq "$2" "$3"); do
		("$1" "$n") >"log$n" 2>&1 &
		pids="$pids $!"
	done
	n=$2
	for p in $pids; do
		wait "$p" || fail "$1 $n: $(tail -5 "log$n")"
		n=$((n + 1))
	done
}

shared()
{
	at_once in_the_origin "$1" "$2"
}

check()
{
	local r out
	for r in origin $(seq -f 'c%g' "$1"); do
		out=$(git -C "$r" fsck --full --strict 2>&1) || fail "fsck of $r: $out"
		[ -z "$(git -C "$r" status --porcelain)" ] || fail "$r is not clean: $(git -C "$r" status --short | head -3)"
	done
}

origin()
{
	git init -q -b main origin
	cd origin
	git config gc.auto 0
	for i in $(seq "${FILES:-200}"); do
		mkdir -p "d$((i % 10))"
		echo "file $i" >"d$((i % 10))/f$i"
	done
	git add . && git commit -qm base
	cd ..
}

case $part in
origin)
	origin
	exit 0
	;;
clones)
	commits=$4
	at_once in_a_clone "$2" "$3"
	exit 0
	;;
shared)
	shared "$2" "$3"
	exit 0
	;;
check)
	git -C origin gc -q
	check "$2"
	exit 0
	;;
esac

processes=${2:-8} commits=${3:-5}
origin
at_once in_a_clone 1 "$processes"
[ "$(git -C origin branch | wc -l)" = $((processes + 1)) ] || fail "branches are missing"
shared 1 "$processes"
git -C origin gc -q
check "$processes"
echo "ok 1 - parallel git, fsck clean"
echo 1..1

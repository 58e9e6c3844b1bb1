#!/bin/bash
# git.sh DIR: git in eight processes, in clones of one repository (commit, gc, rebase, push) and in that one itself at
# once; then fsck of all must find nothing.
set -eu
cd "$1"
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@a
export GIT_CONFIG_GLOBAL=/dev/null HOME="$1" XDG_CONFIG_HOME="$1"

fail()
{
	echo "not ok 1 - git: $*"
	exit 1
}

git init -q -b main origin
cd origin
git config gc.auto 0
for i in $(seq 200); do
	mkdir -p "d$((i % 10))"
	echo "file $i" >"d$((i % 10))/f$i"
done
git add . && git commit -qm base
cd ..

in_a_clone()
{
	local n=$1 i
	git clone -q origin "c$n"
	cd "c$n"
	git checkout -q -b "b$n"
	for i in 1 2 3 4 5; do
		echo "$n $i" >"d$n/new$i"
		git add -A
		git commit -qm "c$n $i"
		[ "$i" != 3 ] || git gc -q
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
	for i in 1 2 3; do
		echo "$n $i" >"shared-$n-$i"
		# One process at a time has the index; the others try again.
		for _ in $(seq 500); do
			if git cat-file -e "HEAD:shared-$n-$i"; then break; fi
			if git add "shared-$n-$i"; then git commit -qm "shared $n $i" -- "shared-$n-$i" || true; fi
		done
		git cat-file -e "HEAD:shared-$n-$i"
	done
}

pids=
for n in 1 2 3 4 5 6 7 8; do
	(in_a_clone "$n") >"log$n" 2>&1 &
	pids="$pids $!"
done
n=0
for p in $pids; do
	n=$((n + 1))
	wait "$p" || fail "clone $n: $(tail -5 "log$n")"
done
cd origin
[ "$(git branch | wc -l)" = 9 ] || fail "branches are missing"
pids=
for n in 1 2 3 4 5 6 7 8; do
	(in_the_origin "$n") >"../log$n" 2>&1 &
	pids="$pids $!"
done
n=0
for p in $pids; do
	n=$((n + 1))
	wait "$p" || fail "origin $n: $(tail -5 "../log$n")"
done
git gc -q
cd ..
for r in origin c1 c2 c3 c4 c5 c6 c7 c8; do
	out=$(git -C $r fsck --full --strict 2>&1) || fail "fsck of $r: $out"
	[ -z "$(git -C $r status --porcelain)" ] || fail "$r is not clean: $(git -C $r status --short | head -3)"
done
echo "ok 1 - parallel git, fsck clean"
echo 1..1

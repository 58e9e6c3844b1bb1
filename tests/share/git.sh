#!/bin/bash
# git.sh DIR: git in eight processes, in clones of one repository (commit, gc, rebase, push) and in that one itself at
# once; then fsck of all must find nothing.
set -eu
dir=$1
cd "$dir"
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@a GIT_CONFIG_GLOBAL=/dev/null
git init -q -b main origin
cd origin
git config gc.auto 0
for i in $(seq 200); do mkdir -p d$((i%10)); echo "file $i" > d$((i%10))/f$i; done
git add . && git commit -qm base
cd ..
work() {
	n=$1
	git clone -q origin c$n
	cd c$n
	git checkout -q -b b$n
	for i in 1 2 3 4 5; do
		echo "$n $i" > d$n/new$i; git add -A; git commit -qm "c$n $i"
		[ $i = 3 ] && git gc -q
	done
	echo up > d$n/rebased; git add -A; git commit -qm rebased
	git rebase -q main
	until git push -q origin b$n 2>/dev/null; do :; done
	cd ..
}
pids=
for n in 1 2 3 4 5 6 7 8; do work $n & pids="$pids $!"; done
for p in $pids; do wait $p; done
cd origin
[ "$(git branch | wc -l)" = 9 ]
# all at once in one repository: only one holds the index lock at a time, the others try again
pids=
for n in 1 2 3 4 5 6 7 8; do
	( for i in 1 2 3; do
		echo "$n $i" > shared-$n-$i
		until git cat-file -e HEAD:shared-$n-$i; do
			git add shared-$n-$i && git commit -qm "shared $n $i" -- shared-$n-$i || true
		done
	done ) > /dev/null 2>&1 & pids="$pids $!"
done
( git gc -q || true ) 2>/dev/null & pids="$pids $!"
for p in $pids; do wait $p; done
cd ..
for r in origin c1 c2 c3 c4 c5 c6 c7 c8; do git -C $r fsck --full --strict 2>&1 | grep -v dangling || true; done
for r in origin c1 c8; do [ -z "$(git -C $r status --porcelain)" ] || { echo "not ok 1 - git: $r is not clean"; exit 1; }; done
echo "ok 1 - parallel git, fsck clean"
echo 1..1

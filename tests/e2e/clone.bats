#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hull create --clone: a private clone of a repository in the sandbox, and git's remote to it.
#
# One sandbox serves most tests: "cloned", of the repository $repo with a secret that git ignores and one it does not
# know. Each test leaves the clone's branch main as it was.

setup_file() {
	load lib
	export repo=/tmp/hull-clone-$$
	mkdir -p "$repo/sub"
	export HOME=$BATS_FILE_TMPDIR GIT_CONFIG_NOSYSTEM=1
	git config --global init.defaultBranch main
	git config --global user.name 'A Person'
	git config --global user.email person@example.org
	PATH=$(dirname "$HULL"):$PATH
	export PATH
	cd "$repo" || return 1
	git init -q
	printf '.env\n' >.gitignore
	echo one >file
	printf '#!/bin/sh\necho ran\n' >sub/run
	chmod 755 sub/run
	ln -s file link
	git add .
	git commit -qm one
	git branch other
	git remote add origin https://user:hunter2@example.org/x.git
	echo hunter2 >.env
	echo hunter2 >untracked
	echo uncommitted >>file
	git stash -q
	git stash apply -q
	LIMIT=300 hull create -q --clone --name cloned --cpus 2 -m 1g --no-docker shell "$repo/sub"
	LIMIT=300 hull start -q cloned
}
teardown_file() {
	load lib
	LIMIT=120 hull rm -f cloned || true
	rm -rf "$repo"
}
setup() {
	load lib
	cd "$repo" || return 1
}
teardown() {
	remove_own
}

@test "clone: what is committed is there, at the same path, and the agent's" {
	[ "$(hull exec cloned pwd)" = "$repo/sub" ]
	[ "$(hull exec cloned ./run)" = ran ]
	[ "$(hull exec -w "$repo" cloned cat link)" = one ]
	[ "$(hull exec -w "$repo" cloned git status --porcelain --branch)" = '## main' ]
	[ "$(hull exec -w "$repo" cloned git for-each-ref --format='%(refname)')" = "$(printf 'refs/heads/main\nrefs/heads/other')" ]
	[ "$(hull exec -w "$repo" cloned git rev-parse HEAD)" = "$(git rev-parse HEAD)" ]
	[ "$(hull exec -w "$repo" cloned find . -not -user agent)" = '' ]
	[ "$(hull exec -w "$repo" cloned git config user.email)" = person@example.org ]
	hull exec -w "$repo" cloned git fsck --strict
}

@test "clone: nothing else crosses" {
	run hull exec -w "$repo" cloned sh -c 'ls -a; git remote -v; git stash list; cat file'
	[ "$status" = 0 ]
	[[ $output != *untracked* && $output != *$'\n'.env* && $output != *hunter2* && $output != *uncommitted* ]]
	[ "$(hull exec -w "$repo" cloned git remote get-url origin)" = https://example.org/x.git ]
	run as_root cloned grep -rqs hunter2 "$repo"
	[ "$status" = 1 ]
	# And nothing is mounted.
	run hull exec cloned grep -F "$repo" /proc/mounts
	[ "$status" = 1 ]
}

@test "clone: fetch and push, while it runs" {
	[ "$(git remote get-url hull-cloned)" = hull::cloned ]
	hull exec -w "$repo" cloned sh -ec 'git checkout -qb work; echo two >new; git add new; git commit -qm two; git checkout -q main'
	git fetch -q hull-cloned
	[ "$(git show hull-cloned/work:new)" = two ]
	git push -q hull-cloned "hull-cloned/work:refs/heads/pushed"
	[ "$(hull exec -w "$repo" cloned git rev-parse pushed)" = "$(git rev-parse hull-cloned/work)" ]
	run git push hull-cloned hull-cloned/work:main
	[ "$status" = 1 ]
	[[ $output == *'branch is currently checked out'* ]]
	git push -q hull-cloned :pushed
	git clone -q hull::cloned "$BATS_TEST_TMPDIR/copy" -b work
	[ "$(cat "$BATS_TEST_TMPDIR/copy/new")" = two ]
	run git fetch hull::cloned/etc
	assert_says 128 'not appear to be a git repository'
	run git fetch hull::nobody
	assert_says 128 'no sandbox is called'
}

@test "clone: a big fetch" {
	hull exec -w "$repo" cloned sh -ec 'git checkout -q --orphan big; head -c 20000000 /dev/urandom >big; git add big; git commit -qm big; git checkout -q main'
	git fetch -q hull-cloned big
	[ "$(git cat-file -s FETCH_HEAD:big)" = 20000000 ]
	hull exec -w "$repo" cloned git branch -qD big
}

@test "clone: objects that are not well-formed are not taken" {
	hull exec -w "$repo" cloned sh -ec '
		blob=$(echo x | git hash-object -w --stdin)
		tree=$(printf "100644 blob %s\t.git\n" "$blob" | git mktree)
		git update-ref refs/heads/evil "$(git commit-tree -m evil "$tree")"'
	run git fetch hull-cloned
	[ "$status" != 0 ]
	[[ $output == *"contains '.git'"* ]]
	run git rev-parse -q --verify refs/remotes/hull-cloned/evil
	[ "$status" != 0 ]
	hull exec -w "$repo" cloned git update-ref -d refs/heads/evil
}

@test "clone: a guest whose git tells stories" {
	as_root cloned sh -c 'mv /usr/bin/git /usr/bin/git.real; printf "%s\n" "#!/bin/sh" "printf \"\\033[2Jlock $0\\n\" >&2; printf \"003elock /tmp/x refs/heads/\\033\\n\"; exec cat /dev/urandom" >/usr/bin/git; chmod 755 /usr/bin/git'
	run timeout 60 git fetch hull-cloned
	as_root cloned mv /usr/bin/git.real /usr/bin/git
	[ "$status" = 128 ]
	[[ $output != *$'\033'* ]]
}

@test "clone: a sandbox that is stopped is started for a fetch, and stopped again" {
	hull exec -w "$repo" cloned sh -ec 'git checkout -qb later; echo 3 >three; git add three; git commit -qm three; git checkout -q main'
	hull stop -q cloned || hull stop cloned
	LIMIT=300 timeout 300 git fetch -q hull-cloned
	[ "$(git show hull-cloned/later:three)" = 3 ]
	state_is cloned stopped
	LIMIT=300 hull start -q cloned
	# It was cloned once.
	[ "$(hull exec -w "$repo" cloned git show later:three)" = 3 ]
}

@test "clone: of a linked worktree; interrupted, and made again" {
	git worktree add -q -b side "$BATS_TEST_TMPDIR/tree"
	name=t$BATS_SUITE_TEST_NUMBER-$RANDOM
	echo "$name" >>"$BATS_TEST_TMPDIR/own"
	run hull create --cold --clone --name "$name" --cpus 1 -m 1g --no-docker shell "$BATS_TEST_TMPDIR/tree"
	[ "$status" = 0 ]
	[ "${#lines[@]}" = 1 ]
	# Killed while it is under way, as far as can be told: whatever there is then is not used.
	"$HULL" start -q "$name" &
	local pid=$!
	eventually 60 sh -c "grep -q 'ready for the host' '$HULL_HOME/sandboxes/$name/serial.log'"
	kill -9 "$(engine_pid "$name")" || true
	reap "$pid"
	eventually 20 not state_is "$name" running
	LIMIT=300 hull start -q "$name"
	[ "$(hull exec "$name" git status --porcelain --branch)" = '## side' ]
	[ "$(hull exec "$name" sh -c 'cat file; test -d .git; ls -d ../*.hull-clone 2>/dev/null || true')" = one ]
	LIMIT=120 hull rm -f "$name"
	[ "$(git remote | grep -c "hull-$name" || true)" = 0 ]
	git worktree remove -f "$BATS_TEST_TMPDIR/tree"
}

@test "clone: without commits, and with a detached HEAD" {
	local t=$BATS_TEST_TMPDIR
	git init -q -b trunk "$t/empty"
	name=t$BATS_SUITE_TEST_NUMBER-$RANDOM
	echo "$name" >>"$BATS_TEST_TMPDIR/own"
	LIMIT=300 hull create -q --clone --name "$name" --cpus 1 -m 1g --no-docker shell "$t/empty"
	LIMIT=300 hull start -q "$name"
	[ "$(hull exec "$name" git status --porcelain --branch)" = '## No commits yet on trunk' ]
	LIMIT=120 hull rm -f "$name"
	git clone -q --depth 1 "file://$repo" "$t/cut"
	git -C "$t/cut" checkout -q --detach
	LIMIT=300 hull create -q --clone --name "$name" --cpus 1 -m 1g --no-docker shell "$t/cut"
	LIMIT=300 hull start -q "$name"
	[ "$(hull exec "$name" git rev-parse HEAD)" = "$(git rev-parse HEAD)" ]
	hull exec "$name" git fsck
	hull exec "$name" git log --oneline
}

@test "clone: what cannot be cloned is refused, and nothing is made" {
	local t=$BATS_TEST_TMPDIR
	mkdir "$t/none"
	git init -q --bare "$t/bare"
	run hull create --clone --name never shell "$t/none"
	assert_refused 125 'not a git repository'
	run hull create --clone --name never shell "$t/bare"
	assert_refused 125 'bare'
	run hull create --clone --name never shell "$repo" "$repo/sub:ro"
	assert_refused 125 'lie in one another'
	[ ! -e "$HULL_HOME/sandboxes/never" ]
	run hull mount cloned "$repo/sub"
	assert_refused 125 'lie in one another'
}

@test "clone: a person's own remote is left alone, and hull rm keeps what nothing else has" {
	git remote add hull-mine /srv/other
	run hull create --clone --name mine --cpus 1 -m 1g --no-docker shell "$repo"
	[ "$status" = 0 ]
	[[ $output == *'a remote hull-mine of its own'* ]]
	hull rm mine
	[ "$(git remote get-url hull-mine)" = /srv/other ]
	git remote remove hull-mine
	run hull create --clone --name kept --cpus 1 -m 1g --no-docker shell "$repo"
	[[ $output == *'uncommitted changes'* ]]
	git update-ref refs/remotes/hull-kept/x "$(git commit-tree -m x 'HEAD^{tree}')"
	run hull rm kept
	[[ $output == *'refs/remotes/hull-kept/'* ]]
	git rev-parse -q --verify refs/remotes/hull-kept/x
	run git remote get-url hull-kept
	[ "$status" != 0 ]
	git update-ref -d refs/remotes/hull-kept/x
}

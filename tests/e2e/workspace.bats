#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The workspace: directories of the host at their own paths in the sandbox.
#
# One sandbox serves nearly all tests of this file; see work.bash.
load work

server_of() { # PATH: the process that serves it
	local p
	for p in $(family work); do
		tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null | grep -qF -- "hull-share --root $1 " && echo "$p"
	done
	return 0
}

@test "workspace: both sides see each other's edits, at the same path" {
	[ "$(hull exec work cat "$ws/rw/a")" = 'from the host' ]
	hull exec work sh -c "echo 'from the guest' >$ws/rw/new"
	[ "$(cat "$ws/rw/new")" = 'from the guest' ]
	echo changed >"$ws/rw/new"
	[ "$(hull exec work cat "$ws/rw/new")" = changed ]
	rm "$ws/rw/new"
	run hull exec work cat "$ws/rw/new"
	[ "$status" != 0 ]
}

@test "workspace: commands start in the first path" {
	[ "$(hull exec work pwd)" = "$ws/rw" ]
	[ "$(hull exec -w / work pwd)" = / ]
	# Somebody who may not go there starts at home.
	chmod 700 "$ws/rw"
	[ "$(hull exec -u nobody work pwd)" = / ] || [ "$(hull exec -u nobody work pwd)" = /nonexistent ]
	chmod 755 "$ws/rw"
}

@test "workspace: what the agent makes belongs to the user here, and to the agent there" {
	hull exec work sh -c 'echo x >new; chmod 751 new; mkdir x; rmdir x'
	[ "$(stat -c '%u %a' "$ws/rw/new")" = "$owner 751" ]
	[ "$(hull exec work stat -c '%U:%G %a' new)" = 'agent:agent 751' ]
	as_root work sh -c "rm $ws/rw/new; echo y >$ws/rw/new"
	[ "$(stat -c %u "$ws/rw/new")" = "$owner" ]
	[ "$(hull exec work stat -c %U new)" = root ]
	# Devices and setuid bits are the guest's alone, and inert there too.
	as_root work mknod "$ws/rw/x" c 1 3
	[ "$(stat -c '%F %u' "$ws/rw/x")" = "regular empty file $owner" ]
	[ "$(hull exec work stat -c '%F %Hr %Lr' x)" = 'character special file 1 3' ]
	run as_root work cat "$ws/rw/x"
	[ "$status" != 0 ]
	as_root work chmod 4755 "$ws/rw/new"
	[ "$(stat -c %a "$ws/rw/new")" = 755 ]
	[ "$(hull exec work stat -c %a new)" = 4755 ]
	rm "$ws/rw/x"
	as_root work chown agent:agent "$ws/rw/new"
	as_root work chmod 755 "$ws/rw/new"
	[ -z "$(getfattr -d "$ws/rw/new" 2>/dev/null)" ]
}

@test "workspace: owners and modes that the host has not are kept, and root is root" {
	local t='mkdir o && tar xf ro.tar -C o && echo more >>o/ro/sub/f && stat -c %a o/ro && rm -rf o'
	mkdir -p "$BATS_TEST_TMPDIR/s/ro/sub"
	echo x >"$BATS_TEST_TMPDIR/s/ro/sub/f"
	chmod 444 "$BATS_TEST_TMPDIR/s/ro/sub/f"
	chmod 555 "$BATS_TEST_TMPDIR/s/ro/sub" "$BATS_TEST_TMPDIR/s/ro"
	tar cf "$ws/rw/ro.tar" -C "$BATS_TEST_TMPDIR/s" ro
	chmod -R u+w "$BATS_TEST_TMPDIR/s"
	[ "$(as_root work sh -ec "cd '$ws/rw'; $t")" = 555 ]
	# A database's directory: made by root, given to a user who opens its own file again.
	as_root work sh -ec "cd '$ws/rw'; mkdir pg; chown 999:999 pg; chmod 700 pg
		setpriv --reuid 999 --regid 999 --clear-groups sh -ec 'echo 17 >pg/v; chmod 600 pg/v; echo 18 >>pg/v; cat pg/v'"
	run hull exec work cat pg/v
	[ "$status" != 0 ]
	[ "$(stat -c '%u %a' "$ws/rw/pg/v")" = "$owner 600" ]
	[ "$(as_root work stat -c '%u:%g %a' "$ws/rw/pg/v")" = '999:999 600' ]
	rm -r "$ws/rw/pg" "$ws/rw/ro.tar"
}

@test "workspace: executables run, modes and times are exact" {
	printf '#!/bin/sh\necho ran\n' >"$ws/rw/new"
	chmod 755 "$ws/rw/new"
	touch -d '2001-02-03 04:05:06.123456789 UTC' "$ws/rw/new"
	[ "$(hull exec work ./new)" = ran ]
	# Also while it is being announced to watchers in the sandbox.
	hull exec work sh -c 'for i in $(seq 200); do ./new >/dev/null || exit; done' &
	for i in $(seq 50); do touch -d '2001-02-03 04:05:06.123456789 UTC' "$ws/rw/new" && cat /dev/null >>"$ws/rw/new"; done
	wait $!
	touch -d '2001-02-03 04:05:06.123456789 UTC' "$ws/rw/new"
	[ "$(hull exec work stat -c %y new)" = '2001-02-03 04:05:06.123456789 +0000' ]
	hull exec work sh -c 'cp /bin/true x && ./x'
}

@test "workspace: :ro is refused by the host, whatever root does in the sandbox" {
	[ "$(hull exec work cat "$ws/ro/b")" = fixed ]
	run hull exec work sh -c "echo no >$ws/ro/b"
	assert_says 2 'read-only'
	run as_root work sh -c "mount -o remount,rw $ws/ro; echo no >$ws/ro/b"
	[ "$status" != 0 ]
	run as_root work rm -rf "$ws/ro/b"
	[ "$status" != 0 ]
	[ "$(cat "$ws/ro/b")" = fixed ]
}

@test "workspace: a single file, without its neighbours" {
	[ "$(hull exec work cat "$ws/alone/file")" = only ]
	[ "$(hull exec work ls "$ws/alone")" = file ]
	run as_root work sh -c "echo no >$ws/alone/file"
	[ "$status" != 0 ]
}

@test "workspace: a file masked in a writable path stays as it is" {
	run as_root work sh -c "echo no >$ws/rw/masked"
	[ "$status" != 0 ]
	run as_root work sh -c "rm -f $ws/rw/masked || mv $ws/rw/masked $ws/rw/x"
	[ "$status" != 0 ]
	[ "$(cat "$ws/rw/masked")" = secret ]
	[ "$(hull exec work cat masked)" = secret ]
}

@test "workspace: a symlink to the outside leads nowhere on the host" {
	hull exec work ln -sfn /etc/hostname link
	[ "$(readlink "$ws/rw/link")" = /etc/hostname ]
	# It is followed in the sandbox, where it is the sandbox's own.
	[ "$(hull exec work cat link)" = work ]
	as_root work sh -c "ln -sfn / $ws/rw/link; echo mine >$ws/rw/link/ws-escape"
	[ ! -e /ws-escape ]
	as_root work rm -f /ws-escape
}

@test "workspace: what the guest writes there does not choose what of the host it gets" {
	mkdir -p "$ws/private"
	echo KEY=private >"$ws/private/env"
	hull exec work sh -c 'ln -sfn ../private link; ln -sf ../private/env env; printf "HOST_TOKEN\nA=b\n" >bare'
	for verb in "mount work" "create -q --name other --cpus 2 -m 1g --no-docker shell"; do
		read -ra words <<<"$verb"
		run hull "${words[@]}" "$ws/rw/link"
		assert_says 125 'symlink'
	done
	run hull exec --env-file "$ws/rw/env" work env
	assert_says 125 'symlink'
	run env HOST_TOKEN=mine "$HULL" exec --env-file "$ws/rw/bare" work env
	assert_says 125 '-e HOST_TOKEN'
	[[ "$(env -u HOST_TOKEN "$HULL" exec --env-file "$ws/rw/bare" work env)" == *A=b* ]]
	rm -rf "$ws/private" "$ws/rw/link" "$ws/rw/env" "$ws/rw/bare"
}

@test "workspace: 64 MiB each way arrive as they are" {
	head -c 67108864 /dev/urandom >"$ws/rw/big"
	[ "$(hull exec work sha256sum big)" = "$(cd "$ws/rw" && sha256sum big)" ]
	hull exec work cp big big2
	cmp "$ws/rw/big" "$ws/rw/big2"
}

@test "workspace: many small files" {
	hull exec work sh -c 'mkdir x && cd x && for d in 1 2 3 4 5; do mkdir $d; for i in $(seq 60); do echo $d $i >$d/$i; done; done'
	[ "$(find "$ws/rw/x" -type f | wc -l)" = 300 ]
	[ "$(cat "$ws/rw/x/3/7")" = '3 7' ]
	hull exec work rm -r x
	[ ! -e "$ws/rw/x" ]
}

@test "workspace: git" {
	hull exec work sh -ec '
		git init -q x && cd x
		git config user.email a@b.c && git config user.name n
		for i in $(seq 50); do echo $i >f$i; done
		git add . && git commit -qm one
		git clone -q . ../new && cd ../new && git fsck --strict && git log --oneline | grep -q one'
	# The host's git works on the same repository.
	git -c safe.directory='*' -C "$ws/rw/x" status --porcelain
	git -c safe.directory='*' -C "$ws/rw/x" fsck --strict
	echo more >"$ws/rw/x/f1"
	[ "$(hull exec -w "$ws/rw/x" work git status --porcelain)" = ' M f1' ]
	hull exec work rm -rf x new
	# No complaint about the owner, for root either.
	as_root work sh -c "cd $ws/rw && git init -q x && cd x && git status --porcelain && rm -rf $ws/rw/x"
}

# Watch the sandbox's working directory: say "watching", then "heard" when every NAME, or NAME:MASK (events of inotify,
# in hex), has been heard of.
watch_for() { # SANDBOX NAME[:MASK]...
	local sandbox=$1
	shift
	hull exec "$sandbox" python3 -c '
import ctypes, os, sys, struct, select
c = ctypes.CDLL(None, use_errno=True)
fd = c.inotify_init1(0)
c.inotify_add_watch(fd, b".", 0xfff)
os.listdir(".")
print("watching", flush=True)
wanted = {}
for w in sys.argv[1:]:
    name, _, mask = w.partition(":")
    wanted[name] = wanted.get(name, []) + [int(mask or "10a", 16)]
while select.select([fd], [], [], 30)[0]:
    b = os.read(fd, 65536)
    while b:
        wd, mask, cookie, n = struct.unpack_from("iIII", b)
        name = b[16:16 + n].rstrip(b"\0").decode()
        b = b[16 + n:]
        wanted[name] = [m for m in wanted.get(name, []) if not m & mask]
    if not any(wanted.values()):
        print("heard", flush=True)
        sys.exit(0)
print("not heard:", {n: w for n, w in wanted.items() if w}, flush=True)
sys.exit(1)' "$@"
}

@test "workspace: file watchers hear of edits on the host" {
	echo x >"$ws/rw/attrib"
	echo x >"$ws/rw/removed"
	echo x >"$ws/rw/edited"
	mkdir "$ws/rw/dir"
	[ "$UID" != 0 ] || chown "$owner:$owner" "$ws/rw/"{attrib,removed,edited,dir}
	hull exec work sh -c 'ls -l >/dev/null; cat attrib removed edited >/dev/null'
	# Changed, made, its mode changed, removed, renamed away and to, replaced by rename.
	coproc LOOK { watch_for work a:2 a:8 new:100 attrib:4 removed:200 dir:40000200 made:40000100 tmp:240 edited:182; }
	local line out=${LOOK[0]} pid=$LOOK_PID
	read -r line <&"$out"
	[ "$line" = watching ]
	# Thousands of writes to one file are one thing to tell, and hold up no other.
	dd if=/dev/zero of="$ws/rw/big" bs=4096 count=8192 status=none
	echo 'from the host' >"$ws/rw/a"
	echo x >"$ws/rw/new"
	chmod 600 "$ws/rw/attrib"
	rm "$ws/rw/removed"
	mv "$ws/rw/dir" "$ws/rw/made"
	echo saved >"$ws/rw/tmp"
	[ "$UID" != 0 ] || chown "$owner:$owner" "$ws/rw/tmp"
	eventually 20 sh -c "timeout 20 $HULL exec work test -e $ws/rw/tmp"
	mv "$ws/rw/tmp" "$ws/rw/edited"
	read -r line <&"$out"
	[ "$line" = heard ]
	reap "$pid"
	[ "$(hull exec work cat edited)" = saved ]
	rm -rf "$ws/rw/"{attrib,edited,made}
}

# The guest hears late of what the host removed; it must not take what is new under that name for dead.
@test "workspace: a tree that the host removes and makes again is alive in the guest" {
	local i tree=$ws/rw/again
	for _ in 1 2 3; do
		rm -rf "$tree"
		mkdir "$tree"
		for ((i = 0; i < 200; i++)); do mkdir "$tree/d$i" && echo old >"$tree/d$i/f"; done
		hull exec work sh -c "ls -R $tree >/dev/null"
		rm -rf "$tree"
		mkdir "$tree"
		for ((i = 0; i < 200; i++)); do mkdir "$tree/d$i"; done
		chmod -R a+rwX "$tree"
		hull exec work sh -ec "cd $tree
			for turn in 1 2 3 4; do for i in \$(seq 0 199); do [ -d d\$i ] || echo d\$i is gone; done; done
			for i in \$(seq 0 199); do echo \$i >d\$i/new; done
			ls | wc -l
			cat d*/new | wc -l" >"$BATS_TEST_TMPDIR/said"
		[ "$(tr '\n' ' ' <"$BATS_TEST_TMPDIR/said")" = '200 200 ' ]
	done
	rm -rf "$tree"
}

@test "workspace: kill -9 of the server: an error, then it goes on; what was fsynced is there" {
	local pid t=$BATS_TEST_TMPDIR
	pid=$(server_of "$ws/rw")
	[ -n "$pid" ]
	hull exec work sh -c 'echo kept >new; sync new; mkdir -p sub; echo in there >sub/f'
	# One has a file open, one works below the top and asks for what is beside it, one watches a directory.
	hull exec work sh -c "exec 3>>x; echo ready >big; until [ -e go ]; do sleep 0.1; done; echo lost >&3" 2>"$t/writer" &
	local writer=$!
	hull exec work sh -c "cd sub; touch ../big2; until [ -e $ws/rw/go ]; do sleep 0.1; done
		cat f || echo stale; cat $ws/rw/sub/f && cd $ws/rw/sub && cat f" >"$t/below" 2>/dev/null &
	local below=$!
	eventually 20 test -e "$ws/rw/big"
	eventually 20 test -e "$ws/rw/big2"
	kill -9 "$pid"
	eventually 10 sh -c "timeout 30 $HULL exec work cat $ws/rw/new >/dev/null"
	touch "$ws/rw/go"
	# What was open is lost, with an error and not in silence.
	reap "$writer"
	[ "$status" != 0 ]
	grep -qiE 'stale|i/o error|input/output' "$t/writer"
	[ ! -s "$ws/rw/x" ]
	# A working directory below the top may be stale; by its path it is there, and can be gone to again.
	reap "$below"
	[ "$status" = 0 ]
	grep -cx 'in there' "$t/below" | grep -qE '^[23]$'
	[ "$(hull exec work cat new)" = kept ]
	hull exec work sh -c 'echo again >x; cat x'
	[ "$(cat "$ws/rw/x")" = again ]
	[ "$(server_of "$ws/rw")" != "$pid" ]
	state_is work running
	# Who begins to watch now hears of the host again.
	coproc LOOK { watch_for work again; }
	local line out=${LOOK[0]} look=$LOOK_PID
	read -r line <&"$out"
	[ "$line" = watching ]
	echo x >"$ws/rw/again"
	read -r line <&"$out"
	[ "$line" = heard ]
	reap "$look"
	rm -rf "$ws/rw/again" "$ws/rw/go" "$ws/rw/sub"
}

@test "workspace: the server of a path sees nothing but that path" {
	local pid path
	pid=$(server_of "$ws/rw")
	for path in net mnt pid ipc uts cgroup; do
		[ "$(readlink "/proc/$pid/ns/$path")" != "$(readlink "/proc/self/ns/$path")" ]
	done
	# It acts as the owner of the files, in a user namespace of its own unless root started it.
	[ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" = "$owner" ]
	[ "$UID" = 0 ] || [ "$(readlink "/proc/$pid/ns/user")" != "$(readlink /proc/self/ns/user)" ]
	for path in /etc /usr /var "$ws/ro" "$ws/alone" "$HULL_HOME" "$XDG_RUNTIME_DIR/hull" "$top/README.md"; do
		[ -e "$path" ]
		[ ! -e "/proc/$pid/root$path" ]
	done
	[ "$(ls "/proc/$pid/root$(dirname "$ws")")" = "$(basename "$ws")" ]
	[ "$(ls "/proc/$pid/root$ws")" = rw ]
	[ -e "/proc/$pid/root$ws/rw/a" ]
	grep -qE '^NoNewPrivs:[[:space:]]1' "/proc/$pid/status"
	grep -qE '^Seccomp:[[:space:]]2' "/proc/$pid/status"
	for path in CapInh CapPrm CapEff CapBnd CapAmb; do
		grep -qE "^$path:[[:space:]]0000000000000000" "/proc/$pid/status"
	done
	[ "$UID" != 0 ] || grep -qE '^Groups:[[:space:]]*$' "/proc/$pid/status"
	# What the guest can make it remember is bounded.
	grep -qE '^Max data size +2147483648 +2147483648 ' "/proc/$pid/limits"
}

@test "workspace: nothing can be put in the place of a path that lies in a writable one" {
	local pid
	mkdir -p "$ws/rw/deep/er" "$ws/outside/er"
	echo secret >"$ws/outside/er/f"
	echo mine >"$ws/rw/deep/er/f"
	[ "$UID" != 0 ] || chown -R "$owner:$owner" "$ws/rw/deep" "$ws/outside"
	hull mount work "$ws/rw/deep/er"
	[ "$(hull exec work cat deep/er/f)" = mine ]
	hull exec work sh -c 'echo yours >deep/er/f; echo beside >deep/g'
	[ "$(cat "$ws/rw/deep/er/f")" = yours ]
	# Root in the sandbox takes the inner mount away; the server of the outer one keeps the names.
	pid=$(server_of "$ws/rw/deep/er")
	as_root work sh -c "cp /bin/sleep /tmp/hold; cd $ws/rw/deep/er && exec /tmp/hold 600" &
	local hold=$!
	eventually 20 sh -c "timeout 20 $HULL exec work pgrep -x hold >/dev/null"
	as_root work umount -l "$ws/rw/deep/er"
	local p
	for p in "mv $ws/rw/deep $ws/rw/x" "mv $ws/rw/deep/er $ws/rw/x" "rm -rf $ws/rw/deep/er" \
		"mv -T --exchange $ws/rw/deep/er $ws/rw/a"; do
		run as_root work sh -c "$p"
		[ "$status" != 0 ]
	done
	[ -d "$ws/rw/deep/er" ]
	[ ! -e "$ws/rw/x" ]
	# Somebody on the host does put a link there, and the server has to be replaced: not by one of what the link leads to.
	mv "$ws/rw/deep" "$ws/rw/x"
	ln -s "$ws/outside" "$ws/rw/deep"
	kill -9 "$pid"
	eventually 20 sh -c "timeout 20 $HULL logs work | grep -qF '$ws/rw/deep/er cannot be mounted'"
	[ -z "$(server_of "$ws/rw/deep/er")" ]
	as_root work pkill -x hold || true
	wait "$hold" || true
	state_is work running
	[ "$(hull exec work cat a)" = 'from the host' ]
	rm "$ws/rw/deep"
	rm -rf "$ws/rw/x"
	hull unmount work "$ws/rw/deep/er" || true
}

@test "workspace: a path that has come to lead through a symlink is not served" {
	mkdir -p "$ws/later/a/b" "$ws/outside/b"
	hull create -q --name swapped --cpus 2 -m 1g --no-docker shell "$ws/later" "$ws/later/a/b"
	mv "$ws/later/a" "$ws/later/c"
	ln -s "$ws/outside" "$ws/later/a"
	run hull start -q swapped
	assert_says 125 'symlink'
	assert_says 125 'hull unmount swapped'
	hull rm -f swapped
	rm -rf "$ws/later/a" "$ws/later/c"
}

@test "workspace: a linked worktree has git, and no say in what git runs here" {
	local g=$ws/repo p
	git init -q -b main "$g"
	(
		cd "$g"
		git config user.name n
		git config user.email a@b.c
		echo one >f
		echo ignored >.gitignore
		git add .
		git commit -qm one
		git worktree add -q "$ws/tree" -b linked
		git worktree add -q "$ws/tree2" -b second
	)
	[ "$UID" != 0 ] || chown -R "$owner:$owner" "$g" "$ws/tree" "$ws/tree2"
	# Made with one: said in a line, and the repository is mounted with it.
	run hull create --name linked --cpus 2 -m 1g --no-docker shell "$ws/tree" "$ws/ro:ro"
	assert_says 0 "linked worktree.*$g/.git"
	[ "$(jq -r '.paths[]' "$HULL_HOME/sandboxes/linked/sandbox.json")" = "$(printf '%s\n' "$ws/tree" "$ws/ro:ro" \
		"$g/.git:git" "$g/.git/worktrees/tree")" ]
	hull rm -f linked
	# Not when a path has all of the repository, and not with what another directory claims to be.
	hull create -q --name linked --cpus 2 -m 1g --no-docker shell "$ws/tree" "$g"
	[ "$(jq -r '.paths[]' "$HULL_HOME/sandboxes/linked/sandbox.json")" = "$(printf '%s\n' "$ws/tree" "$g")" ]
	hull rm -f linked
	mkdir "$ws/claims"
	cp "$ws/tree/.git" "$ws/claims/"
	run hull create --name linked --cpus 2 -m 1g --no-docker shell "$ws/claims"
	assert_says 0 'has no worktree'
	[ "$(jq -r '.paths[]' "$HULL_HOME/sandboxes/linked/sandbox.json")" = "$ws/claims" ]
	hull rm -f linked

	hull mount work "$ws/tree"
	as_tree() { hull exec -w "$ws/tree" work "$@"; }
	[ "$(as_tree git status --porcelain)" = '' ]
	as_tree sh -ec 'git config --global user.name agent; git config --global user.email agent@b.c
		echo two >g; git add g; git commit -qm two; git log --oneline | grep -q two
		git stash list; echo three >>g; git stash -q; git stash pop -q; git commit -qam three
		git branch topic HEAD~1; git branch -D -q topic; git checkout -q -b more; git rebase -q linked
		git repack -adq; git pack-refs --all
		git checkout -q linked; git branch -d -q more'
	# The host has it. Who announces one path's changes in the guest leaves alone what is mounted in it.
	[ "$(stat -c %Y "$g/.git/worktrees/tree/index")" -gt 1000000000 ]
	local host=(git -c safe.directory='*' -C)
	"${host[@]}" "$g" fsck --strict
	[ "$("${host[@]}" "$g" log --format=%s linked)" = "$(printf 'three\ntwo\none')" ]
	[ "$("${host[@]}" "$ws/tree" status --porcelain)" = '' ]
	[ "$("${host[@]}" "$g" status --porcelain)" = '' ]
	# What git runs here, and the other work trees, are out of the agent's reach; so is what is not in .git.
	for p in hooks/pre-commit hooks/new config config.worktree commondir HEAD index modules/m worktrees/tree2/HEAD \
		worktrees/tree2/commondir worktrees/new; do
		run as_root work sh -c "mkdir -p \$(dirname $g/.git/$p); echo evil >$g/.git/$p"
		[ "$status" != 0 ]
	done
	for p in "mv $g/.git/hooks $g/.git/x" "rm -rf $g/.git/hooks" "rm -f $g/.git/config" "mv $g/.git/worktrees $g/.git/x" \
		"mkdir $g/.git/rebase-merge" "touch $g/.git/MERGE_AUTOSTASH" "touch $g/.git/config.lock" "ln -s / $g/.git/config.worktree"; do
		run as_root work sh -c "$p"
		[ "$status" != 0 ]
	done
	[ "$(hull exec work ls -A "$g")" = .git ]
	[ -z "$(grep -rl evil "$g/.git" --include=config --include='config.*' --include=HEAD || true)" ]
	[ ! -e "$g/.git/hooks/new" ]
	[ "$("${host[@]}" "$ws/tree2" rev-parse --abbrev-ref HEAD)" = second ]
	hull unmount work "$ws/tree" "$g/.git/worktrees/tree" "$g/.git"
}

@test "workspace: mount and unmount while it runs" {
	run hull exec work ls "$ws/later"
	[ "$status" != 0 ]
	echo here >"$ws/later/f"
	hull mount work "$ws/later"
	[ "$(hull exec work cat "$ws/later/f")" = here ]
	run hull mount work "$ws/later"
	assert_refused 125 'already'
	hull exec work sh -c "cd $ws/later && exec sleep 60" &
	eventually 10 sh -c "timeout 20 $HULL exec work pgrep -f 'sleep 60' >/dev/null"
	run hull unmount work "$ws/later"
	assert_refused 125 'in use'
	hull unmount --force work "$ws/later"
	hull exec work pkill -f 'sleep 60' || true
	wait $! || true
	run hull exec work cat "$ws/later/f"
	[ "$status" != 0 ]
	[ "$(cat "$ws/later/f")" = here ]
	run hull unmount work "$ws/later"
	assert_refused 125 'not mounted'
}

# Who announces changes of the host in the guest stands in the mount, and is no reason for it to be in use.
@test "workspace: unmounted while the host's changes are being announced" {
	for round in 1 2 3; do
		hull mount work "$ws/later"
		touch "$ws/later/$round".{1..50}
		hull exec work ls "$ws/later" >/dev/null
		touch "$ws/later/$round".{1..50}
		hull unmount work "$ws/later"
	done
}

@test "workspace: a part of a writable path is made read-only while it runs" {
	mkdir "$ws/rw/part"
	echo kept >"$ws/rw/part/f"
	[ "$UID" != 0 ] || chown -R "$owner:$owner" "$ws/rw/part"
	# Somebody has it open for writing already.
	hull exec work sh -c 'exec 3>>part/f; echo more >&3; touch part/opened; until [ -e go ]; do sleep 0.1; done; echo late >&3' &
	eventually 20 test -e "$ws/rw/part/opened"
	hull mount work "$ws/rw/part:ro"
	touch "$ws/rw/go"
	run wait $!
	[ "$status" != 0 ]
	[ "$(hull exec work cat part/f)" = "$(printf 'kept\nmore')" ]
	# Root takes the mount away and finds the server of the path around it no more willing.
	as_root work umount -l "$ws/rw/part"
	run as_root work sh -c "echo no >>$ws/rw/part/f"
	[ "$status" != 0 ]
	run as_root work mv "$ws/rw/part" "$ws/rw/moved"
	[ "$status" != 0 ]
	[ "$(cat "$ws/rw/part/f")" = "$(printf 'kept\nmore')" ]
	hull exec work touch beside
	hull unmount work "$ws/rw/part"
}

@test "workspace: run without a path has this directory; mount and unmount while it is stopped" {
	local here=$ws/here
	mkdir -p "$here" "$ws/one" "$ws/two"
	echo here >"$here/f"
	echo one >"$ws/one/f"
	[ "$UID" != 0 ] || chown -R "$owner:$owner" "$here" "$ws/one" "$ws/two"
	cd "$here"
	# create without a path has none.
	hull create -q --name bare --cpus 2 -m 1g --no-docker shell
	[ "$(jq -c '.paths // []' "$HULL_HOME/sandboxes/bare/sandbox.json")" = '[]' ]
	hull mount bare "$ws/one:ro" "$ws/two"
	run hull mount bare "$ws/two"
	assert_refused 125 'already'
	hull unmount bare "$ws/two"
	run hull unmount bare "$ws/two"
	assert_refused 125 'not mounted'
	[ "$(jq -c .paths "$HULL_HOME/sandboxes/bare/sandbox.json")" = "[\"$ws/one:ro\"]" ]
	LIMIT=300 hull start -q bare
	[ "$(hull exec bare awk '$3 == "fuse.hull" {print $2}' /proc/mounts)" = "$ws/one" ]
	[ "$(hull exec bare cat "$ws/one/f")" = one ]
	run hull exec bare sh -c "echo no >$ws/one/f"
	[ "$status" != 0 ]
	hull rm -f bare
	# run without one has the directory it is called from.
	LIMIT=300 hull run -q --name bare --cpus 2 -m 1g --no-docker --rm -- sh -c "pwd; cat f; awk '\$3 == \"fuse.hull\" {print \$2}' /proc/mounts" >"$BATS_TEST_TMPDIR/said"
	[ "$(cat "$BATS_TEST_TMPDIR/said")" = "$(printf '%s\nhere\n%s' "$here" "$here")" ]
	cd "$BATS_TEST_TMPDIR"
}

@test "workspace: locks exclude the other side" {
	local line
	touch "$ws/rw/new"
	[ "$UID" != 0 ] || chown "$owner:$owner" "$ws/rw/new"
	cat >"$BATS_TEST_TMPDIR/lock.py" <<-'PY'
		import fcntl, sys
		kind, act, path = sys.argv[1:]
		f = open(path, "r+")
		call = {"flock": fcntl.flock, "fcntl": fcntl.lockf}[kind]
		if act == "hold":
		    call(f, fcntl.LOCK_EX)
		    print("held", flush=True)
		    sys.stdin.readline()
		else:
		    try:
		        call(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
		        print("free")
		    except BlockingIOError:
		        print("taken")
	PY
	hull cp "$BATS_TEST_TMPDIR/lock.py" work:/tmp/lock.py
	local kind there=(hull exec -i work python3 /tmp/lock.py) here=(python3 "$BATS_TEST_TMPDIR/lock.py")
	for kind in flock fcntl; do
		coproc HOLD { "${there[@]}" "$kind" hold "$ws/rw/new"; }
		local in=${HOLD[1]} out=${HOLD[0]} pid=$HOLD_PID
		read -r line <&"$out"
		[ "$line" = held ]
		[ "$("${here[@]}" "$kind" try "$ws/rw/new")" = taken ]
		echo >&"$in"
		reap "$pid"
		[ "$("${here[@]}" "$kind" try "$ws/rw/new")" = free ]
		coproc HOLD { "${here[@]}" "$kind" hold "$ws/rw/new"; }
		in=${HOLD[1]} out=${HOLD[0]} pid=$HOLD_PID
		read -r line <&"$out"
		[ "$line" = held ]
		[ "$("${there[@]}" "$kind" try "$ws/rw/new" </dev/null)" = taken ]
		echo >&"$in"
		reap "$pid"
		[ "$("${there[@]}" "$kind" try "$ws/rw/new" </dev/null)" = free ]
	done
}

@test "workspace: what the guest makes that is no file is inert here" {
	hull exec work python3 -c '
import os, socket
os.mkfifo("fifo")
s = socket.socket(socket.AF_UNIX)
s.bind("sock")
s.listen()
r = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
open("ready", "w").close()
import time
while not os.path.exists("go"): time.sleep(0.1)
s.setblocking(False)
try:
    s.accept()
    print("somebody came")
except BlockingIOError:
    print("nobody came", repr(os.read(r, 10)))' >"$BATS_TEST_TMPDIR/said" &
	local pid=$!
	eventually 30 test -e "$ws/rw/ready"
	[ "$(stat -c %F "$ws/rw/fifo")" = 'regular empty file' ]
	[ "$(stat -c %F "$ws/rw/sock")" = 'regular empty file' ]
	[ "$(hull exec work stat -c %F fifo sock)" = $'fifo\nsocket' ]
	# There is a reader, and a listener, but not here.
	echo x >"$ws/rw/fifo"
	python3 - "$ws/rw" <<-'PY'
		import errno, os, socket, sys
		os.chdir(sys.argv[1])
		try:
		    socket.socket(socket.AF_UNIX).connect("sock")
		except OSError as e:
		    assert e.errno == errno.ECONNREFUSED, e
		else:
		    sys.exit("the other side was reached")
	PY
	touch "$ws/rw/go"
	reap "$pid"
	[ "$status" = 0 ]
	[ "$(cat "$BATS_TEST_TMPDIR/said")" = "nobody came b''" ]
	as_root work mknod "$ws/rw/dev" b 8 0
	[ "$(stat -c %F "$ws/rw/dev")" = 'regular empty file' ]
	run as_root work dd if="$ws/rw/dev" count=1
	[ "$status" != 0 ]
	rm "$ws/rw/dev"
	rm "$ws/rw/"{fifo,sock,ready,go}
}

@test "workspace: a directory of 100,000 entries" {
	mkdir "$ws/rw/many"
	(cd "$ws/rw/many" && seq -f 'entry-%06g' 100000 | xargs touch)
	[ "$UID" != 0 ] || chown "$owner:$owner" "$ws/rw/many"
	[ "$(LIMIT=200 hull exec work sh -c 'find many -printf "%f\n" | sort | sha256sum')" = "$(cd "$ws/rw" && find many -printf '%f\n' | sort | sha256sum)" ]
	[ "$(hull exec work stat -c %s many/entry-073219)" = 0 ]
	echo x >"$ws/rw/many/entry-100001"
	[ "$(hull exec work cat many/entry-100001)" = x ]
	rm -rf "$ws/rw/many"
}

@test "workspace: what must not be given away is refused" {
	local p
	for p in / /usr /home /proc/self "$HULL_HOME" "$(dirname "$HULL_HOME")"; do
		run hull create -q --name never shell "$p"
		[ "$status" = 125 ]
		[ ! -e "$HULL_HOME/sandboxes/never" ]
	done
	run hull create -q --name never shell /does/not/exist
	assert_refused 125 'no such file'
	run hull create -q --name never shell "$ws/alone/file"
	assert_refused 125 ':ro'
}

@test "jails: the filters of the live processes are those that the source lists" {
	[ "$(id -u)" = 0 ] || skip "the kernel shows filters to root only"
	local pid kind status seen=
	for pid in $(family work); do
		case $(cat "/proc/$pid/comm") in
		hull-share) kind=share ;;
		hull-egress) kind=egress ;;
		hull-vm) kind=engine ;;
		*) continue ;;
		esac
		status=0
		python3 "$top/tests/e2e/filters.py" "$kind" "$pid" || status=$?
		[ $status != 77 ] || skip "this kernel does not show filters"
		[ $status = 0 ]
		seen+=" $kind"
		# As many threads and processes as it needs. (A server that acts as the user is not counted apart from them.)
		[ "$kind" = share ] || grep -qE '^Max processes +512 ' "/proc/$pid/limits"
	done
	[[ $seen == *share* && $seen == *egress* && $seen == *engine* ]]
}

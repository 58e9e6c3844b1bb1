#!/usr/bin/env bats
# The workspace: directories of the host at their own paths in the sandbox, and hull cp.
#
# One sandbox serves nearly all tests of this file: $ws/rw (writable, with $ws/rw/masked read-only in it), $ws/ro and
# the single file $ws/alone/file are mounted. They belong to an unprivileged user when the tests run as root.

setup_file() {
	load lib
	export ws=/tmp/hull-ws-$$
	mkdir -p "$ws/rw" "$ws/ro" "$ws/alone" "$ws/later"
	echo 'from the host' >"$ws/rw/a"
	echo secret >"$ws/rw/masked"
	echo fixed >"$ws/ro/b"
	echo only >"$ws/alone/file"
	echo neighbour >"$ws/alone/other"
	export owner=$UID
	if [ "$UID" = 0 ]; then
		owner=54321
		chown -R "$owner:$owner" "$ws"
	fi
	LIMIT=300 hull create -q --name work --cpus 2 -m 1g --no-docker shell "$ws/rw" "$ws/ro:ro" "$ws/rw/masked:ro" \
		"$ws/alone/file:ro"
	LIMIT=300 hull start -q work
}
teardown_file() {
	load lib
	LIMIT=120 hull rm -f work || true
	rm -rf "$ws"
}
setup() { load lib; }
teardown() {
	remove_own
	rm -f "$ws/rw/"{new,link,x,big,big2} 2>/dev/null || true
}

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
	[ "$(hull exec work stat -c %U new)" = agent ]
	# No more than the user's own rights, for root in there too; no devices, no setuid.
	run as_root work mknod "$ws/rw/x" c 1 3
	[ "$status" != 0 ]
	as_root work chmod 4755 "$ws/rw/new"
	[ "$(stat -c %a "$ws/rw/new")" = 755 ]
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

@test "workspace: file watchers hear of edits on the host" {
	hull exec work python3 - <<-'PY' || skip "no python"
		import sys
	PY
	local watch='
import ctypes, os, sys, struct, select
c = ctypes.CDLL(None, use_errno=True)
fd = c.inotify_init1(0)
c.inotify_add_watch(fd, b".", 0x2 | 0x8 | 0x100)
os.listdir(".")
print("watching", flush=True)
seen = set()
while select.select([fd], [], [], 20)[0]:
    b = os.read(fd, 65536)
    while b:
        wd, mask, cookie, n = struct.unpack_from("iIII", b)
        seen.add(b[16:16 + n].rstrip(b"\0").decode())
        b = b[16 + n:]
    if {"a", "new"} <= seen:
        print("heard", flush=True)
        sys.exit(0)
sys.exit(1)'
	coproc LOOK { hull exec work python3 -c "$watch"; }
	local line out=${LOOK[0]} pid=$LOOK_PID
	read -r line <&"$out"
	[ "$line" = watching ]
	# Thousands of writes to one file are one thing to tell, and hold up no other.
	dd if=/dev/zero of="$ws/rw/big" bs=4096 count=8192 status=none
	echo 'from the host' >"$ws/rw/a"
	echo x >"$ws/rw/new"
	read -r line <&"$out"
	[ "$line" = heard ]
	reap "$pid"
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
	local pid
	pid=$(server_of "$ws/rw")
	[ -n "$pid" ]
	hull exec work sh -c 'echo kept >new; sync new'
	run hull exec work sh -c "exec 3>>x; echo ready >big; while [ -e big ]; do sleep 0.1; done; echo gone >&3" &
	local job=$!
	eventually 20 test -e "$ws/rw/big"
	kill -9 "$pid"
	eventually 10 sh -c "timeout 30 $HULL exec work cat $ws/rw/new >/dev/null"
	rm "$ws/rw/big"
	wait "$job" || true
	[ "$(hull exec work cat new)" = kept ]
	hull exec work sh -c 'echo again >x; cat x'
	[ "$(cat "$ws/rw/x")" = again ]
	[ "$(server_of "$ws/rw")" != "$pid" ]
	state_is work running
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

@test "cp: files and trees, both ways" {
	local t=$BATS_TEST_TMPDIR
	mkdir -p "$t/tree/d"
	echo one >"$t/tree/f"
	chmod 755 "$t/tree/f"
	ln -s f "$t/tree/l"
	ln "$t/tree/f" "$t/tree/h"
	echo two >"$t/tree/d/with space"
	hull cp "$t/tree" work:/tmp/named
	[ "$(hull exec work stat -c '%U %a %h' /tmp/named/f)" = 'agent 755 2' ]
	[ "$(hull exec work readlink /tmp/named/l)" = f ]
	hull cp "$t/tree" work:/var/tmp
	[ "$(hull exec work cat '/var/tmp/tree/d/with space')" = two ]
	hull cp "$t/tree/." work:/home/agent/inside
	[ "$(hull exec work cat /home/agent/inside/f)" = one ]
	hull cp work:/tmp/named "$t/back"
	diff -r "$t/tree" "$t/back"
	[ "$(stat -c '%a %h' "$t/back/f")" = '755 2' ]
	hull cp work:/tmp/named/f "$t/single"
	[ "$(cat "$t/single")" = one ]
	hull cp "$t/single" work:/tmp/named/g
	[ "$(hull exec work cat /tmp/named/g)" = one ]
	run hull cp work:/no/such "$t/x"
	assert_says 125 'no such file'
	run hull cp "$t/single" work:/no/such/place
	assert_says 125 'no such file'
	[ ! -e "$t/x" ]
	[ -z "$(find "$t" -name '.hull-cp*')" ]
}

@test "cp: archives on stdin and stdout" {
	local t=$BATS_TEST_TMPDIR
	mkdir "$t/in"
	head -c 3000000 /dev/urandom >"$t/in/f"
	tar -C "$t" -c in | hull cp - work:/tmp
	hull cp work:/tmp/in - | tar -x -C "$t" --transform s/^in/out/
	cmp "$t/in/f" "$t/out/f"
	run hull cp - work:/does/not/exist </dev/null
	[ "$status" = 125 ]
}

@test "cp: what comes out of a sandbox is harmless" {
	local t=$BATS_TEST_TMPDIR
	as_root work sh -c 'mkdir -p /tmp/bad && cp /bin/true /tmp/bad/suid && chmod 6755 /tmp/bad/suid'
	hull cp work:/tmp/bad "$t/bad"
	[ "$(stat -c '%a %u' "$t/bad/suid")" = "755 $UID" ]
	as_root work mknod /tmp/bad/dev c 1 3
	run hull cp work:/tmp/bad/dev "$t/dev"
	[ "$status" = 125 ]
	[ ! -e "$t/dev" ]
	as_root work rm /tmp/bad/dev
	# A tar of the guest's own that tells stories.
	as_root work sh -c 'mv /usr/bin/tar /usr/bin/tar.real && cat >/usr/bin/tar && chmod 755 /usr/bin/tar' <<-'SH' || true
		#!/bin/sh
		cd /tmp && echo out >evil && exec /usr/bin/tar.real -c -P -f - --transform 's,^evil,../../escaped,' evil
	SH
	as_root work sh -c 'test -e /usr/bin/tar.real' || skip "the sandbox's tar could not be replaced"
	run hull cp work:/tmp/evil "$t/evil"
	as_root work mv /usr/bin/tar.real /usr/bin/tar
	[ "$status" = 125 ]
	[ ! -e "$t/escaped" ]
	[ ! -e "$t/../escaped" ]
}

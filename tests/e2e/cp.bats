#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hull cp: what is copied in and out, and what a guest cannot make of it. The sandbox is that of work.bash.

load work

@test "cp: files and trees, both ways" {
	local t=$BATS_TEST_TMPDIR
	mkdir -p "$t/tree/d"
	echo one >"$t/tree/f"
	chmod 755 "$t/tree/f"
	ln -s f "$t/tree/l"
	ln "$t/tree/f" "$t/tree/h"
	truncate -s 64M "$t/tree/holes"
	echo data | dd of="$t/tree/holes" bs=1M seek=32 conv=notrunc status=none
	touch -d '2001-02-03 04:05:06.123456789 UTC' "$t/tree/f" "$t/tree/d"
	touch -h -d '2002-02-03 04:05:06 UTC' "$t/tree/l"
	echo two >"$t/tree/d/with space"
	hull cp "$t/tree" work:/tmp/named
	[ "$(hull exec work stat -c '%U %a %h' /tmp/named/f)" = 'agent 755 2' ]
	[ "$(hull exec work readlink /tmp/named/l)" = f ]
	# Times to the second, and holes stay holes.
	[ "$(hull exec work stat -c %Y /tmp/named/f /tmp/named/d /tmp/named/l)" = "$(stat -c %Y "$t/tree/f" "$t/tree/d" "$t/tree/l")" ]
	[ "$(hull exec work stat -c %s /tmp/named/holes)" = 67108864 ]
	[ "$(hull exec work stat -c %b /tmp/named/holes)" -lt 8192 ]
	hull cp "$t/tree" work:/var/tmp
	[ "$(hull exec work cat '/var/tmp/tree/d/with space')" = two ]
	hull cp "$t/tree/." work:/home/agent/inside
	[ "$(hull exec work cat /home/agent/inside/f)" = one ]
	hull cp work:/tmp/named "$t/back"
	diff -r "$t/tree" "$t/back"
	[ "$(stat -c '%a %h' "$t/back/f")" = '755 2' ]
	[ "$(stat -c %Y "$t/back/f" "$t/back/d" "$t/back/l")" = "$(stat -c %Y "$t/tree/f" "$t/tree/d" "$t/tree/l")" ]
	[ "$(stat -c %b "$t/back/holes")" -lt 8192 ]
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
	hull exec -i -u root work sh -c 'mv /usr/bin/tar /usr/bin/tar.real && cat >/usr/bin/tar && chmod 755 /usr/bin/tar' <<-'SH' || true
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

# The sandbox's tar as the guest would have it: what it says is the script on stdin.
forge_tar() {
	hull exec -i -u root work sh -c '[ -e /usr/bin/tar.real ] || mv /usr/bin/tar /usr/bin/tar.real; cat >/usr/bin/tar; chmod 755 /usr/bin/tar'
}
real_tar() { as_root work mv /usr/bin/tar.real /usr/bin/tar; }

@test "cp: the guest chooses neither the name nor a second file" {
	local d=$BATS_TEST_TMPDIR/d
	mkdir "$d"
	echo mine >"$d/.bashrc"
	forge_tar <<-'SH'
		#!/bin/sh
		mkdir -p /tmp/forged && cd /tmp/forged && echo pwned >.bashrc && echo report >report.txt && exec /usr/bin/tar.real -c -f - $(cat /tmp/members)
	SH
	local members
	for members in .bashrc 'report.txt .bashrc' '.bashrc report.txt'; do
		as_root work sh -c "echo $members >/tmp/members"
		run hull cp work:/tmp/report.txt "$d"
		assert_refused 125 'not what was requested'
		[ "$(ls -A "$d")" = .bashrc ]
		[ "$(cat "$d/.bashrc")" = mine ]
	done
	as_root work sh -c "echo report.txt >/tmp/members"
	hull cp work:/tmp/report.txt "$d"
	real_tar
	[ "$(cat "$d/report.txt")" = report ]
	mkdir "$d/tree"
	run hull cp work:/tmp/forged/report.txt "$d/tree/../tree/./new"
	[ "$status" = 0 ]
	as_root work sh -c 'rm -rf /tmp/forged && mkdir /tmp/forged && ln -s /etc /tmp/forged/link && echo x >/tmp/forged/file'
	ln -s ../d "$d/tree/file"
	run hull cp work:/tmp/forged/. "$d/tree"
	assert_refused 125 'is a symlink, while a file arrived'
}

@test "cp: no symlink leads out of a directory that a sandbox writes in" {
	local out=$BATS_TEST_TMPDIR/out
	mkdir "$out"
	echo secret >"$out/secret"
	hull exec work sh -c "cd $ws/rw && mkdir -p real/d && echo x >real/f && ln -s $out build && ln -s real own"
	run hull cp work:/etc/hostname "$ws/rw/build"
	assert_refused 125 'a directory that a sandbox writes in'
	run hull cp work:/etc/hostname "$ws/rw/build/x"
	assert_refused 125 'a directory that a sandbox writes in'
	run hull cp work:/etc/. "$ws/rw/build"
	assert_refused 125 'a directory that a sandbox writes in'
	(cd "$ws/rw" && not hull cp work:/etc/hostname own/d)
	[ "$(ls -A "$out")" = secret ]
	# Nor is what it leads to read.
	run hull cp "$ws/rw/build/secret" work:/tmp/got
	assert_refused 125 'a directory that a sandbox writes in'
	hull cp "$ws/rw/build" work:/tmp/got
	[ "$(hull exec work readlink /tmp/got)" = "$out" ]
	# A symlink of one's own is followed on request.
	ln -s "$ws/rw/real" "$BATS_TEST_TMPDIR/mine"
	run hull cp work:/etc/hostname "$BATS_TEST_TMPDIR/mine/"
	assert_refused 125 'or use --follow-link'
	hull cp -L work:/etc/hostname "$BATS_TEST_TMPDIR/mine"
	[ -f "$ws/rw/real/hostname" ]
	rm -rf "$ws/rw/"{real,build,own}
}

@test "cp: what is interrupted or killed leaves nothing behind" {
	local d=$BATS_TEST_TMPDIR/d signal p code
	mkdir "$d"
	hull exec work truncate -s 1T /tmp/endless
	forge_tar <<-'SH'
		#!/bin/sh
		cd /tmp && exec /usr/bin/tar.real -c -f - endless
	SH
	for signal in TERM KILL; do
		"$HULL" cp work:/tmp/endless "$d" 3>&- & p=$!
		# It is written to a file without a name.
		eventually 20 sh -c "ls -l /proc/$p/fd 2>&1 | grep -q '$d/#'"
		kill -$signal $p
		code=0
		wait $p || code=$?
		[ "$code" -gt 128 ]
		[ -z "$(ls -A "$d")" ]
	done
	real_tar
	hull exec work rm /tmp/endless
}

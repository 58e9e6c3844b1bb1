#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Saving and restoring when something goes wrong: no space, processes killed at any moment, another engine. What is not
# complete has no name, what is damaged is not run, what ran before goes on.
#
# Sandboxes here are of one kind without Docker, whose template is built in a few seconds.

setup() {
	load lib
	export LIMIT=300
	export templates=$HULL_HOME/templates
}
teardown() {
	remove_own
	if [ -e "$BATS_TEST_TMPDIR/mounted" ]; then
		HULL_HOME=$BATS_TEST_TMPDIR/small hull rm -f -a >/dev/null 2>&1 || true
		umount "$BATS_TEST_TMPDIR/small"
	fi
}

own() { echo "$1" >>"$BATS_TEST_TMPDIR/own"; }
quick_sandbox() {
	name=t$BATS_SUITE_TEST_NUMBER-$RANDOM
	own "$name"
	hull create -q --name "$name" --cpus 1 -m 512m --no-docker shell
}
# Leftovers below DIR are gone, at the latest when everything that was killed is really dead.
swept() {
	hull prune >/dev/null
	[ -z "$(find "$1" -mindepth 1 -maxdepth 1 -name '.tmp-*')" ]
}
boot_id() { hull exec "$1" cat /proc/sys/kernel/random/boot_id; }

@test "faults: hull snapshot create killed at any moment: the sandbox goes on, the next one sweeps" {
	local after
	quick_sandbox
	hull start -q "$name"
	for after in 0.02 0.1 0.2 0.4 0.8; do
		timeout -s KILL "$after" "$HULL" snapshot create -q -f "$name@cut" || true
		hull exec "$name" true
	done
	eventually 60 hull snapshot create -q -f "$name@whole"
	eventually 10 swept "$HULL_HOME/sandboxes/$name/snapshots"
	# Whatever has a name can be restored.
	for tag in $(hull snapshot ls --json "$name" | jq -r '.[].tag'); do
		hull snapshot restore -q "$name@$tag"
		hull exec "$name" true
	done
}

@test "faults: a template that is removed between its build and its use is built again, and the sandbox is made" {
	# The command stands still when it says that the template is ready, because nobody reads what it says.
	cat >create.py <<-'END'
		import fcntl, os, subprocess, sys, time
		hull, name, size = sys.argv[1:]
		r, w = os.pipe()
		fcntl.fcntl(w, 1031, 4096)  # F_SETPIPE_SZ
		command = subprocess.Popen([hull, "create", "--name", name, "--cpus", "1", "-m", size, "--no-docker", "shell"], stderr=w)
		said = b""
		while b"saving its memory" not in said:
		    more = os.read(r, 4096)
		    said += more
		    if b"ready after" in more or command.poll() is not None:
		        sys.exit("no template was built: %r" % said)
		filler = os.open("/proc/self/fd/%d" % w, os.O_WRONLY | os.O_NONBLOCK)
		try:
		    while True:
		        os.write(filler, b"\n")
		except BlockingIOError:
		    pass
		os.close(filler)
		os.close(w)
		templates, end = os.environ["templates"], time.time() + 120
		before = set(sys.stdin.read().split())
		while not (new := [t for t in os.listdir(templates) if t[0] != "." and t not in before]) and time.time() < end:
		    time.sleep(0.05)
		subprocess.run([hull, "template", "rm", new[0]], check=True, stdout=subprocess.DEVNULL)
		while more := os.read(r, 4096):
		    said += more
		sys.stderr.buffer.write(said.replace(b"\n\n", b""))
		sys.exit(command.wait())
	END
	name=t$BATS_SUITE_TEST_NUMBER-$RANDOM
	own "$name"
	mkdir -p "$templates"
	# One of an earlier run would do.
	hull template ls --json | jq -r '.[] | select(.memory == 301989888 and .no_docker) | .name' | xargs -r "$HULL" template rm >/dev/null
	run timeout 300 python3 create.py "$HULL" "$name" 288m < <(ls "$templates")
	assert_says 0 'ready after'
	[ "$(grep -c 'building it, once' <<<"$output")" = 2 ]
	hull start -q "$name"
	[ "$(hull ls --json | jq -r --arg n "$name" '.[] | select(.name == $n) | .boot.restored')" = true ]
}

@test "faults: hull template import killed at any moment leaves no template and no leftovers" {
	local after
	quick_sandbox
	hull start -q "$name"
	hull template save -q "$name" whole
	hull template export whole -o archive
	hull template rm whole
	for after in 0.02 0.1 0.2 0.4; do
		timeout -s KILL "$after" "$HULL" template import -q -f archive partial || true
		if [ -e "$templates/partial" ]; then hull template inspect partial >/dev/null; fi
	done
	hull template import -q -f archive partial
	eventually 10 swept "$templates"
	hull template rm partial
	# Cut off, and from nowhere.
	truncate -s -1000 archive
	run hull template import -q archive cut
	assert_refused 125 'archive: the archive is damaged'
	run hull template import -q /dev/null none
	assert_refused 125 'damaged|expected a template'
	[ ! -e "$templates/cut" ] && [ ! -e "$templates/none" ]
	[ "$(find "$templates" -maxdepth 1 -name '.tmp-*' | wc -l)" = 0 ]
}

@test "faults: a resume that fails leaves the sandbox paused, with all that ran in it" {
	local boot engine
	quick_sandbox
	hull exec -d "$name" sleep 7654
	boot=$(boot_id "$name")
	hull pause -q "$name"
	# QEMU gets less memory than it needs: it ends before anything has run.
	run env -u BASH_ENV bash -c 'ulimit -v 700000; exec "$HULL" resume -q "$0"' "$name"
	assert_says 125 'cannot be loaded|cannot allocate|starting'
	state_is "$name" paused
	# Another QEMU, to all appearances.
	mkdir other
	engine=$(readlink -f "$(command -v qemu-system-x86_64)")
	cp "$engine" other/qemu-system-x86_64
	HULL_QEMU=$PWD/other/qemu-system-x86_64 run hull resume -q "$name"
	assert_refused 125 'another engine.*--cold'
	state_is "$name" paused
	# A sandbox that is removed when it stops is not removed for that.
	hull resume -q "$name"
	hull exec "$name" pgrep -f 'sleep 7654'
	[ "$(boot_id "$name")" = "$boot" ]
}

@test "faults: a template that the engine cannot load is passed over: the sandbox boots, and the person is told" {
	quick_sandbox
	hull start -q "$name"
	hull template save -q "$name" nonsense
	hull rm -f "$name"
	# Nonsense that is not damaged, by all its digests.
	python3 - "$templates/nonsense" <<-'END'
		import hashlib, json, struct, sys
		at = sys.argv[1]
		device = bytearray(open(at + "/device", "rb").read())
		device[:64] = b"nonsense" * 8
		open(at + "/device", "wb").write(device)
		about = json.load(open(at + "/snapshot.json"))
		digest = hashlib.sha256(struct.pack("<Q", 0) + device + struct.pack("<Q", len(device))).hexdigest()
		about["files"]["device"]["sha256"] = digest
		del about["digest"]
		about["digest"] = hashlib.sha256(json.dumps(about, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
		json.dump(about, open(at + "/snapshot.json", "w"))
	END
	hull template inspect nonsense >/dev/null
	hull create -q --rm -t nonsense --name "$name" shell
	run hull start "$name"
	assert_says 0 'template cannot be loaded .*booted instead'
	[ "$(hull ls --json | jq -r --arg n "$name" '.[] | select(.name == $n) | .boot.restored')" = false ]
	[ "$(hull exec "$name" hostname)" = "$name" ]
	hull template rm nonsense
}

@test "faults: a keeper killed while it resumes: paused still, or the loss is told; never an old memory on a newer disk" {
	local after boot now
	quick_sandbox
	for after in 0.01 0.03 0.06 0.1 0.2; do
		boot=$(boot_id "$name")
		as_root "$name" sh -c "echo $after >/root/last; sync"
		hull pause -q "$name"
		"$HULL" resume -q "$name" 2>/dev/null &
		sleep "$after"
		pkill -KILL -x -f "hull-keeper $name" || true
		wait $! || true
		eventually 10 not state_is "$name" starting
		if state_is "$name" paused; then
			hull resume -q "$name"
			[ "$(boot_id "$name")" = "$boot" ]
		elif state_is "$name" crashed; then
			run hull start "$name"
			[ "$status" = 0 ]
			now=$(boot_id "$name")
			[ "$now" != "$boot" ]
			[ ! -e "$HULL_HOME/sandboxes/$name/frozen" ]
		fi
		[ "$(as_root "$name" cat /root/last)" = "$after" ]
	done
}

@test "faults: hull snapshot restore of a paused sandbox, killed at any moment: memory and disk stay of one moment" {
	local after dir before now
	quick_sandbox
	dir=$HULL_HOME/sandboxes/$name
	mark() { as_root "$name" sh -c "echo $1 >/root/mark; echo $1 >/dev/shm/mark; sync"; }
	mark saved
	hull snapshot create -q "$name"
	for after in 0.01 0.02 0.04 0.06 0.08 0.1 0.15 0.3; do
		mark "$after"
		hull pause -q "$name"
		before=$(stat -c %i "$dir/disk.img")
		timeout -s KILL "$after" "$HULL" snapshot restore -q "$name" || true
		now=$(stat -c %i "$dir/disk.img")
		case $(jq -r .restore "$dir/sandbox.json") in
		*/frozen) [ "$now" = "$before" ] ;;
		*/snapshots/latest) [ "$now" != "$before" ] ;;
		esac
		eventually 10 not state_is "$name" starting
		hull start -q "$name"
		# It was booted, or its memory is of the moment that its disk is of.
		now=$(as_root "$name" sh -c 'cat /dev/shm/mark 2>/dev/null || cat /root/mark')
		[ "$(as_root "$name" cat /root/mark)" = "$now" ]
		[[ $now == saved || $now == "$after" ]]
	done
	eventually 10 swept "$dir"
}

@test "faults: a keeper killed while it makes the disk of a new sandbox: the next start makes it anew" {
	local dir pid after killed=0
	for after in 0 0.005 0.01 0.02 0.05; do
		quick_sandbox
		dir=$HULL_HOME/sandboxes/$name
		[ ! -e "$dir/disk.img" ] || return 0 # a reflink has made it
		timeout 300 "$HULL" start -q "$name" >/dev/null 2>&1 3>&- &
		pid=$!
		until compgen -G "$dir/.tmp-*/disk.img" >/dev/null || [ -e "$dir/disk.img" ]; do kill -0 "$pid"; done
		sleep "$after"
		kill -9 "$(starting_keeper "$name")"
		wait "$pid" || killed=$((killed + 1))
		eventually 10 not state_is "$name" starting
		# A disk that nobody has flushed is known as such.
		if [ -e "$dir/disk.img" ] && [ "$(jq .restore "$dir/sandbox.json")" != null ]; then
			[ "$(jq -r .disk_boot "$dir/sandbox.json")" = "$(cat /proc/sys/kernel/random/boot_id)" ]
		fi
		[ "$(hull exec "$name" hostname)" = "$name" ]
		hull stop -q "$name"
		e2fsck -fn "$dir/disk.img"
		eventually 10 swept "$dir"
		hull rm "$name"
	done
	[ "$killed" -gt 0 ]
}

# A HULL_HOME on a file system of its own, with the images of the other and a template; $small is free space in MiB.
small_home() {
	[ "$(id -u)" = 0 ] || skip "mounting takes root"
	truncate -s 1500M fs && mkfs.ext4 -q -m 0 fs && mkdir small
	mount -o loop fs small || skip "no loop devices here"
	touch "$BATS_TEST_TMPDIR/mounted"
	quick_sandbox
	hull rm -f "$name"
	mkdir -m 700 small/images small/templates small/sandboxes
	for f in "$HULL_HOME"/images/*; do
		if [ -L "$f" ]; then cp -P "$f" small/images/; else ln -s "$f" small/images/; fi
	done
	cp -a --sparse=always "$(hull template ls --json | jq -r --arg t "$templates" '[.[] | select(.memory == 536870912 and .no_docker)][0] | "\($t)/\(.name)"')" small/templates/
	export HULL_HOME=$PWD/small
	templates=$HULL_HOME/templates
}
leave() { # MIB: fill all but that
	rm -f small/filler
	local free
	free=$(df -m --output=avail small | tail -n 1)
	fallocate -l "$((free - $1))M" small/filler
}
nothing_left() { [ -z "$(find small -name '.tmp-*' -o -name '*.partial' -o -name kept -o -name '.new-*')" ]; }

@test "faults: a full disk: every way of saving says so, leaves nothing, and the sandbox goes on" {
	local full='space|full' boot
	small_home
	name=small-$RANDOM
	hull create -q --name "$name" --cpus 1 -m 512m --no-docker shell
	hull start -q "$name"
	boot=$(boot_id "$name")
	hull template export -o "$BATS_TEST_TMPDIR/archive" "$(hull template ls --json | jq -r '.[0].name')"
	leave 40
	for verb in "snapshot create -q $name" "fork -q $name" "template save -q $name mine" "pause -q $name" \
		"template import -q $BATS_TEST_TMPDIR/archive copy"; do
		# shellcheck disable=SC2086
		run hull $verb
		assert_refused 125 "$full"
		nothing_left
		state_is "$name" running
		[ "$(boot_id "$name")" = "$boot" ]
	done
	run hull template export -o small/archive "$(hull template ls --json | jq -r '.[0].name')"
	assert_refused 125 "$full"
	nothing_left
	[ "$(hull ls -q | wc -l)" = 1 ]
	[ "$(hull template ls --json | jq length)" = 1 ]
	# With not a block left, what is in the way can still be removed.
	rm small/filler
	hull snapshot create -q "$name@old"
	hull template save -q "$name" old
	leave 5
	dd if=/dev/zero of=small/rest bs=4k 2>/dev/null || true
	run mkdir small/more
	[ "$status" = 1 ]
	hull snapshot rm "$name@old"
	dd if=/dev/zero of=small/rest bs=4k oflag=append conv=notrunc 2>/dev/null || true
	hull template rm old
	rm small/rest
	nothing_left
	state_is "$name" running
	leave 40
	# A kind of sandbox that has no template: it is not built, nor half built, and the person hears why.
	run hull create --name other --cpus 1 -m 384m --no-docker shell
	assert_says 125 "$full"
	nothing_left
	[ "$(hull template ls --json | jq length)" = 1 ]
	# The guest's own writes: the machine waits for space, and goes on when it is told that there is some.
	leave 5
	hull exec -d "$name" sh -c 'dd if=/dev/urandom of=/var/tmp/big bs=1M count=60 conv=fsync && touch /var/tmp/done'
	eventually 60 grep -q 'disk is full' "$HULL_HOME/sandboxes/$name/keeper.log"
	# So does a sandbox whose disk is made when it first starts, which then starts all the same.
	rm small/filler
	hull create -q --name late --cpus 1 -m 512m --no-docker shell
	if [ ! -e small/sandboxes/late/disk.img ]; then
		leave 2
		run hull start -q late
		assert_refused 125 "$full"
		nothing_left
		[ ! -e small/sandboxes/late/disk.img ]
		rm small/filler
	fi
	[ "$(hull exec late hostname)" = late ]
	hull rm -f late
	# With space again all of that works.
	run hull resume -q "$name"
	[ "$status" = 0 ]
	eventually 60 hull exec "$name" test -e /var/tmp/done
	hull snapshot create -q "$name"
	hull pause -q "$name"
	hull resume -q "$name"
	[ "$(boot_id "$name")" = "$boot" ]
	hull rm -f "$name"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Templates, snapshots, forks, pauses: what is kept, what is renewed, and what damage and interruption leave.
#
# Sandboxes here are all of one kind, so that one template is built for the file; its first test builds it.

setup() {
	load lib
	export LIMIT=300
	export templates=$HULL_HOME/templates
}
teardown() { remove_own; }

# A sandbox that was started from the template.
restored_sandbox() {
	own_sandbox
	hull start -q "$name"
	[ "$(hull ls --json | jq -r --arg n "$name" '.[] | select(.name == $n) | .boot.restored')" = true ]
}
own() { echo "$1" >>"$BATS_TEST_TMPDIR/own"; }
restored() { [ "$(hull ls --json | jq -r --arg n "$1" '.[] | select(.name == $n) | .boot.restored')" = true ]; }
own_templates() { find "$templates" -mindepth 1 -maxdepth 1 -type d -not -name '.*'; }

@test "snapshot: a sandbox starts from the template of its kind, which is built once" {
	restored_sandbox
	hull exec "$name" docker ps
	local before
	before=$(own_templates)
	[ -n "$before" ]
	restored_sandbox
	[ "$(own_templates)" = "$before" ]
	run hull template ls --json
	[ "$(jq -r '.[0].own' <<<"$output")" = false ]
	# Booting is still to be had, and is another way to the same thing.
	name=cold-$RANDOM
	own "$name"
	hull create -q --cold --name "$name" --cpus 1 -m 1g shell
	hull start -q "$name"
	[ "$(hull ls --json | jq -r --arg n "$name" '.[] | select(.name == $n) | .boot.restored')" = false ]
}

# cgroup.events of dockerd's cgroup: 1 = frozen.
frozen() { as_root "$1" sed -n 's/^frozen //p' /sys/fs/cgroup/dockerd/cgroup.events; }

@test "snapshot: a copy's Docker rests until somebody connects to it, from inside or from the host" {
	restored_sandbox
	[ "$(frozen "$name")" = 1 ]
	[ "$(sandbox_field "$name" docker)" = ready ]
	hull wait "$name"
	[ "$(frozen "$name")" = 1 ]
	# containerd is awake for who speaks to it.
	as_root "$name" timeout 60 ctr -a /run/docker/containerd/containerd.sock version
	[ "$(frozen "$name")" = 1 ]
	hull exec "$name" docker ps
	[ "$(frozen "$name")" = 0 ]
	hull stop "$name"
	state_is "$name" stopped
	restored_sandbox
	[ "$(frozen "$name")" = 1 ]
	curl -sf --max-time 60 --unix-socket "$runtime/$name/docker.sock" http://d/_ping
	[ "$(frozen "$name")" = 0 ]
	# One that has never been woken is shut down in good order, too; one that was killed asleep is started again awake.
	restored_sandbox
	as_root "$name" sh -c 'kill -KILL $(cat /run/docker.pid)'
	LIMIT=200 hull exec "$name" docker ps
	restored_sandbox
	hull stop "$name"
	state_is "$name" stopped
}

@test "snapshot: Docker with a TCP listener does not rest in a copy" {
	restored_sandbox
	as_root "$name" sh -c 'printf "%s" "{\"hosts\": [\"fd://\", \"tcp://127.0.0.1:2375\"], \"cgroup-parent\": \"/work/docker\"}" \
		>/etc/docker/daemon.json && kill -KILL $(cat /run/docker.pid)'
	as_root "$name" timeout 120 sh -c 'until curl -sf http://127.0.0.1:2375/_ping; do sleep 1; done'
	hull wait "$name"
	hull template save -q "$name" listens
	local from=$name
	name=listens-$RANDOM
	own "$name"
	hull create -q --template listens --name "$name" shell
	hull start -q "$name"
	restored "$name"
	as_root "$name" curl -sf --max-time 60 http://127.0.0.1:2375/_ping
	[ "$(frozen "$name")" = 0 ]
	hull rm -f "$name" "$from"
	hull template rm listens
}

# What must not be the same in two sandboxes, a line each: identities, and random numbers as programs get them.
unique() { # NAME
	as_root "$1" sh -c 'hostname
		cat /etc/machine-id
		head -c 32 /dev/urandom | base64 -w0; echo
		python3 -c "import os, ssl; print(os.getrandom(32).hex()); print(ssl.RAND_bytes(32).hex())"
		openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | sha256sum
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout - 2>/dev/null | sha256sum
		cat /proc/sys/kernel/random/uuid
		for k in /etc/ssh/ssh_host_*_key.pub; do [ ! -e "$k" ] || cut -d" " -f2 "$k"; done
		cat /var/lib/docker/engine-id 2>/dev/null'
}
all_differ() { # NAME...
	local n
	for n; do unique "$n" >"$BATS_TEST_TMPDIR/unique-$n"; done
	[ "$(wc -l <"$BATS_TEST_TMPDIR/unique-$1")" -ge 8 ]
	if [ -n "$(cat "$BATS_TEST_TMPDIR"/unique-* | sort | uniq -d)" ]; then
		tail -n 20 "$BATS_TEST_TMPDIR"/unique-* >&2
		return 1
	fi
}

@test "snapshot: two clones differ in everything that must be unique, and two that boot as well" {
	local a b
	restored_sandbox
	a=$name
	restored_sandbox
	b=$name
	all_differ "$a" "$b"
	[ "$(hull exec "$a" hostname)" = "$a" ]
	# The clock is the host's.
	local skew=$(($(hull exec "$a" date +%s) - $(date +%s)))
	[ "${skew#-}" -le 5 ]
	as_root "$a" dmesg | grep -q 'reseeded due to virtual machine fork'
	hull rm -f "$a"
	# One that was made of the template and boots: its disk is the template's, and it is another machine.
	own_sandbox
	hull start -q --cold "$name"
	[ "$(hull ls --json | jq -r --arg n "$name" '.[] | select(.name == $n) | .boot.restored')" = false ]
	rm "$BATS_TEST_TMPDIR"/unique-*
	all_differ "$b" "$name"
	a=$name
	hull rm -f "$b"
	own_sandbox
	hull start -q --cold "$name"
	rm "$BATS_TEST_TMPDIR"/unique-*
	all_differ "$a" "$name"
	# Its identity stays, then.
	a=$(hull exec "$name" cat /etc/machine-id)
	hull stop -q "$name"
	[ "$(hull exec "$name" cat /etc/machine-id)" = "$a" ]
}

@test "snapshot: fork copies processes, memory and containers; identities and disks part" {
	local a fork
	mkdir workspace
	echo of the workspace >workspace/shared-file
	a=ws-$RANDOM
	own "$a"
	hull create -q --name "$a" --cpus 1 -m 1g shell "$PWD/workspace"
	[ "$(hull exec "$a" cat shared-file)" = 'of the workspace' ]
	as_root "$a" sh -c 'mkdir -p /etc/hull/on-restore.d
		printf "#!/bin/sh\nhostname >/root/hook\n" >/etc/hull/on-restore.d/mine
		chmod +x /etc/hull/on-restore.d/mine
		[ -x /usr/bin/ssh-keygen ] && mkdir -p /etc/ssh && ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
		echo before >/root/file'
	hull exec -d "$a" sleep 4321
	as_root "$a" sh -c 'mkdir -p /dev/shm/x; echo in-memory >/dev/shm/x/f'
	hull exec "$a" docker run -d --name inside localhost/debian:trixie sleep 8765
	hull exec -d "$a" python3 -m http.server -b 127.0.0.1 8000
	listens() { hull exec "$1" curl -fsS -o /dev/null http://127.0.0.1:8000/; }
	eventually 20 listens "$a"
	run hull fork -q "$a" "$a-f" -n 2
	[ "$status" = 0 ]
	own "$a-f-1"
	own "$a-f-2"
	[ "$output" = "$a-f-1
$a-f-2" ]
	as_root "$a" sh -c 'echo after >/root/file'
	for fork in "$a-f-1" "$a-f-2"; do
		[ "$(as_root "$fork" cat /root/file /dev/shm/x/f /root/hook)" = "before
in-memory
$fork" ]
		hull exec "$fork" pgrep -f 'sleep 4321'
		[ "$(hull exec "$fork" docker ps --format '{{.Names}} {{.State}}')" = 'inside running' ]
		hull exec "$fork" docker top inside | grep -q 'sleep 8765'
		listens "$fork"
		[ "$(hull exec "$fork" cat shared-file)" = 'of the workspace' ]
	done
	all_differ "$a" "$a-f-1" "$a-f-2"
	[ "$(find "$HULL_HOME/sandboxes/$a/snapshots" -mindepth 1 | wc -l)" = 0 ]
	# A fork has a disk of its own, and boots from it.
	as_root "$a-f-1" sh -c 'echo mine >/root/file; sync'
	hull stop -q "$a-f-1"
	[ "$(as_root "$a-f-1" cat /root/file)" = mine ]
	[ "$(as_root "$a" cat /root/file)" = after ]
}

@test "snapshot: pause gives up process and memory, resume brings back what ran" {
	local pids boot
	restored_sandbox
	hull exec -d "$name" sleep 5432
	boot=$(hull exec "$name" cat /proc/sys/kernel/random/boot_id)
	as_root "$name" date -s '2 hours ago'
	mapfile -t pids < <(family "$name")
	hull pause -q "$name"
	state_is "$name" paused
	assert_stopped "$name" "${pids[@]}"
	run hull pause -q "$name"
	[ "$status" = 0 ]
	hull resume -q "$name"
	state_is "$name" running
	hull exec "$name" pgrep -f 'sleep 5432'
	[ "$(hull exec "$name" cat /proc/sys/kernel/random/boot_id)" = "$boot" ]
	[ ! -e "$HULL_HOME/sandboxes/$name/frozen" ]
	# The clock is set, whatever it was.
	local skew=$(($(hull exec "$name" date +%s) - $(date +%s)))
	[ "${skew#-}" -le 5 ]
	# Damaged while it was away: refused, nothing is lost of the disk.
	as_root "$name" sh -c 'echo kept >/root/kept; sync'
	hull pause -q "$name"
	printf Z | dd of="$HULL_HOME/sandboxes/$name/frozen/memory" bs=1 seek=$((200 << 20)) conv=notrunc status=none
	run hull resume -q "$name"
	assert_refused 125 'damaged.*--cold'
	state_is "$name" paused
	hull start -q --cold "$name"
	[ "$(as_root "$name" cat /root/kept)" = kept ]
	[ "$(hull exec "$name" cat /proc/sys/kernel/random/boot_id)" != "$boot" ]
}

@test "snapshot: what stands in a workspace goes on after a pause and in a fork; a watch hears the host" {
	local a n
	a=st-$RANDOM
	own "$a"
	mkdir -p workspace/sub/deep
	echo 1 >workspace/sub/deep/f
	cp "$BATS_TEST_DIRNAME/stands.py" workspace/
	hull create -q --name "$a" --cpus 1 -m 1g shell "$PWD/workspace"
	# One that has its working directory there, and one that watches it and asks for nothing by itself.
	hull exec -d "$a" sh -c 'cd sub/deep; while sleep 1; do cat f >/tmp/read 2>>/tmp/failed; done'
	hull exec -d "$a" sh -c 'exec python3 stands.py sub/deep >/tmp/heard'
	eventually 20 hull exec "$a" grep -q watching /tmp/heard
	eventually 20 hull exec "$a" grep -qx 1 /tmp/read
	hull pause -q "$a"
	[ -s "$HULL_HOME/sandboxes/$a/frozen/nodes" ]
	echo 2 >workspace/sub/deep/f
	hull resume -q "$a"
	eventually 20 hull exec "$a" grep -qx 2 /tmp/read
	hull exec "$a" sh -c ': >/tmp/heard'
	echo 3 >workspace/sub/deep/f
	eventually 20 hull exec "$a" grep -q modified /tmp/heard
	eventually 20 hull exec "$a" grep -qx 3 /tmp/read
	run hull exec "$a" cat /tmp/failed
	[ "$output" = '' ]
	hull fork -q "$a" "$a-f"
	own "$a-f"
	hull exec "$a-f" sh -c ': >/tmp/heard'
	echo 4 >workspace/sub/deep/f
	for n in "$a" "$a-f"; do
		eventually 20 hull exec "$n" grep -qx 4 /tmp/read
		eventually 20 hull exec "$n" grep -q modified /tmp/heard
		run hull exec "$n" cat /tmp/failed
		[ "$output" = '' ]
	done
}

@test "snapshot: memory and disk are of one moment, and the disk is not copied in the pause" {
	restored_sandbox
	# Writes pass after pass over a file. Asked by a signal, it compares what is on the disk with where it is by its
	# memory: everything before that is of this pass, everything behind of the one before.
	cat >writer.py <<-'END'
		import os, signal
		N, B, path = 4096, 8192, "/root/blocks"
		asked = []
		signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
		def block(seq, i): return (b"%016d %016d\n" % (seq, i)).ljust(B, b".")
		fd = os.open(path, os.O_RDWR | os.O_CREAT)
		for i in range(N): os.pwrite(fd, block(0, i), i * B)
		os.fsync(fd)
		seq = 0
		open("/root/ready", "w").close()
		while True:
		    seq += 1
		    for i in range(N):
		        os.pwrite(fd, block(seq, i), i * B)
		        if i % 128 == 127: os.fdatasync(fd)
		        if asked:
		            os.sync()
		            open("/proc/sys/vm/drop_caches", "w").write("3")
		            bad = sum(os.pread(fd, B, j * B) != block(seq if j <= i else seq - 1, j) for j in range(N))
		            open("/root/verdict", "w").write("wrong: %d" % bad)
		            os._exit(0)
	END
	hull exec -i -u root "$name" sh -c 'cat >/root/writer.py' <writer.py
	hull exec -d -u root "$name" python3 /root/writer.py
	eventually 60 as_root "$name" test -e /root/ready
	hull snapshot create -q "$name"
	if ! grep -q 'stood still for .*; [1-9][0-9]* KiB of the disk changed meanwhile' "$HULL_HOME/sandboxes/$name/keeper.log"; then
		# Nothing is kept where the file system has reflinks.
		cp --reflink=always "$HULL_HOME/sandboxes/$name/disk.img" "$HULL_HOME/probe"
		rm "$HULL_HOME/probe"
	fi
	ask() {
		as_root "$name" pkill -USR1 -f '[w]riter.py'
		eventually 60 as_root "$name" test -s /root/verdict
		[ "$(as_root "$name" cat /root/verdict)" = 'wrong: 0' ]
	}
	ask
	# Holes stay holes, and the file system is whole.
	[ "$(du -m "$HULL_HOME/sandboxes/$name/snapshots/latest/disk.img" | cut -f1)" -lt 1000 ]
	cp --sparse=always "$HULL_HOME/sandboxes/$name/snapshots/latest/disk.img" disk
	e2fsck -fp disk || [ $? = 1 ]
	rm disk
	[ ! -e "$HULL_HOME/sandboxes/$name/snapshots/latest/kept" ]
	hull snapshot restore -q "$name"
	as_root "$name" test ! -e /root/verdict
	ask
}

@test "snapshot: what the keeper holds is in no snapshot until a command has been given it" {
	local dir canary=canary-$RANDOM$RANDOM$RANDOM
	own_sandbox -e "SECRET=$canary"
	MINE=host-$canary hull start -q "$name"
	hull snapshot create -q "$name"
	dir=$HULL_HOME/sandboxes/$name/snapshots/latest
	run grep -lr "$canary" "$dir"
	assert_says 1 '^$'
	# The test sees what it looks for: a command has it, and is in the memory that is saved.
	hull exec -d "$name" sleep 9876
	hull snapshot create -q -f "$name"
	run grep -lr "$canary" "$dir"
	assert_says 0 'memory'
	# Files are their owner's only.
	[ -z "$(find "$HULL_HOME/sandboxes/$name/snapshots" "$templates" -type f -perm /077)" ]
	[ "$(stat -c %a "$HULL_HOME/sandboxes/$name/snapshots" "$templates" | sort -u)" = 700 ]
}

@test "snapshot: create, restore, ls, rm; what came after is gone, twice over" {
	restored_sandbox
	as_root "$name" sh -c 'echo one >/root/file'
	hull exec -d "$name" sleep 6543
	[ "$(hull snapshot create -q "$name@first")" = "$name@first" ]
	run hull snapshot create -q "$name@first"
	assert_refused 125 'there is a snapshot'
	for _ in 1 2; do
		as_root "$name" sh -c 'echo two >/root/file; sync; pkill -f "[s]leep 6543"'
		hull snapshot restore -q "$name@first"
		[ "$(as_root "$name" cat /root/file)" = one ]
		hull exec "$name" pgrep -f 'sleep 6543'
		hull exec "$name" sh -c 'head -c 32 /dev/urandom | base64; cat /proc/sys/kernel/random/uuid' >>random
	done
	# The same sandbox, and other random numbers.
	[ "$(sort random | uniq -d)" = '' ]
	[ "$(hull snapshot ls --json "$name" | jq -r '.[].tag')" = first ]
	# Damage is found before anything is given up, in whichever file it is.
	local file dir=$HULL_HOME/sandboxes/$name/snapshots/first
	as_root "$name" sh -c 'echo three >/root/file; pkill -f "[s]leep 6543"'
	hull exec -d "$name" sleep 3456
	for file in memory device disk.img; do
		cp --sparse=always "$dir/$file" kept
		printf Z | dd of="$dir/$file" bs=1 seek=5000 conv=notrunc status=none
		run hull snapshot restore -q "$name@first"
		mv kept "$dir/$file"
		assert_refused 125 "$file is damaged"
		state_is "$name" running
		hull exec "$name" pgrep -f 'sleep 3456'
		[ "$(as_root "$name" cat /root/file)" = three ]
	done
	[ -z "$(find "$HULL_HOME/sandboxes/$name" -name '.tmp-*')" ]
	truncate -s -4096 "$HULL_HOME/sandboxes/$name/snapshots/first/memory"
	run hull snapshot restore -q "$name@first"
	assert_refused 125 'damaged'
	state_is "$name" running
	hull snapshot rm "$name@first"
	run hull snapshot restore -q "$name@first"
	assert_refused 125 'no snapshot'
	hull exec "$name" true
}

# The template of sandboxes without Docker and with this much memory, which is built quickly: its directory.
quick() { hull create -q --name "$1" --cpus 1 -m "$2" --no-docker shell; }
quick_template() { # BYTES
	hull template ls --json | jq -r --argjson m "$1" --arg t "$templates" '.[] | select(.memory == $m and .no_docker and (.own | not)) | "\($t)/\(.name)"'
}

@test "snapshot: a sandbox is restored from the very save that its disk is of, or boots and says so" {
	local a
	name=source-$RANDOM
	own "$name"
	quick "$name" 512m
	a=$name
	as_root "$a" sh -c 'echo first >/root/which; sync'
	hull template save -q "$a" replaced
	name=on-first-$RANDOM
	own "$name"
	hull create -q -t replaced --name "$name" shell
	as_root "$a" sh -c 'echo second >/root/which; sync'
	hull template save -q -f "$a" replaced
	run hull start "$name"
	assert_says 0 'replaced since.*booted instead'
	not restored "$name"
	[ "$(as_root "$name" cat /root/which)" = first ]
	hull rm -f "$name" "$a"
	hull template rm replaced
	# The same for Hull's own, built again in between.
	name=built-again-$RANDOM
	own "$name"
	quick "$name" 512m
	hull template rm "$(basename "$(quick_template $((512 << 20)))")"
	a=other-$RANDOM
	own "$a"
	quick "$a" 512m
	run hull start "$name"
	assert_says 0 'replaced since.*booted instead'
	not restored "$name"
	hull start -q "$a"
	restored "$a"
}

@test "snapshot: a disk that the host may not have written before it went down is copied again" {
	local a dir
	name=lost-$RANDOM
	own "$name"
	quick "$name" 512m
	# What is left of one when the power fails: sandbox.json, and a disk of zeros.
	lose() {
		dir=$HULL_HOME/sandboxes/$name
		# Without reflinks there is none before the first start, unless it is a person's template's.
		if [ -e "$dir/disk.img" ]; then
			[ "$(jq -r .disk_boot "$dir/sandbox.json")" = "$(cat /proc/sys/kernel/random/boot_id)" ]
		fi
		jq '.disk_boot = "11111111-2222-3333-4444-555555555555"' "$dir/sandbox.json" >lost.json
		cat lost.json >"$dir/sandbox.json"
		truncate -s 0 "$dir/disk.img"
		truncate -s "$(jq .disk lost.json)" "$dir/disk.img"
	}
	lose
	hull start -q "$name"
	restored "$name"
	as_root "$name" sh -c 'echo mine >/root/mine; sync; echo 3 >/proc/sys/vm/drop_caches; ls -lR /root /var >/dev/null'
	[ "$(jq -r .disk_boot "$dir/sandbox.json")" = null ]
	hull stop -q "$name"
	[ "$(as_root "$name" cat /root/mine)" = mine ]
	hull template save -q "$name" own
	hull rm -f "$name"
	# Of the image, when Hull's template is gone; without the person's, of which nothing else is a copy, not at all.
	quick "$name" 512m
	lose
	hull template rm "$(basename "$(quick_template $((512 << 20)))")"
	hull start -q "$name"
	not restored "$name"
	as_root "$name" test ! -e /root/mine
	hull rm -f "$name"
	hull create -q -t own --name "$name" shell
	lose
	hull template rm own
	run hull start -q "$name"
	assert_refused 125 'went down before .*templates/own.* is gone'
}

@test "snapshot: ports are published by the sandbox that starts from a template, and reach into it" {
	local port
	name=ports-$RANDOM
	own "$name"
	hull create -q -p 8000 --name "$name" --cpus 1 -m 512m --no-docker shell
	hull start -q "$name"
	restored "$name"
	hull exec -d "$name" sh -c 'mkdir -p /tmp/www && echo from the clone >/tmp/www/page && exec python3 -m http.server -d /tmp/www 8000'
	port=$(hull ports "$name" --json | jq -r '.[0].host')
	answers() { [ "$(curl -fsS -m 10 "http://127.0.0.1:$port/page")" = 'from the clone' ]; }
	eventually 30 answers
}

@test "snapshot: a template holds nothing of the sandbox it is first built for: no repository, no ports" {
	local port repo=$BATS_TEST_TMPDIR/repository
	git init -q "$repo"
	git -C "$repo" -c user.name=x -c user.email=x@example.org commit -q --allow-empty -m one
	# A port that is taken: the sandbox itself could not start with it.
	coproc holder { exec python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True); s.accept()'; }
	read -r port <&"${holder[0]}"
	name=first-$RANDOM
	own "$name"
	run hull create --clone -p "127.0.0.1:$port:80" -e "MINE=yes" --name "$name" --cpus 1 -m 448m --no-docker shell "$repo"
	kill "$holder_PID"
	[ "$status" = 0 ]
	[[ $output != *'no template'* ]]
	[ -n "$(quick_template $((448 << 20)))" ]
	name=second-$RANDOM
	own "$name"
	quick "$name" 448m
	hull start -q "$name"
	restored "$name"
	as_root "$name" test ! -e "$repo"
	as_root "$name" test ! -e "$BATS_TEST_TMPDIR"
}

@test "snapshot: a damaged template is noticed and built again, whichever file it is; leftovers are swept" {
	local dir what
	name=again-$RANDOM
	own "$name"
	quick "$name" 512m
	dir=$(quick_template $((512 << 20)))
	hull rm -f "$name"
	mkdir "$templates/.tmp-dead01"
	printf Z | dd of="$dir/memory" bs=1 seek=$((150 << 20)) conv=notrunc status=none
	run hull create --name "$name" --cpus 1 -m 512m --no-docker shell
	[ "$status" = 0 ]
	grep -q 'memory is damaged' <<<"$output"
	grep -q 'built again' <<<"$output"
	hull exec "$name" true
	[ ! -e "$templates/.tmp-dead01" ]
	# What cannot be repaired is said to be so; unit tests flip every bit of every file.
	for what in 'truncate -s -1 device' 'truncate -s 0 snapshot.json' 'rm disk.img'; do
		(cd "$dir" && cp --sparse=always "${what##* }" ../.kept && $what)
		run hull template inspect "${dir##*/}"
		mv "$templates/.kept" "$dir/${what##* }"
		assert_refused 125 'damaged'
	done
}

@test "snapshot: an interrupted template build leaves nothing, and the next one builds" {
	local after
	name=interrupted-$RANDOM
	own "$name"
	for after in 0.4 3 6; do
		timeout -s KILL "$after" "$HULL" create -q --name "$name" --cpus 1 -m 320m --no-docker shell || true
		[ ! -e "$HULL_HOME/sandboxes/$name" ] || hull rm -f "$name"
		# A template is there whole or not at all.
		[ -z "$(quick_template $((320 << 20)))" ] || hull template rm "$(basename "$(quick_template $((320 << 20)))")"
	done
	quick "$name" 320m
	hull exec "$name" true
	[ -n "$(quick_template $((320 << 20)))" ]
	# At the latest when everything that was killed is really dead.
	swept() {
		hull prune >/dev/null
		[ -z "$(find "$templates" "$XDG_RUNTIME_DIR/hull" -maxdepth 1 -name '.t*-*')" ]
	}
	eventually 20 swept
}

@test "snapshot: a template of one's own: save, start from it, export, import, rm while in use" {
	local a archive=$BATS_TEST_TMPDIR/t.hull
	restored_sandbox
	a=$name
	as_root "$a" sh -c 'echo tool >/usr/local/bin/tool; mkdir /dev/shm/y; echo warm >/dev/shm/y/f'
	hull template save -q "$a" mine
	name=from-$RANDOM
	own "$name"
	hull create -q -t mine --name "$name" shell
	[ "$(as_root "$name" cat /usr/local/bin/tool /dev/shm/y/f)" = "$(printf 'tool\nwarm')" ]
	# What a sandbox has put in the way, in a directory of its.
	echo mine >"$BATS_TEST_TMPDIR/precious"
	ln -s precious "$archive.partial"
	hull template export mine -o "$archive"
	[ "$(cat "$BATS_TEST_TMPDIR/precious")" = mine ]
	[ ! -e "$archive.partial" ]
	hull template rm mine
	as_root "$name" cat /usr/local/bin/tool
	hull fork -q "$name" "$name-f"
	own "$name-f"
	[ "$(as_root "$name-f" cat /dev/shm/y/f)" = warm ]
	hull template import -q "$archive" yours
	name=imported-$RANDOM
	own "$name"
	hull create -q --template yours --name "$name" shell
	[ "$(as_root "$name" cat /dev/shm/y/f)" = warm ]
	printf Z | dd of="$archive" bs=1 seek=100000 conv=notrunc status=none
	run hull template import -q "$archive" bad
	assert_refused 125 'damaged'
	[ ! -e "$templates/bad" ]
	hull template rm yours
	run hull create -q -t yours --name nope shell
	assert_refused 125 'no template'
	# -it is docker's, and says what -t is here.
	run hull run -it shell
	assert_refused 125 'no template is called shell.*-t names a template here'
}

@test "snapshot: a clone that frees memory gives it back to the host" {
	local full
	restored_sandbox
	hull exec "$name" python3 -c 'b = bytearray(b"x") * (300 << 20)'
	full=$(sandbox_field "$name" memory)
	smaller() { [ "$(sandbox_field "$name" memory)" -lt $((full - (200 << 20))) ] || [ "$(sandbox_field "$name" memory)" -lt $((250 << 20)) ]; }
	eventually 30 smaller
	# And the template is as it was.
	restored_sandbox
}

@test "snapshot: prune removes Hull's templates and no others; those in use go on" {
	restored_sandbox
	hull template save -q "$name" keep
	[ "$(hull prune --json | jq length)" = 0 ]
	[ "$(hull prune -a --dry-run --json | jq length)" -ge 1 ]
	# An engine that is not to be found just now is no reason to build everything again.
	HULL_QEMU=/nonexistent run hull prune --json
	[ "$status" = 0 ]
	[ "$(jq length <<<"$output")" = 0 ]
	# After an upgrade of Hull nothing starts from those of before.
	mkdir upgraded
	cp "${HULL%/*}"/hull{,-keeper,-init} upgraded/
	printf x >>upgraded/hull-init
	HULL=$PWD/upgraded/hull run hull prune --dry-run --json
	[ "$(jq -r '.[].reason' <<<"$output" | sort -u)" = 'made by another version of Hull' ]
	hull prune -a >/dev/null
	[ "$(hull template ls --json | jq -r '.[].name')" = keep ]
	[ -z "$(find "$templates" -name '.build-*')" ]
	hull exec "$name" true
	hull template rm keep
}

#!/usr/bin/env bats
# Templates, snapshots, forks, pauses: what is kept, what is renewed, and what damage and interruption leave.
#
# Sandboxes here are all of one kind, so that one template is built for the file; its first test builds it.

setup() {
	load lib
	export HULL_COLD=0 LIMIT=300
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
	hull create -q --cold --name "$name" --cpus 1 -m 768m shell
	hull start -q "$name"
	[ "$(hull ls --json | jq -r --arg n "$name" '.[] | select(.name == $n) | .boot.restored')" = false ]
}

@test "snapshot: two clones differ in everything that must be unique" {
	local a b what
	restored_sandbox
	a=$name
	restored_sandbox
	b=$name
	for what in 'hostname' 'cat /etc/machine-id' 'head -c 32 /dev/urandom | base64' \
		'openssl ecparam -genkey -name prime256v1 -noout 2>/dev/null || head -c 32 /dev/random | base64' \
		'python3 -c "import ssl,os; print(ssl.RAND_bytes(16).hex(), os.urandom(16).hex())"'; do
		[ "$(as_root "$a" sh -c "$what")" != "$(as_root "$b" sh -c "$what")" ]
	done
	[ "$(hull exec "$a" hostname)" = "$a" ]
	# The clock is the host's.
	local skew=$(($(hull exec "$a" date +%s) - $(date +%s)))
	[ "${skew#-}" -le 5 ]
	as_root "$a" dmesg | grep -q 'reseeded due to virtual machine fork'
}

@test "snapshot: fork copies processes, memory and containers; identities and disks part" {
	local a fork
	restored_sandbox
	a=$name
	as_root "$a" sh -c 'mkdir -p /etc/hull/on-restore.d
		printf "#!/bin/sh\nhostname >/root/hook\n" >/etc/hull/on-restore.d/mine
		chmod +x /etc/hull/on-restore.d/mine
		[ -x /usr/bin/ssh-keygen ] && mkdir -p /etc/ssh && ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
		echo before >/root/file'
	hull exec -d "$a" sleep 4321
	as_root "$a" sh -c 'mkdir -p /dev/shm/x; echo in-memory >/dev/shm/x/f'
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
		[ "$(as_root "$fork" sh -c 'cat /etc/machine-id')" != "$(as_root "$a" cat /etc/machine-id)" ]
		[ "$(as_root "$fork" sh -c 'cat /etc/ssh/*.pub 2>/dev/null || echo none here')" != \
			"$(as_root "$a" sh -c 'cat /etc/ssh/*.pub 2>/dev/null || echo none there')" ]
	done
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
	done
	[ "$(hull snapshot ls --json "$name" | jq -r '.[].tag')" = first ]
	truncate -s -4096 "$HULL_HOME/sandboxes/$name/snapshots/first/memory"
	run hull snapshot restore -q "$name@first"
	assert_refused 125 'damaged'
	state_is "$name" running
	hull snapshot rm "$name@first"
	run hull snapshot restore -q "$name@first"
	assert_refused 125 'no snapshot'
	hull exec "$name" true
}

@test "snapshot: a damaged template is noticed and built again; leftovers are swept" {
	local dir
	restored_sandbox
	dir=$(own_templates | head -n 1)
	mkdir "$templates/.tmp-dead01"
	printf Z | dd of="$dir/memory" bs=1 seek=$((150 << 20)) conv=notrunc status=none
	name=again-$RANDOM
	own "$name"
	run hull create --name "$name" --cpus 1 -m 768m shell
	[ "$status" = 0 ]
	grep -q 'damaged' <<<"$output"
	hull start -q "$name"
	hull exec "$name" true
	[ ! -e "$templates/.tmp-dead01" ]
}

@test "snapshot: an interrupted template build leaves nothing, and the next one builds" {
	name=interrupted-$RANDOM
	own "$name"
	timeout -s KILL 5 "$HULL" create -q --name "$name" --cpus 1 -m 512m shell || true
	[ ! -e "$HULL_HOME/sandboxes/$name" ]
	# Its machine, if it got that far, went with it or is swept with the home it lived in; a template there is not.
	run hull template ls --json
	[ "$(jq '[.[] | select(.memory == 536870912)] | length' <<<"$output")" = 0 ]
	hull create -q --name "$name" --cpus 1 -m 512m shell
	hull exec "$name" true
	[ "$(find "$templates" -maxdepth 1 -name '.tmp-*' | wc -l)" = 0 ]
}

@test "snapshot: a template of one's own: save, start from it, export, import, rm while in use" {
	local a archive=$BATS_TEST_TMPDIR/t.hull
	restored_sandbox
	a=$name
	as_root "$a" sh -c 'echo tool >/usr/local/bin/tool; mkdir /dev/shm/y; echo warm >/dev/shm/y/f'
	hull template save -q "$a" mine
	name=from-$RANDOM
	own "$name"
	hull create -q --template mine --name "$name" shell
	[ "$(as_root "$name" cat /usr/local/bin/tool /dev/shm/y/f)" = "$(printf 'tool\nwarm')" ]
	hull template export mine -o "$archive"
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
	run hull create -q --template yours --name nope shell
	assert_refused 125 'no template'
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
	hull prune -a >/dev/null
	[ "$(hull template ls --json | jq -r '.[].name')" = keep ]
	hull exec "$name" true
	hull template rm keep
}

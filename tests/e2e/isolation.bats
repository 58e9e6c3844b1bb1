#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Two sandboxes see nothing of each other, and neither sees anything of the host.

setup_file() {
	load lib
	shared_sandbox
}
setup() { load lib; }
teardown() { remove_own; }

@test "isolation: two sandboxes, two of everything" {
	own_sandbox
	hull start "$name"
	hull exec shared sh -c 'echo secret >~/only-here; sleep 1000.77 & echo $! >/tmp/pid'
	run hull exec "$name" cat only-here
	[ "$status" = 1 ]
	run hull exec "$name" pgrep -f 'sleep 1000.77'
	[ "$status" = 1 ]
	[ "$(hull exec shared hostname)" = shared ]
	[ "$(hull exec "$name" hostname)" = "$name" ]
	[ "$(hull exec shared cat /etc/machine-id)" != "$(hull exec "$name" cat /etc/machine-id)" ]
	[ "$(hull exec shared cat /proc/sys/kernel/random/boot_id)" != "$(hull exec "$name" cat /proc/sys/kernel/random/boot_id)" ]
	# The base image is the same file for both, and read-only for both.
	run as_root "$name" sh -c 'for d in /sys/block/vd*; do [ "$(cat $d/ro)" = 1 ] && dd if=/dev/zero of=/dev/${d##*/} bs=512 count=1; done'
	[[ "$output" == *"not permitted"* || "$output" == *"ead-only"* ]]
	hull exec shared sh -c 'kill $(cat /tmp/pid); rm only-here /tmp/pid' || true
}

@test "isolation: the guest has no network card and nothing of the host's" {
	[ "$(hull exec shared sh -c 'ls -d /sys/class/net/*/device 2>/dev/null | wc -l')" = 0 ]
	run hull exec shared sh -c 'ls /sys/bus/pci/drivers/virtio-pci/*/virtio*/net'
	[ "$status" != 0 ]
	# No device beyond those that SECURITY.md names: console, wire port, disks, entropy, balloon.
	run grep -vxE 'virtio_(console|blk|rng|balloon)' < <(hull exec shared sh -c 'for d in /sys/bus/virtio/devices/*; do basename $(readlink -f $d/driver); done')
	[ "$status" = 1 ]
}

@test "isolation: the engine sees no file, network or process of the host" {
	local engine
	engine=$(engine_pid shared)
	[ -n "$engine" ]
	[ "$(readlink "/proc/$engine/ns/net")" != "$(readlink /proc/self/ns/net)" ]
	[ "$(readlink "/proc/$engine/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]
	[ "$(readlink "/proc/$engine/ns/pid")" != "$(readlink /proc/self/ns/pid)" ]
	# A user namespace of its own, or, when root started it, an id that nobody else has.
	if [ "$(id -u)" = 0 ]; then
		[ "$(awk '/^Uid:/ {print $2}' "/proc/$engine/status")" -gt 100000 ]
	else
		[ "$(readlink "/proc/$engine/ns/user")" != "$(readlink /proc/self/ns/user)" ]
	fi
	local path
	for path in /etc/passwd /usr/bin/env /usr/share/doc /var "$HULL_HOME/sandboxes" "$XDG_RUNTIME_DIR/hull" "$top/README.md"; do
		[ -e "$path" ]
		[ ! -e "/proc/$engine/root$path" ]
	done
	grep -qE '^NoNewPrivs:[[:space:]]1' "/proc/$engine/status"
	grep -qE '^CapEff:[[:space:]]0000000000000000' "/proc/$engine/status"
	grep -qE '^CapBnd:[[:space:]]0000000000000000' "/proc/$engine/status"
	grep -qE '^Seccomp:[[:space:]]2' "/proc/$engine/status"
}

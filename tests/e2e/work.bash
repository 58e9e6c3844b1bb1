# SPDX-License-Identifier: Apache-2.0
# The sandbox of workspace.bats and cp.bats: `work`, with directories of the host, made once for a file. A file that has
# `load work` at its top has its set-up from here.
#
# $ws/rw (writable, with $ws/rw/masked read-only in it), $ws/ro and the single file $ws/alone/file are mounted. They
# belong to an unprivileged user when the tests run as root.
# shellcheck shell=bash

make_work() {
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
remove_work() {
	LIMIT=120 hull rm -f work || true
	rm -rf "$ws"
}

setup_file() {
	load lib
	make_work
}
teardown_file() {
	load lib
	remove_work
}
setup() { load lib; }
teardown() {
	remove_own
	rm -f "$ws/rw/"{new,link,x,big,big2} 2>/dev/null || true
}

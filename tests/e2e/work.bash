# The sandbox of workspace.bats and cp.bats: `work`, with directories of the host. Load with `load work`.
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

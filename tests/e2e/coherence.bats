#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What changes on the host beside a running sandbox: when a command sees it, and who in the guest hears of it.

setup_file() {
	load lib
	export ws=/tmp/hull-co-$$
	mkdir -p "$ws/rw"
	echo old >"$ws/rw/f"
	echo 1 >"$ws/rw/app.js"
	if [ "$UID" = 0 ]; then chown -R 54321:54321 "$ws"; fi
	LIMIT=300 hull create -q --name cohere --cpus 1 -m 1g --no-docker shell "$ws/rw"
	LIMIT=300 hull start -q cohere
}
teardown_file() {
	load lib
	LIMIT=120 hull rm -f cohere || true
	rm -rf "$ws"
}
setup() { load lib; }

server() {
	local p
	for p in $(family cohere); do
		tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null | grep -qF -- "hull-share --root $ws/rw " && echo "$p"
	done
	return 0
}

# In the guest: print the masks of what inotify says about FILE, "ready" first, until SECONDS are over.
watch_file() { # FILE SECONDS
	hull exec cohere python3 -c '
import ctypes,os,select,struct,sys,time
c=ctypes.CDLL(None); fd=c.inotify_init1(0)
assert c.inotify_add_watch(fd,sys.argv[1].encode(),0xfc6)>=0
print("ready",flush=True); end=time.time()+float(sys.argv[2])
while time.time()<end:
    if not select.select([fd],[],[],0.2)[0]: continue
    b=os.read(fd,65536); i=0
    while i<len(b):
        _,m,_,n=struct.unpack_from("iIII",b,i); print(hex(m),flush=True); i+=16+n
' "$@"
}

@test "coherence: a command sees what was written before it, also when the server is held up" {
	local pid i
	pid=$(server)
	[ "$(hull exec cohere cat f)" = old ]
	kill -STOP "$pid"
	echo new >"$ws/rw/f"
	hull exec cohere cat f >"$BATS_TEST_TMPDIR/out" 3>&- &
	local client=$!
	eventually 2 test -e "/proc/$client"
	sleep 1
	kill -CONT "$pid"
	reap "$client"
	[ "$status" = 0 ]
	[ "$(cat "$BATS_TEST_TMPDIR/out")" = new ]
	for i in 1 2 3 4 5; do
		echo "turn $i" >"$ws/rw/f"
		[ "$(hull exec cohere cat f)" = "turn $i" ]
	done
	# A server that does not answer at all holds nobody up for good.
	kill -STOP "$pid"
	LIMIT=60 hull exec -w / cohere true
	LIMIT=8 hull exec -w / cohere true
	kill -CONT "$pid"
	hull logs cohere | grep -q 'has not passed on'
	echo last >"$ws/rw/f"
	eventually 5 test "$(hull exec cohere cat f)" = last
}

@test "coherence: who watches one file hears when it is saved by rename, and when it is truncated" {
	watch_file "$ws/rw/app.js" 12 >"$BATS_TEST_TMPDIR/seen" 3>&- &
	local client=$!
	eventually 30 grep -q ready "$BATS_TEST_TMPDIR/seen"
	truncate -s 0 "$ws/rw/app.js"
	eventually 8 grep -q 0x2 "$BATS_TEST_TMPDIR/seen"
	echo 2 >"$ws/rw/.app.js.tmp"
	mv "$ws/rw/.app.js.tmp" "$ws/rw/app.js"
	eventually 8 grep -q 0x400 "$BATS_TEST_TMPDIR/seen"
	reap "$client"
	[ "$(hull exec cohere cat app.js)" = 2 ]
}

@test "coherence: a file that the host goes on writing under another name is not old" {
	exec 7>"$ws/rw/log"
	echo one >&7
	[ "$(hull exec cohere cat log)" = one ]
	ln "$ws/rw/log" "$ws/rw/log.1"
	rm "$ws/rw/log"
	[ "$(hull exec cohere cat log.1)" = one ]
	echo two >&7
	[ "$(hull exec cohere cat log.1 | tail -1)" = two ]
	exec 7>&-
}

@test "coherence: another directory at the path is served, however it came there" {
	shows() { [ "$(hull exec -w / cohere cat "$ws/rw/f")" = "$1" ]; }
	make() { # DIRECTORY CONTENT
		mkdir "$1"
		echo "$2" >"$1/f"
		if [ "$UID" = 0 ]; then chown -R 54321:54321 "$1"; fi
	}
	make "$ws/new" second
	mv "$ws/rw" "$ws/old"
	eventually 10 sh -c "'$HULL' logs cohere | grep -q 'is not on the host any more'"
	mv "$ws/new" "$ws/rw"
	eventually 20 shows second
	hull exec cohere sh -c 'echo agent >g'
	[ "$(cat "$ws/rw/g")" = agent ]
	not test -e "$ws/old/g"
	hull logs cohere | grep -q 'was replaced on the host'
	rm -rf "$ws/rw"
	make "$ws/new" third
	mv "$ws/new" "$ws/rw"
	eventually 20 shows third
	# And a start serves what is there.
	hull stop -q -f cohere
	mv "$ws/rw" "$ws/old2"
	mv "$ws/old" "$ws/rw"
	echo fourth >"$ws/rw/f"
	LIMIT=300 hull start -q cohere
	shows fourth
}

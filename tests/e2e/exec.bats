#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hull exec: what a user and a script rely on when they run a command in a sandbox.

setup_file() {
	load lib
	shared_sandbox
}
setup() { load lib; }
teardown() { remove_own; }

@test "exec: the command's exit code is hull's" {
	local code
	for code in 0 1 2 42 124 255; do
		run hull exec shared sh -c "exit $code"
		[ "$status" = $code ]
		[ -z "$output" ]
	done
}

@test "exec: a command killed by signal n gives 128+n" {
	run hull exec shared sh -c 'kill -TERM $$'
	[ "$status" = 143 ]
	run hull exec shared sh -c 'kill -KILL $$'
	[ "$status" = 137 ]
	run hull exec shared sh -c 'kill -SEGV $$'
	[ "$status" = 139 ]
}

@test "exec: 127 when there is no such command, 126 when it cannot be executed" {
	run -127 hull exec shared no-such-command
	assert_refused 127 'no-such-command'
	run -127 hull exec shared /no/such/path
	assert_refused 127 '/no/such/path'
	run hull exec shared /etc/passwd
	assert_refused 126 'permission denied'
	run hull exec shared /tmp
	[ "$status" = 126 ]
}

@test "exec: output and errors stay apart, in their own order" {
	hull exec shared sh -c 'for i in 1 2 3; do echo out $i; echo err $i >&2; done' \
		>"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
	[ "$(cat "$BATS_TEST_TMPDIR/out")" = "$(printf 'out 1\nout 2\nout 3')" ]
	[ "$(cat "$BATS_TEST_TMPDIR/err")" = "$(printf 'err 1\nerr 2\nerr 3')" ]
}

@test "exec: the end of standard input arrives" {
	[ "$(printf 'one\ntwo' | hull exec -i shared cat)" = "$(printf 'one\ntwo')" ]
	[ "$(hull exec -i shared wc -c </dev/null)" = 0 ]
	# A command that closes its input early does not hurt.
	[ "$(head -c 3000000 /dev/zero | hull exec -i shared head -c 5 | wc -c)" = 5 ]
	run hull exec -i shared true < <(head -c 3000000 /dev/zero)
	[ "$status" = 0 ]
}

@test "exec: without -i, standard input is empty and the caller's is left alone" {
	local rest
	rest=$(printf 'mine\n' | { hull exec shared cat; cat; })
	[ "$rest" = mine ]
}

@test "exec: input that comes slowly is passed on as it comes" {
	# The second part is only written once the first has come back.
	local fifo=$BATS_TEST_TMPDIR/in line
	mkfifo "$fifo"
	coproc cat_in_guest { hull exec -i shared cat <"$fifo"; }
	exec {to}>"$fifo"
	echo first >&"$to"
	read -r -t 60 line <&"${cat_in_guest[0]}"
	[ "$line" = first ]
	echo second >&"$to"
	read -r -t 60 line <&"${cat_in_guest[0]}"
	[ "$line" = second ]
	exec {to}>&-
	wait "$cat_in_guest_PID"
}

@test "exec: 1 MiB of random bytes goes in and comes out unchanged" {
	head -c 1048576 /dev/urandom >"$BATS_TEST_TMPDIR/random"
	local sum
	sum=$(sha256sum <"$BATS_TEST_TMPDIR/random")
	[ "$(hull exec -i shared sha256sum <"$BATS_TEST_TMPDIR/random")" = "$sum" ]
	hull exec -i shared cat <"$BATS_TEST_TMPDIR/random" >"$BATS_TEST_TMPDIR/back"
	[ "$(sha256sum <"$BATS_TEST_TMPDIR/back")" = "$sum" ]
	# And made in the guest, summed at both ends.
	hull exec shared sh -c 'head -c 1048576 /dev/urandom | tee /tmp/made | cat; sha256sum </tmp/made >&2; rm /tmp/made' \
		>"$BATS_TEST_TMPDIR/made" 2>"$BATS_TEST_TMPDIR/sum"
	[ "$(sha256sum <"$BATS_TEST_TMPDIR/made")" = "$(cat "$BATS_TEST_TMPDIR/sum")" ]
}

@test "exec: the environment: agent's own, the sandbox's, -e and --env-file, the later winning" {
	[ "$(hull exec shared sh -c 'echo $HOME $USER')" = "/home/agent agent" ]
	[ "$(hull exec shared printenv FROM_SANDBOX)" = yes ]
	[ "$(hull exec -e FROM_SANDBOX=no shared printenv FROM_SANDBOX)" = no ]
	[ "$(hull exec -e A=1 -e A=2 -e 'B=with spaces and "quotes"' shared sh -c 'echo $A $B')" = '2 with spaces and "quotes"' ]
	# -e NAME takes the caller's value.
	[ "$(TAKEN=along hull exec -e TAKEN shared printenv TAKEN)" = along ]
	printf '# a comment\nX=from file\n\nY=2\n' >"$BATS_TEST_TMPDIR/env"
	[ "$(hull exec --env-file "$BATS_TEST_TMPDIR/env" -e Y=3 shared sh -c 'echo $X $Y')" = "from file 3" ]
	run hull exec --env-file "$BATS_TEST_TMPDIR/none" shared true
	assert_refused 125 "$BATS_TEST_TMPDIR/none"
	# The caller's own environment does not leak in.
	run env SECRET_OF_MINE=1 "$HULL" exec shared printenv SECRET_OF_MINE
	[ "$status" = 1 ]
}

@test "exec: -u by name, id and group; agent by default" {
	[ "$(hull exec shared id -un)" = agent ]
	[ "$(hull exec -u root shared id -u)" = 0 ]
	[ "$(hull exec -u 0 shared sh -c 'id -un; echo $HOME')" = "$(printf 'root\n/root')" ]
	[ "$(hull exec -u nobody shared id -un)" = nobody ]
	[ "$(hull exec -u 1234:5678 shared sh -c 'id -u; id -g')" = "$(printf '1234\n5678')" ]
	[ "$(hull exec -u agent:daemon shared id -gn)" = daemon ]
	[ "$(hull exec shared sudo -n id -u)" = 0 ]
	run -126 hull exec -u no-such-user shared true
	[[ "$output" == *no-such-user* ]]
}

@test "exec: -w, the home by default" {
	[ "$(hull exec shared pwd)" = /home/agent ]
	[ "$(hull exec -w /usr/share shared pwd)" = /usr/share ]
	run hull exec -w /no/such/dir shared true
	assert_refused 126 'cannot execute: directory /no/such/dir: not found'
	run hull exec -w /root shared true
	assert_refused 126 'directory /root: permission denied'
}

@test "exec: flags of the command are the command's" {
	[ "$(hull exec shared echo -i -t --help)" = "-i -t --help" ]
	[ "$(hull exec shared -- echo -- x)" = "-- x" ]
	[ "$(hull exec shared printf '%s|' '' 'a b' "'" '*' '$HOME')" = "|a b|'|*|\$HOME|" ]
}

@test "exec: many long arguments and a large environment" {
	local args=() i
	for i in $(seq 1 400); do args+=("$(printf '%01000d' "$i")"); done
	[ "$(hull exec shared sh -c 'n=0; for a; do n=$((n + ${#a})); done; echo $# $n' sh "${args[@]}")" = "400 400000" ]
	[ "$(hull exec -e "BIG=$(printf '%0100000d' 7)" shared sh -c 'echo ${#BIG}')" = 100000 ]
	# Too much is refused in words.
	for i in 1 2 3; do printf 'A%d%s=%s\n' $i x "$(head -c 120000 /dev/zero | tr '\0' x)"; done >"$BATS_TEST_TMPDIR/huge"
	for i in $(seq 4 12); do printf 'A%d%s=%s\n' "$i" x "$(head -c 120000 /dev/zero | tr '\0' x)"; done >>"$BATS_TEST_TMPDIR/huge"
	run hull exec --env-file "$BATS_TEST_TMPDIR/huge" shared true
	[ "$status" = 125 ] || [ "$status" = 126 ]
	[[ "$output" == *long* || "$output" == *large* || "$output" == *big* || "$output" == *"too much"* ]]
}

@test "exec: a terminal: its size, its changes of size, its keys" {
	run timeout 120 python3 "$top/tests/e2e/terminal.py" "$HULL" shared
	echo "$output"
	[ "$status" = 0 ]
}

@test "exec: -it without a terminal says so; -t alone has one all the same" {
	run hull exec -it shared true </dev/null
	assert_refused 125 'stdin is not a terminal'
	run hull exec -t shared tty </dev/null
	[ "$status" = 0 ]
	[[ "$output" == /dev/pts/* ]]
}

@test "exec: a signal to hull reaches the command" {
	local out=$BATS_TEST_TMPDIR/out pid
	"$HULL" exec shared sh -c 'trap "echo got it; exit 7" TERM; echo ready; while :; do sleep 0.1; done' >"$out" 3>&- &
	pid=$!
	eventually 60 grep -q ready "$out"
	kill -TERM $pid
	reap $pid
	[ "$status" = 7 ]
	grep -q 'got it' "$out"
}

@test "exec: a client that is killed takes its command with it" {
	local mark=$RANDOM$RANDOM pid
	"$HULL" exec shared sleep 1000.$mark 3>&- &
	pid=$!
	eventually 60 hull exec shared pgrep -f "^sleep 1000.$mark"
	kill -9 $pid
	wait $pid || true
	eventually 60 not hull exec shared pgrep -f "^sleep 1000.$mark"
}

@test "exec: a reader that stalls holds up its own command and nothing else" {
	local fifo=$BATS_TEST_TMPDIR/out pid n
	mkfifo "$fifo"
	"$HULL" exec shared head -c 20000000 /dev/zero >"$fifo" 3>&- &
	pid=$!
	exec {from}<"$fifo"
	[ "$(head -c 10 <&"$from" | wc -c)" = 10 ]
	for _ in 1 2 3; do [ "$(hull exec shared echo other)" = other ]; done
	# What was held back comes when it is read. (head may have read ahead up to a buffer.)
	n=$(wc -c <&"$from")
	[ "$n" -ge 19900000 ]
	wait $pid
}

@test "exec: a command that stalls holds up its own input and nothing else" {
	local pid
	head -c 20000000 /dev/zero | "$HULL" exec -i shared sh -c 'while ! [ -e /tmp/go-on ]; do sleep 0.1; done; wc -c' \
		>"$BATS_TEST_TMPDIR/count" 3>&- &
	pid=$!
	for _ in 1 2 3; do [ "$(hull exec shared echo other)" = other ]; done
	hull exec shared touch /tmp/go-on
	wait $pid
	hull exec shared rm /tmp/go-on
	[ "$(cat "$BATS_TEST_TMPDIR/count")" = 20000000 ]
}

@test "exec: thirty at once, each with its own output and code" {
	local i pids=()
	for i in $(seq 1 30); do
		"$HULL" exec shared sh -c "echo $i; exit $i" >"$BATS_TEST_TMPDIR/out.$i" 3>&- &
		pids[i]=$!
	done
	for i in $(seq 1 30); do
		reap "${pids[i]}"
		[ "$status" = "$i" ]
		[ "$(cat "$BATS_TEST_TMPDIR/out.$i")" = "$i" ]
	done
}

@test "exec: 300 in a row leave nothing in guest or keeper" {
	local keeper before after guest_before guest_after
	keeper=$(keeper_pid shared)
	hull exec shared true
	guest_before=$(as_root shared sh -c 'ls /proc/1/fd | wc -l')
	before=$(open_files "$keeper")
	for _ in $(seq 1 300); do hull exec shared true; done
	guest_after=$(as_root shared sh -c 'ls /proc/1/fd | wc -l')
	after=$(open_files "$keeper")
	echo "guest: $guest_before -> $guest_after descriptors, keeper: $before -> $after"
	[ "$guest_after" -le $((guest_before + 1)) ]
	[ "$after" -le $((before + 1)) ]
	eventually 30 no_zombies shared
}

# As many as fit under emulation on a machine that does other things, too, at some 25 ms of a processor for each:
# EXEC_SESSIONS=10000, with a longer BATS_TEST_TIMEOUT, runs more of them.
@test "exec: thousands, sixteen at a time: all succeed, and neither guest nor keeper grows" {
	local count=${EXEC_SESSIONS:-2000} keeper before after fds rss
	own_sandbox --no-docker --cpus 2 -m 1g
	hull start "$name"
	keeper=$(keeper_pid "$name")
	# What grows once has grown then.
	[ "$(python3 "$top/tests/e2e/many.py" "$runtime/$name/control.sock" 200 16)" = 200 ]
	fds=$(open_files "$keeper")
	rss=$(awk '/^VmRSS:/ {print $2}' "/proc/$keeper/status")
	read -r -a before < <(as_root "$name" sh -c "$footprint")
	[ "$(python3 "$top/tests/e2e/many.py" "$runtime/$name/control.sock" "$count" 16)" = "$count" ]
	eventually 30 no_zombies "$name"
	read -r -a after < <(as_root "$name" sh -c "$footprint")
	echo "hull-init: ${before[*]} -> ${after[*]} (descriptors, KiB, session directories)"
	echo "keeper: $fds -> $(open_files "$keeper") descriptors, $rss -> $(awk '/^VmRSS:/ {print $2}' "/proc/$keeper/status") KiB"
	[ "${after[0]}" -le $((before[0] + 1)) ]
	[ "${after[1]}" -le $((before[1] + 128)) ]
	[ "${after[2]}" -le $((before[2] + 1)) ]
	[ "$(open_files "$keeper")" -le $((fds + 1)) ]
	[ "$(awk '/^VmRSS:/ {print $2}' "/proc/$keeper/status")" -le $((rss + 1024)) ]
}
footprint='echo $(ls /proc/1/fd | wc -l) $(awk "/^VmRSS:/ {print \$2}" /proc/1/status) $(find /sys/fs/cgroup/work/sessions -mindepth 1 -type d | wc -l)'

# The processes of the warm-up, oldest first (docs/internals/guest.md).
warming_up() { hull exec "$1" sh -c 'grep -lx hull-warmup /proc/[0-9]*/comm | cut -d/ -f3 | sort -n | tr "\n" " "'; }

@test "exec: a copy is warmed up where the processor is emulated, and nobody depends on it" {
	own_sandbox --no-docker --cpus 2 -m 1g
	hull start -q "$name"
	local copy=$name-copy stage waits
	echo "$copy" >>"$BATS_TEST_TMPDIR/own"
	if [[ $(sandbox_field "$name" engine) != *tcg* ]]; then
		[ -z "$(warming_up "$name")" ]
		return
	fi
	eventually 30 two_warming_up "$name"
	read -r stage waits <<<"$(warming_up "$name")"
	# In the copy the one that waited has gone its way, and another one waits.
	hull fork -q "$name" "$copy"
	eventually 30 two_warming_up "$copy"
	[[ "$(warming_up "$copy")" = "$stage "* ]]
	[[ "$(warming_up "$copy")" != *" $waits "* ]]
	as_root "$copy" kill -KILL "$stage"
	as_root "$copy" pkill -KILL -x hull-warmup || true
	[ -z "$(warming_up "$copy")" ]
	hull pause -q "$copy"
	hull resume -q "$copy"
	[ "$(hull exec "$copy" echo well)" = well ]
}
two_warming_up() { [ "$(warming_up "$1" | wc -w)" = 2 ]; }

@test "exec: orphans are reaped" {
	hull exec shared sh -c '(sh -c "sleep 0.2; exit 3" & ) ; exit 0'
	eventually 30 no_zombies shared
}

@test "dial: a socket in the workspace, which hull-init itself must not ask for, and one that is not there" {
	local ws=$BATS_TEST_TMPDIR/ws
	mkdir "$ws"
	chmod 755 "$BATS_TEST_TMPDIR" "$ws"
	name=dial-$RANDOM
	echo "$name" >>"$BATS_TEST_TMPDIR/own"
	LIMIT=300 hull create -q --name "$name" --cpus 1 -m 1g --no-docker shell "$ws"
	hull exec -d "$name" python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(5)
while True: c, _ = s.accept(); c.sendall(b"hello"); c.close()' "$ws/sock"
	# On the host it is a file that stands for it.
	eventually 60 [ -e "$ws/sock" ]
	hull exec "$name" test -S "$ws/sock"
	[ "$(timeout 60 python3 "$top/tests/e2e/dial.py" "$runtime/$name/control.sock" "$ws/sock")" = hello ]
	run timeout 60 python3 "$top/tests/e2e/dial.py" "$runtime/$name/control.sock" "$ws/none"
	[ "$status" = 1 ]
	[ "$output" = "No such file or directory" ]
	hull exec "$name" true
}

# An image made before its ~/.profile left PATH alone puts ~/.local/bin in front.
@test "environment: what -e gives holds in login shells as well" {
	local path=/opt/tool/bin:/usr/bin:/bin
	run hull exec -e PATH=$path -e LANG=de_DE.UTF-8 -e FOO='a b' shared bash -lc 'echo "$PATH|$LANG|$FOO"'
	[ "$status" = 0 ]
	[ "${output#/home/agent/.local/bin:}" = "$path|de_DE.UTF-8|a b" ]
	run hull exec -i -e PATH=$path shared <<<'echo "$PATH"'
	[ "${output#/home/agent/.local/bin:}" = "$path" ]
	[ "$(hull exec shared bash -lc 'echo "${HULL_PATH-none}"')" = none ]
}

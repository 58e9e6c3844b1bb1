#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The network of a sandbox: everything by the policy, nothing past it. Servers on this host's loopback stand for the
# world (net_server.py), reached as host.hull.internal by rules for their ports; one of them, `closed`, has no rule.
# What needs the world itself takes Debian's mirror and the registry from what the guest is set up with, and is skipped
# where those do not answer this host. The large download is of NET_MIB (1024) MiB, the upload of a quarter of it: about
# a minute of two cores for an emulated guest. Most tests share one sandbox and one policy, which each leaves as it was.
# bats file_tags=network

setup_file() {
	load lib
	export world=$BATS_FILE_TMPDIR/world
	mkdir -p "$world/www"
	mkfifo "$world/end"
	sleep infinity >"$world/end" 3>&- &
	echo $! >"$world/sleep.pid"
	python3 "$top/tests/e2e/net_server.py" "$world" <"$world/end" 3>&- &
	echo $! >"$world/pid"
	eventually 30 test -e "$world/ports"
	shared_sandbox
	# The mirror that the guest's apt is set up with, and npm's registry; those of one's own may well have private addresses.
	mirrors=$(in_guest sh -c 'cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null' | grep -oE 'https?://[^/ ]+' | sed 's,.*//,,' | sort -u)
	registry=$(in_guest npm config get registry | sed 's,.*//,,; s,/.*,,')
	export mirrors registry
	usual_policy
	# Where the policy is in force, this is answered.
	eventually 20 reaches "$(port http)"
	hull exec -i -u root shared sh -c 'cat >/tmp/ca.pem' <"$world/cert.pem"
}
teardown_file() {
	load lib
	hull policy reset --sandbox shared </dev/null
	kill "$(cat "$world/pid")" "$(cat "$world/sleep.pid")" || true
}
setup() { load lib; }
teardown() { remove_own; }

port() { awk -v n="$1" '$1 == n { print $2 }' "$world/ports"; }
in_guest() { LIMIT=${LIMIT:-240} hull exec shared "$@"; }
# A check of net_client.py.
check() { LIMIT=${LIMIT:-240} hull exec -i -u root shared python3 - "$@" <"$top/tests/e2e/net_client.py"; }
reaches() { in_guest curl -fsS --max-time 20 -o /dev/null "http://host.hull.internal:$1/"; }
# curl with these arguments is told that it cannot connect.
unconnected() {
	run in_guest curl -sS --max-time 30 "$@"
	if [ "$status" != 7 ]; then
		echo "curl $*: exit code $status: $output" >&2
		return 1
	fi
}
seen() { grep -qxF "$1" "$world/seen"; }
# What this host itself cannot reach, no sandbox can.
needs() { # URL
	if ! curl -sS --max-time 30 -o /dev/null "$1"; then skip "$1 does not answer this machine either"; fi
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
gateway_pid() { # SANDBOX
	ps -o pid=,comm= -p "$(family "$1" | paste -sd,)" | awk '$2 == "hull-egress" { print $1 }'
}

# The policy of the shared sandbox, with further rules.
policy() { # RULE...
	local rule host
	{
		echo 'preset: locked'
		echo 'allow:'
		for rule in echo source sink resetting watching slow http https files; do echo "  - localhost:$(port $rule)"; done
		echo "  - localhost:$(port udp)/udp"
		for rule; do if [ -n "$rule" ]; then echo "  - $rule"; fi; done
		for host in $mirrors $registry; do echo "  - {host: \"$host\", private: true}"; done
	} >"$BATS_FILE_TMPDIR/policy.yaml"
	chmod 600 "$BATS_FILE_TMPDIR/policy.yaml"
	mv "$BATS_FILE_TMPDIR/policy.yaml" "$HULL_HOME/sandboxes/shared/policy.yaml"
}
usual_policy() { policy ""; }

@test "network: half-closes pass, over IPv4 and IPv6" { check half_close "$(port echo)"; }

@test "network: a reset is a reset on the other side, both ways" {
	check reset_by_host "$(port resetting)"
	check reset_by_guest "$(port watching)"
	eventually 20 seen rst
}

@test "network: a large download and upload (${NET_MIB:-1024} MiB), to the byte" {
	local size=$((${NET_MIB:-1024} * 1024 * 1024))
	LIMIT=400 check download "$(port source)" $size
	LIMIT=400 check upload "$(port sink)" $((size / 4))
}

@test "network: slow readers and slow writers, here and there" {
	check download "$(port source)" $((2 * 1024 * 1024)) 0.005
	check upload "$(port sink)" $((1024 * 1024)) 0.01
	check upload "$(port slow)" $((4 * 1024 * 1024))
}

@test "network: 1,000 connections at once" { check many "$(port echo)" 1000; }

@test "network: a flood of connections is bounded, and over when it is" { check flood "$(port echo)" 1500; }

@test "network: a WebSocket" {
	local answer
	answer=$(hull exec -i shared python3 - "$(port http)" <<-'PY'
		import socket, sys
		s = socket.create_connection(("host.hull.internal", int(sys.argv[1])), 30)
		s.sendall(b"GET /chat HTTP/1.1\r\nHost: host.hull.internal:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		          b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % sys.argv[1].encode())
		head = b""
		while b"\r\n\r\n" not in head:
		    head += s.recv(1)
		assert b" 101 " in head and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head
		s.sendall(b"\x81\x82abcd" + bytes([ord("h") ^ ord("a"), ord("i") ^ ord("b")]))
		print(s.recv(4))
	PY
	)
	[ "$answer" = "b'\\x81\\x02hi'" ]
}

@test "network: TLS passes untouched; on a port of this host a server name that a rule denies does not" {
	local p
	p=$(port https)
	[[ "$(in_guest curl -sS --cacert /tmp/ca.pem --max-time 30 "https://host.hull.internal:$p/")" == "host=host.hull.internal:$p" ]]
	# What is there is allowed whole, by whatever name; but for one that is denied.
	in_guest sh -c "openssl s_client -connect host.hull.internal:$p -servername other.example.net -brief </dev/null"
	hull policy deny other.example.net --sandbox shared
	run in_guest sh -c "openssl s_client -connect host.hull.internal:$p -servername other.example.net -brief </dev/null"
	usual_policy
	[ "$status" != 0 ]
}

@test "network: UDP by rule only, and a denied flow is told at once" {
	check udp "$(port udp)"
	check udp_denied "$(port echo)"
}

@test "network: DNS: addresses for names, nothing else, from whatever server" { check dns; }

@test "network: apt-get update and install from Debian's mirror" {
	needs "http://${mirrors%%[[:space:]]*}/"
	as_root shared sh -c 'apt-get -q update && apt-get -q install -y bc'
	[ "$(in_guest sh -c 'echo 6*7 | bc')" = 42 ]
}

@test "network: npm install of a package" {
	local ca
	needs "https://$registry/"
	# Where a proxy that inspects TLS stands before this host, the host's npm knows its authority and the guest does not.
	ca=$(npm config get cafile 2>/dev/null || true)
	if [ ! -f "${ca:-/null}" ]; then ca=${NODE_EXTRA_CA_CERTS:-}; fi
	if [ ! -f "${ca:-/null}" ]; then ca=/etc/ssl/certs/ca-certificates.crt; fi
	hull exec -i -u root shared sh -c 'cat >/tmp/host-ca.pem' <"$ca"
	in_guest env NODE_EXTRA_CA_CERTS=/tmp/host-ca.pem sh -c 'mkdir -p ~/n && cd ~/n && echo "{}" >package.json &&
		npm install --no-audit --no-fund --no-update-notifier is-number && node -e "process.exit(require(\"is-number\")(3) ? 0 : 1)"'
}

@test "network: pip install from an index" {
	python3 - "$world/www/simple" <<-'PY'
		import os, sys, zipfile
		os.makedirs(sys.argv[1] + "/hull-probe")
		wheel = "hull_probe-1.0-py3-none-any.whl"
		with zipfile.ZipFile(sys.argv[1] + "/hull-probe/" + wheel, "w") as z:
		    z.writestr("hull_probe.py", "print('installed')\n")
		    z.writestr("hull_probe-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: hull-probe\nVersion: 1.0\n")
		    z.writestr("hull_probe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
		    z.writestr("hull_probe-1.0.dist-info/RECORD", "")
		with open(sys.argv[1] + "/hull-probe/index.html", "w") as f:
		    f.write('<a href="%s">%s</a>\n' % (wheel, wheel))
	PY
	[[ "$(in_guest sh -c "python3 -m pip install -q --disable-pip-version-check --break-system-packages --target ~/p --cert /tmp/ca.pem \
		--index-url https://host.hull.internal:$(port files)/simple hull-probe && PYTHONPATH=~/p python3 -m hull_probe")" == *installed ]]
}

@test "network: git clone over HTTPS and over SSH" {
	local sshd dir=$BATS_TEST_TMPDIR p repo=$world/www/repo server
	git init -q "$repo"
	git -C "$repo" -c user.name=t -c user.email=t@example.net commit -q --allow-empty -m first
	git -C "$repo" update-server-info
	run in_guest sh -c "git -c http.sslCAInfo=/tmp/ca.pem clone -q https://host.hull.internal:$(port files)/repo/.git ~/clone && git -C ~/clone log --format=%s"
	[ "$status" = 0 ]
	[ "$output" = first ]
	sshd=$(command -v sshd || echo /usr/sbin/sshd)
	if [ ! -x "$sshd" ]; then skip "no sshd on this machine"; fi
	ssh-keygen -q -t ed25519 -N '' -f "$dir/host" && ssh-keygen -q -t ed25519 -N '' -f "$dir/user"
	cp "$dir/user.pub" "$dir/authorized"
	p=$(free_port)
	if [ "$(id -u)" = 0 ]; then mkdir -p /run/sshd; fi
	"$sshd" -D -e -f /dev/null -p "$p" -h "$dir/host" -o ListenAddress=127.0.0.1 -o StrictModes=no -o UsePAM=no \
		-o PidFile=none -o AuthorizedKeysFile="$dir/authorized" 2>"$dir/sshd.log" 3>&- &
	server=$!
	policy "localhost:$p"
	hull exec -i shared sh -c 'umask 077; cat >/tmp/key' <"$dir/user"
	run in_guest sh -c "GIT_SSH_COMMAND='ssh -i /tmp/key -p $p -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR' git clone -q ssh://$(id -un)@host.hull.internal$repo ~/clone2 && git -C ~/clone2 log --format=%s"
	kill "$server"
	usual_policy
	[ "$status" = 0 ]
	[ "$output" = first ]
}

@test "network: containers on the default bridge, by rule only" {
	LIMIT=300 hull wait shared
	# By name, over the default bridge: resolv.conf has an address that containers reach.
	run in_guest docker run --rm localhost/debian:trixie bash -c "exec 3<>/dev/tcp/host.hull.internal/$(port echo); echo hi >&3; head -n 1 <&3
		exec 4<>/dev/tcp/host.hull.internal/$(port closed); echo no >&4; head -n 1 <&4"
	[[ "$output" == *hi* ]]
	[[ "$output" != *no$'\n'* && "$output" != *no ]]
	[ "$(cat "$world"/seen* | grep -c closed)" = 0 ]
}

@test "network: compose networks: between containers untouched, out by the policy, and a port published to the host" {
	LIMIT=300 hull wait shared
	local p host
	hull exec -i shared sh -c 'mkdir -p compose && cat >compose/compose.yaml' <<-YML
		services:
		  listener:
		    image: localhost/debian:trixie
		    init: true
		    networks: [inside]
		    ports: ["8099:9999"]
		    command: ["perl", "-MIO::Socket::INET", "-e", '\$\$s = IO::Socket::INET->new(Listen => 5, LocalPort => 9999, ReuseAddr => 1); while (\$\$c = \$\$s->accept) { print \$\$c "from " . \$\$c->peerhost . "\n"; close \$\$c }']
		  caller:
		    image: localhost/debian:trixie
		    networks: [inside, outside]
		    depends_on: [listener]
		    command: ["bash", "-c", "for i in \$\$(seq 50); do exec 3<>/dev/tcp/listener/9999 && break; sleep 0.2; done; cat <&3; exec 4<>/dev/tcp/host.hull.internal/$(port echo); echo out >&4; head -n 1 <&4"]
		networks:
		  inside: {}
		  outside: {}
	YML
	run in_guest docker compose --progress quiet -f compose/compose.yaml run --rm caller
	[ "$status" = 0 ]
	# One container to another, by name, with its own address: no relay in between. And out.
	[[ "$output" == *"from 172."*$'\n'"out"* ]]
	# Its port, from the sandbox itself, and from this host.
	[[ "$(in_guest bash -c 'exec 3<>/dev/tcp/127.0.0.1/8099; cat <&3')" == "from "* ]]
	host=$(hull ports shared --publish 8099 --json | jq -r '.[] | select(.spec | contains(":8099/tcp")) | .host')
	[[ "$(timeout 60 bash -c "exec 3<>/dev/tcp/127.0.0.1/$host; cat <&3")" == "from "* ]]
	hull ports shared --unpublish 8099
	in_guest docker compose --progress quiet -f compose/compose.yaml down -t 0
}

@test "network: docker build with RUN apt-get install" {
	needs "http://${mirrors%%[[:space:]]*}/"
	LIMIT=300 hull wait shared
	in_guest sh -c 'mkdir -p nb && printf "FROM localhost/debian:trixie\nRUN apt-get -q update && apt-get -q install -y --no-install-recommends bc && [ \$(echo 2+3 | bc) = 5 ]\n" >nb/Dockerfile'
	LIMIT=400 in_guest docker build -q -t with-bc nb
	in_guest docker rmi -f with-bc
}

@test "network: login to, push to and pull from a registry on the host" {
	if ! command -v docker-registry >/dev/null; then skip "no docker-registry on this machine"; fi
	LIMIT=300 hull wait shared
	local dir=$BATS_TEST_TMPDIR p server at
	p=$(free_port)
	at=host.hull.internal:$p
	# shellcheck disable=SC2016 # perl's and bcrypt's dollars
	printf 'someone:%s\n' "$(perl -e 'print crypt("secret", "\$2b\$05\$abcdefghijklmnopqrstuu")')" >"$dir/users"
	cat >"$dir/config.yml" <<-YML
		version: 0.1
		storage: {filesystem: {rootdirectory: $dir/data}}
		http: {addr: "127.0.0.1:$p", tls: {certificate: $world/cert.pem, key: $world/key.pem}}
		auth: {htpasswd: {realm: test, path: $dir/users}}
	YML
	docker-registry serve "$dir/config.yml" >"$dir/log" 2>&1 3>&- &
	server=$!
	policy "localhost:$p"
	as_root shared sh -c "mkdir -p /etc/docker/certs.d/$at && cp /tmp/ca.pem /etc/docker/certs.d/$at/ca.crt"
	in_guest sh -c "mkdir -p tiny && cd tiny && echo tiny >file && printf 'FROM scratch\nCOPY file /\n' >Dockerfile && docker build -q -t $at/tiny:1 ."
	run in_guest docker push -q "$at/tiny:1"
	local without=$status
	run in_guest sh -c "echo secret | docker login -u someone --password-stdin $at && docker push -q $at/tiny:1 &&
		docker rmi $at/tiny:1 && docker pull -q $at/tiny:1 && docker logout $at && docker rmi $at/tiny:1"
	kill "$server"
	usual_policy
	[ "$without" != 0 ]
	[ "$status" = 0 ]
	[[ "$output" == *"Login Succeeded"* ]]
}

# --- the policy, as people and time change it ---

@test "network: a change of the policy holds at once, and cuts what it forbids and nothing else" {
	local out=$BATS_TEST_TMPDIR/out client
	policy "localhost:$(port closed)"
	check changed "$(port closed)" "$(port echo)" >"$out" 3>&- &
	client=$!
	eventually 60 grep -q connected "$out"
	usual_policy
	reap "$client"
	[ "$status" = 0 ]
	check refused "host.hull.internal:$(port closed)"
	: >"$world/seen"
}

@test "network: a policy that is wrong, or a link to elsewhere, changes nothing" {
	local file=$HULL_HOME/sandboxes/shared/policy.yaml
	printf 'preset: open\nallow:\n  - [1\n' >"$BATS_TEST_TMPDIR/bad" && mv "$BATS_TEST_TMPDIR/bad" "$file"
	eventually 20 grep -qE 'policy.yaml:[34]:[0-9]+' "$HULL_HOME/sandboxes/shared/keeper.log"
	run hull policy ls shared
	[ "$status" = 0 ]
	[[ "$output" == *"allow"*"localhost:$(port http)"*"preset locked"*"not in force in shared: "*"policy.yaml:"* ]]
	hull_json policy ls shared --json -- '.preset == "locked" and (.sandboxes == [{name: "shared", in_force: false, network: true,
		why: .sandboxes[0].why}]) and (.sandboxes[0].why | test("policy.yaml:[34]:[0-9]+"))'
	run hull policy deny --sandbox shared x.example.net
	assert_refused 125 'policy.yaml:[34]:[0-9]+'
	check refused "host.hull.internal:$(port closed)"
	reaches "$(port http)"
	printf 'preset: open\nallow: ["localhost:%s"]\n' "$(port closed)" >"$BATS_TEST_TMPDIR/elsewhere"
	ln -sfn "$BATS_TEST_TMPDIR/elsewhere" "$file"
	eventually 20 grep -q 'symbolic link' "$HULL_HOME/sandboxes/shared/keeper.log"
	check refused "host.hull.internal:$(port closed)"
	rm "$file"
	usual_policy
	eventually 20 reaches "$(port http)"
}

@test "network: hull policy: what is said is in force, or it is said where not" {
	local pid file=$HULL_HOME/sandboxes/shared/policy.yaml
	hull policy allow --sandbox shared "localhost:$(port closed)"
	check one_echo "$(port closed)"
	hull policy rm --sandbox shared "localhost:$(port closed)"
	check refused "host.hull.internal:$(port closed)"
	hull policy ls shared | grep -qx 'in force in shared'
	hull_json policy ls --json -- '.sandboxes | any(.name == "shared" and .in_force)'
	# Who does not answer is named, and the command ends.
	pid=$(gateway_pid shared)
	kill -STOP "$pid"
	run hull policy deny --sandbox shared y.example.net
	kill -CONT "$pid"
	assert_says 125 'not in force in shared: its gateway has not taken it'
	hull policy deny --sandbox shared y.example.net
	# A file that is cut short opens nothing.
	: >"$file"
	# What is asked is answered by what is in force, with the reason why that is not the file.
	run hull policy check --sandbox shared y.example.net
	assert_says 1 'says nothing'
	[[ "$output" == *'deny rule'* ]]
	run hull policy allow --sandbox shared y.example.net
	assert_says 125 'says nothing'
	run hull policy ls shared
	[[ "$output" == *"deny"*"y.example.net"*"preset locked"*"not in force in shared: "*"says nothing"* ]]
	check refused "host.hull.internal:$(port closed)"
	usual_policy
	eventually 20 reaches "$(port http)"
}

@test "network: hull policy: of a sandbox whose file was lost it says so, not what a new one would have" {
	own_sandbox --no-docker
	hull policy allow --sandbox "$name" lost.example
	hull policy check --sandbox "$name" lost.example
	rm "$HULL_HOME/sandboxes/$name/policy.yaml"
	run hull policy ls "$name"
	assert_refused 125 'policy.yaml is gone: everything is denied'
	run hull policy check --sandbox "$name" lost.example
	assert_refused 125 'policy.yaml is gone: everything is denied'
	hull policy reset -f --sandbox "$name"
	hull policy ls "$name"
}

@test "network: hull policy: rules come and go, check tells, the log has all of it" {
	local name=policy.example.net
	hull policy allow --sandbox shared "$name:443" 10.9.0.0/16:5432 >/dev/null
	hull policy check --sandbox shared "$name:443" >/dev/null
	run hull policy check --sandbox shared "$name:80"
	[ "$status" = 1 ]
	hull policy deny --sandbox shared "$name" >/dev/null
	run hull policy check --sandbox shared "$name:443"
	[ "$status" = 1 ]
	[[ "$output" == *'deny rule'* ]]
	hull policy ls shared | grep -q 10.9.0.0/16:5432
	hull policy rm --sandbox shared "$name" "$name:443" 10.9.0.0/16:5432 >/dev/null
	run hull policy check --sandbox shared "$name:443"
	[[ "$output" == *"no rule allows it"* ]]
	timeout 60 "$HULL" policy log shared -f >"$BATS_TEST_TMPDIR/followed" 3>&- &
	local follower=$!
	in_guest curl -sS --max-time 30 -o /dev/null "http://$name/secret?token=1"
	eventually 20 grep -q "$name.*/secret" "$BATS_TEST_TMPDIR/followed"
	kill "$follower"
	run grep -r token "$HULL_HOME/sandboxes/shared/egress.log"
	[ "$status" != 0 ]
	logged() {
		hull policy log shared --json | jq -se --arg n "$name" 'any(.[]; .name == $n and .port == 80 and .proto == "tcp"
			and .verdict == "deny" and .method == "GET" and .path == "/secret" and .rule == "none" and .sandbox == "shared")'
	}
	eventually 20 logged
	check half_close "$(port echo)"
	counted() {
		hull policy log shared --json | jq -se --argjson p "$(port echo)" 'any(.[]; .port == $p and .verdict == "allow" and
			.address == "127.0.0.1" and .sent == 5 and .received == 8 and (.rule | contains("localhost")))'
	}
	eventually 20 counted
}

@test "network: hull policy: presets, methods, paths, private names, reset; and many changes at once" {
	export XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/config
	local file=$XDG_CONFIG_HOME/hull/policy.yaml i pids=()
	[ "$(hull policy init locked)" = "$file" ]
	hull policy ls | grep -qx 'preset locked'
	hull policy allow corp.example.net:443 --private >/dev/null
	hull policy allow api.example.net --method GET --method HEAD --path '/v1/**' >/dev/null
	hull policy deny api.example.net --path '/v1/admin/**' >/dev/null
	run hull policy ls
	[[ "$output" == *"allow"*"corp.example.net:443"*"private"* ]]
	[[ "$output" == *"allow"*"api.example.net"*"GET,HEAD /v1/**"* ]]
	[[ "$output" == *"deny"*"api.example.net"*"/v1/admin/**"* ]]
	hull policy check corp.example.net:443 >/dev/null
	run hull policy check corp.example.net:80
	[ "$status" = 1 ]
	# What means nothing is refused, and changes nothing.
	cp "$file" "$BATS_TEST_TMPDIR/before"
	run hull policy allow 10.0.0.1 --private
	assert_refused 125 'names that are allowed'
	run hull policy deny x.example.net --private
	assert_refused 125 'unknown flag --private'
	run hull policy allow --path v1 api.example.net
	assert_refused 125 'path'
	run hull policy allow --method 'GE T' api.example.net
	assert_refused 125 'method'
	run hull policy init nothing
	assert_refused 125 'open, balanced and locked'
	cmp "$file" "$BATS_TEST_TMPDIR/before"
	# A rule is removed with what it was made with, and another preset keeps the rules.
	hull policy rm api.example.net --method GET --method HEAD --path '/v1/**' >/dev/null
	hull policy init open >/dev/null
	run hull policy ls
	[[ "$output" != *GET* && "$output" == *corp.example.net* && "$output" == *"preset open"* ]]
	for i in $(seq 20); do
		"$HULL" policy allow "n$i.example.net" >/dev/null 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do reap "$i" && [ "$status" = 0 ]; done
	[ "$(hull policy ls | grep -c ' n[0-9]*[.]example[.]net')" = 20 ]
	hull policy reset </dev/null
	[ "$(grep -v '^#' "$file")" = "allow: []" ]
	hull policy ls | grep -q '^preset balanced'
}

@test "network: the gateway is confined: no capabilities, few system calls, nothing of this host's files" {
	local gateway field
	gateway=$(gateway_pid shared)
	for field in 'CapInh: 0+' 'CapPrm: 0+' 'CapEff: 0+' 'CapAmb: 0+' 'NoNewPrivs: 1' 'Seccomp: 2'; do
		tr -s '\t ' ' ' <"/proc/$gateway/status" | grep -qxE "$field"
	done
	if [ "$(id -u)" = 0 ]; then
		tr -s '\t ' ' ' <"/proc/$gateway/status" | grep -qE '^Uid: [1-9][0-9]* [1-9][0-9]* [1-9]'
		# Its root has the resolver's files and libraries, and neither homes, nor Hull's own, nor sockets.
		[ -e "/proc/$gateway/root/etc/resolv.conf" ] || [ ! -e /etc/resolv.conf ]
		[ ! -e "/proc/$gateway/root$HULL_HOME/sandboxes" ]
		[ ! -e "/proc/$gateway/root/root" ]
		[ ! -e "/proc/$gateway/root/etc/shadow" ]
		[ ! -e "/proc/$gateway/root/usr/bin" ]
		[ ! -e "/proc/$gateway/root$XDG_RUNTIME_DIR/hull/shared/control.sock" ]
	fi
	# No search list makes another name of one.
	tr '\0' '\n' <"/proc/$gateway/environ" | grep -qx LOCALDOMAIN=
}

@test "network: the gateway killed: its connections are reset, it comes back, and nothing else notices" {
	local out=$BATS_TEST_TMPDIR/out client gateway before keeper host
	keeper=$(keeper_pid shared)
	gateway=$(gateway_pid shared)
	before=$(family shared | grep -vx "$gateway" | sort | paste -sd,)
	host=$(hull ports shared --publish 8098 --json | jq -r '.[] | select(.spec | contains(":8098/tcp")) | .host')
	check killed "$(port echo)" >"$out" 3>&- &
	client=$!
	eventually 60 grep -q connected "$out"
	kill -9 "$gateway"
	reap "$client" # it was reset, connected again by the address it had, and its own process never noticed
	[ "$status" = 0 ]
	[ "$(keeper_pid shared)" = "$keeper" ]
	[ "$(family shared | grep -vx "$(gateway_pid shared)" | sort | paste -sd,)" = "$before" ]
	[ "$(hull ports shared --json | jq -r '.[] | select(.spec | contains(":8098/tcp")) | .host')" = "$host" ]
	timeout 20 bash -c "exec 3<>/dev/tcp/127.0.0.1/$host"
	hull ports shared --unpublish 8098
}

@test "network: published ports: both families, taken, privileged, nobody listening" {
	local taken host
	host=$(hull ports shared --publish 8097 --json | jq -r '.[] | select(.spec | contains(":8097/tcp")) | .host')
	run timeout 20 python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 15).recv(1)' "$host"
	[ "$status" != 0 ]
	[[ "$output" == *ConnectionResetError* ]]
	[[ "$(hull ports shared)" == *"nothing listens on port 8097"* ]]
	in_guest python3 -c 'import http.server, os
if os.fork() == 0:
    os.setsid()
    for fd in 0, 1, 2: os.close(fd)
    for fd in 0, 1, 2: os.open("/dev/null", 2)
    http.server.test(http.server.SimpleHTTPRequestHandler, port=8097)'
	eventually 60 curl -fsS --max-time 20 -o /dev/null "http://127.0.0.1:$host/"
	if [ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6; then
		curl -fsS --max-time 20 -o /dev/null "http://[::1]:$host/"
	fi
	[[ "$(hull ports shared)" != *"nothing listens"* ]]
	taken=$(port http)
	run hull ports shared --publish "$taken:8097"
	assert_refused 125 "$taken/tcp on 127.0.0.1 is taken"
	if [ "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" -gt 81 ]; then
		run hull ports shared --publish 81:8097
		assert_refused 125 'privileged'
	fi
	hull ports shared --unpublish 8097
	run timeout 20 bash -c "exec 3<>/dev/tcp/127.0.0.1/$host"
	[ "$status" = 1 ]
	[[ "$output" == *"Connection refused"* ]]
	in_guest pkill -f 'port=8097'
}

@test "network: a published UDP port: both families, several senders, a server on either loopback address" {
	local where host loopback=127.0.0.1
	if [ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6; then loopback+=" ::1"; fi
	host=$(hull ports shared --publish 8096/udp --json | jq -r '.[] | select(.spec | contains(":8096/udp")) | .host')
	serving() { hull exec -i -u root shared python3 - udp_listens 8096 <"$top/tests/e2e/net_client.py"; }
	for where in 127.0.0.1 ::1; do
		hull exec -d shared python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 8096))
while True:
    data, who = s.recvfrom(65535)
    if data == b"end": break
    s.sendto(b"guest:" + data, who)' "$where"
		eventually 60 serving
		# shellcheck disable=SC2086 # the addresses are words
		timeout 100 python3 - "$host" $loopback <<-'PY'
			import socket, sys
			def asked(s, data, tries=5):
			    # A datagram may be lost; an answer to another one must not come.
			    for _ in range(tries):
			        s.send(data)
			        try:
			            got = s.recv(65535)
			        except socket.timeout:
			            continue
			        assert got == b"guest:" + data, (len(got), len(data))
			        return
			    raise AssertionError("no answer")
			all = []
			for address in sys.argv[2:] * 2:
			    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
			    s.settimeout(10)
			    s.connect((address, int(sys.argv[1])))
			    all.append(s)
			for size in 0, 1, 1400, 9000:
			    for i, s in enumerate(all):
			        asked(s, b"%d" % i * size)
			all[0].send(b"end")
		PY
		eventually 60 not serving
	done
	# Where nobody listens nothing comes back, and that hurts nobody.
	timeout 20 python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect(("127.0.0.1", int(sys.argv[1])))
for _ in range(3):
    s.send(b"x")
    try:
        sys.exit("an answer: %r" % s.recv(100))
    except socket.timeout:
        pass' "$host"
	hull ports shared --unpublish 8096/udp
	reaches "$(port http)"
}

@test "network: a start whose port is taken fails before anything runs; copies keep the policy, and addresses their names" {
	local taken address
	taken=$(port http)
	own_sandbox --no-docker -p "$taken:80"
	run hull start "$name"
	assert_refused 125 "$taken/tcp on 127.0.0.1 is taken.*hull ports $name --unpublish"
	state_is "$name" stopped
	hull ports "$name" --unpublish "$taken:80"
	cp "$HULL_HOME/sandboxes/shared/policy.yaml" "$HULL_HOME/sandboxes/$name/policy.yaml"
	LIMIT=300 hull start -q "$name"
	address=$(hull exec "$name" sh -c 'getent ahostsv4 first.example.net >/dev/null; getent ahostsv4 host.hull.internal' | awk 'NR == 1 { print $1 }')
	[[ "$address" == 198.18.* ]]
	echo "$name-copy" >>"$BATS_TEST_TMPDIR/own"
	LIMIT=300 hull fork -q "$name" "$name-copy"
	cmp "$HULL_HOME/sandboxes/$name/policy.yaml" "$HULL_HOME/sandboxes/$name-copy/policy.yaml"
	# The copy looks other names up first: they must not get the number that it remembers.
	hull exec "$name-copy" sh -c "getent ahostsv4 second.example.net >/dev/null; curl -fsS --max-time 30 --resolve host.hull.internal:$taken:$address http://host.hull.internal:$taken/" |
		grep -q host=host.hull.internal
	run hull exec "$name-copy" curl -sS --max-time 30 "http://$address/"
	[[ "$output" == *"host.hull.internal"*"hull policy allow"* ]]
}

@test "network: a copy's open connections are reset, what listens goes on; the original has both" {
	own_sandbox --no-docker
	cp "$HULL_HOME/sandboxes/shared/policy.yaml" "$HULL_HOME/sandboxes/$name/policy.yaml"
	LIMIT=300 hull start -q "$name"
	hull exec -d "$name" python3 -c '
import socket, sys, threading
c = socket.create_connection(("host.hull.internal", int(sys.argv[1])), 30)
c.sendall(b"x")
c.recv(1)
def watch():
	try:
		word = "data" if c.recv(1) else "eof"
	except OSError as e:
		word = type(e).__name__
	open("/tmp/connection", "w").write(word)
threading.Thread(target=watch).start()
door = socket.create_server(("127.0.0.1", 9999))
open("/tmp/connection", "w").write("open")
while True:
	visitor, _ = door.accept()
	visitor.sendall(b"here\n")
	visitor.close()' "$(port echo)"
	connection_is() { [ "$(hull exec "$1" cat /tmp/connection)" = "$2" ]; }
	answers() { [ "$(hull exec "$1" bash -c 'cat </dev/tcp/127.0.0.1/9999')" = here ]; }
	eventually 30 connection_is "$name" open
	answers "$name"
	echo "$name-copy" >>"$BATS_TEST_TMPDIR/own"
	LIMIT=300 hull fork -q "$name" "$name-copy"
	eventually 30 connection_is "$name-copy" ConnectionResetError
	answers "$name-copy"
	connection_is "$name" open
	answers "$name"
	# The same sandbox again, from a moment before: nor does it speak on a connection of its earlier life.
	hull snapshot create "$name@then"
	hull snapshot restore "$name@then"
	eventually 30 connection_is "$name" ConnectionResetError
	answers "$name"
}

@test "network: --no-network is none at all, whatever the policy says, for copies too" {
	own_sandbox --no-docker --no-network
	printf 'preset: open\nallow: ["localhost:%s"]\n' "$(port http)" >"$HULL_HOME/sandboxes/$name/policy.yaml"
	chmod 600 "$HULL_HOME/sandboxes/$name/policy.yaml"
	LIMIT=300 hull start -q "$name"
	echo "$name-copy" >>"$BATS_TEST_TMPDIR/own"
	LIMIT=300 hull fork -q "$name" "$name-copy"
	local n
	for n in "$name" "$name-copy"; do
		[ -z "$(gateway_pid "$n")" ]
		run hull exec "$n" curl -sS --max-time 20 "http://host.hull.internal:$(port http)/"
		[ "$status" = 6 ]
		run hull exec "$n" curl -sS --max-time 20 "http://198.18.1.0:$(port http)/"
		[ "$status" = 7 ]
	done
	run hull ports "$name" --publish 80
	assert_refused 125 'no network'
}

# --- hostile guests ---

@test "network: what no rule allows is refused, in words when it is HTTP" {
	run in_guest curl -sS --max-time 30 http://host.hull.internal/
	[[ "$output" == *"hull policy allow"* ]]
	run in_guest curl -sS --max-time 30 https://denied.example.net/
	[[ "$output" == *"access denied"* ]]
	run in_guest curl -sS --max-time 30 http://denied.example.net/
	[[ "$output" == *"denied.example.net"*"hull policy allow"* ]]
	run in_guest curl -sS --max-time 30 http://denied.example.net:8080/
	[[ "$output" == *"denied.example.net"*"hull policy allow"* ]]
	run in_guest curl -sS --max-time 30 https://denied.example.net:8443/
	[[ "$output" == *"access denied"* ]]
	check taken denied.example.net 80 443 8080 8443
	local before
	before=$(grep -c closed "$world/seen" || true)
	check refused "host.hull.internal:$(port closed)" denied.example.net:443
	[ "$(grep -c closed "$world/seen" || true)" = "$before" ]
}

@test "network: a denied registry: npm and pip give up after three tries, and say which host; sudo changes nothing" {
	run in_guest npm view left-pad --loglevel http --registry https://npm.denied.example.net/
	[ "$status" = 1 ]
	[[ "$output" == *"access denied"*"refused npm.denied.example.net:443;"*"hull policy allow --sandbox shared"* ]]
	[ "$(grep -c 'left-pad attempt [0-9] failed' <<<"$output")" = 3 ]
	run in_guest python3 -m pip download -q --no-deps left-pad -i https://pip.denied.example.net/simple
	[ "$status" = 1 ]
	[[ "$output" == *"refused pip.denied.example.net:443;"* ]]
	[ "$(grep -c 'Retrying' <<<"$output")" = 2 ]
	run in_guest sudo printenv PIP_RETRIES npm_config_fetch_retry_mintimeout npm_config_fetch_retry_maxtimeout
	[ "$output" = $'2\n1000\n2000' ]
}

@test "network: connect fails where the host cannot connect, or may not; in containers, too" {
	policy localhost:1 "localhost:$(port echo)" # nothing listens on port 1
	# 111 is ECONNREFUSED, 113 EHOSTUNREACH, 13 EACCES.
	check unmade host.hull.internal 1 111 111
	check unmade denied.example.net 5432 113 13
	check unmade host.hull.internal "$(port closed)" 113 13
	check one_echo "$(port echo)"
	LIMIT=300 hull wait shared
	run in_guest docker run --rm localhost/debian:trixie bash -c "for to in host.hull.internal/1 denied.example.net/5432 host.hull.internal/$(port echo); do
		if (exec 3<>/dev/tcp/\$to) 2>/dev/null; then echo open; else echo not; fi; done"
	usual_policy
	[ "$output" = $'not\nnot\nopen' ]
}

@test "network: an address is the same address in every spelling" {
	local to
	# The host, by its own name and addresses, is not what a rule for a service of its loopback opens.
	for to in 169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 '[::ffff:169.254.169.254]' '[::ffff:a9fe:a9fe]' \
		10.0.0.1 167772161 '[fd00::1]' '[fe80::1]' '[::]' 198.18.255.254 $(hostname -I | tr ' ' '\n' | grep -v : | head -n 1); do
		unconnected "http://$to:$(port http)/"
	done
	check refused "169.254.169.254:$(port echo)" "10.0.0.1:$(port echo)" "[::ffff:10.0.0.1]:$(port echo)" "[fd00::1]:$(port echo)"
}

@test "network: a port of this host is allowed whole, but for a Host that a rule denies; and a redirect elsewhere" {
	local p
	p=$(port http)
	run in_guest curl -sS --max-time 30 -H 'Host: app.example.net' "http://host.hull.internal:$p/"
	[[ "$output" == *host=app.example.net* ]]
	hull policy deny denied.example.net --sandbox shared
	run in_guest curl -sS --max-time 30 -H 'Host: denied.example.net' "http://host.hull.internal:$p/"
	usual_policy
	[[ "$output" == *"Hull's network policy"* ]]
	run in_guest curl -sSL --max-time 30 "http://host.hull.internal:$p/redirect"
	[[ "$output" == *"hull policy allow"* ]]
	# A name of one's own for an address: the connection is for what it goes to, whatever the request says.
	unconnected --resolve "host.hull.internal:$p:10.0.0.1" "http://host.hull.internal:$p/"
}

@test "network: a name that is allowed and turns out to be this host's (rebinding)" {
	local name
	name=$(hostname)
	if ! getent ahosts "$name" >/dev/null; then skip "this machine's name does not resolve"; fi
	policy "\"$name\""
	unconnected "http://$name:$(port http)/"
	usual_policy
	denied() {
		hull policy log shared --json | jq -se --arg n "$name" 'any(.[]; .name == $n and .verdict == "deny" and .address != "")'
	}
	eventually 20 denied
}

@test "network: a tunnel of questions to a denied name brings nothing back" {
	check tunnel denied.example.net
}

@test "network: a scan of the host's ports finds none" {
	local p
	p=$(port closed)
	check ports 1 100
	check refused "host.docker.internal:$p" "host.hull.internal:22"
}

@test "network: no network card; raw frames on hull0 reach nobody" {
	: >"$world/seen"
	# Nothing but loopback, our link (and the one that its module makes by itself, which is down), bridges and their ports:
	# no device of the machine's.
	# shellcheck disable=SC2016 # for the guest's shell
	run in_guest sh -c 'for d in /sys/class/net/*; do
		case ${d##*/}-$(cat "$d/operstate") in lo-* | hull0-* | dummy0-down) continue ;; esac
		if [ -e "$d/device" ] || { [ ! -d "$d/bridge" ] && [ ! -d "$d/brport" ]; }; then echo "${d##*/}"; fi
	done'
	[ "$status" = 0 ]
	[ "$output" = "" ] || [ "$output" = bonding_masters ]
	policy "localhost:$(port counting)"
	check raw_frames "$(port counting)"
	# A connection that is one is seen by the same server: it is the only one.
	check one_echo "$(port counting)"
	eventually 20 seen counted
	usual_policy
	[ "$(grep -c counted "$world/seen")" = 1 ]
}

@test "network: our own ports in the guest lead nowhere" {
	check refused 198.19.0.1:61080 '[fd68:756c:6c00:1::1]:61080' 198.19.0.1:80
}

@test "network: with the rules deleted there is no network at all" {
	as_root shared sh -c 'nft list table inet hull >/tmp/hull.nft && nft delete table inet hull'
	run in_guest curl -sS --max-time 3 "http://host.hull.internal:$(port http)/"
	local code=$status
	run check silent 198.18.1.0 "$(port http)"
	as_root shared nft -f /tmp/hull.nft
	[ "$code" = 6 ] || [ "$code" = 28 ] # the name has no address, or nobody answers
	[ "$status" = 0 ]
	reaches "$(port http)"
}

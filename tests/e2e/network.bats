#!/usr/bin/env bats
# The network of a sandbox: everything by the policy, nothing past it. Servers on this host's loopback stand for the
# world (net_server.py), reached as host.hull.internal by rules for their ports; one of them, `closed`, has no rule.
# What needs the world itself takes Debian's mirror and the registry from what the guest is set up with.
# bats file_tags=network

setup_file() {
	load lib
	export world=$BATS_FILE_TMPDIR/world
	mkdir "$world"
	mkfifo "$world/end"
	sleep infinity >"$world/end" 3>&- &
	echo $! >"$world/sleep.pid"
	python3 "$top/tests/e2e/net_server.py" "$world" <"$world/end" 3>&- &
	echo $! >"$world/pid"
	eventually 30 test -e "$world/ports"
	shared_sandbox
	usual_policy
	# Where the policy is in force, this is answered.
	eventually 20 reaches "$(port http)"
}
teardown_file() {
	load lib
	rm -f "$HULL_HOME/sandboxes/shared/policy.yaml"
	kill "$(cat "$world/pid")" "$(cat "$world/sleep.pid")" || true
}
setup() { load lib; }
teardown() { remove_own; }

port() { awk -v n="$1" '$1 == n { print $2 }' "$world/ports"; }
in_guest() { LIMIT=${LIMIT:-240} hull exec shared "$@"; }
# A check of net_client.py.
check() { LIMIT=${LIMIT:-240} hull exec -i -u root shared python3 - "$@" <"$top/tests/e2e/net_client.py"; }
reaches() { in_guest curl -fsS --max-time 20 -o /dev/null "http://host.hull.internal:$1/"; }
seen() { grep -qxF "$1" "$world/seen"; }
# The mirror that the guest's apt is set up with; a mirror of one's own may well have a private address.
mirror() { in_guest sh -c 'cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null' | grep -oE 'https?://[^/ ]+' | sed 's,.*//,,' | sort -u; }
registry() { in_guest npm config get registry | sed 's,.*//,,; s,/.*,,'; }

# The policy of the shared sandbox, with further rules.
policy() { # RULE...
	local rule host
	{
		echo 'preset: locked'
		echo 'allow:'
		for rule in echo source sink resetting watching slow http https; do echo "  - localhost:$(port $rule)"; done
		echo "  - localhost:$(port udp)/udp"
		for rule; do if [ -n "$rule" ]; then echo "  - $rule"; fi; done
		for host in $(mirror) $(registry); do echo "  - {host: \"$host\", private: true}"; done
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

@test "network: 1 GiB down and 256 MiB up, to the byte" {
	LIMIT=400 check download "$(port source)" $((1024 * 1024 * 1024))
	LIMIT=400 check upload "$(port sink)" $((256 * 1024 * 1024))
}

@test "network: slow readers and slow writers, here and there" {
	check download "$(port source)" $((4 * 1024 * 1024)) 0.005
	check upload "$(port sink)" $((2 * 1024 * 1024)) 0.01
	check upload "$(port slow)" $((8 * 1024 * 1024))
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

@test "network: TLS passes untouched, and a name that is not the one asked for does not" {
	local p
	p=$(port https)
	hull exec -i -u root shared sh -c 'cat >/tmp/ca.pem' <"$world/cert.pem"
	[[ "$(in_guest curl -sS --cacert /tmp/ca.pem --max-time 30 "https://host.hull.internal:$p/")" == "host=host.hull.internal:$p" ]]
	# A connection opened for one name that says another in its ClientHello.
	run in_guest sh -c "openssl s_client -connect host.hull.internal:$p -servername other.example.net -brief </dev/null"
	[ "$status" != 0 ]
}

@test "network: UDP by rule only, and a denied flow is told at once" {
	check udp "$(port udp)"
	check udp_denied "$(port echo)"
}

@test "network: DNS: addresses for names, nothing else, from whatever server" { check dns; }

@test "network: apt-get update and install from Debian's mirror" {
	as_root shared apt-get update
	as_root shared apt-get install -y bc
	[ "$(in_guest sh -c 'echo 6*7 | bc')" = 42 ]
}

@test "network: npm view and install a package" {
	# Through a proxy that inspects TLS, the host knows an authority that the guest does not.
	hull exec -i -u root shared sh -c 'cat >/tmp/host-ca.pem' </etc/ssl/certs/ca-certificates.crt
	[ -n "$(in_guest env NODE_EXTRA_CA_CERTS=/tmp/host-ca.pem npm view is-odd version)" ]
	in_guest env NODE_EXTRA_CA_CERTS=/tmp/host-ca.pem sh -c 'mkdir -p ~/n && cd ~/n && npm init -y >/dev/null && npm install --no-audit --no-fund is-odd && node -e "process.exit(require(\"is-odd\")(3) ? 0 : 1)"'
}

@test "network: git clone over HTTPS" {
	local repo=$BATS_TEST_TMPDIR/repo p
	git init -q "$repo"
	git -C "$repo" -c user.name=t -c user.email=t@example.net commit -q --allow-empty -m first
	git -C "$repo" update-server-info
	python3 - "$world" "$repo/.git" <<-'PY' >"$BATS_TEST_TMPDIR/port" 3>&- &
		import functools, http.server, ssl, sys
		s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[2]))
		c = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
		c.load_cert_chain(sys.argv[1] + "/cert.pem", sys.argv[1] + "/key.pem")
		s.socket = c.wrap_socket(s.socket, server_side=True)
		print(s.server_address[1], flush=True)
		s.serve_forever()
	PY
	local server=$!
	eventually 20 test -s "$BATS_TEST_TMPDIR/port"
	p=$(cat "$BATS_TEST_TMPDIR/port")
	policy "localhost:$p"
	hull exec -i -u root shared sh -c 'cat >/tmp/ca.pem' <"$world/cert.pem"
	run in_guest sh -c "rm -rf ~/clone && git -c http.sslCAInfo=/tmp/ca.pem clone -q https://host.hull.internal:$p/ ~/clone && git -C ~/clone log --format=%s"
	kill "$server"
	usual_policy
	[ "$status" = 0 ]
	[ "$output" = first ]
}

@test "network: git clone over SSH" {
	local sshd dir=$BATS_TEST_TMPDIR p repo=$BATS_TEST_TMPDIR/repo
	sshd=$(command -v sshd || echo /usr/sbin/sshd)
	if [ ! -x "$sshd" ]; then skip "no sshd on this machine"; fi
	git init -q "$repo"
	git -C "$repo" -c user.name=t -c user.email=t@example.net commit -q --allow-empty -m over-ssh
	ssh-keygen -q -t ed25519 -N '' -f "$dir/host" && ssh-keygen -q -t ed25519 -N '' -f "$dir/user"
	cp "$dir/user.pub" "$dir/authorized"
	p=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	mkdir -p /run/sshd 2>/dev/null || true
	"$sshd" -D -e -f /dev/null -p "$p" -h "$dir/host" -o ListenAddress=127.0.0.1 -o StrictModes=no -o UsePAM=no \
		-o PidFile=none -o AuthorizedKeysFile="$dir/authorized" 2>"$dir/sshd.log" 3>&- &
	local server=$!
	policy "localhost:$p"
	hull exec -i shared sh -c 'umask 077; cat >/tmp/key' <"$dir/user"
	run in_guest sh -c "rm -rf ~/clone && GIT_SSH_COMMAND='ssh -i /tmp/key -p $p -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR' git clone -q ssh://$(id -un)@host.hull.internal$repo ~/clone && git -C ~/clone log --format=%s"
	kill "$server"
	usual_policy
	[ "$status" = 0 ]
	[ "$output" = over-ssh ]
}

@test "network: containers on the default bridge and on a network of their own; what stays inside is untouched" {
	LIMIT=300 hull wait shared
	local p
	p=$(port echo)
	# By name, over the default bridge: resolv.conf has an address that containers reach.
	[[ "$(in_guest docker run --rm localhost/debian:trixie bash -c "exec 3<>/dev/tcp/host.hull.internal/$p; echo hi >&3; head -n 1 <&3")" == hi ]]
	run in_guest docker run --rm localhost/debian:trixie bash -c "exec 3<>/dev/tcp/host.hull.internal/$(port closed); echo hi >&3; head -n 1 <&3"
	[[ "$output" != *hi* ]]
	in_guest docker network create inside
	in_guest docker run -d --rm --name listener --network inside -p 8099:9999 localhost/debian:trixie perl -MIO::Socket::INET -e \
		'$s = IO::Socket::INET->new(Listen => 5, LocalPort => 9999, ReuseAddr => 1); while ($c = $s->accept) { print $c "from " . $c->peerhost . "\n"; close $c }'
	# One container to another, by name, with its own address: no relay in between.
	[[ "$(in_guest docker run --rm --network inside localhost/debian:trixie bash -c 'for i in $(seq 50); do exec 3<>/dev/tcp/listener/9999 && break; sleep 0.2; done; cat <&3')" == "from 172."* ]]
	# A published port, from the guest itself; the way out, from the same network.
	[[ "$(in_guest bash -c 'exec 3<>/dev/tcp/127.0.0.1/8099; cat <&3')" == "from "* ]]
	[[ "$(in_guest docker run --rm --network inside localhost/debian:trixie bash -c "exec 3<>/dev/tcp/host.hull.internal/$p; echo out >&3; head -n 1 <&3")" == out ]]
	in_guest docker rm -f listener
	in_guest docker network rm inside
}

@test "network: docker build with RUN apt-get install" {
	LIMIT=300 hull wait shared
	in_guest sh -c 'mkdir -p nb && printf "FROM localhost/debian:trixie\nRUN apt-get update && apt-get install -y bc\nCMD [\"sh\", \"-c\", \"echo 2+3 | bc\"]\n" >nb/Dockerfile'
	LIMIT=400 in_guest docker build -q -t with-bc nb
	[ "$(in_guest docker run --rm with-bc)" = 5 ]
	in_guest docker rmi -f with-bc
}

@test "network: push to and pull from a registry on the host" {
	if ! command -v docker-registry >/dev/null; then skip "no docker-registry on this machine"; fi
	LIMIT=300 hull wait shared
	local dir=$BATS_TEST_TMPDIR p server
	p=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	cat >"$dir/config.yml" <<-YML
		version: 0.1
		storage: {filesystem: {rootdirectory: $dir/data}}
		http: {addr: "127.0.0.1:$p", tls: {certificate: $world/cert.pem, key: $world/key.pem}}
	YML
	docker-registry serve "$dir/config.yml" >"$dir/log" 2>&1 3>&- &
	server=$!
	policy "localhost:$p"
	as_root shared mkdir -p "/etc/docker/certs.d/host.hull.internal:$p"
	hull exec -i -u root shared sh -c "cat >/etc/docker/certs.d/host.hull.internal:$p/ca.crt" <"$world/cert.pem"
	run in_guest sh -c "docker tag localhost/debian:trixie host.hull.internal:$p/d:1 && docker push -q host.hull.internal:$p/d:1 && docker rmi host.hull.internal:$p/d:1 && docker pull -q host.hull.internal:$p/d:1"
	kill "$server"
	usual_policy
	[ "$status" = 0 ]
}

# --- hostile guests ---

@test "network: what no rule allows is refused, in words when it is HTTP" {
	run in_guest curl -sS --max-time 30 "http://host.hull.internal:$(port closed)/"
	[[ "$output" == *"hull policy allow"* ]]
	run in_guest curl -sS --max-time 30 http://denied.example.net/
	[[ "$output" == *"denied.example.net"*"hull policy allow"* ]]
	check refused "host.hull.internal:$(port closed)" denied.example.net:443
	run grep -q closed "$world/seen"
	[ "$status" != 0 ]
}

@test "network: an address is the same address in every spelling" {
	local to
	for to in 169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 '[::ffff:169.254.169.254]' '[::ffff:a9fe:a9fe]' \
		10.0.0.1 167772161 '[fd00::1]' '[fe80::1]' '[::]' 198.18.255.254; do
		run in_guest curl -sS --max-time 30 -o /dev/null -w '%{http_code}' "http://$to:$(port http)/"
		[[ "$output" != *200* ]]
	done
	check refused "169.254.169.254:$(port echo)" "10.0.0.1:$(port echo)" "[::ffff:10.0.0.1]:$(port echo)" "[fd00::1]:$(port echo)"
}

@test "network: a Host header that differs from the connection, and a redirect elsewhere" {
	local p
	p=$(port http)
	run in_guest curl -sS --max-time 30 -H 'Host: denied.example.net' "http://host.hull.internal:$p/"
	[[ "$output" != *host=denied* ]]
	run in_guest curl -sSL --max-time 30 "http://host.hull.internal:$p/redirect"
	[[ "$output" == *"hull policy allow"* ]]
	# A name of one's own for an address: the connection is for what it goes to, whatever the request says.
	run in_guest curl -sS --max-time 30 --resolve "host.hull.internal:$p:10.0.0.1" "http://host.hull.internal:$p/"
	[[ "$output" != *"host=host"* ]]
}

@test "network: a scan of the host's ports finds none" {
	local p
	p=$(port closed)
	check ports 1 100
	check refused "host.docker.internal:$p" "host.hull.internal:22"
}

@test "network: raw frames on hull0 reach nobody" {
	: >"$world/seen"
	check raw_frames "$(port watching)"
	check half_close "$(port echo)"
	run grep -E 'fin|rst' "$world/seen"
	[ "$status" != 0 ]
}

@test "network: our own ports in the guest lead nowhere" {
	check refused 198.19.0.1:61080 '[fd68:756c:6c00:1::1]:61080' 198.19.0.1:80
}

@test "network: with the rules deleted there is no network at all" {
	as_root shared sh -c 'nft list table inet hull >/tmp/hull.nft && nft delete table inet hull'
	run in_guest curl -sS --max-time 5 "http://host.hull.internal:$(port http)/"
	local code=$status
	run check refused "198.18.1.0:$(port http)"
	as_root shared nft -f /tmp/hull.nft
	[ "$code" != 0 ]
	[ "$status" = 0 ]
	reaches "$(port http)"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Docker in a sandbox: for user agent without sudo, across stop and start, and from the host.

setup_file() {
	load lib
	shared_sandbox
	LIMIT=300 hull wait shared
}
setup() { load lib; }
teardown() { remove_own; }

in_guest() { LIMIT=${LIMIT:-240} hull exec shared "$@"; }

@test "docker: the daemon answers user agent; localhost/debian:trixie is there" {
	[ "$(in_guest docker version -f '{{.Server.Os}}')" = linux ]
	in_guest docker image inspect localhost/debian:trixie >/dev/null
	[ "$(in_guest docker info -f '{{.Driver}}')" = overlay2 ]
}

@test "docker: run gives output, errors and code" {
	run --separate-stderr in_guest docker run --rm localhost/debian:trixie sh -c 'echo out; echo err >&2; exit 4'
	[ "$status" = 4 ]
	[ "$output" = out ]
	[[ "$stderr" == *err* ]]
	[[ "$(in_guest docker run --rm localhost/debian:trixie cat /etc/os-release)" == *trixie* ]]
}

@test "docker: build with buildx, the cache, and the image runs" {
	in_guest sh -c 'mkdir -p b && printf "FROM localhost/debian:trixie\nRUN echo built >/made\nCMD [\"cat\", \"/made\"]\n" >b/Dockerfile'
	in_guest docker buildx version
	in_guest docker build -t built b
	[ "$(in_guest docker run --rm built)" = built ]
	run in_guest docker build --progress plain -t built b
	[[ "$output" == *CACHED* ]]
	in_guest docker rmi -f built
}

@test "docker: compose: two services talk over their network by name" {
	hull exec -i shared sh -c 'mkdir -p c && cat >c/compose.yml' <<'YML'
services:
  server:
    image: localhost/debian:trixie
    pull_policy: never
    command: [perl, -MIO::Socket::INET, -e, '$$s = IO::Socket::INET->new(Listen => 5, LocalPort => 9999, ReuseAddr => 1); while ($$c = $$s->accept) { print $$c "hello from server\n"; close $$c }']
  client:
    image: localhost/debian:trixie
    pull_policy: never
    depends_on: [server]
    command: [perl, -MIO::Socket::INET, -e, 'for (1..100) { last if $$c = IO::Socket::INET->new("server:9999"); select undef, undef, undef, 0.2 } print <$$c>']
YML
	LIMIT=280 in_guest docker compose -f c/compose.yml up -d --quiet-pull
	LIMIT=120 in_guest docker compose -f c/compose.yml wait client || true
	[[ "$(in_guest docker compose -f c/compose.yml logs client)" == *"hello from server"* ]]
	LIMIT=120 in_guest docker compose -f c/compose.yml down -t 1
}

@test "docker: its socket on the host, for curl and for a docker client" {
	local sock=$runtime/shared/docker.sock
	[ -S "$sock" ]
	[ "$(curl -sS --max-time 60 --unix-socket "$sock" http://docker/_ping)" = OK ]
	curl -sS --max-time 60 --unix-socket "$sock" http://docker/images/json >"$BATS_TEST_TMPDIR/images"
	[ -s "$BATS_TEST_TMPDIR/images" ]
	jq -e <"$BATS_TEST_TMPDIR/images" '.[] | select(.RepoTags[]? == "localhost/debian:trixie")'
	# Many at once, and one that goes away in the middle.
	local i pids=()
	for i in $(seq 1 20); do
		curl -sS --max-time 120 --unix-socket "$sock" http://docker/_ping -o "$BATS_TEST_TMPDIR/ping.$i" 3>&- &
		pids+=($!)
	done
	wait "${pids[@]}"
	[ "$(cat "$BATS_TEST_TMPDIR"/ping.*)" = "$(printf 'OK%.0s' $(seq 1 20))" ]
	run timeout 2 curl -sS --unix-socket "$sock" http://docker/events
	[ "$(curl -sS --max-time 60 --unix-socket "$sock" http://docker/_ping)" = OK ]
	if ! command -v docker >/dev/null; then skip "no docker client on this machine for the rest"; fi
	[[ "$(LIMIT=240 hull docker shared run --rm localhost/debian:trixie echo from-host)" == *from-host* ]]
	[[ "$(DOCKER_HOST=unix://$sock timeout 120 docker images)" == *localhost/debian* ]]
	# An attached container's input and output pass through as streams.
	[ "$(echo through | LIMIT=240 hull docker shared run --rm -i localhost/debian:trixie cat)" = through ]
}

# A docker client that says what it was given, and with a client on this machine goes on as that one, to the daemon $1.
recording_client() {
	mkdir -p "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/docker" <<-END
		#!/bin/sh
		env | grep -E '^(DOCKER|BUILDX)_' | sort >"$BATS_TEST_TMPDIR/env"
		${1:+DOCKER_HOST=unix://$1 exec $(command -v docker) "\$@"}
	END
	# A keyring of the user's.
	printf '#!/bin/sh\ntouch %s/keyring; echo {}\n' "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/bin/docker-credential-secretservice"
	cp "$BATS_TEST_TMPDIR/bin/docker-credential-secretservice" "$BATS_TEST_TMPDIR/bin/docker-credential-pass"
	ln -sf /bin/true "$BATS_TEST_TMPDIR/bin/pass"
	chmod +x "$BATS_TEST_TMPDIR"/bin/*
}
client_of() { # WORD...
	LIMIT=240 PATH=$BATS_TEST_TMPDIR/bin:$PATH HOME=$BATS_TEST_TMPDIR/home DOCKER_CONFIG=$BATS_TEST_TMPDIR/home/.docker DOCKER_CONTEXT=mine \
		DOCKER_AUTH_CONFIG='{"auths":{}}' DOCKER_TLS_VERIFY=1 BUILDX_BUILDER=mine DOCKER_BUILDKIT=0 hull docker shared "$@"
}

@test "docker: hull docker gives the sandbox no configuration and no login of the host's" {
	local own=$HULL_HOME/sandboxes/shared/docker stub=
	rm -rf "$own"
	mkdir -p "$BATS_TEST_TMPDIR"/{home/.docker,context}
	echo '{"auths":{"registry.example":{"auth":"bWU6SE9TVFNFQ1JFVA=="}},"currentContext":"mine","proxies":{"default":{"httpProxy":"http://me:HOSTSECRET@proxy.example"}}}' \
		>"$BATS_TEST_TMPDIR/home/.docker/config.json"
	recording_client
	client_of build "$BATS_TEST_TMPDIR/context" || true
	printf '%s\n' DOCKER_BUILDKIT=0 "DOCKER_CONFIG=$own" "DOCKER_HOST=unix://$runtime/shared/docker.sock" |
		diff - "$BATS_TEST_TMPDIR/env"
	[ "$(stat -c %a "$own")" = 700 ]
	[ "$(stat -c %a "$own/config.json")" = 600 ]

	# What the client on this machine makes of that.
	command -v docker >/dev/null || skip "no docker client on this machine for the rest"
	stub=$BATS_TEST_TMPDIR/stub
	recording_client "$stub"
	coproc STUB { python3 "$top/tests/e2e/docker_stub.py" "$stub" "$BATS_TEST_TMPDIR/asked" 3>&-; }
	read -r _ <&"${STUB[0]}"
	printf 'FROM scratch\n' >"$BATS_TEST_TMPDIR/context/Dockerfile"
	client_of build "$BATS_TEST_TMPDIR/context" || true
	echo hunter2 | client_of login -u me --password-stdin sandbox.example
	client_of build "$BATS_TEST_TMPDIR/context" || true
	eval "exec ${STUB[1]}>&-"
	grep -q 'POST .*/build' "$BATS_TEST_TMPDIR/asked"
	sed -n 's/^X-Registry-Config: //p' "$BATS_TEST_TMPDIR/asked" | while read -r sent; do base64 -d <<<"$sent"; echo; done >"$BATS_TEST_TMPDIR/sent"
	run grep -qi hostsecret "$BATS_TEST_TMPDIR/asked" "$BATS_TEST_TMPDIR/sent"
	[ "$status" = 1 ]
	run grep -q registry.example "$BATS_TEST_TMPDIR/sent"
	[ "$status" = 1 ]
	# A login made for the sandbox is kept with it, in no keyring.
	grep -q '"sandbox.example"' "$own/config.json"
	grep -q sandbox.example "$BATS_TEST_TMPDIR/sent"
	[ ! -e "$BATS_TEST_TMPDIR/keyring" ]
	run grep -q sandbox.example "$BATS_TEST_TMPDIR/home/.docker/config.json"
	[ "$status" = 1 ]
	rm -rf "$own"
}

@test "docker: hull docker without a client here takes the sandbox's" {
	[[ "$(PATH=$BATS_TEST_TMPDIR /usr/bin/timeout 240 "$HULL" docker shared images)" == *localhost/debian* ]]
	PATH=$BATS_TEST_TMPDIR run /usr/bin/timeout 240 "$HULL" docker shared run no-such-image:none
	[ "$status" = 125 ]
}

@test "docker: images, volumes and containers survive stop and start" {
	own_sandbox
	LIMIT=300 hull start --wait docker "$name"
	LIMIT=300 hull exec "$name" docker run --name c1 -v data:/data localhost/debian:trixie sh -c 'echo kept >/data/file'
	LIMIT=300 hull exec "$name" docker commit c1 committed
	hull stop "$name"
	hull start --wait docker "$name"
	[ "$(LIMIT=300 hull exec "$name" docker run --rm -v data:/data committed cat /data/file)" = kept ]
	[[ "$(hull exec "$name" docker ps -a --format '{{.Names}}')" == *c1* ]]
	hull rm -f "$name"
}

@test "docker: a daemon that is killed comes back" {
	own_sandbox
	LIMIT=300 hull start --wait docker "$name"
	as_root "$name" pkill -9 -x dockerd
	eventually 120 docker_answers "$name"
	hull logs "$name" --docker | grep -qi daemon
}
docker_answers() { hull exec "$1" docker version >/dev/null 2>&1; }

@test "docker: a client that comes before dockerd is up waits for it" {
	own_sandbox
	hull start -q "$name"
	[ "$(hull exec "$name" stat -c '%U %G %a' /run/docker.sock)" = "root docker 660" ]
	LIMIT=200 hull exec "$name" docker ps
	state_is "$name" running
	[ "$(sandbox_field "$name" docker)" = ready ]
}

@test "docker: a client that waits gets its answer from the next dockerd" {
	own_sandbox
	LIMIT=300 hull start -q "$name"
	LIMIT=300 hull wait "$name"
	# A daemon.json of the user's own, from the next dockerd on.
	as_root "$name" sh -c 'mkdir -p /etc/docker && echo "{\"log-level\": \"warn\", \"cgroup-parent\": \"/work/docker\"}" >/etc/docker/daemon.json'
	as_root "$name" sh -c 'kill -STOP "$(pgrep -x dockerd)"'
	hull exec "$name" sh -c 'docker version -f "{{.Server.Os}}" >/tmp/answer; echo $? >>/tmp/answer' &
	local client=$!
	eventually 60 hull exec "$name" pgrep -x docker
	as_root "$name" sh -c 'kill -9 "$(pgrep -x dockerd)"'
	reap "$client"
	[ "$status" = 0 ]
	[ "$(hull exec "$name" cat /tmp/answer)" = "$(printf 'linux\n0')" ]
	# Its name is made anew as well.
	as_root "$name" sh -c 'rm /run/docker.sock; kill "$(pgrep -x dockerd)"'
	eventually 120 hull exec "$name" docker ps
}

@test "docker: containerd has dockerd's settings, and ours" {
	as_root shared sh -c 'containerd --config /run/hull-bin/docker/containerd.toml config dump' >"$BATS_TEST_TMPDIR/dump"
	grep -q 'pause_threshold = 0.0002' "$BATS_TEST_TMPDIR/dump"
	grep -q 'root = "/var/lib/docker/containerd/daemon"' "$BATS_TEST_TMPDIR/dump"
	as_root shared sh -c 'tr "\0" " " </proc/$(pgrep -x containerd)/cmdline' | grep -q /run/hull-bin/docker/containerd.toml
}

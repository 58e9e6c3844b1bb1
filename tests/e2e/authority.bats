#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A company's certificate authority, given once on the host: what is in a sandbox takes its certificates, for as long as
# it is given. A server on this host's loopback has a certificate of such an authority.
# bats file_tags=network

setup() { load lib; }
teardown() {
	if [ -e server.pid ]; then kill "$(cat server.pid)" || true; fi
	remove_own
}

# With what Python asks of a certificate since 3.13 (key usage, key identifiers).
authority() { # NAME
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/O=Example/CN=$1" \
		-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$1.key" -out "$1.pem" 2>/dev/null
}

@test "authority: given in config.yaml and with --ca, the store, curl, git, python and node take it, and no longer without" {
	cd "$BATS_TEST_TMPDIR"
	export XDG_CONFIG_HOME=$PWD/config
	mkdir -p "$XDG_CONFIG_HOME/hull"
	authority one && authority two
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=host.hull.internal -keyout s.key -out s.csr 2>/dev/null
	openssl x509 -req -in s.csr -CA one.pem -CAkey one.key -CAcreateserial -days 2 -out s.pem \
		-extfile <(printf '%s\n' subjectAltName=DNS:host.hull.internal subjectKeyIdentifier=hash authorityKeyIdentifier=keyid) 2>/dev/null
	python3 - 3>&- <<-'PY' &
		import http.server, os, ssl
		class H(http.server.BaseHTTPRequestHandler):
		    def do_GET(self):
		        self.send_response(200); self.send_header("Content-Length", "3"); self.end_headers(); self.wfile.write(b"yes")
		s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
		c = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
		c.load_cert_chain("s.pem", "s.key")
		s.socket = c.wrap_socket(s.socket, server_side=True)
		open("port.new", "w").write(str(s.server_port)); os.rename("port.new", "port")
		s.serve_forever()
	PY
	echo $! >server.pid
	eventually 30 test -e port
	local url count
	url=https://host.hull.internal:$(cat port)/
	printf 'preset: locked\nallow:\n  - localhost:%s\n' "$(cat port)" >"$XDG_CONFIG_HOME/hull/policy.yaml"
	# What is wrong is told before anything is made, or started.
	run hull create -q --ca s.pem shell
	[ "$status" = 125 ] && [[ "$output" == *"/s.pem: certificate 1 "*"not an authority's"* ]]
	own_sandbox --no-docker --ca two.pem
	echo 'ca: ../../none.pem' >"$XDG_CONFIG_HOME/hull/config.yaml"
	run hull start -q "$name"
	[ "$status" = 125 ] && [[ "$output" == *"ca: in config.yaml"*"none.pem"* ]]
	echo 'ca: [../../one.pem]' >"$XDG_CONFIG_HOME/hull/config.yaml"
	LIMIT=300 hull start -q "$name"
	cat >try <<-'SH'
		echo curl $(curl -sS --max-time 60 "$1" 2>/dev/null)
		echo bare $(env -i curl -sS --max-time 60 "$1" 2>/dev/null)
		echo python $(python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())' "$1" 2>/dev/null)
		echo hashed $(env -i python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())' "$1" 2>/dev/null)
		echo pip $(python3 -c 'import sys; from pip._vendor import requests; print(requests.get(sys.argv[1], timeout=60).text)' "$1" 2>/dev/null)
		echo node $(node -e 'fetch(process.argv[1]).then(r => r.text()).then(console.log, () => {})' "$1")
		echo sudo $(sudo node -e 'fetch(process.argv[1]).then(r => r.text()).then(console.log, () => {})' "$1" </dev/null)
		git ls-remote "$1" 2>&1 | grep -qi certificate || echo git yes
	SH
	run hull exec -i "$name" sh -s "$url" <try
	echo "$output"
	[ "$output" = $'curl yes\nbare yes\npython yes\nhashed yes\npip yes\nnode yes\nsudo yes\ngit yes' ]
	[ "$(hull exec "$name" grep -c BEGIN /etc/ssl/hull-ca.pem)" = 2 ]
	[ "$(hull exec -e NODE_EXTRA_CA_CERTS=/mine "$name" printenv NODE_EXTRA_CA_CERTS)" = /mine ]
	# The distribution's own program keeps them.
	count=$(hull exec "$name" grep -c BEGIN /etc/ssl/certs/ca-certificates.crt)
	as_root "$name" update-ca-certificates
	# A JDK that is installed imports what links to there.
	[ "$(hull exec "$name" readlink /etc/ssl/certs/hull-ca-1.pem)" = /usr/local/share/ca-certificates/hull-ca-1.crt ]
	[ "$(hull exec "$name" grep -c BEGIN /etc/ssl/certs/ca-certificates.crt)" = "$count" ]
	hull stop "$name"
	rm "$XDG_CONFIG_HOME/hull/config.yaml"
	LIMIT=300 hull start -q "$name"
	run hull exec -i "$name" sh -s "$url" <try
	echo "$output"
	[ "$output" = $'curl\nbare\npython\nhashed\npip\nnode\nsudo' ]
	[ "$(hull exec "$name" grep -c BEGIN /etc/ssl/hull-ca.pem)" = 1 ]
	[ "$(hull exec "$name" grep -c BEGIN /etc/ssl/certs/ca-certificates.crt)" = $((count - 1)) ]
}

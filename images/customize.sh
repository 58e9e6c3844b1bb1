#!/bin/sh
# Make a Debian tree the system an agent works in. `hull image build` runs this after the packages are installed,
# outside the tree, as (the user namespace's) root, with the tree's path as the first argument. It must not need the
# network. Everything here can be read as "what differs from a plain Debian".
set -eu
root=$1
inside() { chroot "$root" "$@"; }
# put PATH MODE: standard input becomes that file of the tree.
put() {
	mkdir -p "$root$(dirname "$1")"
	cat >"$root$1"
	chmod "$2" "$root$1"
}

# The user. uid 1000, because that is what a workspace's files belong to on most machines. No password: nobody logs
# in, hull-init starts its sessions. sudo asks nothing: the VM is the boundary, not the user.
inside getent group docker >/dev/null || inside groupadd --system docker
inside useradd --create-home --uid 1000 --shell /bin/bash --groups docker,sudo --comment 'Hull agent' agent 2>/dev/null ||
	inside useradd --create-home --uid 1000 --shell /bin/bash --groups docker --comment 'Hull agent' agent
put /etc/sudoers.d/agent 0440 <<'END'
agent ALL=(ALL:ALL) NOPASSWD: ALL
Defaults:agent !requiretty
Defaults env_keep += "http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE"
END

# Locales that programs and tests ask for by name. C.UTF-8 is the system's own and always there.
if [ -x "$root/usr/sbin/locale-gen" ]; then
	for name in en_US en_GB de_DE es_ES fr_FR it_IT ja_JP ko_KR nl_NL pl_PL pt_BR ru_RU sv_SE tr_TR zh_CN zh_TW; do
		echo "$name.UTF-8 UTF-8"
	done | put /etc/locale.gen 0644
	inside locale-gen >/dev/null
fi

# Language and search path, for login shells and for commands started without one.
put /etc/default/locale 0644 <<'END'
LANG=C.UTF-8
END
put /etc/environment 0644 <<'END'
LANG=C.UTF-8
PATH=/home/agent/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
END
put /etc/profile.d/hull.sh 0644 <<'END'
# Hull: login shells find what `pip install --user` and `npm install -g` install, and speak UTF-8.
export LANG="${LANG:-C.UTF-8}"
case ":$PATH:" in
*":$HOME/.local/bin:"*) ;;
*) export PATH="$HOME/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" ;;
esac
END

# The machine: a name until hull-init gives it the sandbox's, no identity, and a resolver file hull-init writes.
echo hull | put /etc/hostname 0644
put /etc/hosts 0644 <<'END'
127.0.0.1	localhost
127.0.1.1	hull
::1		localhost ip6-localhost ip6-loopback
END
put /etc/machine-id 0644 </dev/null
rm -f "$root/etc/resolv.conf"
put /etc/resolv.conf 0644 </dev/null
put /etc/fstab 0644 <<'END'
# hull-init mounts everything.
END
mkdir -p "$root/var/lib/docker" "$root/var/lib/containerd"

# Packages can be installed in a sandbox; a service that comes along is not started behind the user's back (there is
# no init system to start it).
put /usr/sbin/policy-rc.d.hull 0755 <<'END'
#!/bin/sh
exit 101
END
put /etc/apt/apt.conf.d/90hull 0644 <<'END'
Acquire::Retries "3";
Acquire::Languages "none";
APT::Install-Recommends "false";
Dpkg::Use-Pty "0";
END

# Workspaces belong to the host's user, whose id may be another; the VM holds nobody else to be protected from.
put /etc/gitconfig 0644 <<'END'
[safe]
	directory = *
[init]
	defaultBranch = main
# Host and sandbox share an index, and a file's owner has another number in each: what is the same in both is compared.
[core]
	checkStat = minimal
END

# pip and npm install where the user may write, and pip without being told to make a virtual environment first.
put /etc/pip.conf 0644 <<'END'
[global]
break-system-packages = true
END
put /home/agent/.npmrc 0644 <<'END'
prefix=/home/agent/.local
END
mkdir -p "$root/home/agent/.local/bin"
# profile.d/hull.sh adds that directory; Debian's .profile would put it in front of a PATH that was given with -e, too.
sed -i '/^# set PATH so it includes/,/^fi$/d' "$root/etc/skel/.profile" "$root/home/agent/.profile"
inside chown -R 1000:1000 /home/agent

# Made by package scripts, of no use in a sandbox.
find "$root/var/log" -type f -exec truncate -s 0 {} +
rm -rf "$root"/etc/ssh/ssh_host_* "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old "$root"/usr/share/man/??/*

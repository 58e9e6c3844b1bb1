#!/bin/sh
# Pack the finished tree into a read-only EROFS file system on descriptor 107. The last of mmdebstrap's hooks; the tree
# is thrown away afterwards, so this undoes what mmdebstrap would only undo later.
# Not compressed: every sandbox reads through the host's page cache, and decompression is dear under emulation.
set -eu
root=$1
if [ -e "$root/usr/sbin/start-stop-daemon.REAL" ]; then
	mv "$root/usr/sbin/start-stop-daemon.REAL" "$root/usr/sbin/start-stop-daemon"
fi
if [ -e "$root/usr/sbin/policy-rc.d.hull" ]; then
	mv "$root/usr/sbin/policy-rc.d.hull" "$root/usr/sbin/policy-rc.d"
else
	rm -f "$root/usr/sbin/policy-rc.d"
fi
# Good for building, not for a sandbox whose disk is to survive a crash.
sed -i '/^force-unsafe-io$/d' "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/ldconfig/aux-cache

# The tree has /proc, /sys and /dev mounted. A bind mount without what is mounted below it shows it without, in a
# mount namespace of its own so that nothing stays mounted.
# shellcheck disable=SC2016 # expanded by the inner shell
exec unshare --mount --propagation private sh -eu -c '
	mount --bind "$1" "$1/mnt"
	exec mkfs.erofs --quiet -x2 --exclude-regex="^(dev|proc|sys|run|tmp)/." \
		--exclude-path=etc/apt/apt.conf.d/00mmdebstrap --exclude-path=sbin/start-stop-daemon.REAL \
		/dev/fd/107 "$1/mnt"
' pack "$root"

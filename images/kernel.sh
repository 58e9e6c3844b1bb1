#!/bin/sh
# Put Debian's cloud kernel into the tree: its modules only, unpacked, because hull boots the kernel itself from the
# host's side. Runs as mmdebstrap's hook outside the tree, whose path is the first argument.
# Descriptor 108 takes the package as it came from the mirror (apt has checked its signature), 109 the modules.dep.
set -eu
root=$1
[ -x "$root/usr/sbin/depmod" ] || { echo "E: the recipe must list kmod, which finds the kernel's modules" >&2; exit 1; }
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

# linux-image-cloud-amd64 is empty and depends on the current kernel; nothing of it is to be configured (no boot
# loader, no initramfs), so the package is fetched and unpacked, not installed.
package=$(apt-cache show --no-all-versions linux-image-cloud-amd64 |
	sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p')
[ -n "$package" ] || { echo "E: the mirror has no linux-image-cloud-amd64" >&2; exit 1; }
mkdir "$root/tmp/kernel"
cd "$root/tmp/kernel"
apt-get download "$package"
cat ./*.deb >/dev/fd/108
dpkg-deb -x ./*.deb x

release=$(basename x/usr/lib/modules/*)
find x/usr/lib/modules -name '*.ko.xz' -print0 | xargs -0 -r -n 64 -P 2 xz -d
mkdir -p "$root/usr/lib/modules" "$root/boot" "$root/usr/share/doc/$package"
mv x/usr/lib/modules/* "$root/usr/lib/modules/"
cp x/boot/config-* "$root/boot/"
cp x/usr/share/doc/*/copyright "$root/usr/share/doc/$package/"
chroot "$root" depmod -a "$release"
cat "$root/usr/lib/modules/$release/modules.dep" >/dev/fd/109
cd /
rm -rf "$root/tmp/kernel"

/* SPDX-License-Identifier: Apache-2.0 */
/* vmlinux and modules.cpio out of Debian's kernel package (build.h). The package came through apt, which checked its
 * signature; it is unpacked here, outside the tree, so nothing in it runs. */
#include "image/build.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "image/bzimage.h"
#include "image/modules.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

enum {
	BZIMAGE_MAX = 256 * 1024 * 1024,
	VMLINUX_MAX = 512 * 1024 * 1024,
	MODULES_DEP_MAX = 16 * 1024 * 1024,
};

/* "6.12.1+deb13-cloud-amd64" from boot/vmlinuz-*; owned. */
static char *find_release(const char *boot)
{
	_cleanup_closedir_ DIR *dir = opendir(boot);
	for (struct dirent *d; dir && (d = readdir(dir));) {
		if (!hull_starts(d->d_name, "vmlinuz-"))
			continue;
		const char *release = d->d_name + strlen("vmlinuz-");
		bool fine = *release != '\0' && *release != '.';
		for (const char *p = release; *p; p++)
			fine = fine && (isalnum((unsigned char)*p) || strchr(".+_-~", *p));
		if (fine)
			return strdup(release);
	}
	return NULL;
}

static int make_vmlinux(struct hull_builder *b, const char *vmlinuz, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf packed = {0};
	_cleanup_(hull_buf_free) struct hull_buf elf = {0};
	struct hull_bzimage bz;
	int r = hull_read_file(AT_FDCWD, vmlinuz, BZIMAGE_MAX, &packed, err);
	if (r == 0)
		r = hull_bzimage_parse(hull_buf_bytes(&packed), packed.len, &bz, err);
	if (r == 0)
		r = hull_bzimage_extract(&bz, b->tmp, VMLINUX_MAX, &elf, err);
	if (r < 0)
		return hull_wrap(err, "cannot extract the kernel from the package");
	return hull_write_file_atomic(b->tmp_fd, "vmlinux", hull_buf_bytes(&elf), elf.len, 0644, err);
}

static int make_modules(struct hull_builder *b, const char *dir, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf dep = {0};
	_cleanup_(hull_buf_free) struct hull_buf cpio = {0};
	int r = hull_read_file(b->tmp_fd, "modules.dep", MODULES_DEP_MAX, &dep, err);
	if (r == 0)
		r = hull_modules_cpio(dir, (const char *)hull_buf_bytes(&dep), hull_boot_modules, &cpio, err);
	if (r < 0)
		return r;
	return hull_write_file_atomic(b->tmp_fd, "modules.cpio", hull_buf_bytes(&cpio), cpio.len, 0644, err);
}

int hull_build_kernel(struct hull_builder *b, struct hull_error *err)
{
	hull_build_progress(b, "unpacking the kernel", -1, NULL);
	_cleanup_free_ char *deb = hull_build_path(b, "kernel.deb");
	_cleanup_free_ char *dir = hull_build_path(b, "kernel");
	_cleanup_free_ char *boot = hull_build_path(b, "kernel/boot");
	if (!deb || !dir || !boot)
		return hull_fail(err, -ENOMEM, "out of memory");
	const char *const unpack[] = {"dpkg-deb", "-x", deb, dir, NULL};
	int r = hull_build_run(b, unpack, NULL, 0, 0, err);
	if (r < 0)
		return r;
	b->kernel_release = find_release(boot);
	if (!b->kernel_release)
		return hull_fail(err, -EBADMSG, "the kernel's package has no boot/vmlinuz-VERSION in it");
	_cleanup_free_ char *vmlinuz = hull_fmt("%s/vmlinuz-%s", boot, b->kernel_release);
	_cleanup_free_ char *modules = hull_fmt("%s/usr/lib/modules/%s", dir, b->kernel_release);
	if (!vmlinuz || !modules)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (access(modules, F_OK) != 0) { /* packages from before the merged /usr */
		free(modules);
		modules = hull_fmt("%s/lib/modules/%s", dir, b->kernel_release);
	}
	r = make_vmlinux(b, vmlinuz, err);
	if (r == 0)
		r = make_modules(b, modules, err);
	if (r == 0)
		r = hull_remove_tree(b->tmp_fd, "kernel", err);
	if (r == 0)
		r = hull_remove_tree(b->tmp_fd, "kernel.deb", err);
	return r == 0 ? hull_remove_tree(b->tmp_fd, "modules.dep", err) : r;
}

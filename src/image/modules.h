/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel modules the guest needs before its root is mounted. */
#ifndef HULL_IMAGE_MODULES_H
#define HULL_IMAGE_MODULES_H

#include "base/buf.h"
#include "base/error.h"

/* What hull-init needs before the root is there: its disks, its file systems, entropy and the balloon. virtio_pci,
 * virtio_console, ext4 and fuse are built into Debian's cloud kernel; virtio_mmio is for hull-vmm. */
extern const char *const hull_boot_modules[];

/* From modules.dep and modules.builtin: the paths (as in modules.dep, "kernel/...ko" or "...ko.xz") of the wanted
 * modules and all they depend on, each once, a module behind those it depends on. A wanted module that is built in is
 * left out; one that is neither is -ENOENT. *paths is NULL-terminated, free with hull_strv_free(). Input is not
 * trusted. */
int hull_modules_order(const char *dep, const char *builtin, const char *const *wanted, char ***paths,
		       struct hull_error *err);
/* The archive: /modules/NAME.ko of each, unpacked, and /modules.list with their absolute paths in load order, one a
 * line. `root` holds the unpacked kernel package's module directory (its .ko may be .ko.xz). */
int hull_modules_cpio(const char *root, const char *dep, const char *const *wanted, struct hull_buf *out,
		      struct hull_error *err);

#endif

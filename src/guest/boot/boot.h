/* SPDX-License-Identifier: Apache-2.0 */
/* Booting: from the initramfs to a root that a distribution's programs find as they expect it. Runs once, straight
 * through, before the loop; the last function is the opposite, at the very end.
 *
 *     modules.c   kernel modules          mounts.c   file systems, the overlay, unmounting
 *     setup.c     links, sysctls, loopback */
#ifndef HULL_GUEST_BOOT_H
#define HULL_GUEST_BOOT_H

#include "base/error.h"

#include <stdbool.h>

/* From the kernel command line. */
struct hull_options {
	bool docker;   /* hull.docker=0 turns it off */
	bool disk;     /* hull.disk=0: do not wait for one, keep everything in memory */
	bool emulated; /* hull.emulated=1: the processor is */
};

int hull_modules_load(const char *list, struct hull_error *err);
int hull_early_mounts(struct hull_error *err);
/* Mount base and disk, build the overlay and make it the root. */
int hull_enter_root(const struct hull_options *o, struct hull_error *err);
/* Everything a distribution's init would have set up: links in /dev, loopback, sysctls. */
void hull_setup(void);

/* When no process is left: unmount everything, the root last, so that the disk is clean. */
void hull_leave_root(void);

#endif

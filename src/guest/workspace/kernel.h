/* SPDX-License-Identifier: Apache-2.0 */
/* What a workspace sets in the guest's kernel, beside its mount. */
#ifndef HULL_GUEST_SHARE_KERNEL_H
#define HULL_GUEST_SHARE_KERNEL_H

/* How much it reads ahead of who reads the file system that is mounted here. */
void hull_share_read_ahead(const char *path);
/* Write what is dirty and drop what is cached and not in use, in a child. */
void hull_share_drop_caches(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Write a cpio archive in the "newc" format, the one the kernel unpacks as an initramfs. Into memory: ours are a few
 * megabytes. Owner is always root, every time stamp 0, so the same content gives the same bytes. */
#ifndef HULL_IMAGE_CPIO_H
#define HULL_IMAGE_CPIO_H

#include "base/buf.h"

#include <stdint.h>
#include <sys/types.h>

struct hull_cpio {
	struct hull_buf *out; /* borrowed; starts on a multiple of 4 */
	uint32_t inode;       /* last number given out */
};

/* Paths have no leading slash; a directory comes before what is in it. 0 or -ENOMEM, -EFBIG. */
int hull_cpio_dir(struct hull_cpio *c, const char *path, mode_t mode);
int hull_cpio_file(struct hull_cpio *c, const char *path, mode_t mode, const void *p, size_t n);
int hull_cpio_char_device(struct hull_cpio *c, const char *path, mode_t mode, unsigned major, unsigned minor);
/* The trailer, padded to 512 bytes; another archive may follow (the kernel unpacks them one after the other). */
int hull_cpio_end(struct hull_cpio *c);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The ELF kernel inside a bzImage. */
#ifndef HULL_IMAGE_BZIMAGE_H
#define HULL_IMAGE_BZIMAGE_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum hull_packing { HULL_PACKING_NONE, HULL_PACKING_GZIP, HULL_PACKING_XZ, HULL_PACKING_ZSTD };

struct hull_bzimage {
	const uint8_t *payload; /* borrowed from the image */
	size_t length;
	enum hull_packing packing;
};

/* Find the payload. `image` is not trusted. -EBADMSG when it is no bzImage or a damaged one. */
int hull_bzimage_parse(const void *image, size_t n, struct hull_bzimage *out, struct hull_error *err);
/* Unpack the payload into `out`, at most `max` bytes, and check that it is a 64-bit x86 ELF program with a PVH entry
 * note. `scratch_dir` takes the payload while xz or gzip unpack it (zstd needs no file). */
int hull_bzimage_extract(const struct hull_bzimage *bz, const char *scratch_dir, size_t max, struct hull_buf *out,
			 struct hull_error *err);
/* Only the check. */
int hull_vmlinux_check(const void *elf, size_t n, struct hull_error *err);

#endif

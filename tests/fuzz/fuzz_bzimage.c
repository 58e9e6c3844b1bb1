/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's file is taken apart by hull itself: whatever is in it, parsing and unpacking with zstd stays within the
 * file and the limit. (xz and gzip payloads go to those programs, which is not for a fuzzer.) The same bytes also go
 * through the ELF check on their own, and once more with the magic numbers put right, so that the fuzzer need not find
 * those. */
#include "image/bzimage.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { UNPACKED_MAX = 4 * 1024 * 1024 };

static void take_apart(const uint8_t *data, size_t size)
{
	struct hull_bzimage bz;
	struct hull_error err;
	if (hull_bzimage_parse(data, size, &bz, &err) < 0)
		return;
	if (bz.packing != HULL_PACKING_ZSTD && bz.packing != HULL_PACKING_NONE)
		return;
	struct hull_buf out = {0};
	(void)hull_bzimage_extract(&bz, "/nonexistent", UNPACKED_MAX, &out, &err);
	hull_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hull_error err;
	(void)hull_vmlinux_check(data, size, &err);
	take_apart(data, size);
	if (size < 0x250)
		return 0;
	uint8_t *copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	copy[0x1f1] = data[0x1f1] % 2; /* of five sectors, or of two */
	memcpy(copy + 0x1fe, "\x55\xaa", 2);
	memcpy(copy + 0x202, "HdrS\x0f\x02", 6);
	memset(copy + 0x249, 0, 3); /* an offset below 256 */
	uint32_t room = size > 1024 + copy[0x248] ? (uint32_t)(size - 1024 - copy[0x248]) : 0;
	memcpy(copy + 0x24c, &room, sizeof(room));
	take_apart(copy, size);
	free(copy);
	return 0;
}

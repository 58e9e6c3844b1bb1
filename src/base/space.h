/* SPDX-License-Identifier: Apache-2.0 */
/* Checks free space before writing data whose size others control: a guest's data, a file's claimed size. A floor of
 * each file system stays free. */
#ifndef HULL_BASE_SPACE_H
#define HULL_BASE_SPACE_H

#include "base/error.h"

#include <stdint.h>

/* The floor of a file system with this total: a twentieth, at most 1 GiB and 16,384 inodes. */
static inline uint64_t hull_space_floor_bytes(uint64_t total)
{
	return total / 20 < UINT64_C(1) << 30 ? total / 20 : UINT64_C(1) << 30;
}
static inline uint64_t hull_space_floor_files(uint64_t total)
{
	return total / 20 < 16384 ? total / 20 : 16384;
}

/* May `bytes` more bytes and `files` more inodes be used on the file system of this descriptor? -ENOSPC if that would
 * go below the floor. */
int hull_space_check(int fd, uint64_t bytes, uint64_t files, struct hull_error *err);

#endif

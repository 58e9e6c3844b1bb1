/* SPDX-License-Identifier: Apache-2.0 */
/* Free space, asked before something that others decide about is written: what a guest sends, what a file promises. A
 * floor of each file system stays free. */
#ifndef HULL_BASE_SPACE_H
#define HULL_BASE_SPACE_H

#include "base/error.h"

#include <stdint.h>

/* The floor, of a file system that has `total`: a twentieth, at most 1 GiB and 16,384 inodes. */
static inline uint64_t hull_space_floor_bytes(uint64_t total)
{
	return total / 20 < UINT64_C(1) << 30 ? total / 20 : UINT64_C(1) << 30;
}
static inline uint64_t hull_space_floor_files(uint64_t total)
{
	return total / 20 < 16384 ? total / 20 : 16384;
}

/* May `bytes` more, and `files` more inodes, go to the file system that the descriptor is on? Not
 * below the floor: -ENOSPC then. */
int hull_space_check(int fd, uint64_t bytes, uint64_t files, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The machine while it runs: its clock, the size of its disk, its swap, its page cache. Each is set by the host's word
 * or by itself, and each is a comfort: one that fails is said on the console, and everything else goes on. */
#ifndef HULL_GUEST_MACHINE_H
#define HULL_GUEST_MACHINE_H

#include "base/error.h"

#include <stdint.h>

/* --- clock.c --- */
int64_t hull_clock_now(void);
void hull_clock_set(int64_t ns);
/* It was host_ns on the host when this was sent, and by what it measured we are behind by offset_ns (0 = unknown). */
void hull_clock_adjust(int64_t host_ns, int64_t offset_ns);

/* --- grow.c --- */
/* The sandbox's disk is this device. Without one, there is nothing to grow. */
void hull_disk_set(const char *device);
/* Grow the disk's file system to its device, now: while booting, and in each CONFIGURE. */
int hull_disk_grow(struct hull_error *err);
/* The device is, or is about to be, this large: grow the file system beside everything else, and report GROWN. */
void hull_disk_grow_to(uint64_t bytes);

/* --- swap.c --- */
/* Have so much swap, 0 = none; goes on beside everything else. A machine that has its swap already keeps it. */
void hull_swap_start(uint64_t bytes);
/* At the very end: nothing is swapped out any more, the user's own swap included, so that the disk can be unmounted. */
void hull_swap_stop(void);

/* --- reclaim.c --- */
/* Something was started, has ended, or connects: the sandbox is in use, and keeps its page cache. */
void hull_reclaim_touch(void);

#endif

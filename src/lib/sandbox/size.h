/* SPDX-License-Identifier: Apache-2.0 */
/* What sizes a sandbox may have on a host; the defaults are in hull.h. See size.c. */
#ifndef HULL_LIB_SANDBOX_SIZE_H
#define HULL_LIB_SANDBOX_SIZE_H

#include "base/error.h"

#include <stdint.h>

/* Bytes of memory, and cpus, that this machine has. */
uint64_t size_host_memory(void);
unsigned size_host_cpus(void);
/* What it gets when it asks for so much: checked, rounded, the default for 0, and with HULL_NONE
 * nothing at all, which may be too little. Messages begin with the name of what is
 * wrong ("memory 1k is too little..."). */
int size_memory(uint64_t asked, uint64_t host, uint64_t *out, struct hull_error *err);
int size_cpus(uint64_t asked, unsigned host, unsigned *out, struct hull_error *err);
int size_disk(uint64_t asked, uint64_t *out, struct hull_error *err);
int size_swap(uint64_t asked, uint64_t disk, uint64_t *out, struct hull_error *err);

#endif

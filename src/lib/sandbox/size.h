/* SPDX-License-Identifier: Apache-2.0 */
/* The permitted sizes of a sandbox on a host; the defaults are in hull.h. See size.c. */
#ifndef HULL_LIB_SANDBOX_SIZE_H
#define HULL_LIB_SANDBOX_SIZE_H

#include "base/error.h"

#include <stdint.h>

/* This machine's memory in bytes, and its number of cpus. */
uint64_t size_host_memory(void);
unsigned size_host_cpus(void);
/* The size to use for a requested one: checked and rounded; the default for 0; none with HULL_NONE, which may be too
 * little. Messages begin with the member's name ("memory 1k is too little..."). */
int size_memory(uint64_t asked, uint64_t host, uint64_t *out, struct hull_error *err);
int size_cpus(uint64_t asked, unsigned host, unsigned *out, struct hull_error *err);
int size_disk(uint64_t asked, uint64_t *out, struct hull_error *err);
int size_swap(uint64_t asked, uint64_t disk, uint64_t *out, struct hull_error *err);

#endif

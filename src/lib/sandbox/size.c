/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes of sandboxes. Only memory that the guest touches and disk that it writes use resources, so the defaults are
 * generous: all cpus of the host, half of its memory (at most 4 GiB), a disk of 64 GiB. */
#include "lib/sandbox/size.h"

#include "base/text.h"
#include "engine/engine.h"
#include "lib/hull.h"
#include "store/store.h"

#include <unistd.h>

static const uint64_t MIB = 1024 * 1024, GIB = 1024 * 1024 * 1024ULL;
#define MEMORY_MIN     (256 * MIB)
#define MEMORY_DEFAULT (4 * GIB)
#define MEMORY_STEP    (2 * MIB)

static const char *shown(uint64_t bytes, char out[32])
{
	return hull_format_size(bytes, out, 32);
}

uint64_t size_host_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : MEMORY_DEFAULT;
}

unsigned size_host_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned)n : 1;
}

int size_memory(uint64_t asked, uint64_t host, uint64_t *out, struct hull_error *err)
{
	char a[32], b[32];
	uint64_t v = asked == HULL_NONE ? 0 : asked;
	if (!asked) {
		v = host / 2 < MEMORY_DEFAULT ? host / 2 : MEMORY_DEFAULT;
		v = v < MEMORY_MIN ? MEMORY_MIN : v;
	} else if (v < MEMORY_MIN) {
		return hull_fail(err, -EINVAL, "memory %s is too little: a sandbox needs at least %s", shown(v, a),
				 shown(MEMORY_MIN, b));
	} else if (v > host) {
		return hull_fail(err, -EINVAL, "memory %s is more than this machine has (%s)", shown(v, a),
				 shown(host, b));
	}
	*out = v / MEMORY_STEP * MEMORY_STEP;
	return 0;
}

int size_cpus(uint64_t asked, unsigned host, unsigned *out, struct hull_error *err)
{
	if (asked > host)
		return hull_fail(err, -EINVAL, "cpus %llu is more than this machine has (%u)",
				 (unsigned long long)asked, host);
	if (asked > HULL_ENGINE_CPUS_MAX)
		return hull_fail(err, -EINVAL, "cpus %llu: a sandbox can have at most %d", (unsigned long long)asked,
				 HULL_ENGINE_CPUS_MAX);
	*out = asked ? (unsigned)asked : host < HULL_ENGINE_CPUS_MAX ? host : HULL_ENGINE_CPUS_MAX;
	return 0;
}

int size_disk(uint64_t asked, uint64_t *out, struct hull_error *err)
{
	char a[32];
	*out = asked == HULL_NONE ? 0 : asked ? asked : 64 * GIB;
	if (*out > HULL_DISK_MAX)
		return hull_fail(err, -EINVAL, "disk %s is more than a sandbox can have (16 TiB)", shown(asked, a));
	*out = (*out + MIB - 1) / MIB * MIB;
	return 0;
}

int size_swap(uint64_t asked, uint64_t disk, uint64_t *out, struct hull_error *err)
{
	char a[32], b[32];
	if (asked && asked < MIB)
		return hull_fail(err, -EINVAL, "swap %s is too little: 1m or more, or 0 for none", shown(asked, a));
	if (asked > disk / 2)
		return hull_fail(err, -EINVAL, "swap %s is more than half of its disk (%s)", shown(asked, a),
				 shown(disk, b));
	*out = asked / MIB * MIB;
	return 0;
}

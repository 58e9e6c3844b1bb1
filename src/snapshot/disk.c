/* SPDX-License-Identifier: Apache-2.0 */
/* A point-in-time copy of a disk, made while its machine continues to write to it.
 *
 *     map     at the point in time: record which units of 64 KiB have data; metadata only, takes milliseconds
 *     copy    later: copy those units with their current content
 *     merge   at the end: write the blocks that the engine preserved before overwriting them over the copy
 *             (hull_engine_keep_begin)
 *
 * Why the result is the disk as it was:
 *
 * 1. A unit without data at the point in time is a hole of the copy, whatever it contains later.
 * 2. A unit that the machine changed before it was copied is in the preserved file: the engine writes the old content
 *    there first.
 * 3. Both sides use units of the same size, so a preserved unit that had data is preserved as data.
 *
 * One case needs care. A unit that is allocated and was never written may appear as data here, with zeros in the page
 * cache, and as a hole to the engine. It is then preserved as allocated but unwritten. Therefore merge looks for
 * allocated ranges of the preserved file, not for data. */
#include "snapshot/snapshot.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum { UNIT = 64 * 1024, BLOCK = 4096, CHUNK = 1 << 20 };

void hull_disk_map_free(struct hull_disk_map *m)
{
	free(m->bits);
	*m = (struct hull_disk_map){0};
}

static void mark(struct hull_disk_map *m, uint64_t from, uint64_t to)
{
	for (uint64_t u = from / UNIT; u <= (to - 1) / UNIT; u++)
		m->bits[u / 8] |= (uint8_t)(1u << (u % 8));
}

static bool marked(const struct hull_disk_map *m, uint64_t unit)
{
	return m->bits[unit / 8] & (1u << (unit % 8));
}

/* Find the next data of fd at or after *at, ending at *end; 0 when there is no more. */
static int next_data(int fd, off_t size, off_t *at, off_t *end, struct hull_error *err)
{
	if (*at >= size)
		return 0;
	off_t data = lseek(fd, *at, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		return 0;
	off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
	if (data < 0 || hole < 0) {
		if (errno != EINVAL && errno != EOPNOTSUPP)
			return hull_fail_errno(err, "cannot find the disk's data (SEEK_DATA)");
		data = *at; /* a file system without holes */
		hole = size;
	}
	*at = data;
	*end = hole < size ? hole : size;
	return data < size;
}

int hull_disk_map(int fd, struct hull_disk_map *m, struct hull_error *err)
{
	struct stat st;
	*m = (struct hull_disk_map){0};
	if (fstat(fd, &st) < 0)
		return hull_fail_errno(err, "cannot stat the disk");
	m->size = (uint64_t)st.st_size;
	m->bits = calloc(m->size / UNIT / 8 + 1, 1);
	if (!m->bits)
		return hull_fail(err, -ENOMEM, "out of memory");
	off_t at = 0, end = 0;
	int r;
	while ((r = next_data(fd, st.st_size, &at, &end, err)) > 0) {
		mark(m, (uint64_t)at, (uint64_t)end);
		/* The rest of the last unit is already included. */
		at = (end + UNIT - 1) / UNIT * UNIT;
	}
	if (r < 0)
		hull_disk_map_free(m);
	return r;
}

static int read_at(int fd, uint8_t *p, size_t n, uint64_t at, struct hull_error *err)
{
	ssize_t got = hull_pread_full(fd, p, n, (off_t)at);
	if (got == (ssize_t)n)
		return 0;
	if (got >= 0)
		return hull_fail(err, -EIO, "the disk became shorter while it was copied");
	errno = (int)-got;
	return hull_fail_errno(err, "cannot read the disk");
}

static int write_at(int fd, const uint8_t *p, size_t n, uint64_t at, struct hull_error *err)
{
	while (n > 0) {
		ssize_t r = pwrite(fd, p, n, (off_t)at);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return hull_fail_errno(err, "cannot write the copy of the disk");
		p += r;
		at += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

/* Write into a region of a file that is still a hole: blocks of zeros are skipped. */
static int write_sparse(int to, const uint8_t *p, size_t n, uint64_t at, struct hull_error *err)
{
	for (size_t i = 0; i < n;) {
		size_t first = i;
		while (i < n && !hull_all_zero(p + i, n - i < BLOCK ? n - i : BLOCK))
			i += BLOCK;
		size_t end = i < n ? i : n;
		int r = end > first ? write_at(to, p + first, end - first, at + first, err) : 0;
		if (r < 0)
			return r;
		if (i < n)
			i += BLOCK;
	}
	return 0;
}

int hull_disk_copy(int from, const struct hull_disk_map *m, int to, const volatile bool *stop, struct hull_error *err)
{
	_cleanup_free_ uint8_t *buf = malloc(CHUNK);
	if (!buf)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (ftruncate(to, (off_t)m->size) < 0)
		return hull_fail_errno(err, "cannot size the copy of the disk");
	uint64_t units = (m->size + UNIT - 1) / UNIT;
	for (uint64_t u = 0; u < units;) {
		uint64_t first = u;
		while (u < units && (u - first) * UNIT < CHUNK && marked(m, u))
			u++;
		if (u == first) {
			u++;
			continue;
		}
		if (stop && *stop)
			return hull_fail(err, -ECANCELED, "given up");
		uint64_t at = first * UNIT, end = u * UNIT < m->size ? u * UNIT : m->size;
		int r = read_at(from, buf, (size_t)(end - at), at, err);
		if (r == 0)
			r = write_sparse(to, buf, (size_t)(end - at), at, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Like next_data(), for allocated ranges; for data where the file system cannot report allocation. */
static int next_kept(int fd, off_t size, off_t *at, off_t *end, struct hull_error *err)
{
	_Alignas(struct fiemap) uint8_t space[sizeof(struct fiemap) + sizeof(struct fiemap_extent)] = {0};
	struct fiemap *map = (struct fiemap *)space;
	const struct fiemap_extent *found = map->fm_extents;
	if (*at >= size)
		return 0;
	map->fm_start = (uint64_t)*at;
	map->fm_length = (uint64_t)(size - *at);
	map->fm_flags = FIEMAP_FLAG_SYNC;
	map->fm_extent_count = 1;
	if (ioctl(fd, FS_IOC_FIEMAP, map) < 0)
		return next_data(fd, size, at, end, err);
	if (map->fm_mapped_extents == 0 || found->fe_logical >= (uint64_t)size)
		return 0;
	*at = found->fe_logical > (uint64_t)*at ? (off_t)found->fe_logical : *at;
	*end = found->fe_length < (uint64_t)size - found->fe_logical ? (off_t)(found->fe_logical + found->fe_length)
								     : size;
	return *end > *at ? 1
			  : hull_fail(err, -EIO,
				      "the file system reported an extent of the overwritten blocks that ends before "
				      "it begins");
}

int hull_disk_merge(int kept, const struct hull_disk_map *m, int to, uint64_t *merged, struct hull_error *err)
{
	_cleanup_free_ uint8_t *buf = malloc(CHUNK);
	off_t at = 0, end = 0;
	struct stat st;
	int r;
	*merged = 0;
	if (!buf)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (fstat(kept, &st) < 0)
		return hull_fail_errno(err, "cannot stat the file of overwritten blocks");
	off_t size = (uint64_t)st.st_size < m->size ? st.st_size : (off_t)m->size;
	for (; (r = next_kept(kept, size, &at, &end, err)) > 0; at = end) {
		for (uint64_t pos = (uint64_t)at; pos < (uint64_t)end;) {
			/* Unit by unit, so that a unit without data stays a hole. */
			uint64_t stop = (pos / UNIT + 1) * UNIT;
			stop = stop < (uint64_t)end ? stop : (uint64_t)end;
			if (marked(m, pos / UNIT)) {
				r = read_at(kept, buf, (size_t)(stop - pos), pos, err);
				if (r == 0)
					r = write_at(to, buf, (size_t)(stop - pos), pos, err);
				if (r < 0)
					return r;
				*merged += stop - pos;
			}
			pos = stop;
		}
	}
	return r;
}

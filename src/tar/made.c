/* SPDX-License-Identifier: Apache-2.0 */
/* See internal.h. A hash table with open addressing, at most half full. The birth time distinguishes a file from a
 * later one that reuses its inode number. */
#include "tar/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

enum {
	MADE_FIRST = 64,
	MADE_MAX = 1 << 20, /* limit on remembered files: 64 MiB of table */
};

static int identify(int fd, struct made_file *f)
{
	struct statx sx;
	if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &sx) < 0)
		return -errno;
	*f = (struct made_file){.dev = makedev(sx.stx_dev_major, sx.stx_dev_minor), .ino = sx.stx_ino, .used = true};
	if (sx.stx_mask & STATX_BTIME) {
		f->born = sx.stx_btime.tv_sec;
		f->born_nsec = sx.stx_btime.tv_nsec;
	}
	return 0;
}

/* Its slot, or the free slot for it. */
static struct made_file *slot(const struct made *m, const struct made_file *f)
{
	size_t at = (size_t)((f->ino ^ (uint64_t)f->dev << 32) * UINT64_C(0x9e3779b97f4a7c15) >> 20);
	for (;; at++) {
		struct made_file *s = &m->slots[at & (m->size - 1)];
		if (!s->used || (s->dev == f->dev && s->ino == f->ino))
			return s;
	}
}

static int grow(struct made *m)
{
	struct made more = {.size = m->size ? m->size * 2 : MADE_FIRST, .count = m->count};
	more.slots = calloc(more.size, sizeof(*more.slots));
	if (!more.slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->size; i++)
		if (m->slots[i].used)
			*slot(&more, &m->slots[i]) = m->slots[i];
	free(m->slots);
	*m = more;
	return 0;
}

int made_add(struct made *m, int fd)
{
	struct made_file f = {0};
	int r = identify(fd, &f);
	if (r == 0 && (m->count + 1) * 2 > m->size && m->count < MADE_MAX)
		r = grow(m);
	if (r < 0)
		return r;
	struct made_file *s = slot(m, &f);
	if (!s->used && m->count == MADE_MAX)
		return 0;
	m->count += !s->used;
	*s = f;
	return 0;
}

bool made_has(const struct made *m, int fd)
{
	struct made_file f = {0};
	if (m->count == 0 || identify(fd, &f) < 0)
		return false;
	const struct made_file *s = slot(m, &f);
	return s->used && s->born == f.born && s->born_nsec == f.born_nsec;
}

void made_free(struct made *m)
{
	free(m->slots);
	*m = (struct made){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The record that is kept beside a file (meta.h): "HS", version 1, a zero byte, then five little-endian words: mode,
 * host, uid, gid, rdev. Everything is checked, because anybody who may write to the file can have written it: a record
 * with a type, a bit or an id that none of ours has is no record, and the file shows as it does without. */
#include "share/meta.h"

#include "base/bytes.h"

#include <string.h>
#include <sys/stat.h>

enum { VERSION = 1 };

static bool known_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return true;
	default:
		return false;
	}
}

bool share_meta_parse(const void *p, size_t n, struct share_meta *out)
{
	static const uint8_t head[4] = {'H', 'S', VERSION, 0};
	if (n != SHARE_META_SIZE || memcmp(p, head, sizeof head) != 0)
		return false;
	struct hull_cur cur = hull_cur_make((const uint8_t *)p + sizeof head, n - sizeof head);
	*out = (struct share_meta){0};
	out->mode = hull_cur_le32(&cur);
	out->host = hull_cur_le32(&cur);
	out->uid = hull_cur_le32(&cur);
	out->gid = hull_cur_le32(&cur);
	out->rdev = hull_cur_le32(&cur);
	bool device = S_ISCHR(out->mode) || S_ISBLK(out->mode);
	return !cur.bad && known_type(out->mode) && !(out->mode & ~(uint32_t)(S_IFMT | 07777)) &&
	       !(out->host & ~(uint32_t)SHARE_META_HOST_BITS) && out->uid != UINT32_MAX && out->gid != UINT32_MAX &&
	       (device || out->rdev == 0);
}

void share_meta_format(const struct share_meta *m, uint8_t out[SHARE_META_SIZE])
{
	const uint32_t words[] = {m->mode, m->host, m->uid, m->gid, m->rdev};
	memcpy(out, (const uint8_t[4]){'H', 'S', VERSION, 0}, 4);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		for (unsigned b = 0; b < 4; b++)
			out[4 + 4 * i + b] = (uint8_t)(words[i] >> (8 * b));
}

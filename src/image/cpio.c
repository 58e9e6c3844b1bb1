/* SPDX-License-Identifier: Apache-2.0 */
/* See cpio.h. A member is "070701", thirteen numbers of eight hex digits, the name with its NUL padded so that header
 * and name make a multiple of 4, and the content padded to a multiple of 4. */
#include "image/cpio.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOCK = 512, HEADER = 110 };

static int pad(struct hull_buf *out, size_t written, size_t to)
{
	static const char zeros[BLOCK];
	size_t over = written % to;
	return over ? hull_buf_add(out, zeros, to - over) : 0;
}

static int member(struct hull_cpio *c, const char *path, unsigned mode, unsigned major, unsigned minor, const void *p,
		  size_t n)
{
	size_t name = strlen(path) + 1;
	if (n > UINT32_MAX)
		return -EFBIG;
	int r = hull_buf_addf(c->out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ++c->inode, mode, 0,
			      0, S_ISDIR(mode) ? 2 : 1, 0, (unsigned)n, 0, 0, major, minor, (unsigned)name, 0);
	if (r == 0)
		r = hull_buf_add(c->out, path, name);
	if (r == 0)
		r = pad(c->out, HEADER + name, 4);
	if (r == 0)
		r = hull_buf_add(c->out, p, n);
	return r == 0 ? pad(c->out, n, 4) : r;
}

int hull_cpio_dir(struct hull_cpio *c, const char *path, mode_t mode)
{
	return member(c, path, S_IFDIR | (unsigned)mode, 0, 0, NULL, 0);
}

int hull_cpio_file(struct hull_cpio *c, const char *path, mode_t mode, const void *p, size_t n)
{
	return member(c, path, S_IFREG | (unsigned)mode, 0, 0, p, n);
}

int hull_cpio_char_device(struct hull_cpio *c, const char *path, mode_t mode, unsigned major, unsigned minor)
{
	return member(c, path, S_IFCHR | (unsigned)mode, major, minor, NULL, 0);
}

int hull_cpio_end(struct hull_cpio *c)
{
	int r = member(c, "TRAILER!!!", 0, 0, 0, NULL, 0);
	return r == 0 ? pad(c->out, c->out->len, BLOCK) : r;
}

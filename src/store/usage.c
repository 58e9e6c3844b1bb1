/* SPDX-License-Identifier: Apache-2.0 */
/* Walks a tree and adds up st_blocks; the contract is in usage.h. Descriptors are opened downwards only: openat(2)
 * refuses a directory that was replaced by a symlink. A running sandbox writes, rotates and removes files at any time,
 * so a vanished name is normal. */
#include "store/usage.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "store/store.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Each level holds a descriptor. Hull's own files are at most six deep; those of a docker client a few more. */
enum { DEPTH_MAX = 64 };

struct hull_usage_link {
	dev_t dev;
	ino_t ino;
	nlink_t left; /* links that were not added yet */
};

static void problem(struct hull_usage *u, const char *shown, int error)
{
	_cleanup_free_ char *text =
		error == ENOENT ? hull_fmt("%s vanished while it was measured", shown)
		: error == ELOOP || error == ENOTDIR
			? hull_fmt("%s was not measured: it is not a directory, and symlinks are not followed", shown)
		: error == ENAMETOOLONG ? hull_fmt("%s was not measured: it is nested too deeply", shown)
					: hull_fmt("%s was not measured: %s", shown, strerror(error));
	if (error != ENOENT || !text)
		u->incomplete = true;
	if (text && hull_strv_add(&u->problems, text) < 0)
		u->incomplete = true;
}

/* Shall this file with several links be counted? */
static bool counts(struct hull_usage *u, const struct stat *st, const char *shown)
{
	struct hull_usage_link *l = u->links;
	for (size_t i = 0; i < u->link_count; i++, l++)
		if (l->ino == st->st_ino && l->dev == st->st_dev) {
			if (l->left > 0)
				l->left--;
			return u->freed && l->left == 0;
		}
	struct hull_usage_link *more = reallocarray(u->links, u->link_count + 1, sizeof(*more));
	if (!more) {
		problem(u, shown, ENOMEM);
		return false;
	}
	u->links = more;
	more[u->link_count++] = (struct hull_usage_link){
		.dev = st->st_dev, .ino = st->st_ino, .left = st->st_nlink - 1};
	return !u->freed;
}

int hull_usage_open(struct hull_usage *u, int dirfd, const char *name, const char *shown)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	int error = errno;
	problem(u, shown, error);
	return -error;
}

static uint64_t walk(struct hull_usage *u, int dirfd, const char *name, const char *shown, unsigned depth);

static uint64_t walk_directory(struct hull_usage *u, int dirfd, const char *name, const char *shown, unsigned depth)
{
	if (depth == DEPTH_MAX) {
		problem(u, shown, ENAMETOOLONG);
		return 0;
	}
	_cleanup_close_ int fd = hull_usage_open(u, dirfd, name, shown);
	if (fd < 0)
		return 0;
	_cleanup_closedir_ DIR *d = fdopendir(fd);
	if (!d) {
		problem(u, shown, errno);
		return 0;
	}
	int here = hull_steal_fd(&fd);
	uint64_t sum = 0;
	for (;;) {
		errno = 0;
		const struct dirent *e = readdir(d);
		if (!e) {
			if (errno)
				problem(u, shown, errno);
			return sum;
		}
		if (hull_streq(e->d_name, ".") || hull_streq(e->d_name, ".."))
			continue;
		_cleanup_free_ char *path = hull_fmt("%s/%s", shown, e->d_name);
		sum += walk(u, here, e->d_name, path ? path : e->d_name, depth + 1);
	}
}

static uint64_t walk(struct hull_usage *u, int dirfd, const char *name, const char *shown, unsigned depth)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0) {
		problem(u, shown, errno);
		return 0;
	}
	uint64_t bytes = (uint64_t)st.st_blocks * 512;
	if (S_ISDIR(st.st_mode))
		return bytes + walk_directory(u, dirfd, name, shown, depth);
	return st.st_nlink < 2 || counts(u, &st, shown) ? bytes : 0;
}

uint64_t hull_usage_add(struct hull_usage *u, int dirfd, const char *name, const char *shown)
{
	return walk(u, dirfd, name, shown, 0);
}

void hull_usage_free(struct hull_usage *u)
{
	hull_strv_free(u->problems);
	free(u->links);
	*u = (struct hull_usage){0};
}

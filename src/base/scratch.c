/* SPDX-License-Identifier: Apache-2.0 */
/* See scratch.h. Between mkdir and flock a sweep may take a new directory for a leftover and remove it. The identity
 * check after the lock detects this, and another directory is made. */
#include "base/scratch.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { ATTEMPTS = 16 };

/* A symlink there is the user's own: directories of HULL_HOME may be on another disk. */
static int open_parent(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void hull_scratch_each(const char *parent, const char *prefix, void (*found)(void *ctx, int root, const char *name),
		       void *ctx)
{
	_cleanup_closedir_ DIR *d = opendir(parent);
	for (const struct dirent *e; d && (e = readdir(d));) {
		if (!hull_starts(e->d_name, prefix))
			continue;
		int root = dirfd(d);
		_cleanup_close_ int fd = openat(root, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			found(ctx, root, e->d_name);
	}
}

static void remove_leftover(void *ctx, int root, const char *name)
{
	hull_remove_tree(root, name, NULL);
}

void hull_scratch_sweep(const char *parent, const char *prefix)
{
	hull_scratch_each(parent, prefix, remove_leftover, NULL);
}

int hull_scratch_make(const char *parent, const char *prefix, struct hull_scratch *out, struct hull_error *err)
{
	*out = (struct hull_scratch){.fd = -1};
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		_cleanup_free_ char *path = hull_fmt("%s/%sXXXXXX", parent, prefix);
		if (!path || !mkdtemp(path))
			return hull_fail_errno(err, "cannot make a directory in %s", parent);
		_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || !hull_same_file(fd, AT_FDCWD, path))
			continue;
		out->path = hull_steal_ptr(path);
		out->fd = hull_steal_fd(&fd);
		return 0;
	}
	return hull_fail(err, -EAGAIN,
			 "cannot make a directory in %s: another program removed %d of them as soon as they were made; "
			 "find what cleans up there, then try again",
			 parent, ATTEMPTS);
}

/* If the file system does not support RENAME_NOREPLACE: a plain rename does the same unless the target is empty. */
static int rename_new(int root, const char *from, const char *to)
{
	if (renameat2(root, from, root, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (renameat(root, from, root, to) == 0)
		return 0;
	if (errno == ENOTEMPTY)
		errno = EEXIST;
	return -1;
}

int hull_scratch_commit(struct hull_scratch *s, const char *parent, const char *name, bool replace,
			struct hull_error *err)
{
	_cleanup_close_ int root = open_parent(parent);
	if (root < 0)
		return hull_fail_errno(err, "cannot open %s", parent);
	const char *scratch = strrchr(s->path, '/') + 1;
	fsync(s->fd);
	if (rename_new(root, scratch, name) < 0) {
		if (errno != EEXIST)
			return hull_fail_errno(err, "cannot give %s/%s its name", parent, name);
		if (!replace)
			return hull_fail(err, -EEXIST, "there is a %s already", name);
		/* Exchange both names, then remove the old content under the scratch name. */
		if (renameat2(root, scratch, root, name, RENAME_EXCHANGE) < 0)
			return hull_fail_errno(err, "cannot replace %s/%s", parent, name);
		hull_remove_tree(root, scratch, NULL);
	}
	fsync(root);
	free(s->path);
	s->path = NULL;
	close(hull_steal_fd(&s->fd));
	return 0;
}

void hull_scratch_drop(struct hull_scratch *s)
{
	char *slash = s->path ? strrchr(s->path, '/') : NULL;
	if (slash) {
		*slash = '\0';
		_cleanup_close_ int root = open_parent(s->path);
		if (root >= 0)
			hull_remove_tree(root, slash + 1, NULL);
	}
	free(s->path);
	s->path = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

int hull_scratch_remove(const char *parent, const char *name, const char *prefix, struct hull_error *err)
{
	_cleanup_close_ int root = open_parent(parent);
	if (root < 0)
		return hull_fail_errno(err, "cannot open %s", parent);
	/* Locked, so that no other sweep starts on it. Another sweep that was faster does the same work. */
	_cleanup_close_ int held = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (held >= 0)
		(void)flock(held, LOCK_EX | LOCK_NB);
	for (int attempt = 0;; attempt++) {
		uint64_t salt = 0;
		char gone[32];
		if (getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
			return hull_fail_errno(err, "cannot get random bytes");
		snprintf(gone, sizeof(gone), "%s%012llx", prefix, (unsigned long long)(salt & 0xffffffffffffull));
		if (rename_new(root, name, gone) == 0)
			return hull_remove_tree(root, gone, err);
		if (errno != EEXIST || attempt == ATTEMPTS)
			return hull_fail_errno(err, "cannot remove %s/%s", parent, name);
	}
}

/* Directories that appear whole or not at all: made under a scratch name that its maker holds a flock on, and given
 * their name by one rename. Leftovers of makers that died are told apart by trying the flock. */
#include "snapshot/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

static int open_dir(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

void hull_scratch_each(const char *parent, void (*found)(void *ctx, int root, const char *name), void *ctx)
{
	_cleanup_close_ int root = open_dir(parent);
	_cleanup_closedir_ DIR *d = root < 0 ? NULL : opendir(parent);
	for (const struct dirent *e; d && (e = readdir(d));) {
		if (!hull_starts(e->d_name, ".tmp-"))
			continue;
		_cleanup_close_ int fd = openat(root, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			found(ctx, root, e->d_name);
	}
}

static void take_away(void *ctx, int root, const char *name)
{
	hull_remove_tree(root, name, NULL);
}

void hull_scratch_sweep(const char *parent)
{
	hull_scratch_each(parent, take_away, NULL);
}

int hull_scratch_make(const char *parent, struct hull_scratch *out, struct hull_error *err)
{
	*out = (struct hull_scratch){.fd = -1};
	int r = hull_mkdir_all(parent, 0700, err);
	if (r < 0)
		return r;
	hull_scratch_sweep(parent);
	for (int attempt = 0; attempt < 16; attempt++) {
		struct stat a, b;
		_cleanup_free_ char *path = hull_fmt("%s/.tmp-XXXXXX", parent);
		if (!path || !mkdtemp(path))
			return hull_fail_errno(err, "cannot make a directory in %s", parent);
		_cleanup_close_ int fd = open_dir(path);
		/* A sweeper may have taken it between the two. */
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &a) < 0 || stat(path, &b) < 0 ||
		    a.st_ino != b.st_ino)
			continue;
		out->path = hull_steal_ptr(path);
		out->fd = hull_steal_fd(&fd);
		return 0;
	}
	return hull_fail(err, -EAGAIN, "cannot make a directory in %s: it is taken away again and again", parent);
}

int hull_scratch_commit(struct hull_scratch *s, const char *parent, const char *name, bool replace,
			struct hull_error *err)
{
	_cleanup_close_ int root = open_dir(parent);
	_cleanup_free_ char *to = hull_fmt("%s/%s", parent, name);
	if (root < 0 || !to)
		return hull_fail_errno(err, "%s", parent);
	fsync(s->fd);
	if (renameat2(AT_FDCWD, s->path, AT_FDCWD, to, RENAME_NOREPLACE) < 0) {
		if (errno != EEXIST)
			return hull_fail_errno(err, "cannot give %s its name", to);
		if (!replace)
			return hull_fail(err, -EEXIST, "there is a %s already", name);
		/* One exchange; what was there goes away under the scratch name. */
		if (renameat2(AT_FDCWD, s->path, AT_FDCWD, to, RENAME_EXCHANGE) < 0)
			return hull_fail_errno(err, "cannot replace %s", to);
		const char *slash = strrchr(s->path, '/');
		hull_remove_tree(root, slash + 1, NULL);
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
		_cleanup_close_ int root = open_dir(s->path);
		if (root >= 0)
			hull_remove_tree(root, slash + 1, NULL);
	}
	free(s->path);
	s->path = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

int hull_saved_remove(const char *parent, const char *name, struct hull_error *err)
{
	_cleanup_close_ int root = open_dir(parent);
	if (root < 0)
		return hull_fail_errno(err, "%s", parent);
	hull_scratch_sweep(parent);
	/* Nothing is made for it: on a full disk removing is what helps. Held, so that no sweeper begins with it too;
	 * should one be quicker it does the same. */
	_cleanup_close_ int held = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (held >= 0)
		(void)flock(held, LOCK_EX | LOCK_NB);
	for (int attempt = 0;; attempt++) {
		uint64_t salt = 0;
		char gone[32];
		if (getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
			return hull_fail_errno(err, "no random bytes");
		snprintf(gone, sizeof(gone), ".tmp-%012llx", (unsigned long long)(salt & 0xffffffffffffull));
		if (renameat2(root, name, root, gone, RENAME_NOREPLACE) == 0)
			return hull_remove_tree(root, gone, err);
		if (errno != EEXIST || attempt == 16)
			return hull_fail_errno(err, "cannot remove %s/%s", parent, name);
	}
}

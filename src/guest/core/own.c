/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the guest's own root, for PID 1.
 *
 * hull-init serves the workspace's file systems: a system call of its own that asks one of them for something would
 * wait for itself, for ever. Their mount points are the user's choice, and may lie below /etc or /var. So while shares
 * may be mounted, PID 1 opens the root's files with a walk that refuses to enter any mount (openat2's RESOLVE_NO_XDEV,
 * which holds for symlinks as well), and what it must do with paths that a user gives, it does in children. */
#include "guest/core/own.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/openat2.h>

enum { SMALL = 4096 };

int hull_own_openat(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

int hull_own_open(const char *path, int flags, mode_t mode)
{
	return hull_own_openat(AT_FDCWD, path, flags, mode);
}

void hull_own_path(int fd, char path[32])
{
	snprintf(path, 32, "/proc/self/fd/%d", fd);
}

/* One step from a directory to one in it, made if it is not there. */
static int own_step(int dir, const char *name)
{
	int fd = hull_own_openat(dir, name, O_PATH | O_DIRECTORY, 0);
	if (fd != -ENOENT)
		return fd;
	return mkdirat(dir, name, 0755) < 0 ? -errno : hull_own_openat(dir, name, O_PATH | O_DIRECTORY, 0);
}

int hull_own_make_dir(int root, const char *path)
{
	int dir = hull_own_openat(root, ".", O_PATH | O_DIRECTORY, 0);
	for (path += strspn(path, "/"); dir >= 0 && *path; path += strspn(path, "/")) {
		char name[NAME_MAX + 1];
		size_t n = strcspn(path, "/");
		int next = -ENAMETOOLONG;
		if (n <= NAME_MAX) {
			memcpy(name, path, n);
			name[n] = '\0';
			next = strcmp(name, "..") == 0 ? -EINVAL : own_step(dir, name);
		}
		close(dir);
		dir = next;
		path += n;
	}
	return dir;
}

/* A small file that is there already gets its new content in place: one write, which who reads it sees whole or not at
 * all. A new inode and a rename make ext4 allocate and write at once, which was most of a copy's way to itself. */
static bool overwrite(int dir, const char *name, const void *p, size_t n)
{
	struct stat st;
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_size == 0 ||
	    st.st_size > SMALL || n > SMALL || n == 0)
		return false;
	return pwrite(fd, p, n, 0) == (ssize_t)n && (st.st_size <= (off_t)n || ftruncate(fd, (off_t)n) == 0);
}

/* Whole or not at all for who reads it, but not waited for: a start must not wait for the disk six times, and what a
 * power failure takes back here is made again at the next start. */
int hull_own_replace(const char *path, const void *p, size_t n, mode_t mode, struct hull_error *err)
{
	char tmp[64];
	const char *name = strrchr(path, '/') + 1;
	snprintf(tmp, sizeof(tmp), "%.*s", (int)(name - path), path);
	_cleanup_close_ int dir = hull_own_open(tmp, O_PATH | O_DIRECTORY, 0);
	if (dir < 0)
		return hull_fail(err, dir, "cannot write %s: %s", path, strerror(-dir));
	if (overwrite(dir, name, p, n))
		return 0;
	snprintf(tmp, sizeof(tmp), "%s.hull-new", name);
	unlinkat(dir, tmp, 0);
	_cleanup_close_ int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0 || hull_write_full(fd, p, n) < 0 || fchmod(fd, mode) < 0 || renameat(dir, tmp, dir, name) < 0)
		return hull_fail_errno(err, "cannot write %s", path);
	return 0;
}

int hull_own_readat(int dir, const char *path, size_t max, struct hull_buf *out)
{
	char open_one[32];
	_cleanup_close_ int fd = hull_own_openat(dir, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	hull_own_path(fd, open_one);
	return hull_read_regular(AT_FDCWD, open_one, max, out, NULL);
}

int hull_own_read(const char *path, size_t max, struct hull_buf *out)
{
	return hull_own_readat(AT_FDCWD, path, max, out);
}

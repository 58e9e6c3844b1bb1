/* SPDX-License-Identifier: Apache-2.0 */
/* See io.h. */
#include "base/io.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef FICLONE /* musl-gcc does not see the kernel's headers */
#define FICLONE _IOW(0x94, 9, int)
#endif

enum {
	COPY_CHUNK = 1024 * 1024,
	READ_CHUNK = 16 * 1024,
	TREE_DEPTH_MAX = 512, /* each level holds a descriptor */
};

int hull_write_full(int fd, const void *p, size_t n)
{
	const char *at = p;
	while (n > 0) {
		ssize_t done = write(fd, at, n);
		if (done < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

ssize_t hull_read_full(int fd, void *p, size_t n)
{
	size_t have = 0;
	while (have < n) {
		ssize_t got = read(fd, (char *)p + have, n - have);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

ssize_t hull_pread_full(int fd, void *p, size_t n, off_t at)
{
	size_t have = 0;
	while (have < n) {
		ssize_t got = pread(fd, (char *)p + have, n - have, at + (off_t)have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

int hull_pwrite_full(int fd, const void *p, size_t n, off_t at)
{
	const char *from = p;
	while (n > 0) {
		ssize_t put = pwrite(fd, from, n, at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		from += put;
		at += put;
		n -= (size_t)put;
	}
	return 0;
}

bool hull_all_zero(const void *p, size_t n)
{
	const uint8_t *bytes = p;
	return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

static int set_flag(int fd, int get, int set, int flag, bool on)
{
	int flags = fcntl(fd, get);
	if (flags < 0)
		return -errno;
	int wanted = on ? flags | flag : flags & ~flag;
	if (wanted != flags && fcntl(fd, set, wanted) < 0)
		return -errno;
	return 0;
}

int hull_set_nonblock(int fd, bool on)
{
	return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int hull_set_cloexec(int fd, bool on)
{
	return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

/* --- whole files --- */

static int read_all(int fd, const char *path, size_t max, struct hull_buf *out, struct hull_error *err)
{
	/* The size is not used: files of /proc report none, and a file may grow while it is read. */
	for (size_t have = 0;;) {
		uint8_t *to = hull_buf_room(out, READ_CHUNK + 1); /* + 1: the NUL behind len */
		if (!to)
			return hull_fail(err, -ENOMEM, "out of memory reading %s", path);
		ssize_t got = hull_read_full(fd, to, READ_CHUNK);
		if (got < 0) {
			errno = (int)-got;
			return hull_fail_errno(err, "cannot read %s", path);
		}
		if ((size_t)got > max - have)
			return hull_fail(err, -EFBIG, "%s is larger than the %zu bytes allowed", path, max);
		have += (size_t)got;
		hull_buf_added(out, (size_t)got);
		to[got] = '\0';
		if (got < READ_CHUNK)
			return 0;
	}
}

int hull_read_file(int dirfd, const char *path, size_t max, struct hull_buf *out, struct hull_error *err)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? hull_fail_errno(err, "cannot open %s", path) : read_all(fd, path, max, out, err);
}

int hull_read_regular(int dirfd, const char *path, size_t max, struct hull_buf *out, struct hull_error *err)
{
	struct stat st;
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return hull_fail_errno(err, "cannot open %s", path);
	return S_ISREG(st.st_mode) ? read_all(fd, path, max, out, err)
				   : hull_fail(err, -EINVAL, "%s is not a regular file", path);
}

/* Write, sync (if asked to) and rename: the part of the atomic replacement during which the temporary file exists. */
static int fill_and_rename(int dirfd, const char *tmp, const char *path, int fd, const void *p, size_t n, bool sync,
			   struct hull_error *err)
{
	int r = hull_write_full(fd, p, n);
	if (r < 0) {
		errno = -r;
		return hull_fail_errno(err, "cannot write %s", path);
	}
	if (sync && fsync(fd) < 0)
		return hull_fail_errno(err, "cannot sync %s to disk", path);
	if (renameat(dirfd, tmp, dirfd, path) < 0)
		return hull_fail_errno(err, "cannot replace %s", path);
	return 0;
}

static int replace(int dirfd, const char *path, const void *p, size_t n, mode_t mode, bool sync, struct hull_error *err)
{
	_cleanup_free_ char *tmp = NULL;
	_cleanup_close_ int fd = -1;
	for (int tries = 0; fd < 0 && tries < 16; tries++) {
		uint64_t salt = 0;
		if (getrandom(&salt, sizeof(salt), 0) < 0)
			return hull_fail_errno(err, "no random bytes");
		free(tmp);
		tmp = hull_fmt("%s.%016llx.tmp", path, (unsigned long long)salt);
		if (!tmp)
			return hull_fail(err, -ENOMEM, "out of memory writing %s", path);
		fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
		if (fd < 0 && errno != EEXIST)
			break;
	}
	if (fd < 0)
		return hull_fail_errno(err, "cannot create a temporary file in the directory of %s", path);
	if (fchmod(fd, mode) < 0) { /* regardless of the umask: a jailed engine must be able to read it */
		int r = hull_fail_errno(err, "cannot set the mode of %s", path);
		unlinkat(dirfd, tmp, 0);
		return r;
	}
	int r = fill_and_rename(dirfd, tmp, path, fd, p, n, sync, err);
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return r;
	}
	if (!sync)
		return 0;
	/* The rename is durable only once the directory is synced. */
	char *slash = strrchr(tmp, '/');
	if (slash)
		slash[slash == tmp] = '\0';
	_cleanup_close_ int dir = openat(dirfd, slash ? tmp : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) < 0)
		return hull_fail_errno(err, "cannot sync the directory of %s to disk", path);
	return 0;
}

int hull_write_file_atomic(int dirfd, const char *path, const void *p, size_t n, mode_t mode, struct hull_error *err)
{
	return replace(dirfd, path, p, n, mode, true, err);
}

int hull_write_file_unsynced(int dirfd, const char *path, const void *p, size_t n, mode_t mode, struct hull_error *err)
{
	return replace(dirfd, path, p, n, mode, false, err);
}

/* --- trees --- */

int hull_mkdir_all(const char *path, mode_t mode, struct hull_error *err)
{
	if (!*path)
		return hull_fail(err, -ENOENT, "cannot create a directory without a name");
	_cleanup_free_ char *part = strdup(path);
	if (!part)
		return hull_fail(err, -ENOMEM, "out of memory creating %s", path);
	for (char *at = part + 1;; at++) {
		char c = *at;
		if (c != '/' && c != '\0')
			continue;
		*at = '\0';
		struct stat st;
		if (mkdir(part, mode) < 0) {
			int saved = errno; /* EROFS, EACCES: the directory may exist nevertheless */
			if (stat(part, &st) < 0) {
				errno = saved;
				return hull_fail_errno(err, "cannot create directory %s", part);
			}
			if (!S_ISDIR(st.st_mode))
				return hull_fail(err, -ENOTDIR, "cannot create directory %s: %s is not a directory",
						 path, part);
		}
		if (c == '\0')
			return 0;
		*at = c;
	}
}

static int remove_entry(int dirfd, const char *name, unsigned depth, struct hull_error *err);

/* Remove the content of the directory `fd` (takes it over). */
static int empty_directory(int fd, const char *name, unsigned depth, struct hull_error *err)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	if (!dir) {
		int r = hull_fail_errno(err, "cannot read directory %s", name);
		close(fd);
		return r;
	}
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(dir);
		if (!e)
			return errno ? hull_fail_errno(err, "cannot read directory %s", name) : 0;
		if (hull_streq(e->d_name, ".") || hull_streq(e->d_name, ".."))
			continue;
		int r = remove_entry(fd, e->d_name, depth, err);
		if (r < 0)
			return r;
	}
}

static int open_directory(int dirfd, const char *name)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	struct stat st;
	int fd = openat(dirfd, name, flags);
	/* The user's own directory without write or search permission. */
	if (fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 0300) != 0300 && st.st_uid == geteuid())
		fchmod(fd, 0700);
	if (fd >= 0 || errno != EACCES)
		return fd;
	/* The user's own directory without permissions. fchmodat follows symlinks, so the inode is pinned first. */
	_cleanup_close_ int pin = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (pin < 0)
		return -1;
	_cleanup_free_ char *proc = hull_fmt("/proc/self/fd/%d", pin);
	if (!proc || chmod(proc, 0700) < 0) {
		errno = EACCES;
		return -1;
	}
	return openat(dirfd, name, flags);
}

static int remove_entry(int dirfd, const char *name, unsigned depth, struct hull_error *err)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM) /* unlink of a directory is EISDIR on Linux, EPERM elsewhere */
		return hull_fail_errno(err, "cannot remove %s", name);
	if (depth >= TREE_DEPTH_MAX)
		return hull_fail(err, -ELOOP, "cannot remove %s: directories are nested deeper than %d", name,
				 TREE_DEPTH_MAX);
	/* New entries may appear meanwhile (from a process that is ending): empty it again, a few times. */
	for (int tries = 0;; tries++) {
		int fd = open_directory(dirfd, name);
		if (fd < 0)
			return errno == ENOENT ? 0 : hull_fail_errno(err, "cannot remove %s", name);
		int r = empty_directory(fd, name, depth + 1, err);
		if (r < 0)
			return r;
		if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != ENOTEMPTY || tries == 3)
			return hull_fail_errno(err, "cannot remove directory %s", name);
	}
}

int hull_remove_tree(int dirfd, const char *name, struct hull_error *err)
{
	return remove_entry(dirfd, name, 0, err);
}

/* --- copies --- */

/* Copy [at, end) with read and write, for file systems that copy_file_range(2) does not serve. */
static int copy_plain(int from, int to, off_t at, off_t end, struct hull_error *err)
{
	_cleanup_free_ char *chunk = malloc(COPY_CHUNK);
	if (!chunk)
		return hull_fail(err, -ENOMEM, "out of memory copying a file");
	while (at < end) {
		size_t want = end - at < COPY_CHUNK ? (size_t)(end - at) : COPY_CHUNK;
		ssize_t got = pread(from, chunk, want, at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return hull_fail_errno(err, "cannot read the file to copy");
		if (got == 0)
			return 0; /* truncated meanwhile: the rest is a hole */
		int r = hull_pwrite_full(to, chunk, (size_t)got, at);
		if (r < 0)
			return hull_fail(err, r, "cannot write the copy: %s", strerror(-r));
		at += got;
	}
	return 0;
}

static int copy_range(int from, int to, off_t at, off_t end, struct hull_error *err)
{
	while (at < end) {
		off_t in = at;
		off_t out = at;
		ssize_t done = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG))
			return hull_fail_errno(err, "cannot write the copy");
		if (done <= 0) /* not supported, or a file system that falsely reports end of file */
			return copy_plain(from, to, at, end, err);
		at += done;
	}
	return 0;
}

bool hull_reflink_file(int from, int to)
{
	return ioctl(to, FICLONE, from) == 0;
}

int hull_clone_file(int from, int to, struct hull_error *err)
{
	if (hull_reflink_file(from, to))
		return 0;
	struct stat st;
	if (fstat(from, &st) < 0)
		return hull_fail_errno(err, "cannot look at the file to copy");
	if (ftruncate(to, st.st_size) < 0)
		return hull_fail_errno(err, "cannot set the size of the copy");
	for (off_t at = 0; at < st.st_size;) {
		off_t data = lseek(from, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return 0; /* only a hole is left */
		off_t hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
		if (data < 0 || hole < 0) { /* a file system without holes */
			data = at;
			hole = st.st_size;
		}
		if (hole > st.st_size)
			hole = st.st_size;
		int r = copy_range(from, to, data, hole, err);
		if (r < 0)
			return r;
		at = hole;
	}
	return 0;
}

bool hull_same_file(int fd, int dirfd, const char *name)
{
	struct stat a, b;
	return fstat(fd, &a) == 0 && fstatat(dirfd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

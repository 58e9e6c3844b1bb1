/* SPDX-License-Identifier: Apache-2.0 */
/* Packs files for a sandbox; see tar.h. Directories are walked by descriptor: a symlink that the guest puts in the way
 * (in its workspace) is packed as a symlink and not followed. The header precedes the data, so a file that shrinks
 * while it is read is padded with zeros, and one that grows is truncated. */
#include "tar/tar.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, PATH_MAX_ = 4096 };

struct pack {
	const struct hull_pack *p;
	struct archive *a;
	struct archive_entry_linkresolver *links;
	struct hull_error *err;
	struct hull_error lost;    /* why writing failed */
	struct hull_error skipped; /* the first file that could not be read */
	unsigned skipped_count;
	char *chunk;
	const char *zeros;
	char path[PATH_MAX_]; /* path of the current entry in the archive */
};

static la_ssize_t on_write(struct archive *a, void *ctx, const void *p, size_t n)
{
	struct pack *x = ctx;
	if (x->p->write(x->p->ctx, p, n, &x->lost) < 0) {
		archive_set_error(a, EIO, "lost");
		return -1;
	}
	return (la_ssize_t)n;
}

static int broken(struct pack *x)
{
	if (x->lost.code)
		return hull_fail(x->err, x->lost.code, "%s", x->lost.msg);
	const char *why = archive_error_string(x->a);
	return hull_fail(x->err, -EIO, "%s: %s", x->path, why ? why : "cannot be packed");
}

/* Left out; the rest goes on. */
static int skip(struct pack *x)
{
	if (x->skipped_count++ == 0)
		hull_fail_errno(&x->skipped, "%s", x->path);
	return 0;
}

/* Add the file's data ranges to the header. */
static void note_holes(struct archive_entry *e, int fd, off_t size)
{
	for (off_t at = 0; at < size;) {
		off_t data = lseek(fd, at, SEEK_DATA);
		off_t end = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
		if (data < 0 && errno == ENXIO) { /* a hole up to the end */
			if (at == 0)
				archive_entry_sparse_add_entry(e, size, 0);
			return;
		}
		if (data < 0 || end <= data || (data == 0 && end >= size))
			return; /* no holes, or the file system does not report them */
		end = end < size ? end : size;
		archive_entry_sparse_add_entry(e, data, end - data);
		at = end;
	}
}

static int put(struct pack *x, const void *p, size_t n)
{
	return archive_write_data(x->a, p, n) == (la_ssize_t)n ? 0 : broken(x);
}

static int put_content(struct pack *x, int fd, off_t size)
{
	for (off_t at = 0; at < size;) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0)
			data = errno == ENXIO ? size : at;
		bool hole = data > at;
		size_t n = (hole ? data : size) - at < CHUNK ? (size_t)((hole ? data : size) - at) : CHUNK;
		ssize_t got = hole ? 0 : pread(fd, x->chunk, n, at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			skip(x); /* told; zeros take its place */
		else if (got > 0)
			n = (size_t)got;
		int r = put(x, got > 0 ? x->chunk : x->zeros, n);
		if (r < 0)
			return r;
		at += (off_t)n;
	}
	return 0;
}

static void no_entry(struct archive_entry **e)
{
	archive_entry_free(*e);
}

/* Write the header. A further link to a packed file becomes a hard link to its first name. Only the fields set here go
 * into the archive. */
static int put_header(struct pack *x, const struct stat *st, const char *target, int fd, bool *linked)
{
	struct archive_entry *probe = archive_entry_new(), *spare = NULL;
	_cleanup_(no_entry) struct archive_entry *e = archive_entry_new();
	if (!probe || !e) {
		archive_entry_free(probe);
		return hull_fail(x->err, -ENOMEM, "out of memory");
	}
	archive_entry_copy_stat(probe, st);
	archive_entry_copy_pathname(probe, x->path);
	if (S_ISREG(st->st_mode))
		archive_entry_linkify(x->links, &probe, &spare);
	const char *first = probe ? archive_entry_hardlink(probe) : NULL;
	*linked = first != NULL;
	archive_entry_copy_pathname(e, x->path);
	archive_entry_set_filetype(e, st->st_mode & S_IFMT);
	archive_entry_set_perm(e, st->st_mode & 07777);
	archive_entry_set_uid(e, x->p->uid);
	archive_entry_set_gid(e, x->p->gid);
	archive_entry_set_mtime(e, st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	archive_entry_set_size(e, S_ISREG(st->st_mode) && !first ? st->st_size : 0);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		archive_entry_set_rdev(e, st->st_rdev);
	if (target)
		archive_entry_copy_symlink(e, target);
	if (first)
		archive_entry_copy_hardlink(e, first);
	else if (fd >= 0)
		note_holes(e, fd, st->st_size);
	archive_entry_free(probe);
	archive_entry_free(spare);
	/* A warning concerns a name that is not UTF-8: it is written as raw bytes. */
	return archive_write_header(x->a, e) < ARCHIVE_WARN ? broken(x) : 0;
}

static int pack_entry(struct pack *x, int dir, const char *name);

static int pack_content(struct pack *x, int fd)
{
	size_t n = strlen(x->path);
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	_cleanup_closedir_ DIR *d = own < 0 ? NULL : fdopendir(own);
	if (!d) {
		hull_closep(&own);
		return skip(x);
	}
	int r = 0;
	for (const struct dirent *e = readdir(d); r == 0 && e; e = readdir(d)) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if ((size_t)snprintf(x->path + n, sizeof(x->path) - n, "/%s", e->d_name) >= sizeof(x->path) - n) {
			errno = ENAMETOOLONG;
			skip(x);
		} else {
			r = pack_entry(x, fd, e->d_name);
		}
		x->path[n] = '\0';
	}
	return r;
}

static int pack_dir(struct pack *x, int dir, const char *name)
{
	bool linked;
	struct stat st;
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return skip(x);
	int r = put_header(x, &st, NULL, -1, &linked);
	return r == 0 ? pack_content(x, fd) : r;
}

static int pack_file(struct pack *x, int dir, const char *name)
{
	bool linked;
	struct stat st;
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return skip(x);
	if (!S_ISREG(st.st_mode)) {
		errno = ESTALE;
		return skip(x);
	}
	int r = put_header(x, &st, NULL, fd, &linked);
	return r == 0 && !linked ? put_content(x, fd, st.st_size) : r;
}

static int pack_entry(struct pack *x, int dir, const char *name)
{
	bool linked;
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return skip(x);
	if (S_ISDIR(st.st_mode))
		return pack_dir(x, dir, name);
	if (S_ISREG(st.st_mode))
		return pack_file(x, dir, name);
	if (S_ISSOCK(st.st_mode))
		return 0;
	if (!S_ISLNK(st.st_mode))
		return put_header(x, &st, NULL, -1, &linked);
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
	if (n < 0)
		return skip(x);
	target[n] = '\0';
	return put_header(x, &st, target, -1, &linked);
}

int hull_pack(const struct hull_pack *p, struct hull_error *err)
{
	struct hull_error why = {0};
	_cleanup_free_ char *chunk = malloc(CHUNK);
	_cleanup_free_ char *zeros = calloc(1, CHUNK);
	struct pack x = {.p = p, .chunk = chunk, .zeros = zeros, .err = &why};
	x.a = archive_write_new();
	x.links = archive_entry_linkresolver_new();
	int r = chunk && zeros && x.a && x.links ? 0 : hull_fail(&why, -ENOMEM, "out of memory");
	if (r == 0) {
		archive_entry_linkresolver_set_strategy(x.links, ARCHIVE_FORMAT_TAR);
		archive_write_set_format_pax(x.a);
		snprintf(x.path, sizeof(x.path), "%s", p->entry ? p->entry : ".");
		if (archive_write_open(x.a, &x, NULL, on_write, NULL) != ARCHIVE_OK)
			r = broken(&x);
	}
	if (r == 0)
		r = pack_entry(&x, p->dir, x.path);
	if (r == 0 && archive_write_close(x.a) != ARCHIVE_OK)
		r = broken(&x);
	archive_write_free(x.a);
	archive_entry_linkresolver_free(x.links);
	if (r < 0)
		return hull_fail(err, r, "%s", why.msg);
	if (x.skipped_count > 1)
		return hull_fail(err, x.skipped.code, "%s (and %u more): the rest was copied", x.skipped.msg,
				 x.skipped_count - 1);
	return x.skipped_count ? hull_fail(err, x.skipped.code, "%s: the rest was copied", x.skipped.msg) : 0;
}

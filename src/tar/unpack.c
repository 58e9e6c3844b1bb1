/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacks a guest's archive; see tar.h. libarchive is restricted to the tar format and used for headers and data only.
 * All decisions about files are made here.
 *
 * A directory is created with mode 0700. It gets its mode and time when the first entry outside it arrives. Directories
 * that existed before keep theirs. */
#include "tar/tar.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"
#include "base/space.h"
#include "base/text.h"
#include "tar/internal.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	PATH_MAX_ = 4096,
	SPACE_STEP = 16 << 20, /* free space is checked once per this many bytes */
	ENTRY_COST = 4096,     /* estimated disk usage of an entry besides its data */
	/* Most bytes read for one header or one block of a file. libarchive keeps some of them in memory (the map of a
	 * sparse file is as long as it claims), and skips the data of entries without content. */
	IDLE_MAX = 16 << 20,
};

struct left_dir {
	struct left_dir *above;
	struct timespec mtime;
	mode_t mode;
	char path[];
};

struct unpack {
	const struct hull_unpack *u;
	struct archive *a;
	struct made made;      /* targets allowed for hard links */
	struct left_dir *open; /* open directories, innermost first */
	struct hull_error *err;
	struct hull_error lost; /* why reading failed, if the archive is not the cause */
	uint64_t spent;
	uint64_t idle; /* bytes read since libarchive last returned a header or data */
	mode_t umask;
	bool began;     /* the one entry has come */
	bool only;      /* the single entry is not a directory: nothing may follow */
	bool made_root; /* the directory was created by this call */
};

/* A copy of an entry's header: libarchive frees its own when the next is read. */
struct item {
	mode_t type, mode;
	struct timespec mtime;
	char *path, *target, *link; /* owned */
};

static void item_free(struct item *i)
{
	free(i->path);
	free(i->target);
	free(i->link);
}

static la_ssize_t on_read(struct archive *a, void *ctx, const void **p)
{
	struct unpack *x = ctx;
	ssize_t n = x->idle >= IDLE_MAX
			    ? hull_fail(&x->lost, -EPROTO, "the sandbox sent an archive with a header but no entry")
			    : x->u->read(x->u->ctx, p, &x->lost);
	if (n < 0)
		archive_set_error(a, EIO, "lost");
	x->idle += n > 0 ? (uint64_t)n : 0;
	return n < 0 ? -1 : n;
}

static int next_header(struct unpack *x, struct archive_entry **e)
{
	x->idle = 0;
	return archive_read_next_header(x->a, e);
}

static int bad(struct unpack *x, const char *what)
{
	return hull_fail(x->err, -EPROTO, "the archive from the sandbox is not what was requested: it has %s", what);
}

static int unreadable(struct unpack *x)
{
	if (x->lost.code)
		return hull_fail(x->err, x->lost.code, "%s", x->lost.msg);
	const char *why = archive_error_string(x->a);
	_cleanup_free_ char *shown = why ? hull_printable(why, strlen(why)) : NULL;
	return hull_fail(x->err, -EPROTO, "the archive from the sandbox is damaged or incomplete: %s",
			 shown ? shown : "damaged");
}

/* --- names --- */

/* "./a//b/" -> "a/b"; owned. NULL for a path that leaves the directory. */
static char *clean(const char *path)
{
	size_t n = path ? strlen(path) : 0, at = 0;
	if (!path || n >= PATH_MAX_ || path[0] == '/')
		return NULL;
	char *out = malloc(n + 1);
	for (const char *c = path; out && *c;) {
		size_t len = strcspn(c, "/");
		bool dots = len == 2 && c[0] == '.' && c[1] == '.';
		if (dots || len > NAME_MAX) {
			free(out);
			return NULL;
		}
		if (len > 0 && !(len == 1 && c[0] == '.')) {
			if (at)
				out[at++] = '/';
			memcpy(out + at, c, len);
			at += len;
		}
		c += len + (c[len] == '/');
	}
	if (out)
		out[at] = '\0';
	return out;
}

/* Map a member's name to a path in the target; owned. The single entry's name is replaced by the host's. */
static char *place(const struct unpack *x, const char *sent)
{
	_cleanup_free_ char *path = clean(sent);
	const char *entry = x->u->entry;
	if (!path || !entry)
		return hull_steal_ptr(path);
	return *entry && hull_path_in(path, entry) ? hull_fmt("%s%s", x->u->name, path + strlen(entry)) : NULL;
}

static const char *pathname(struct archive_entry *e)
{
	const char *p = archive_entry_pathname(e);
	return p ? p : archive_entry_pathname_utf8(e);
}

/* -EPROTO when the path lies outside. */
static int take_item(struct unpack *x, struct archive_entry *e, struct item *i)
{
	i->type = archive_entry_filetype(e);
	i->mode = archive_entry_perm(e) & 0777 & ~x->umask;
	i->mtime.tv_nsec = UTIME_NOW;
	if (archive_entry_mtime_is_set(e)) {
		long nsec = archive_entry_mtime_nsec(e);
		i->mtime = (struct timespec){archive_entry_mtime(e), nsec >= 0 && nsec < 1000000000 ? nsec : 0};
	}
	i->path = place(x, pathname(e));
	if (!i->path) {
		const char *sent = pathname(e);
		_cleanup_free_ char *shown = sent ? hull_printable(sent, strnlen(sent, 200)) : NULL;
		return bad(x, shown ? shown : "a name that cannot be read");
	}
	const char *link = archive_entry_hardlink(e), *target = archive_entry_symlink(e);
	link = link ? link : archive_entry_hardlink_utf8(e);
	target = target ? target : archive_entry_symlink_utf8(e);
	if (link && !(i->link = place(x, link)))
		return bad(x, "a link out of it");
	if (!link && i->type == S_IFLNK && !(i->target = target ? strdup(target) : NULL))
		return bad(x, "a symlink without a target");
	return 0;
}

/* --- directories --- */

static bool below(const char *path, const char *dir)
{
	const char *rest = hull_path_below(path, dir);
	return rest && (*rest || !*dir);
}

/* Finish the open directories that do not contain `path` (NULL = all). If the guest has changed them in the meantime,
 * it affects only itself. */
static void leave(struct unpack *x, const char *path)
{
	while (x->open && !(path && below(path, x->open->path))) {
		struct left_dir *d = x->open;
		const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, d->mtime};
		_cleanup_close_ int fd = beneath_open(x->u->dir, d->path, NULL);
		if (fd >= 0) {
			fchmod(fd, d->mode);
			futimens(fd, times);
		}
		x->open = d->above;
		free(d);
	}
}

static int enter(struct unpack *x, const struct item *i)
{
	struct left_dir *d = malloc(sizeof(*d) + strlen(i->path) + 1);
	if (!d)
		return hull_fail(x->err, -ENOMEM, "out of memory");
	d->above = x->open;
	d->mtime = i->mtime;
	d->mode = i->mode;
	strcpy(d->path, i->path);
	x->open = d;
	return 0;
}

static int make_dir(struct unpack *x, const struct item *i, bool root)
{
	if (!*i->path)
		return x->u->fresh && !x->open ? enter(x, i) : 0;
	int r = beneath_mkdir(x->u->dir, i->path, x->err);
	if (r < 0)
		return r;
	if (r == 0) {
		x->made_root = x->made_root || root;
		return enter(x, i);
	}
	if (!root)
		return 0;
	_cleanup_close_ int fd = beneath_open(x->u->dir, i->path, x->err);
	if (fd < 0)
		return fd;
	if (!beneath_empty(fd))
		return hull_fail(x->err, -EEXIST,
				 "%s is there already and not empty; to copy into it, name what to copy as DIR/.",
				 x->u->name);
	return enter(x, i);
}

/* --- files --- */

static int spend(struct unpack *x, uint64_t n)
{
	x->spent += n;
	if (x->spent < SPACE_STEP)
		return 0;
	x->spent = 0;
	if (hull_space_check(x->u->dir, SPACE_STEP, SPACE_STEP / ENTRY_COST, x->err) < 0)
		return hull_wrap(x->err, "the copy was stopped");
	return 0;
}

static int write_at(struct unpack *x, int fd, const uint8_t *p, size_t n, off_t at)
{
	while (n > 0) {
		size_t step = n < SPACE_STEP ? n : SPACE_STEP;
		int r = spend(x, step);
		if (r < 0)
			return r;
		r = hull_pwrite_full(fd, p, step, at);
		if (r < 0)
			return hull_fail(x->err, r, "cannot write: %s", strerror(-r));
		p += step;
		n -= step;
		at += (off_t)step;
	}
	return 0;
}

static int fill(struct unpack *x, int fd, int64_t size)
{
	int64_t end = 0;
	for (;;) {
		const void *p;
		size_t n;
		la_int64_t at;
		x->idle = 0;
		int r = archive_read_data_block(x->a, &p, &n, &at);
		if (r == ARCHIVE_EOF)
			break;
		if (r < ARCHIVE_WARN)
			return unreadable(x);
		if (at < end || at > INT64_MAX - (int64_t)n)
			return bad(x, "a file that overlaps itself");
		r = write_at(x, fd, p, n, at);
		if (r < 0)
			return r;
		end = at + (int64_t)n;
	}
	/* A hole at its end. */
	if (size > 0 && end < size)
		end = size;
	return ftruncate(fd, end) < 0 ? hull_fail_errno(x->err, "cannot write") : 0;
}

/* A single entry gets its name after the end of the archive and after the sender has confirmed success. */
static int expect_end(struct unpack *x)
{
	struct archive_entry *e;
	int r = next_header(x, &e);
	if (r == ARCHIVE_OK || r == ARCHIVE_WARN)
		return bad(x, "more than one file");
	if (r != ARCHIVE_EOF)
		return unreadable(x);
	return x->u->end(x->u->ctx, x->err);
}

static int make_file(struct unpack *x, const struct item *i, int64_t size, bool only)
{
	_cleanup_(beneath_drop) struct beneath_file f = BENEATH_FILE_NONE;
	int r = beneath_create(&f, x->u->dir, i->path, x->err);
	if (r == 0)
		r = fill(x, f.fd, size);
	if (r == 0 && only)
		r = expect_end(x);
	if (r < 0)
		return r;
	const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, i->mtime};
	if (fchmod(f.fd, i->mode) < 0)
		return hull_fail_errno(x->err, "cannot write");
	futimens(f.fd, times);
	r = only ? 0 : made_add(&x->made, f.fd);
	if (r < 0)
		return hull_fail(x->err, r, "cannot stat the file just created: %s", strerror(-r));
	return beneath_commit(&f, i->path, x->err);
}

/* The innermost of the guest-writable paths that contains it. */
static const char *region(const struct unpack *x, const char *path)
{
	const char *found = NULL;
	for (char *const *s = x->u->apart; s && *s; s++)
		if (hull_path_in(path, *s) && (!found || strlen(*s) > strlen(found)))
			found = *s;
	return found;
}

static int make_link(struct unpack *x, const struct item *i)
{
	const char *from = region(x, i->path), *to = region(x, i->link);
	if (hull_streq(from, to))
		return beneath_link(x->u->dir, i->path, i->link, &x->made, x->err);
	_cleanup_free_ char *shown = hull_printable(i->path, strlen(i->path));
	_cleanup_free_ char *target = hull_printable(i->link, strlen(i->link));
	return hull_fail(x->err, -EPERM,
			 "%s is a hard link to %s, and a sandbox can write in one of them only; it was not made",
			 shown ? shown : "", target ? target : "");
}

static int make(struct unpack *x, const struct item *i, int64_t size, bool root)
{
	bool only = root && x->u->entry != NULL;
	if (i->link)
		return root ? bad(x, "a link without a file") : make_link(x, i);
	if (i->type == S_IFDIR)
		return make_dir(x, i, root && x->u->entry);
	if (!*i->path)
		return bad(x, "no directory");
	if (only && x->u->must_be_dir)
		return bad(x, "no directory");
	x->only = only;
	if (i->type == S_IFREG)
		return make_file(x, i, size, only);
	if (i->type != S_IFLNK && i->type != S_IFIFO)
		return hull_fail(x->err, -EPERM, "%s is a device or socket in the sandbox, which is not made here",
				 i->path);
	int r = only ? expect_end(x) : 0;
	if (r < 0)
		return r;
	if (i->type == S_IFLNK)
		r = beneath_symlink(x->u->dir, i->path, i->target, i->mtime, x->err);
	else
		r = beneath_fifo(x->u->dir, i->path, i->mode, i->mtime, x->err);
	return r < 0 || only ? r : beneath_remember(x->u->dir, i->path, &x->made, x->err);
}

/* The single entry comes first, exactly once; all others lie below it. */
static int take(struct unpack *x, struct archive_entry *e)
{
	_cleanup_(item_free) struct item i = {0};
	int r = take_item(x, e, &i);
	if (r < 0)
		return r;
	bool root = x->u->entry ? strcmp(i.path, x->u->name) == 0 : !*i.path;
	if (x->u->entry && root == x->began)
		return bad(x, root ? "the same entry twice" : "something in front of it");
	x->began = true;
	leave(x, i.path);
	r = spend(x, ENTRY_COST);
	return r < 0 ? r : make(x, &i, archive_entry_size_is_set(e) ? archive_entry_size(e) : 0, root);
}

static int take_all(struct unpack *x)
{
	for (;;) {
		struct archive_entry *e;
		int r = next_header(x, &e);
		if (r == ARCHIVE_EOF)
			break;
		if (r < ARCHIVE_WARN)
			return unreadable(x);
		r = take(x, e);
		if (r < 0 || x->only)
			return r;
	}
	int r = x->u->end(x->u->ctx, x->err);
	if (r == 0 && x->u->entry && !x->began)
		r = bad(x, "nothing");
	return r;
}

int hull_unpack(const struct hull_unpack *u, struct hull_error *err)
{
	struct hull_error why = {0};
	struct unpack x = {.u = u, .a = archive_read_new(), .err = &why};
	if (!x.a)
		return hull_fail(err, -ENOMEM, "out of memory");
	x.umask = umask(0);
	umask(x.umask);
	archive_read_support_format_tar(x.a);
	archive_read_support_format_empty(x.a);
	int r = archive_read_open(x.a, &x, NULL, on_read, NULL) == ARCHIVE_OK ? take_all(&x) : unreadable(&x);
	leave(&x, NULL);
	archive_read_free(x.a);
	made_free(&x.made);
	if (r >= 0)
		return 0;
	/* Do not follow symlinks here either. */
	if (x.made_root)
		hull_remove_tree(u->dir, u->name, NULL);
	return hull_fail(err, r, "%s", why.msg);
}

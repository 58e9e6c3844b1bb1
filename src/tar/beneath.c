/* SPDX-License-Identifier: Apache-2.0 */
/* See internal.h. An existing entry is checked before it is replaced. If it changes in between, the rename replaces the
 * name only and follows nothing. */
#include "tar/internal.h"

#include "base/cleanup.h"
#include "base/path.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

enum { TRIES = 64 };

/* Names in messages are the guest's: make them printable. */
static int fail(struct hull_error *err, const char *path)
{
	int code = errno;
	_cleanup_free_ char *shown = hull_printable(path, strlen(path));
	if (code == ELOOP)
		return hull_fail(err, -ELOOP, "%s is behind a symlink here, which is not followed", shown ? shown : "");
	return hull_fail(err, -code, "%s: %s", shown && *shown ? shown : "the target", strerror(code));
}

int beneath_open(int root, const char *path, struct hull_error *err)
{
	int fd = hull_path_open(root, path, O_RDONLY | O_DIRECTORY, true);
	return fd < 0 ? fail(err, path) : fd;
}

/* Open the parent directory of path; *name = its last component. */
static int open_parent(int root, const char *path, const char **name, struct hull_error *err)
{
	const char *slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	_cleanup_free_ char *dir = strndup(path, slash ? (size_t)(slash - path) : 0);
	if (!dir)
		return hull_fail(err, -ENOMEM, "out of memory");
	return beneath_open(root, dir, err);
}

static const char *kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "a file";
	case S_IFDIR:
		return "a directory";
	case S_IFLNK:
		return "a symlink";
	case S_IFIFO:
		return "a FIFO";
	default:
		return "something else";
	}
}

/* May the existing entry be replaced by one of this type? 1 = there is none. */
static int look(int parent, const char *name, mode_t type, const char *shown_path, struct hull_error *err)
{
	struct stat st;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 1 : fail(err, shown_path);
	if ((st.st_mode & S_IFMT) == type)
		return 0;
	_cleanup_free_ char *shown = hull_printable(shown_path, strlen(shown_path));
	return hull_fail(err, -EEXIST, "%s is there already and is %s, while %s arrived; it was not replaced",
			 shown ? shown : "", kind(st.st_mode), kind(type));
}

int beneath_mkdir(int root, const char *path, struct hull_error *err)
{
	const char *name;
	_cleanup_close_ int parent = open_parent(root, path, &name, err);
	if (parent < 0)
		return parent;
	if (mkdirat(parent, name, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return fail(err, path);
	int r = look(parent, name, S_IFDIR, path, err);
	return r < 0 ? r : 1;
}

bool beneath_empty(int dir)
{
	_cleanup_closedir_ DIR *d = NULL;
	int own = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (own >= 0 && !(d = fdopendir(own)))
		close(own);
	for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			return false;
	return d != NULL;
}

/* A name that nobody has. */
static void scratch_name(char out[32])
{
	uint64_t n = 0;
	if (getrandom(&n, sizeof(n), 0) < 0)
		n = (uint64_t)getpid();
	snprintf(out, 32, ".hull-cp-%016llx", (unsigned long long)n);
}

int beneath_create(struct beneath_file *f, int root, const char *path, struct hull_error *err)
{
	const char *name;
	f->parent = open_parent(root, path, &name, err);
	if (f->parent < 0)
		return f->parent;
	if (strlen(name) >= sizeof(f->name))
		return hull_fail(err, -ENAMETOOLONG, "a name in the archive is too long");
	strcpy(f->name, name);
	/* Checked before the content is received, and again when the file gets its name. */
	int r = look(f->parent, name, S_IFREG, path, err);
	if (r < 0)
		return r;
	f->fd = openat(f->parent, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	for (int i = 0; f->fd < 0 && i < TRIES && (errno == EOPNOTSUPP || errno == EISDIR || errno == EEXIST); i++) {
		scratch_name(f->scratch);
		f->fd = openat(f->parent, f->scratch, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	}
	if (f->fd >= 0)
		return 0;
	r = fail(err, path);
	f->scratch[0] = '\0';
	return r;
}

/* Rename `scratch` to `name`, replacing an entry of the same type. */
static int take_over(int parent, const char *scratch, const char *name, const char *shown, struct hull_error *err)
{
	int r = renameat(parent, scratch, parent, name) < 0 ? fail(err, shown) : 0;
	/* rename(2) does nothing if both names are links to one file. */
	unlinkat(parent, scratch, 0);
	return r;
}

int beneath_commit(struct beneath_file *f, const char *shown, struct hull_error *err)
{
	char from[32];
	if (!f->scratch[0]) {
		snprintf(from, sizeof(from), "/proc/self/fd/%d", f->fd);
		if (linkat(AT_FDCWD, from, f->parent, f->name, AT_SYMLINK_FOLLOW) == 0)
			return 0;
		if (errno != EEXIST)
			return fail(err, shown);
	}
	int r = look(f->parent, f->name, S_IFREG, shown, err);
	if (r < 0)
		return r;
	for (int i = 0; !f->scratch[0]; i++) {
		char scratch[32];
		scratch_name(scratch);
		if (linkat(AT_FDCWD, from, f->parent, scratch, AT_SYMLINK_FOLLOW) == 0)
			memcpy(f->scratch, scratch, sizeof(scratch));
		else if (errno != EEXIST || i == TRIES)
			return fail(err, shown);
	}
	r = take_over(f->parent, f->scratch, f->name, shown, err);
	f->scratch[0] = '\0';
	return r;
}

void beneath_drop(struct beneath_file *f)
{
	if (f->scratch[0])
		unlinkat(f->parent, f->scratch, 0);
	f->scratch[0] = '\0';
	hull_closep(&f->fd);
	hull_closep(&f->parent);
	f->fd = f->parent = -1;
}

/* Create an entry that has no content: under its name or, if an entry of the same type exists, under a scratch name
 * that replaces it. */
struct maker {
	mode_t type;
	mode_t mode;
	const char *target; /* of a symlink */
	const char *link;   /* for a hard link: the /proc path of the open file */
	struct timespec mtime;
};

static int make_at(const struct maker *m, int parent, const char *name)
{
	if (m->link)
		return linkat(AT_FDCWD, m->link, parent, name, AT_SYMLINK_FOLLOW);
	if (m->type == S_IFLNK ? symlinkat(m->target, parent, name) : mkfifoat(parent, name, m->mode))
		return -1;
	const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, m->mtime};
	utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

static int make(const struct maker *m, int root, const char *path, struct hull_error *err)
{
	const char *name;
	_cleanup_close_ int parent = open_parent(root, path, &name, err);
	if (parent < 0)
		return parent;
	if (make_at(m, parent, name) == 0)
		return 0;
	if (errno != EEXIST)
		return fail(err, path);
	int r = look(parent, name, m->type, path, err);
	char scratch[32];
	for (int i = 0; r >= 0; i++) {
		scratch_name(scratch);
		if (make_at(m, parent, scratch) == 0)
			return take_over(parent, scratch, name, path, err);
		if (errno != EEXIST || i == TRIES)
			return fail(err, path);
	}
	return r;
}

int beneath_symlink(int root, const char *path, const char *target, struct timespec mtime, struct hull_error *err)
{
	const struct maker m = {.type = S_IFLNK, .target = target, .mtime = mtime};
	return make(&m, root, path, err);
}

int beneath_fifo(int root, const char *path, mode_t mode, struct timespec mtime, struct hull_error *err)
{
	const struct maker m = {.type = S_IFIFO, .mode = mode, .mtime = mtime};
	return make(&m, root, path, err);
}

/* Open the entry itself (O_PATH), of any type; "" is root. */
static int open_node(int root, const char *path, struct hull_error *err)
{
	int fd = hull_path_open(root, path, O_PATH | O_NOFOLLOW, true);
	return fd < 0 ? fail(err, path) : fd;
}

int beneath_remember(int root, const char *path, struct made *m, struct hull_error *err)
{
	_cleanup_close_ int fd = open_node(root, path, err);
	int r = fd < 0 ? fd : made_add(m, fd);
	return r < 0 && fd >= 0 ? hull_fail(err, r, "cannot stat the file just created: %s", strerror(-r)) : r;
}

int beneath_link(int root, const char *path, const char *to, const struct made *made, struct hull_error *err)
{
	struct stat st;
	char from[32];
	_cleanup_close_ int fd = open_node(root, to, err);
	if (fd < 0)
		return fd;
	if (!made_has(made, fd)) {
		_cleanup_free_ char *shown = hull_printable(path, strlen(path)),
				    *target = hull_printable(to, strlen(to));
		return hull_fail(err, -EPERM,
				 "%s is a hard link to %s, which did not come with this copy; it was not made",
				 shown ? shown : "", target ? target : "");
	}
	if (fstat(fd, &st) < 0)
		return fail(err, to);
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	const struct maker m = {.type = st.st_mode & S_IFMT, .link = from};
	return make(&m, root, path, err);
}

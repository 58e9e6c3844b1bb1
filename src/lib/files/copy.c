/* SPDX-License-Identifier: Apache-2.0 */
/* Copies files and trees between the host and a sandbox, with the semantics of docker cp.
 *
 * In the sandbox its own tar packs and unpacks (guest/session/tar.c). On the host no program does: src/tar reads and
 * writes the archive, because the guest's data is hostile and the guest may modify a workspace during the copy. Paths
 * are resolved by reach.c.
 *
 * Into a sandbox: as with cp(1), an existing directory receives the copy; otherwise the copy gets the name of the last
 * component. Files belong to the sandbox's user; modes, times and links are kept.
 *
 * Out of a sandbox:
 *
 * 1. A symlink as DEST is followed on request only (reach.c).
 * 2. The host determines the name, and that there is a single entry.
 * 3. A file appears when it is complete. A tree grows in place and is removed again when the copy fails.
 * 4. An interrupt leaves nothing, except files of DIR/. that were already copied. */
#include "lib/client.h"
#include "lib/command/session.h"
#include "lib/files/reach.h"
#include "lib/files/transfer.h"
#include "lib/sandbox/life.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "tar/tar.h"
#include "wire/service.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the sandbox's side --- */

/* Runs a command as root in the sandbox without input or output; returns its exit code. */
static int ask(const struct hull *h, const char *name, const char *const *argv, struct hull_error *err)
{
	const struct hull_exec_spec spec = {.argv = argv, .cwd = "/", .user = "root"};
	int fd = life_connect(h, name, err);
	return fd < 0 ? fd : session_run(h, fd, name, NULL, &spec, NULL, err);
}

static int is_directory(const struct hull *h, const char *name, const char *path, struct hull_error *err)
{
	const char *argv[] = {"/usr/bin/test", "-d", path, NULL};
	int r = ask(h, name, argv, err);
	return r < 0 ? r : r == 0;
}

/* "a/b/" -> "a", "b"; owned. */
static int split(const char *path, char **dir, char **base, struct hull_error *err)
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	size_t at = n;
	while (at > 0 && path[at - 1] != '/')
		at--;
	*base = strndup(path + at, n - at);
	*dir = at > 1 ? strndup(path, at - 1) : strdup(at ? "/" : ".");
	return *base && *dir ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

/* Does the path mean the content of the directory ("DIR/.")? */
static bool means_content(const char *path)
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	return n && path[n - 1] == '.' && (n == 1 || path[n - 2] == '/');
}

/* Is the path "..", or does it end in "/.."? */
static bool last_is_dots(const char *path)
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	return n >= 2 && path[n - 1] == '.' && path[n - 2] == '.' && (n == 2 || path[n - 3] == '/');
}

/* --- into a sandbox --- */

static int send(void *ctx, const void *p, size_t n, struct hull_error *err)
{
	return transfer_write(ctx, p, n, err);
}

/* Splits a host path into its open parent directory and its name (NULL = the content of the directory). */
static int open_source(const struct hull *h, const char *src, char **entry, bool *directory, struct hull_error *err)
{
	_cleanup_(reach_free) struct reach at = {0};
	bool content = means_content(src);
	int r = reach_path(&h->paths, src, content || src[strlen(src) - 1] == '/', &at, err);
	if (r < 0)
		return r;
	if (!at.type)
		return hull_fail(err, -ENOENT, "%s: %s", src, strerror(ENOENT));
	*directory = at.type == S_IFDIR;
	if (!*directory && (content || src[strlen(src) - 1] == '/'))
		return hull_fail(err, -ENOTDIR, "%s: %s", src, strerror(ENOTDIR));
	if (content || last_is_dots(src) || !strcmp(at.path, "/"))
		return reach_open(at.path, err);
	_cleanup_free_ char *dir = NULL;
	r = split(at.path, &dir, entry, err);
	return r < 0 ? r : reach_open(dir, err);
}

static int copy_in(const struct hull *h, const char *src, const char *name, const char *path, struct hull_error *err)
{
	_cleanup_free_ char *base = NULL;
	_cleanup_free_ char *to_dir = NULL;
	_cleanup_free_ char *to_base = NULL;
	bool directory = false;
	_cleanup_close_ int from = open_source(h, src, &base, &directory, err);
	if (from < 0)
		return from;
	int r = 0, there = is_directory(h, name, path, err);
	if (there < 0)
		return there;
	if (!there && path[strlen(path) - 1] == '/' && !directory)
		return hull_fail(err, -ENOTDIR, "%s: there is no such directory in %s", path, name);
	if (!there && !base) {
		const char *argv[] = {"/usr/bin/install", "-d", "-o", "1000", "-g", "1000", path, NULL};
		r = ask(h, name, argv, err);
		if (r != 0)
			return r < 0 ? r : hull_fail(err, -EIO, "cannot make %s in %s", path, name);
		there = true;
	}
	if (!there)
		r = split(path, &to_dir, &to_base, err);
	int fd = r < 0 ? r : life_connect(h, name, err);
	if (fd < 0)
		return fd;
	struct transfer *t = transfer_open(h, fd, name, HULL_SVC_TAR_IN, there ? path : to_dir, to_base, err);
	if (!t)
		return err->code ? err->code : -EIO;
	const struct hull_pack pack = {.dir = from, .entry = base, .uid = 1000, .gid = 1000, .write = send, .ctx = t};
	/* Unreadable files are reported, but everything else must arrive. */
	struct hull_error unread = {0};
	r = hull_pack(&pack, &unread);
	int ended = transfer_end(t, err);
	transfer_close(t);
	return ended < 0 ? ended : r < 0 ? hull_fail(err, r, "%s", unread.msg) : 0;
}

/* --- out of a sandbox --- */

static ssize_t receive(void *ctx, const void **p, struct hull_error *err)
{
	return transfer_read(ctx, p, err);
}

static int complete(void *ctx, struct hull_error *err)
{
	return transfer_end(ctx, err);
}

static int unpack(const struct hull *h, const char *name, const char *path, struct hull_unpack *u,
		  struct hull_error *err)
{
	int fd = life_connect(h, name, err);
	struct transfer *t = fd < 0 ? NULL : transfer_open(h, fd, name, HULL_SVC_TAR_OUT, path, NULL, err);
	if (!t)
		return err->code ? err->code : -EIO;
	u->read = receive;
	u->end = complete;
	u->ctx = t;
	int r = hull_unpack(u, err);
	transfer_close(t);
	return r;
}

static int copy_content(const struct hull *h, const char *name, const char *path, const char *dst, bool follow,
			struct hull_error *err)
{
	_cleanup_(reach_free) struct reach at = {0};
	int r = reach_dest(&h->paths, dst, follow, &at, err);
	if (r < 0)
		return r;
	if (at.type && at.type != S_IFDIR)
		return hull_fail(err, -ENOTDIR, "%s: %s", dst, strerror(ENOTDIR));
	bool fresh = !at.type;
	char **shared = NULL;
	r = reach_shared_below(&h->paths, at.path, &shared, err);
	if (r < 0)
		return r;
	if (fresh && mkdir(at.path, 0777) < 0) {
		hull_strv_free(shared);
		return hull_fail_errno(err, "%s", dst);
	}
	_cleanup_close_ int dir = reach_open(at.path, err);
	struct hull_unpack u = {.dir = dir, .fresh = fresh, .apart = shared};
	r = dir < 0 ? dir : unpack(h, name, path, &u, err);
	hull_strv_free(shared);
	if (r < 0 && fresh)
		rmdir(at.path); /* when nothing came */
	return r;
}

static int copy_out(const struct hull *h, const char *name, const char *path, const char *dst, bool follow,
		    struct hull_error *err)
{
	_cleanup_(reach_free) struct reach at = {0}, itself = {0};
	_cleanup_free_ char *asked = NULL;
	_cleanup_free_ char *asked_dir = NULL;
	_cleanup_free_ char *dir = NULL;
	_cleanup_free_ char *base = NULL;
	if (means_content(path) || !path[strspn(path, "/")])
		return copy_content(h, name, path, dst, follow, err);
	int r = split(path, &asked_dir, &asked, err);
	if (r == 0 && !strcmp(asked, ".."))
		return hull_fail(err, -EINVAL, "%s: name the directory itself, or DIR/. for what is in it", path);
	if (r == 0)
		r = reach_dest(&h->paths, dst, follow, &at, err);
	if (r < 0)
		return r;
	bool slash = dst[strlen(dst) - 1] == '/', there = at.type == S_IFDIR;
	if (!there && slash)
		return hull_fail(err, -ENOTDIR, "%s: there is no such directory", dst);
	/* A symlink that does not lead to a directory is neither written through nor replaced. */
	if (!there)
		r = reach_path(&h->paths, dst, false, &itself, err);
	if (r == 0 && !there)
		r = split(itself.path, &dir, &base, err);
	_cleanup_close_ int to = r < 0 ? r : reach_open(there ? at.path : dir, err);
	if (to < 0)
		return to;
	struct hull_unpack u = {
		.dir = to, .entry = asked, .name = there ? asked : base, .must_be_dir = path[strlen(path) - 1] == '/'};
	return unpack(h, name, path, &u, err);
}

/* --- the calls --- */

/* A connection to the sandbox, which is started if necessary. Makes `path` absolute; owned. */
static int begin(const struct hull *h, const char *name, const char *path, char **whole, struct hull_error *err)
{
	*whole = path[0] == '/' ? strdup(path) : hull_fmt("/%s", path);
	if (!*whole)
		return hull_fail(err, -ENOMEM, "out of memory");
	return life_connect(h, name, err);
}

int hull_copy_in(struct hull *h, const char *from, const char *name, const char *to, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_free_ char *path = NULL;
	if (!*from || !*to)
		return hull_fail(err, -EINVAL, "an empty path");
	int fd = begin(h, name, to, &path, err);
	if (fd < 0)
		return fd;
	close(fd); /* it runs now */
	return copy_in(h, from, name, path, err);
}

int hull_copy_out(struct hull *h, const char *name, const char *from, const char *to, unsigned flags,
		  struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_free_ char *path = NULL;
	if (!*from || !*to)
		return hull_fail(err, -EINVAL, "an empty path");
	int fd = lib_flags(flags, HULL_COPY_FOLLOW, err);
	if (fd >= 0)
		fd = begin(h, name, from, &path, err);
	if (fd < 0)
		return fd;
	close(fd);
	return copy_out(h, name, path, to, (flags & HULL_COPY_FOLLOW) != 0, err);
}

int hull_archive_in(struct hull *h, const char *name, const char *to, int fd, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_free_ char *path = NULL;
	int socket = begin(h, name, to, &path, err);
	return socket < 0 ? socket : transfer_run(h, socket, name, HULL_SVC_TAR_IN, path, fd, err);
}

int hull_archive_out(struct hull *h, const char *name, const char *from, int fd, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_free_ char *path = NULL;
	int socket = begin(h, name, from, &path, err);
	return socket < 0 ? socket : transfer_run(h, socket, name, HULL_SVC_TAR_OUT, path, fd, err);
}

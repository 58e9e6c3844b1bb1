/* hull cp: files and trees between the host and a sandbox, as docker cp has it.
 *
 * In the sandbox its own tar packs and unpacks (guest/session/tar.c). Here no program does: src/tar reads and writes the
 * archive, since what a guest sends is hostile, and a workspace that files are read from or written to is a place where
 * the guest can change things meanwhile. How a path leads there: reach.c.
 *
 * Into a sandbox: what is there already decides, as with cp(1): into a directory, or under the name of the last
 * component. What arrives belongs to the sandbox's user; modes, times and links are kept.
 *
 * Out of one: a symlink as DEST is followed on request only (reach.c). The host decides the name, and that it is one
 * entry. It appears when it is complete, if it is a file; a tree grows where it is to be, and is removed again when
 * that fails. An interrupt leaves nothing but what was copied of DIR/. already. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/sandbox/life.h"
#include "lib/files/reach.h"
#include "lib/command/session.h"
#include "lib/files/transfer.h"
#include "cli/verbs.h"
#include "tar/tar.h"
#include "wire/service.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool tolerated, quiet, follow;

static const struct cli_opt options[] = {
	{'a', "archive", NULL, "accepted as docker has it: modes, times and links are always kept", .flag = &tolerated},
	{'L', "follow-link", NULL, "follow DEST on the host when it is a symlink", .flag = &follow},
	{'q', "quiet", NULL, "no progress", .flag = &quiet},
	{0},
};

/* --- the sandbox's side --- */

/* The exit code of a command run as root there, without input or output. */
static int ask(struct cli *cli, const char *name, char *const *argv, struct hull_error *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fd = null < 0 ? hull_fail_errno(err, "/dev/null") : life_connect(cli, name, NULL, err);
	if (fd < 0)
		return fd;
	struct session_spec spec = {
		.name = name, .argv = argv, .cwd = "/", .user = "root", .in_fd = null, .out_fd = null, .err_fd = null};
	return session_run(fd, &spec, NULL, err);
}

static int is_directory(struct cli *cli, const char *name, const char *path, struct hull_error *err)
{
	char *argv[] = {"/usr/bin/test", "-d", (char *)(uintptr_t)path, NULL};
	int r = ask(cli, name, argv, err);
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

/* Does it mean what is in it, not itself? */
static bool means_content(const char *path)
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	return n && path[n - 1] == '.' && (n == 1 || path[n - 2] == '/');
}

/* "..", or a path that ends so. */
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

/* What of the host is meant: the directory it is in, open, and its name (NULL = what is in the directory). */
static int open_source(struct cli *cli, const char *src, char **entry, bool *directory, struct hull_error *err)
{
	_cleanup_(reach_free) struct reach at = {0};
	bool content = means_content(src);
	int r = reach_path(&cli->paths, src, content || src[strlen(src) - 1] == '/', &at, err);
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

static int copy_in(struct cli *cli, const char *src, const char *name, const char *path, struct hull_error *err)
{
	_cleanup_free_ char *base = NULL;
	_cleanup_free_ char *to_dir = NULL;
	_cleanup_free_ char *to_base = NULL;
	bool directory = false;
	_cleanup_close_ int from = open_source(cli, src, &base, &directory, err);
	if (from < 0)
		return from;
	int r = 0, there = is_directory(cli, name, path, err);
	if (there < 0)
		return there;
	if (!there && path[strlen(path) - 1] == '/' && !directory)
		return hull_fail(err, -ENOTDIR, "%s: there is no such directory in %s", path, name);
	if (!there && !base) {
		char *argv[] = {"/usr/bin/install", "-d", "-o", "1000", "-g", "1000", (char *)(uintptr_t)path, NULL};
		r = ask(cli, name, argv, err);
		if (r != 0)
			return r < 0 ? r : hull_fail(err, -EIO, "cannot make %s in %s", path, name);
		there = true;
	}
	if (!there)
		r = split(path, &to_dir, &to_base, err);
	int fd = r < 0 ? r : life_connect(cli, name, NULL, err);
	if (fd < 0)
		return fd;
	struct transfer *t = transfer_open(fd, HULL_SVC_TAR_IN, there ? path : to_dir, to_base, quiet, err);
	if (!t)
		return err->code ? err->code : -EIO;
	const struct hull_pack pack = {.dir = from, .entry = base, .uid = 1000, .gid = 1000, .write = send, .ctx = t};
	/* What could not be read here is told, but the rest has to arrive. */
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

static int unpack(struct cli *cli, const char *name, const char *path, struct hull_unpack *u, struct hull_error *err)
{
	int fd = life_connect(cli, name, NULL, err);
	struct transfer *t = fd < 0 ? NULL : transfer_open(fd, HULL_SVC_TAR_OUT, path, NULL, quiet, err);
	if (!t)
		return err->code ? err->code : -EIO;
	u->read = receive;
	u->end = complete;
	u->ctx = t;
	int r = hull_unpack(u, err);
	transfer_close(t);
	return r;
}

static int copy_content(struct cli *cli, const char *name, const char *path, const char *dst, struct hull_error *err)
{
	_cleanup_(reach_free) struct reach at = {0};
	int r = reach_dest(&cli->paths, dst, follow, &at, err);
	if (r < 0)
		return r;
	if (at.type && at.type != S_IFDIR)
		return hull_fail(err, -ENOTDIR, "%s: %s", dst, strerror(ENOTDIR));
	bool fresh = !at.type;
	char **shared = NULL;
	r = reach_shared_below(&cli->paths, at.path, &shared, err);
	if (r < 0)
		return r;
	if (fresh && mkdir(at.path, 0777) < 0) {
		hull_strv_free(shared);
		return hull_fail_errno(err, "%s", dst);
	}
	_cleanup_close_ int dir = reach_open(at.path, err);
	struct hull_unpack u = {.dir = dir, .fresh = fresh, .apart = shared};
	r = dir < 0 ? dir : unpack(cli, name, path, &u, err);
	hull_strv_free(shared);
	if (r < 0 && fresh)
		rmdir(at.path); /* when nothing came */
	return r;
}

static int copy_out(struct cli *cli, const char *name, const char *path, const char *dst, struct hull_error *err)
{
	_cleanup_(reach_free) struct reach at = {0}, itself = {0};
	_cleanup_free_ char *asked = NULL;
	_cleanup_free_ char *asked_dir = NULL;
	_cleanup_free_ char *dir = NULL;
	_cleanup_free_ char *base = NULL;
	if (means_content(path) || !path[strspn(path, "/")])
		return copy_content(cli, name, path, dst, err);
	int r = split(path, &asked_dir, &asked, err);
	if (r == 0 && !strcmp(asked, ".."))
		return hull_fail(err, -EINVAL, "%s: name the directory itself, or DIR/. for what is in it", path);
	if (r == 0)
		r = reach_dest(&cli->paths, dst, follow, &at, err);
	if (r < 0)
		return r;
	bool slash = dst[strlen(dst) - 1] == '/', there = at.type == S_IFDIR;
	if (!there && slash)
		return hull_fail(err, -ENOTDIR, "%s: there is no such directory", dst);
	/* A symlink that leads to no directory stands for itself: it is not written through, and not replaced. */
	if (!there)
		r = reach_path(&cli->paths, dst, false, &itself, err);
	if (r == 0 && !there)
		r = split(itself.path, &dir, &base, err);
	_cleanup_close_ int to = r < 0 ? r : reach_open(there ? at.path : dir, err);
	if (to < 0)
		return to;
	struct hull_unpack u = {
		.dir = to, .entry = asked, .name = there ? asked : base, .must_be_dir = path[strlen(path) - 1] == '/'};
	return unpack(cli, name, path, &u, err);
}

/* --- the verb --- */

/* "NAME:PATH": the name, owned, and the path in the sandbox, absolute and owned. False when it is no such thing, as
 * "./a:b" and "/a:b" are not. */
static bool remote(const char *word, char **name, char **path)
{
	const char *colon = strchr(word, ':');
	struct hull_error err;
	if (!colon || memchr(word, '/', (size_t)(colon - word)))
		return false;
	*name = strndup(word, (size_t)(colon - word));
	*path = colon[1] == '/' ? strdup(colon + 1) : hull_fmt("/%s", colon + 1);
	return *name && *path && hull_name_check(*name, &err) >= 0;
}

static int run(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *from = NULL;
	_cleanup_free_ char *from_path = NULL;
	_cleanup_free_ char *to = NULL;
	_cleanup_free_ char *to_path = NULL;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	const char *src = cli->words[0], *dst = cli->words[1];
	bool out = remote(src, &from, &from_path), in = remote(dst, &to, &to_path);
	if (in == out)
		return hull_fail(err, -EINVAL, "cp: one of the two has to be in a sandbox, as NAME:PATH%s",
				 in ? ", the other one here" : "");
	if (!*src || !*dst)
		return hull_fail(err, -EINVAL, "cp: an empty path");
	if (follow && in)
		return hull_fail(err, -EINVAL, "cp: --follow-link is for DEST on the host");
	signal(SIGPIPE, SIG_IGN);
	int r = life_load(cli, in ? to : from, &sb, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, in ? to : from);
	int fd = life_connect(cli, in ? to : from, &progress, err);
	cli_progress_end(&progress);
	if (fd < 0)
		return fd;
	if (in && !strcmp(src, "-"))
		return transfer_run(fd, HULL_SVC_TAR_IN, to_path, STDIN_FILENO, err);
	if (out && !strcmp(dst, "-")) {
		if (isatty(STDOUT_FILENO)) {
			close(fd);
			return hull_fail(err, -EINVAL, "cp: the archive is not for a terminal; redirect it");
		}
		return transfer_run(fd, HULL_SVC_TAR_OUT, from_path, STDOUT_FILENO, err);
	}
	close(fd); /* it runs now */
	if (cli_signals_catch() < 0)
		return hull_fail(err, -EIO, "cannot catch signals");
	r = in ? copy_in(cli, src, to, to_path, err) : copy_out(cli, from, from_path, dst, err);
	return r < 0 && cli_signals_ended() ? 128 + cli_signals_ended() : r;
}

const struct cli_verb verb_cp = {
	.name = "cp",
	.usage = "SRC|NAME:SRC|- NAME:DEST|DEST|-",
	.summary = "copy files between the host and a sandbox",
	.about = "NAME:PATH is in the sandbox, which is started if it does not run. As with cp, an existing directory "
		 "is "
		 "copied into; DIR/. means what is in DIR. - is a tar archive on stdin, unpacked in the directory "
		 "DEST, or "
		 "on stdout. What is copied in belongs to the sandbox's user, what is copied out to you.",
	.aka = "copy scp",
	.options = options,
	.min_words = 2,
	.max_words = 2,
	.complete = CLI_FILE,
	.run = run,
};

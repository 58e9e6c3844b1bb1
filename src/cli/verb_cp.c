/* hull cp: files and trees between the host and a sandbox, as docker cp has it.
 *
 * Both ends pack and unpack by tar: the sandbox's own in it (guest/tar.c), the system's here, as a child.
 *
 * Into a sandbox: what is there already decides, as with cp(1): into a directory, or under the name of the last
 * component. What arrives belongs to the sandbox's user; modes, times and links are kept.
 *
 * Out of one: the archive was written by the guest and is not trusted. It is unpacked into a fresh directory beside the
 * destination, by a tar that refuses names with "..", makes no device nodes (CAP_MKNOD is given up), keeps no owners
 * and no setuid bits; then the one entry in it is moved into place. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "cli/life.h"
#include "cli/session.h"
#include "cli/transfer.h"
#include "cli/verbs.h"
#include "wire/service.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool tolerated, quiet;

static const struct cli_opt options[] = {
	{'a', "archive", NULL, "accepted as docker has it: modes, times and links are always kept", .flag = &tolerated},
	{'q', "quiet", NULL, "no progress while the sandbox starts", .flag = &quiet},
	{0},
};

/* --- tar on the host --- */

/* Start tar with one standard descriptor on a pipe, whose other end is *ours. */
static int start_tar(char *const *argv, bool writes, const char *dir, pid_t *pid, int *ours, struct hull_error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "cannot make a pipe");
	pid_t child = fork();
	if (child < 0) {
		close(ends[0]);
		close(ends[1]);
		return hull_fail_errno(err, "cannot start tar");
	}
	if (child == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(writes ? null : ends[0], 0);
		dup2(writes ? ends[1] : 2, 1);
		prctl(PR_CAPBSET_DROP, CAP_MKNOD);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		umask(0);
		signal(SIGPIPE, SIG_DFL);
		if (dir && chdir(dir) < 0)
			_exit(126);
		execvp(argv[0], argv);
		fprintf(stderr, "hull: cannot run tar: %s\n", strerror(errno));
		_exit(127);
	}
	close(writes ? ends[1] : ends[0]);
	*ours = writes ? ends[0] : ends[1];
	*pid = child;
	return 0;
}

/* tar says on stderr what is wrong. */
static int end_tar(pid_t pid, struct hull_error *err)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return hull_fail_errno(err, "waiting for tar");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return hull_fail(err, -EIO, "tar failed on this side");
}

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

static int copy_in(struct cli *cli, const char *src, const char *name, const char *path, struct hull_error *err)
{
	_cleanup_free_ char *dir = NULL;
	_cleanup_free_ char *base = NULL;
	_cleanup_free_ char *to_dir = NULL;
	_cleanup_free_ char *to_base = NULL;
	_cleanup_close_ int from = -1;
	struct stat st;
	bool content = means_content(src);
	if (lstat(src, &st) < 0)
		return hull_fail(err, -errno, "%s: %s", src, strerror(errno));
	int r = content ? 0 : split(src, &dir, &base, err);
	if (r == 0 && !content && !strcmp(base, ".."))
		content = true;
	int there = r < 0 ? r : is_directory(cli, name, path, err);
	if (there < 0)
		return there;
	if (!there && path[strlen(path) - 1] == '/' && !S_ISDIR(st.st_mode))
		return hull_fail(err, -ENOTDIR, "%s: there is no such directory in %s", path, name);
	if (!there && content) {
		char *argv[] = {"/usr/bin/install", "-d", "-o", "1000", "-g", "1000", (char *)(uintptr_t)path, NULL};
		r = ask(cli, name, argv, err);
		if (r != 0)
			return r < 0 ? r : hull_fail(err, -EIO, "cannot make %s in %s", path, name);
		there = true;
	}
	if (!there)
		r = split(path, &to_dir, &to_base, err);
	if (r < 0)
		return r;
	/* The name behind "--" may begin with a dash. */
	char *argv[] = {"tar",          "--create",     "--file=-", "--format=posix",     "--sparse", "--numeric-owner",
			"--owner=1000", "--group=1000", "--",       content ? "." : base, NULL};
	pid_t pid;
	r = start_tar(argv, true, content ? src : dir, &pid, &from, err);
	if (r < 0)
		return r;
	int fd = life_connect(cli, name, NULL, err);
	r = fd < 0 ? fd : transfer_run(fd, HULL_SVC_TAR_IN, there ? path : to_dir, to_base, from, err);
	close(hull_steal_fd(&from));
	struct hull_error why = {0};
	int ended = end_tar(pid, r < 0 ? &why : err);
	return r < 0 ? r : ended;
}

/* The only entry of a directory, owned; NULL when there is none. */
static char *only_entry(const char *dir)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			return strdup(e->d_name);
	return NULL;
}

static int unpack(struct cli *cli, const char *name, const char *path, const char *into, struct hull_error *err)
{
	_cleanup_close_ int to = -1;
	pid_t pid;
	char *argv[] = {
		"tar", "--extract", "--file=-", "--no-same-owner", "--no-same-permissions", "--delay-directory-restore",
		NULL};
	int fd = life_connect(cli, name, NULL, err);
	if (fd < 0)
		return fd;
	int r = start_tar(argv, false, into, &pid, &to, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	r = transfer_run(fd, HULL_SVC_TAR_OUT, path, NULL, to, err);
	close(hull_steal_fd(&to));
	struct hull_error why = {0};
	int ended = end_tar(pid, r < 0 ? &why : err);
	return r < 0 ? r : ended;
}

static int move_into(const char *scratch, const char *dst, bool there, struct hull_error *err)
{
	_cleanup_free_ char *entry = only_entry(scratch);
	_cleanup_free_ char *from = entry ? hull_fmt("%s/%s", scratch, entry) : NULL;
	_cleanup_free_ char *to = entry ? (there ? hull_fmt("%s/%s", dst, entry) : strdup(dst)) : NULL;
	if (!entry)
		return hull_fail(err, -EIO, "nothing arrived");
	if (!from || !to)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (rename(from, to) == 0)
		return 0;
	if (errno == ENOTEMPTY || errno == EEXIST)
		return hull_fail(err, -EEXIST,
				 "%s is there already and not empty; to copy into it, name what to copy as DIR/.", to);
	return hull_fail_errno(err, "%s", to);
}

static int copy_out(struct cli *cli, const char *name, const char *path, const char *dst, struct hull_error *err)
{
	struct stat st;
	bool there = stat(dst, &st) == 0 && S_ISDIR(st.st_mode);
	if (means_content(path)) { /* the archive's names begin with "./": into the directory itself */
		if (!there && mkdir(dst, 0777) < 0)
			return hull_fail_errno(err, "%s", dst);
		return unpack(cli, name, path, dst, err);
	}
	if (!there && dst[strlen(dst) - 1] == '/')
		return hull_fail(err, -ENOTDIR, "%s: there is no such directory", dst);
	_cleanup_free_ char *dir = NULL;
	_cleanup_free_ char *base = NULL;
	int r = there ? 0 : split(dst, &dir, &base, err);
	_cleanup_free_ char *scratch = r == 0 ? hull_fmt("%s/.hull-cp-XXXXXX", there ? dst : dir) : NULL;
	if (!scratch)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!mkdtemp(scratch))
		return hull_fail_errno(err, "cannot write in %s", there ? dst : dir);
	r = unpack(cli, name, path, scratch, err);
	if (r == 0)
		r = move_into(scratch, dst, there, err);
	hull_remove_tree(AT_FDCWD, scratch, NULL);
	return r;
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
		return transfer_run(fd, HULL_SVC_TAR_IN, to_path, NULL, STDIN_FILENO, err);
	if (out && !strcmp(dst, "-")) {
		if (isatty(STDOUT_FILENO)) {
			close(fd);
			return hull_fail(err, -EINVAL, "cp: the archive is not for a terminal; redirect it");
		}
		return transfer_run(fd, HULL_SVC_TAR_OUT, from_path, NULL, STDOUT_FILENO, err);
	}
	close(fd); /* it runs now */
	return in ? copy_in(cli, src, to, to_path, err) : copy_out(cli, from, from_path, dst, err);
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

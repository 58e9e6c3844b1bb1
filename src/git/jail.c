/* SPDX-License-Identifier: Apache-2.0 */
/* The jail of git on the host. A repository's configuration names programs for git to run: filters, hooks, watchers,
 * transports. A repository that an agent had as its workspace, or that came in an archive, may exploit this. So git is
 * jailed:
 *
 * 1. It can start no process and execute no program (a system call filter, which works without namespaces too).
 * 2. It sees the repository, read-only unless it has to write to it, libraries, and the user's git configuration.
 * 3. It has no network.
 *
 * git's own protections (GIT_NO_LAZY_FETCH, GIT_ALLOW_PROTOCOL, core.hooksPath) are set as well, so that it fails early
 * with a clear message. They do not replace the jail: not every command honours them. Consequently only built-in
 * commands of git can be used here, and none that runs another.
 *
 * The repository is found without git, by git's rules: `.git` in the directory or above it, a directory or a file that
 * names one; the common directory of a linked worktree; alternates. A path out of the work tree is trusted only if the
 * repository leads back (worktree.c); otherwise a file in a workspace could open any repository of the user's. Paths
 * are pinned: if one is renamed or replaced, the start fails. Paths are equal inside and outside. For git-remote-hull
 * the user's own git has already found the repository and is trusted. A guest's pack is written to a separate directory
 * (incoming.c); the rest of the repository is then read-only. */
#include "git/internal.h"

#include "base/cleanup.h"
#include "base/path.h"
#include "base/sanitizer.h"
#include "base/text.h"
#include "jail/filter.h"
#include "jail/jail.h"

#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BINDS_MAX = 40, ARGS_MAX = 64, ENV_MAX = 24, ALTERNATES_MAX = 8, CONFIGS_MAX = 8 };

static const uint64_t MEMORY_MAX = HULL_ASAN ? 1ULL << 46 : 8ULL << 30;

struct cell {
	struct hull_bind binds[BINDS_MAX];
	size_t count;
	bool full;              /* there was one more */
	char *owned[BINDS_MAX]; /* paths */
	int fds[BINDS_MAX];     /* what they are */
	char *env[ENV_MAX];     /* owned */
	size_t env_count;
	struct stat top;
};

static void cell_free(struct cell *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->owned[i]);
		hull_closep(&c->fds[i]);
	}
	for (size_t i = 0; i < c->env_count; i++)
		free(c->env[i]);
}

/* A resolved path (owned from here on) or NULL; `pin` = others may rename it. */
static void add(struct cell *c, char *path, bool pin, bool writable)
{
	if (!path || c->count == BINDS_MAX) {
		c->full = c->full || path;
		free(path);
		return;
	}
	int fd = pin ? hull_path_open(AT_FDCWD, path, O_PATH, false) : -1;
	if (pin && fd < 0) {
		free(path); /* git reports that it is missing */
		return;
	}
	c->fds[c->count] = fd;
	c->owned[c->count] = path;
	c->binds[c->count++] = (struct hull_bind){
		.source = path, .target = path, .writable = writable, .optional = !pin, .fd = fd > 0 ? fd : 0};
}

/* --- the repository --- */

static bool is(const char *dir, const char *name, mode_t type, struct stat *st)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", dir, name);
	return path && stat(path, st) == 0 && (st->st_mode & S_IFMT) == type;
}

static void add_alternates(struct cell *c, const char *objects)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	struct stat st;
	unsigned n = 0;
	if (hull_git_read(objects, "info/alternates", 64 * 1024, &text, NULL) <= 0)
		return;
	char *save = NULL;
	for (char *l = strtok_r((char *)hull_buf_bytes(&text), "\n", &save); l && n < ALTERNATES_MAX;
	     l = strtok_r(NULL, "\n", &save), n++) {
		_cleanup_free_ char *path = l[0] == '/' ? strdup(l) : hull_fmt("%s/%s", objects, l);
		_cleanup_free_ char *real = path ? realpath(path, NULL) : NULL;
		const char *name = real ? strrchr(real, '/') : NULL;
		/* The list is untrusted: accept only directories of objects. */
		if (name && strcmp(name, "/objects") == 0 &&
		    (is(real, "pack", S_IFDIR, &st) || is(real, "info", S_IFDIR, &st)))
			add(c, hull_steal_ptr(real), true, false);
	}
}

/* The repository that contains the resolved path `dir`; if there is none, only the directory. */
static int add_repository(struct cell *c, const char *dir, bool writes, struct hull_error *err)
{
	_cleanup_(hull_git_worktree_free) struct hull_git_worktree w = {0};
	_cleanup_free_ char *top = strdup(dir);
	int r = 0;
	while (top) {
		r = hull_git_repository(top, &w, err);
		char *slash = strrchr(top, '/');
		if (r != 0 || !slash || slash == top)
			break;
		*slash = '\0';
	}
	if (r < 0)
		return r;
	if (top && !w.own) {
		free(top);
		top = strdup(dir);
	}
	if (!top)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (stat(top, &c->top) < 0)
		return hull_fail_errno(err, "%s", top);
	const char *own = w.own, *common = w.common;
	add(c, strdup(top), true, false);
	if (own && (writes || !hull_path_in(own, top)))
		add(c, strdup(own), true, writes);
	if (own && common && (writes || !hull_path_in(common, top)) && !hull_path_in(common, own))
		add(c, strdup(common), true, writes);
	_cleanup_free_ char *objects = common ? hull_fmt("%s/objects", common) : NULL;
	if (objects)
		add_alternates(c, objects);
	return 0;
}

static void set(struct cell *c, char *text)
{
	if (text && c->env_count < ENV_MAX - 1)
		c->env[c->env_count++] = text;
	else
		free(text);
}

/* A variable that holds a list of one path: quoted as git requires, since ':' separates entries. */
static void set_path(struct cell *c, const char *name, const char *path)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	int r = hull_buf_addf(&b, "%s=\"", name);
	for (; r == 0 && *path; path++)
		r = hull_buf_addf(&b, strchr("\\\"", *path) ? "\\%c" : "%c", *path);
	if (r == 0)
		r = hull_buf_addstr(&b, "\"");
	if (r == 0)
		set(c, strndup((const char *)hull_buf_bytes(&b), b.len));
}

/* A repository found by git itself. New objects go to `incoming`, where the repository's own are visible. */
static int add_own(struct cell *c, const struct hull_git_own *own, const char *incoming, struct hull_error *err)
{
	if (stat(own->dir, &c->top) < 0)
		return hull_fail_errno(err, "%s", own->dir);
	add(c, strdup(own->common), true, false);
	if (!hull_path_in(own->dir, own->common))
		add(c, strdup(own->dir), true, false);
	if (!hull_path_in(own->objects, own->common))
		add(c, strdup(own->objects), true, false);
	if (incoming)
		add(c, strdup(incoming), true, true);
	add_alternates(c, own->objects);
	set(c, hull_fmt("GIT_DIR=%s", own->dir));
	set(c, hull_fmt("GIT_OBJECT_DIRECTORY=%s", incoming ? incoming : own->objects));
	if (incoming)
		set_path(c, "GIT_ALTERNATE_OBJECT_DIRECTORIES", own->objects);
	return 0;
}

/* --- other files that git needs --- */

static void pass_on(struct cell *c, const char *name)
{
	const char *value = getenv(name);
	if (value)
		set(c, hull_fmt("%s=%s", name, value));
}

/* The user's own configuration and the files it commonly includes. No credentials. */
static void add_configuration(struct cell *c)
{
	const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME"), *global = getenv("GIT_CONFIG_GLOBAL");
	/* Run by root for another user's repository, git runs as that user, who does not get root's files. */
	bool own = geteuid() != 0 || c->top.st_uid == 0;
	add(c, strdup("/etc/gitconfig"), false, false);
	pass_on(c, "GIT_CONFIG_NOSYSTEM");
	if (!own || !home || home[0] != '/') {
		set(c, strdup("HOME=/nonexistent"));
		return;
	}
	set(c, hull_fmt("HOME=%s", home));
	pass_on(c, "XDG_CONFIG_HOME");
	pass_on(c, "GIT_CONFIG_GLOBAL");
	if (global && global[0] == '/')
		add(c, strdup(global), false, false);
	_cleanup_free_ char *mine = hull_fmt("%s/.gitconfig*", home);
	_cleanup_free_ char *other = xdg && *xdg == '/' ? hull_fmt("%s/git/config*", xdg)
							: hull_fmt("%s/.config/git/config*", home);
	const char *const patterns[] = {mine, other};
	for (size_t i = 0; i < 2; i++) {
		glob_t found = {0};
		if (patterns[i] && glob(patterns[i], 0, NULL, &found) == 0)
			for (size_t k = 0; k < found.gl_pathc && k < CONFIGS_MAX; k++)
				add(c, strdup(found.gl_pathv[k]), false, false);
		globfree(&found);
	}
}

static void add_system(struct cell *c, const char *git)
{
	static const char *const places[] = {"/usr/lib", "/usr/lib64", "/usr/local/lib",  "/lib",
					     "/lib64",   "/nix/store", "/etc/ld.so.cache"};
	static const char *const fixed[] = {"PATH=/nonexistent",        "LC_ALL=C",
					    "GIT_NO_REPLACE_OBJECTS=1", "GIT_OPTIONAL_LOCKS=0",
					    "GIT_TERMINAL_PROMPT=0",    "GIT_NO_LAZY_FETCH=1",
					    "GIT_ALLOW_PROTOCOL=none"};
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		add(c, strdup(places[i]), false, false);
	/* Outside /usr: the libraries are next to it. */
	char *bin = strstr(git, "/bin/");
	if (bin && !hull_starts(git, "/usr/") && !hull_starts(git, "/nix/store/") && bin != git)
		add(c, hull_fmt("%.*s/lib", (int)(bin - git), git), false, false);
	for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		set(c, strdup(fixed[i]));
}

static char *find_git(struct hull_error *err)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *dirs = strdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
	char *save = NULL;
	for (char *d = dirs ? strtok_r(dirs, ":", &save) : NULL; d; d = strtok_r(NULL, ":", &save)) {
		_cleanup_free_ char *at = hull_fmt("%s/git", d);
		char *real = at && d[0] == '/' && access(at, X_OK) == 0 ? realpath(at, NULL) : NULL;
		if (real)
			return real;
	}
	hull_fail(err, -ENOENT, "there is no git in PATH: install it");
	return NULL;
}

/* git is executed by its descriptor, once (execveat); execve, which git itself would use, is refused. */
static int no_program(void *arg, struct hull_error *err)
{
	static const int refused[] = {SCMP_SYS(execve)};
	const struct hull_filter filter = {.refused = refused, .refused_count = 1};
	int r = hull_filter_install(&filter, err);
	return r < 0 ? hull_wrap(err, "git") : 0;
}

int hull_git_start(const struct hull_git_at *at, const char *const *args, int in, int out, int words, pid_t *pid,
		   int *pidfd, struct hull_error *err)
{
	_cleanup_(cell_free) struct cell c = {0};
	const char *dir = at->own ? at->own->dir : at->dir;
	_cleanup_free_ char *real = realpath(dir, NULL);
	if (!real)
		return hull_fail_errno(err, "%s", dir);
	_cleanup_free_ char *git = find_git(err);
	if (!git)
		return -ENOENT;
	char *argv[ARGS_MAX] = {(char *)"git",
				(char *)"-c",
				(char *)"core.fsmonitor=false",
				(char *)"-c",
				(char *)"core.hooksPath=/dev/null",
				(char *)"-C",
				real};
	size_t n = 7;
	for (; *args; args++) {
		if (n == ARGS_MAX - 1)
			return hull_fail(err, -E2BIG, "too many arguments for git");
		argv[n++] = (char *)(uintptr_t)*args;
	}
	_cleanup_close_ int program = open(git, O_RDONLY | O_CLOEXEC);
	if (program < 0)
		return hull_fail_errno(err, "%s", git);
	int r = at->own ? add_own(&c, at->own, at->incoming, err) : add_repository(&c, real, at->writes, err);
	if (r < 0)
		return r;
	add_system(&c, git);
	add_configuration(&c);
	if (c.full)
		return hull_fail(err, -E2BIG, "git in %s needs more than %d directories and files", real, BINDS_MAX);
	const struct hull_jail jail = {.dir = "/usr",
				       .binds = c.binds,
				       .bind_count = c.count,
				       .threads_only = true,
				       .keep_umask = true,
				       .stdin_fd = in,
				       .stdout_fd = out,
				       .stderr_fd = words,
				       .argv = argv,
				       .program_fd = program,
				       .envp = c.env,
				       .rlimit_data = MEMORY_MAX,
				       .drop_uid = c.top.st_uid,
				       .drop_gid = c.top.st_gid,
				       .drop_to_root = true,
				       .seccomp = no_program};
	struct hull_jailed child;
	fflush(NULL);
	r = hull_jail_start(&jail, &child, err);
	if (r < 0)
		return hull_wrap(err, "git");
	*pid = child.pid;
	*pidfd = child.pidfd;
	return 0;
}

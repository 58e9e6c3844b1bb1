/* SPDX-License-Identifier: Apache-2.0 */
/* Resolves a host path component by component.
 *
 * The user's own symlinks are followed. In a directory that is mounted writable in some sandbox, a symlink may be the
 * guest's: following it would let the guest choose what is written or read (`hull cp web:/log ws/build`, with ws/build
 * replaced by a link to the home directory). There symlinks are refused. The resolved path contains no symlink and is
 * opened with that restriction, so later changes have no effect. */
#include "lib/files/reach.h"

#include "base/cleanup.h"
#include "base/path.h"
#include "base/text.h"
#include "lib/sandbox/place.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { LINKS_MAX = 40 };

/* The directories that guests may write to: real paths, owned by the caller. Unless all are known, no symlink is
 * trusted. */
static int shared_dirs(const struct hull_paths *p, char ***out, struct hull_error *err)
{
	char **names = NULL, **all = hull_strv_copy(NULL);
	int r = all ? hull_sandbox_list(p, &names, err) : hull_fail(err, -ENOMEM, "out of memory");
	for (char **n = names; r >= 0 && n && *n; n++) {
		_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
		struct hull_error why;
		r = hull_sandbox_load(p, *n, &sb, &why);
		if (r == -ENOENT) { /* removed just now */
			r = 0;
			continue;
		}
		if (r < 0)
			hull_fail(err, r, "cannot determine which directories %s may write to: %s", *n, why.msg);
		for (char **e = sb.paths; r >= 0 && e && *e; e++) {
			enum hull_path_mode mode;
			_cleanup_free_ char *path = strndup(*e, hull_entry_split(*e, &mode));
			if (!path || (mode != HULL_PATH_READONLY && hull_strv_add(&all, path) < 0))
				r = hull_fail(err, -ENOMEM, "out of memory");
		}
	}
	hull_strv_free(names);
	if (r >= 0)
		*out = hull_steal_ptr(all);
	hull_strv_free(all);
	return r < 0 ? r : 0;
}

static bool is_shared(char *const *dirs, const char *path)
{
	for (; *dirs; dirs++)
		if (hull_path_in(path, *dirs))
			return true;
	return false;
}

struct walk {
	char *const *shared;
	char real[PATH_MAX]; /* "" is the root */
	char *todo;          /* owned */
	unsigned links;
};

static int follow(struct walk *w, const char *link, const char *rest, struct hull_error *err)
{
	char target[PATH_MAX];
	if (is_shared(w->shared, w->real)) {
		_cleanup_free_ char *shown = hull_printable(link, strlen(link));
		return hull_fail(err, -ELOOP,
				 "%s is a symlink in a directory that a sandbox writes in: name what it leads to",
				 shown ? shown : "");
	}
	ssize_t n = readlink(link, target, sizeof(target) - 1);
	if (n <= 0 || ++w->links > LINKS_MAX) {
		errno = n <= 0 ? errno : ELOOP;
		return hull_fail_errno(err, "%s", link);
	}
	target[n] = '\0';
	char *todo = hull_fmt("%s/%s", target, rest);
	if (!todo)
		return hull_fail(err, -ENOMEM, "out of memory");
	free(w->todo);
	w->todo = todo;
	if (target[0] == '/')
		w->real[0] = '\0';
	return 0;
}

/* Resolves the next component. 1 = it does not exist. */
static int step(struct walk *w, bool whole, struct hull_error *err)
{
	char at[PATH_MAX];
	struct stat st;
	const char *name = w->todo + strspn(w->todo, "/");
	size_t n = strcspn(name, "/");
	const char *rest = name + n + strspn(name + n, "/");
	bool slash = name[n] == '/';
	if (n == 2 && name[0] == '.' && name[1] == '.') {
		char *up = strrchr(w->real, '/');
		if (up)
			*up = '\0';
	} else if (n > 0 && !(n == 1 && name[0] == '.')) {
		if ((size_t)snprintf(at, sizeof(at), "%s/%.*s", w->real, (int)n, name) >= sizeof(at))
			return hull_fail(err, -ENAMETOOLONG, "a path that is too long");
		if (lstat(at, &st) < 0) {
			if (errno != ENOENT || *rest)
				return hull_fail_errno(err, "%s", at);
			strcpy(w->real, at);
			return 1;
		}
		if (S_ISLNK(st.st_mode) && (whole || slash))
			return follow(w, at, rest, err);
		strcpy(w->real, at);
	}
	memmove(w->todo, rest, strlen(rest) + 1);
	return 0;
}

static int resolve(const struct hull_paths *p, char *const *given, const char *path, bool whole, struct reach *out,
		   struct hull_error *err)
{
	struct walk w = {.todo = strdup(path)};
	struct stat st;
	char **shared = NULL;
	int r = w.todo ? shared_dirs(p, &shared, err) : hull_fail(err, -ENOMEM, "out of memory");
	for (; r == 0 && given && *given; given++) {
		_cleanup_free_ char *dir = hull_entry_path(*given);
		if (!dir || hull_strv_add(&shared, dir) < 0)
			r = hull_fail(err, -ENOMEM, "out of memory");
	}
	w.shared = shared;
	if (r == 0 && path[0] != '/' && !getcwd(w.real, sizeof(w.real)))
		r = hull_fail_errno(err, "where this is called");
	if (r == 0 && strcmp(w.real, "/") == 0)
		w.real[0] = '\0';
	while (r == 0 && w.todo[strspn(w.todo, "/")])
		r = step(&w, whole, err);
	*out = (struct reach){0};
	if (r >= 0 && !(out->path = strdup(*w.real ? w.real : "/")))
		r = hull_fail(err, -ENOMEM, "out of memory");
	if (r == 0 && lstat(out->path, &st) == 0)
		out->type = (int)(st.st_mode & S_IFMT);
	out->shared = shared && out->path && is_shared(shared, out->path);
	free(w.todo);
	hull_strv_free(shared);
	return r < 0 ? r : 0;
}

int reach_path(const struct hull_paths *p, const char *path, bool whole, struct reach *out, struct hull_error *err)
{
	return resolve(p, NULL, path, whole, out, err);
}

int reach_given(const struct hull_paths *p, char *const *given, const char *path, struct reach *out,
		struct hull_error *err)
{
	return resolve(p, given, path, true, out, err);
}

int reach_real(const struct hull_paths *p, const char *path, char **out, struct hull_error *err)
{
	_cleanup_(reach_free) struct reach at = {0};
	_cleanup_close_ int fd = -1;
	*out = NULL;
	errno = ENOENT;
	if (*path)
		fd = hull_path_open(AT_FDCWD, path, O_PATH, false);
	if (fd < 0 && errno == ELOOP) {
		int r = reach_path(p, path, true, &at, err);
		if (r < 0)
			return r;
		if (at.type)
			*out = hull_steal_ptr(at.path);
		errno = ENOENT;
	} else if (fd >= 0) {
		*out = realpath(path, NULL);
	}
	_cleanup_free_ char *shown = hull_printable(path, strlen(path));
	return *out ? 0 : hull_fail_errno(err, "%s", shown && *shown ? shown : "an empty path");
}

/* Removes trailing slashes and "/."; owned. */
static char *itself(const char *path)
{
	size_t n = strlen(path);
	while (n > 1 && (path[n - 1] == '/' || (path[n - 1] == '.' && path[n - 2] == '/')))
		n--;
	return strndup(path, n);
}

int reach_dest(const struct hull_paths *p, const char *path, bool follow, struct reach *out, struct hull_error *err)
{
	_cleanup_(reach_free) struct reach link = {0};
	_cleanup_free_ char *bare = itself(path);
	int r = bare ? reach_path(p, path, true, out, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r < 0 || follow || (out->type && out->type != S_IFDIR))
		return r;
	r = reach_path(p, bare, false, &link, err);
	if (r < 0 || link.type != S_IFLNK)
		return r;
	_cleanup_free_ char *shown = hull_printable(bare, strlen(bare));
	return hull_fail(err, -ELOOP,
			 "%s is a symlink, which is not followed: name what it leads to, or use --follow-link",
			 shown ? shown : "");
}

int reach_shared_below(const struct hull_paths *p, const char *dir, char ***out, struct hull_error *err)
{
	char **shared = NULL, **below = hull_strv_copy(NULL);
	int r = below ? shared_dirs(p, &shared, err) : hull_fail(err, -ENOMEM, "out of memory");
	for (char **s = shared; r >= 0 && s && *s; s++) {
		const char *rest = hull_path_below(*s, dir);
		if (rest && *rest && hull_strv_add(&below, rest) < 0)
			r = hull_fail(err, -ENOMEM, "out of memory");
	}
	hull_strv_free(shared);
	if (r >= 0)
		*out = hull_steal_ptr(below);
	hull_strv_free(below);
	return r < 0 ? r : 0;
}

void reach_free(struct reach *r)
{
	free(r->path);
	r->path = NULL;
}

int reach_open(const char *path, struct hull_error *err)
{
	int fd = hull_path_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, false);
	return fd < 0 ? hull_fail_errno(err, "%s", path) : fd;
}

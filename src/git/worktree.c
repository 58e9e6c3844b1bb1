/* SPDX-License-Identifier: Apache-2.0 */
/* Linked worktrees (git-worktree(1)): a work tree whose `.git` is a file that names a directory in another one's
 * repository. That directory's `commondir` leads to the files shared by all worktrees, its `gitdir` back to the `.git`
 * file.
 *
 * An agent may have written the `.git` file if the directory was its workspace. So it is trusted only if the repository
 * it names has a worktree registered here: the agent could not write that part, unless the repository is its own. The
 * same rule holds for everything that leads out of a work tree: the `.git` of a submodule (whose repository leads back
 * by core.worktree), a symlink, a `commondir`. git is not run, because it would obey the configuration it finds. */
#include "git/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"
#include "base/text.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CONFIG_MAX = 1 << 20 };

int hull_git_read(const char *dir, const char *name, size_t max, struct hull_buf *out, struct hull_error *err)
{
	_cleanup_free_ char *file = hull_fmt("%s/%s", dir, name);
	struct stat st;
	if (!file)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (lstat(file, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	int r = hull_read_regular(AT_FDCWD, file, max, out, err);
	return r < 0 ? r : 1;
}

char *hull_git_path_in(const char *dir, const char *name, const char *prefix)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	if (hull_git_read(dir, name, PATH_MAX + 16, &text, NULL) <= 0)
		return NULL;
	char *line = (char *)(uintptr_t)hull_buf_bytes(&text);
	line[strcspn(line, "\r\n")] = '\0';
	if (strncmp(line, prefix, strlen(prefix)) != 0)
		return NULL;
	line += strlen(prefix);
	_cleanup_free_ char *path = line[0] == '/' ? strdup(line) : hull_fmt("%s/%s", dir, line);
	return path && *line ? realpath(path, NULL) : NULL;
}

static bool has(const char *dir, const char *name, mode_t type)
{
	struct stat st;
	_cleanup_free_ char *path = hull_fmt("%s/%s", dir, name);
	return path && lstat(path, &st) == 0 && (st.st_mode & S_IFMT) == type;
}

int hull_git_worktree(const char *path, struct hull_git_worktree *out, struct hull_error *err)
{
	*out = (struct hull_git_worktree){0};
	_cleanup_free_ char *real = realpath(path, NULL);
	_cleanup_free_ char *own = real ? hull_git_path_in(real, ".git", "gitdir: ") : NULL;
	_cleanup_free_ char *common = own ? hull_git_path_in(own, "commondir", "") : NULL;
	if (!common)
		return 0;
	/* COMMON/worktrees/NAME, as git makes them. */
	size_t n = strlen(common);
	if (strncmp(own, common, n) != 0 || strncmp(own + n, "/worktrees/", 11) != 0 || strchr(own + n + 11, '/'))
		return 0;
	_cleanup_free_ char *file = hull_fmt("%s/.git", real);
	_cleanup_free_ char *back = hull_git_path_in(own, "gitdir", "");
	if (!file)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!hull_streq(back, file) || !has(common, "HEAD", S_IFREG) || !has(common, "config", S_IFREG) ||
	    !has(common, "objects", S_IFDIR) || !has(common, "refs", S_IFDIR))
		return hull_fail(err, -EINVAL,
				 "the repository %s has no worktree registered at %s; if it is one, run "
				 "`git worktree repair` there",
				 common, real);
	out->common = hull_steal_ptr(common);
	out->own = hull_steal_ptr(own);
	return 1;
}

void hull_git_worktree_free(struct hull_git_worktree *w)
{
	free(w->common);
	free(w->own);
	*w = (struct hull_git_worktree){0};
}

/* The last core.worktree of a configuration file, NULL when there is none. Owned by the caller. */
static char *core_worktree(const char *own, const char *name)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	char *found = NULL, *save = NULL;
	bool core = false;
	if (hull_git_read(own, name, CONFIG_MAX, &text, NULL) <= 0)
		return NULL;
	for (char *l = strtok_r((char *)(uintptr_t)hull_buf_bytes(&text), "\r\n", &save); l;
	     l = strtok_r(NULL, "\r\n", &save)) {
		l += strspn(l, " \t");
		if (*l == '[') {
			core = strncasecmp(l, "[core]", 6) == 0;
			continue;
		}
		if (!core || strncasecmp(l, "worktree", 8) != 0)
			continue;
		l += 8 + strspn(l + 8, " \t");
		if (*l++ != '=')
			continue;
		l += strspn(l, " \t");
		size_t n = strlen(l);
		while (n && (l[n - 1] == ' ' || l[n - 1] == '\t'))
			n--;
		/* The form in which git writes a path with ';' or '#'. */
		if (n >= 2 && l[0] == '"' && l[n - 1] == '"') {
			l++;
			n -= 2;
		}
		free(found);
		found = strndup(l, n);
	}
	return found;
}

/* Does the repository have its work tree at `top`? */
static bool leads_back(const char *own, const char *top)
{
	static const char *const files[] = {"config.worktree", "config"};
	for (size_t i = 0; i < 2; i++) {
		_cleanup_free_ char *to = core_worktree(own, files[i]);
		_cleanup_free_ char *path = to && to[0] != '/' ? hull_fmt("%s/%s", own, to) : to ? strdup(to) : NULL;
		_cleanup_free_ char *real = path && *to ? realpath(path, NULL) : NULL;
		if (to)
			return hull_streq(real, top);
	}
	return false;
}

int hull_git_repository(const char *top, struct hull_git_worktree *out, struct hull_error *err)
{
	struct stat st;
	_cleanup_free_ char *dot = hull_fmt("%s/.git", top);
	*out = (struct hull_git_worktree){0};
	if (!dot)
		return hull_fail(err, -ENOMEM, "out of memory");
	bool there = lstat(dot, &st) == 0;
	if (there && S_ISREG(st.st_mode)) {
		int r = hull_git_worktree(top, out, err);
		if (r != 0)
			return r;
	}
	_cleanup_free_ char *own = NULL;
	if (there && S_ISREG(st.st_mode))
		own = hull_git_path_in(top, ".git", "gitdir: ");
	else if (there && stat(dot, &st) == 0 && S_ISDIR(st.st_mode))
		own = realpath(dot, NULL);
	else if (!there && has(top, "HEAD", S_IFREG) && has(top, "objects", S_IFDIR) && has(top, "refs", S_IFDIR))
		own = strdup(top);
	else if (!there)
		return 0;
	if (!own)
		return hull_fail(err, -EINVAL, "%s leads to no repository", dot);
	if (!hull_path_in(own, top) && !leads_back(own, top))
		return hull_fail(err, -EINVAL,
				 "%s leads to the repository %s, which does not have its work tree here. If it is "
				 "yours, `git config --file '%s/config' core.worktree '%s'` says so",
				 dot, own, own, top);
	_cleanup_free_ char *named = hull_git_path_in(own, "commondir", "");
	if (named && !hull_path_in(named, top) && !hull_path_in(named, own))
		return hull_fail(err, -EINVAL, "%s/commondir leads to the repository %s, which has no worktree at %s",
				 own, named, top);
	out->common = named ? hull_steal_ptr(named) : strdup(own);
	if (!out->common)
		return hull_fail(err, -ENOMEM, "out of memory");
	out->own = hull_steal_ptr(own);
	return 1;
}

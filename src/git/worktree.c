/* Linked worktrees (git-worktree(1)): a work tree whose `.git` is a file that names a directory in the repository of
 * another one. That directory's `commondir` leads to what all worktrees share, and its `gitdir` back to the file.
 *
 * The `.git` file may have been written by an agent that had this directory as its workspace, so it is believed only
 * when the repository it names knows a worktree here: that part an agent could not write, unless the repository is its
 * own. No git is run: it would obey the configuration it finds. */
#include "git/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char *hull_git_path_in(const char *dir, const char *name, const char *prefix)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	_cleanup_free_ char *file = hull_fmt("%s/%s", dir, name);
	struct stat st;
	if (!file || lstat(file, &st) < 0 || !S_ISREG(st.st_mode) ||
	    hull_read_file(AT_FDCWD, file, PATH_MAX + 16, &text, NULL) < 0 || hull_buf_add(&text, "", 1) < 0)
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
				 "the repository %s knows no worktree at %s; `git worktree repair` there "
				 "tells it, if this is one",
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

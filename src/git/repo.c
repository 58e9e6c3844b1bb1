/* Looking at a repository, and its remote for a sandbox. */
#include "git/git.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void hull_git_repo_free(struct hull_git_repo *r)
{
	free(r->top);
	*r = (struct hull_git_repo){0};
}

/* Its output without the last line end; NULL when it fails. Owned by the caller. */
static char *ask(const char *dir, const char *const *args, int *code, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	int r = hull_git_run(dir, args, -1, &out, -1, err);
	if (code)
		*code = r;
	if (r != 0)
		return NULL;
	size_t n = out.len;
	if (n && hull_buf_bytes(&out)[n - 1] == '\n')
		n--;
	char *text = strndup(n ? (const char *)hull_buf_bytes(&out) : "", n);
	if (!text)
		hull_fail(err, -ENOMEM, "out of memory");
	return text;
}

int hull_git_inspect(const char *path, struct hull_git_repo *out, struct hull_error *err)
{
	static const char *const top[] = {"rev-parse", "--show-toplevel", NULL};
	static const char *const bare[] = {"rev-parse", "--is-bare-repository", NULL};
	static const char *const status[] = {"status", "--porcelain", "-z", "--ignore-submodules=dirty", NULL};
	static const char *const modules[] = {"ls-files", "-z", "--", ":(top).gitmodules", NULL};
	int code;
	*out = (struct hull_git_repo){0};
	_cleanup_free_ char *shown = hull_printable(path, strlen(path));
	_cleanup_free_ char *found = ask(path, top, &code, err);
	if (!found && code == -ENOENT)
		return code;
	if (!found) {
		_cleanup_free_ char *is_bare = ask(path, bare, NULL, NULL);
		if (hull_streq(is_bare, "true"))
			return hull_fail(err, -EINVAL,
					 "%s is a bare repository: --clone needs one with a work tree, since the clone "
					 "is put at its path",
					 shown ? shown : "");
		if (err)
			err->code = -EINVAL;
		hull_wrap(err, "%s cannot be cloned", shown ? shown : "");
		return -EINVAL;
	}
	out->top = realpath(found, NULL);
	if (!out->top)
		return hull_fail(err, -errno, "%s: %s", found, strerror(errno));
	_cleanup_(hull_buf_free) struct hull_buf changes = {0}, list = {0};
	out->uncommitted = hull_git_run(path, status, -1, &changes, -1, NULL) == 0 && changes.len > 0;
	out->submodules = hull_git_run(path, modules, -1, &list, -1, NULL) == 0 && list.len > 0;
	return 0;
}

/* --- the remote --- */

static char *remote_url(const char *top, const char *sandbox)
{
	_cleanup_free_ char *key = hull_fmt("remote.hull-%s.url", sandbox);
	const char *const args[] = {"config", "--local", "--get-all", key, NULL};
	return key ? ask(top, args, NULL, NULL) : NULL;
}

int hull_git_remote_add(const char *top, const char *sandbox, struct hull_error *err)
{
	_cleanup_free_ char *name = hull_fmt("hull-%s", sandbox);
	_cleanup_free_ char *url = hull_fmt("hull::%s", sandbox);
	if (!name || !url)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_free_ char *has = remote_url(top, sandbox);
	if (has && strcmp(has, url) == 0)
		return 0; /* of one that had this name before */
	if (has)
		return hull_fail(err, -EEXIST, "the repository has a remote %s of its own", name);
	const char *const args[] = {"remote", "add", "--no-tags", name, url, NULL};
	int r = hull_git_run(top, args, -1, NULL, -1, err);
	return r > 0 ? -EIO : r;
}

int hull_git_remote_remove(const char *top, const char *sandbox, bool *kept, struct hull_error *err)
{
	_cleanup_free_ char *name = hull_fmt("hull-%s", sandbox);
	_cleanup_free_ char *url = hull_fmt("hull::%s", sandbox);
	_cleanup_free_ char *mine = hull_fmt("--remotes=hull-%s/*", sandbox);
	_cleanup_free_ char *not_mine = hull_fmt("--exclude=hull-%s/*", sandbox);
	_cleanup_free_ char *section = hull_fmt("remote.hull-%s", sandbox);
	*kept = false;
	if (!name || !url || !mine || !not_mine || !section)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_free_ char *has = remote_url(top, sandbox);
	if (!has || strcmp(has, url) != 0)
		return 0;
	const char *const look[] = {"rev-list", "-n1",    mine,        "--not", "--branches",
				    "--tags",   not_mine, "--remotes", NULL};
	_cleanup_free_ char *only = ask(top, look, NULL, err);
	if (!only)
		return -EIO;
	*kept = *only != '\0';
	const char *const forget[] = {"config", "--local", "--remove-section", section, NULL};
	const char *const all[] = {"remote", "remove", name, NULL};
	int r = hull_git_run(top, *kept ? forget : all, -1, NULL, -1, err);
	return r > 0 ? -EIO : r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Inspects a repository, and manages its remote for a sandbox. */
#include "git/git.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void hull_git_repo_free(struct hull_git_repo *r)
{
	free(r->top);
	*r = (struct hull_git_repo){0};
}

/* git's output without the last line end; NULL on failure. Owned by the caller. */
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
	/* It fails if a required filter is not run: then changes are possible. */
	out->uncommitted = hull_git_run(path, status, -1, &changes, -1, NULL) != 0 || changes.len > 0;
	out->submodules = hull_git_run(path, modules, -1, &list, -1, NULL) == 0 && list.len > 0;
	return 0;
}

/* --- the remote --- */

/* *url (owned by the caller) is NULL when the repository has no such remote. */
static int remote_url(const char *top, const char *sandbox, char **url, struct hull_error *err)
{
	enum { NOT_SET = 1 }; /* git-config(1) */
	_cleanup_free_ char *key = hull_fmt("remote.hull-%s.url", sandbox);
	const char *const args[] = {"config", "--local", "--get-all", key, NULL};
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	*url = NULL;
	int r = key ? hull_git_run(top, args, -1, &out, -1, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r != 0)
		return r == NOT_SET ? 0 : r > 0 ? -EIO : r;
	const char *text = (const char *)hull_buf_bytes(&out);
	*url = strndup(out.len ? text : "", out.len ? strcspn(text, "\n") : 0);
	return *url ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

int hull_git_remote_add(const char *top, const char *sandbox, struct hull_error *err)
{
	_cleanup_free_ char *name = hull_fmt("hull-%s", sandbox);
	_cleanup_free_ char *url = hull_fmt("hull::%s", sandbox);
	if (!name || !url)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_free_ char *has = NULL;
	int r = remote_url(top, sandbox, &has, err);
	if (r < 0)
		return r;
	if (has && strcmp(has, url) == 0)
		return 0; /* left by an earlier sandbox of this name */
	if (has)
		return hull_fail(err, -EEXIST, "the repository has a remote %s of its own", name);
	const char *const args[] = {"remote", "add", "--no-tags", name, url, NULL};
	r = hull_git_change(top, args, -1, err);
	return r > 0 ? -EIO : r;
}

/* Delete the fetched references without running hooks. (`git remote remove` runs them despite core.hooksPath.) */
static int forget_refs(const char *top, const char *name, struct hull_error *err)
{
	_cleanup_free_ char *below = hull_fmt("refs/remotes/%s/", name);
	_cleanup_(hull_buf_free) struct hull_buf refs = {0};
	_cleanup_close_ int in = memfd_create("git-input", MFD_CLOEXEC);
	if (!below || in < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	const char *const list[] = {"for-each-ref", "--format=option no-deref%0adelete %(refname)", below, NULL};
	const char *const forget[] = {"update-ref", "--stdin", NULL};
	int r = hull_git_run(top, list, -1, &refs, -1, err);
	if (r != 0 || refs.len == 0)
		return r > 0 ? -EIO : r;
	r = hull_write_full(in, hull_buf_bytes(&refs), refs.len);
	if (r < 0 || lseek(in, 0, SEEK_SET) < 0)
		return hull_fail(err, -EIO, "passing names to git");
	return hull_git_change(top, forget, in, err);
}

/* Branches that track this remote track nothing from now on. */
static int forget_upstreams(const char *top, const char *name, struct hull_error *err)
{
	static const char *const look[] = {"config", "--local", "--get-regexp", "^branch\\..*\\.remote$", NULL};
	_cleanup_free_ char *all = ask(top, look, NULL, NULL);
	int r = 0;
	char *save = NULL;
	for (char *l = all ? strtok_r(all, "\n", &save) : NULL; r == 0 && l; l = strtok_r(NULL, "\n", &save)) {
		char *value = strrchr(l, ' ');
		if (!value || strcmp(value + 1, name) != 0)
			continue;
		*value = '\0';
		_cleanup_free_ char *merge = hull_fmt("%.*s.merge", (int)(value - l - strlen(".remote")), l);
		const char *const remote[] = {"config", "--local", "--unset-all", l, NULL};
		const char *const branch[] = {"config", "--local", "--unset-all", merge, NULL};
		r = hull_git_change(top, remote, -1, err);
		if (r == 0 && merge)
			(void)hull_git_change(top, branch, -1, NULL); /* there may be none */
	}
	return r;
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
	_cleanup_free_ char *has = NULL;
	int r = remote_url(top, sandbox, &has, err);
	if (r < 0)
		return r;
	if (!has || strcmp(has, url) != 0)
		return 0;
	const char *const look[] = {"rev-list", "-n1",    mine,        "--not", "--branches",
				    "--tags",   not_mine, "--remotes", NULL};
	_cleanup_free_ char *only = ask(top, look, NULL, err);
	if (!only)
		return -EIO;
	*kept = *only != '\0';
	const char *const forget[] = {"config", "--local", "--remove-section", section, NULL};
	r = *kept ? 0 : forget_refs(top, name, err);
	if (r == 0 && !*kept)
		r = forget_upstreams(top, name, err);
	if (r == 0)
		r = hull_git_change(top, forget, -1, err);
	return r > 0 ? -EIO : r;
}

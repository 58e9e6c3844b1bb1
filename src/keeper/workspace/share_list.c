/* The paths of a sandbox as sandbox.json lists them: "PATH", "PATH:ro" or "PATH:git", and what a PATH:git keeps
 * read-only. See share.c. */
#include "keeper/keeper.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* What git on the host runs, or is led elsewhere by, when it works in the main work tree or in another worktree; and
 * what these have under way. Names that are not there yet count as well. */
static const char *const git_guards[] = {"HEAD",         "branches", "commondir", "config",    "config.worktree",
					 "gitdir",       "hooks",    "index",     "modules",   "rebase-apply",
					 "rebase-merge", "remotes",  "sequencer", "worktrees", NULL};

const char *const *share_git_guards(void)
{
	return git_guards;
}

static const char *const suffixes[] = {[SHARE_WRITABLE] = "", [SHARE_READONLY] = ":ro", [SHARE_GIT] = ":git"};

size_t share_split(const char *entry, enum share_mode *mode)
{
	size_t n = strlen(entry);
	*mode = SHARE_WRITABLE;
	for (int m = SHARE_READONLY; m <= SHARE_GIT; m++) {
		size_t s = strlen(suffixes[m]);
		if (n > s && strcmp(entry + n - s, suffixes[m]) == 0) {
			*mode = (enum share_mode)m;
			return n - s;
		}
	}
	return n;
}

static size_t position(struct keeper *k, const char *path)
{
	size_t i = 0;
	for (; k->sb.paths && k->sb.paths[i]; i++) {
		enum share_mode mode;
		size_t n = share_split(k->sb.paths[i], &mode);
		if (strlen(path) == n && memcmp(path, k->sb.paths[i], n) == 0)
			break;
	}
	return i;
}

bool share_known(struct keeper *k, const char *path)
{
	return k->sb.paths && k->sb.paths[position(k, path)] != NULL;
}

void share_remember(struct keeper *k, const char *path, enum share_mode mode)
{
	_cleanup_free_ char *entry = hull_fmt("%s%s", path, suffixes[mode]);
	if (entry && hull_strv_add(&k->sb.paths, entry) == 0)
		keeper_save_later(k, path);
	else
		service_mounted(k, path, 0, NULL);
}

void share_forget(struct keeper *k, const char *path)
{
	size_t i = k->sb.paths ? position(k, path) : 0;
	if (!k->sb.paths || !k->sb.paths[i]) {
		service_mounted(k, path, 0, NULL);
		return;
	}
	free(k->sb.paths[i]);
	for (; k->sb.paths[i + 1]; i++)
		k->sb.paths[i] = k->sb.paths[i + 1];
	k->sb.paths[i] = NULL;
	keeper_save_later(k, path);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The paths of a sandbox as sandbox.json lists them: "PATH", "PATH:ro" or "PATH:git", and what a PATH:git keeps
 * read-only. See share.c. */
#include "keeper/keeper.h"
#include "keeper/workspace/share.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>

/* What git on the host runs, or is led elsewhere by, when it works in the main work tree or in another worktree; and
 * what these have under way: a MERGE_AUTOSTASH is applied to the work tree by the next commit. A linked worktree has files of its
 * own for all of it. The locks are new content of what they are named after. Names that are not there yet count as well. */
static const char *const git_guards[] = {"AUTO_MERGE",
					 "BISECT_LOG",
					 "BISECT_NAMES",
					 "BISECT_START",
					 "BISECT_TERMS",
					 "CHERRY_PICK_HEAD",
					 "HEAD",
					 "HEAD.lock",
					 "MERGE_AUTOSTASH",
					 "MERGE_HEAD",
					 "MERGE_MODE",
					 "MERGE_MSG",
					 "MERGE_RR",
					 "REBASE_HEAD",
					 "REVERT_HEAD",
					 "SQUASH_MSG",
					 "branches",
					 "commondir",
					 "config",
					 "config.lock",
					 "config.worktree",
					 "config.worktree.lock",
					 "gitdir",
					 "hooks",
					 "index",
					 "index.lock",
					 "modules",
					 "rebase-apply",
					 "rebase-merge",
					 "remotes",
					 "sequencer",
					 "worktrees",
					 NULL};

const char *const *share_git_guards(void)
{
	return git_guards;
}

bool share_known(struct keeper *k, const char *path)
{
	return k->sb.paths && k->sb.paths[hull_entry_find(k->sb.paths, path)] != NULL;
}

void share_remember(struct keeper *k, const char *path, enum hull_path_mode mode)
{
	_cleanup_free_ char *entry = hull_entry_make(path, mode);
	if (entry && hull_strv_add(&k->sb.paths, entry) == 0)
		keeper_save_later(k, path);
	else
		k->events->mounted(k, path, 0, NULL);
}

void share_forget(struct keeper *k, const char *path)
{
	size_t i = k->sb.paths ? hull_entry_find(k->sb.paths, path) : 0;
	if (!k->sb.paths || !k->sb.paths[i]) {
		k->events->mounted(k, path, 0, NULL);
		return;
	}
	free(k->sb.paths[i]);
	for (; k->sb.paths[i + 1]; i++)
		k->sb.paths[i] = k->sb.paths[i + 1];
	k->sb.paths[i] = NULL;
	keeper_save_later(k, path);
}

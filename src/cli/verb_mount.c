/* hull mount and hull unmount: paths of the host in a sandbox, running or not. One that runs does it itself and writes
 * it down; of one that does not, the file is changed under its lock. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/sandbox/place.h"
#include "cli/verbs.h"

#include <stdlib.h>
#include <string.h>

static bool force;

/* Change the list of a sandbox that does not run. -EBUSY when it does. */
static int change_file(struct cli *cli, const char *name, const char *path, const char *entry, struct hull_error *err)
{
	_cleanup_close_ int lock = hull_sandbox_lock(&cli->paths, name, err);
	if (lock < 0)
		return lock;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = hull_sandbox_load(&cli->paths, name, &sb, err);
	if (r < 0)
		return r;
	size_t i = hull_entry_find(sb.paths, path);
	if (entry) {
		r = place_check(&cli->paths, path, sb.paths, err);
		if (r >= 0)
			r = place_beside_clone(path, sb.clone, err);
		if (r < 0)
			return r;
		if (hull_strv_add(&sb.paths, entry) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
	} else {
		if (!sb.paths[i])
			return hull_fail(err, -ENOENT, "%s is not mounted in %s", path, name);
		free(sb.paths[i]);
		for (; sb.paths[i + 1]; i++)
			sb.paths[i] = sb.paths[i + 1];
		sb.paths[i] = NULL;
	}
	return hull_sandbox_save(&cli->paths, &sb, err);
}

/* An entry of the list: in the file, or in the sandbox that runs. */
static int mount_one(struct cli *cli, const char *name, const char *entry, struct hull_error *err)
{
	enum hull_path_mode mode;
	_cleanup_free_ char *path = strndup(entry, hull_entry_split(entry, &mode));
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!hull_sandbox_running(&cli->paths, name))
		return change_file(cli, name, path, entry, err);
	return client_ask(&cli->paths, name,
			  json_pack("{s:s, s:s+, s:b, s:b}", "do", "mount", "path", path, "", "readonly",
				    mode == HULL_PATH_READONLY, "git", mode == HULL_PATH_GIT),
			  -1, NULL, NULL, err);
}

static int run_mount(struct cli *cli, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_free_ char *path = NULL;
	bool readonly;
	const char *name = cli->words[0];
	int r = life_load(cli, name, &sb, err);
	for (size_t i = 1; r >= 0 && i < cli->word_count; i++) {
		free(hull_steal_ptr(path));
		r = place_parse(&cli->paths, cli->words[i], &path, &readonly, err);
		if (r >= 0)
			r = place_check(&cli->paths, path, NULL, err);
		if (r >= 0)
			r = place_beside_clone(path, sb.clone, err);
		if (r < 0)
			break;
		_cleanup_free_ char *entry = hull_entry_make(path, readonly ? HULL_PATH_READONLY : HULL_PATH_WRITABLE);
		if (!entry)
			return hull_fail(err, -ENOMEM, "out of memory");
		r = mount_one(cli, name, entry, err);
		/* And the repository of a linked worktree; what was there before is left alone. */
		size_t had = hull_strv_count(sb.paths);
		if (r >= 0 && hull_strv_add(&sb.paths, entry) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
		if (r >= 0)
			r = place_worktree(path, readonly, &sb.paths, err);
		for (char **p = sb.paths + had + 1; r > 0 && *p; p++) {
			_cleanup_free_ char *more = hull_entry_path(*p);
			r = more ? place_check(&cli->paths, more, NULL, err) : hull_fail(err, -ENOMEM, "out of memory");
			if (r >= 0)
				r = mount_one(cli, name, *p, err);
			if (r >= 0)
				cli_note("%.*s is mounted with it", (int)hull_entry_split(*p, NULL), *p);
			r = r < 0 ? r : 1;
		}
	}
	return r < 0 ? r : 0;
}

static int run_unmount(struct cli *cli, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	const char *name = cli->words[0];
	int r = life_load(cli, name, &sb, err);
	for (size_t i = 1; r >= 0 && i < cli->word_count; i++) {
		/* It may be gone from the host: then it has to be written as it was. */
		_cleanup_free_ char *real = realpath(cli->words[i], NULL);
		const char *path = real ? real : cli->words[i];
		if (!hull_sandbox_running(&cli->paths, name))
			r = change_file(cli, name, path, NULL, err);
		else
			r = client_ask(&cli->paths, name,
				       json_pack("{s:s, s:s+, s:b}", "do", "unmount", "path", path, "", "force", force),
				       -1, NULL, NULL, err);
	}
	return r < 0 ? r : 0;
}

const struct cli_verb verb_mount = {
	.name = "mount",
	.usage = "NAME PATH[:ro]...",
	.summary = "mount directories of the host in a sandbox, at their own paths",
	.about = "In a sandbox that runs they are there when the command returns; the others have them from the next "
		 "start on. :ro behind a path makes it read-only; a single file can be mounted read-only only.",
	.aka = "share bind volume",
	.min_words = 2,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.complete_more = CLI_DIR,
	.run = run_mount,
};

static const struct cli_opt unmount_options[] = {
	{'f', "force", NULL, "also while something in the sandbox uses it: that gets errors then", .flag = &force},
	{0},
};

const struct cli_verb verb_unmount = {
	.name = "unmount",
	.usage = "NAME PATH...",
	.summary = "take directories of the host out of a sandbox again",
	.aka = "umount unshare",
	.options = unmount_options,
	.min_words = 2,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.complete_more = CLI_DIR,
	.run = run_unmount,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* hull rm: remove sandboxes and all their files. */
#include "cli/each.h"

static bool all, force;

static const struct cli_opt options[] = {
	{'a', "all", NULL, "all that are not running; with -f, all", .flag = &all},
	{'f', "force", NULL, "kill those that run; a name that is unknown is fine", .flag = &force},
	{0},
};

static int remove_one(struct cli *cli, const char *name, struct hull_error *err)
{
	return hull_remove(cli->hull, name, force ? HULL_REMOVE_FORCE : 0, err);
}

static bool wanted(const struct hull_paths *p, const char *name)
{
	return force || !hull_sandbox_running(p, name);
}

static int run(struct cli *cli, struct hull_error *err)
{
	char **names = NULL;
	int r = each_names(cli, all, wanted, &names, err);
	if (r >= 0)
		r = each_run(cli, names, false, remove_one, err);
	hull_strv_free(names);
	return r;
}

const struct cli_verb verb_rm = {
	.name = "rm",
	.usage = "NAME...",
	.summary = "remove sandboxes, their disks and logs",
	.about = "Prints the name of each one removed. What was on their disks is gone.",
	.aka = "remove delete del destroy",
	.options = options,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.run = run,
};

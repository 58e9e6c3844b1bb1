/* SPDX-License-Identifier: Apache-2.0 */
/* hull start: start sandboxes and wait until they accept commands. */
#include "cli/each.h"

#include "cli/out.h"

#include <string.h>

static bool all, cold, quiet;
static const char *wait_for;

static const struct cli_opt options[] = {
	{'a', "all", NULL, "all that are not running", .flag = &all},
	{0, "wait", "WHAT", "come back when it is so: exec (commands can be run; the default), docker, or none",
	 .text = &wait_for, .complete = CLI_WAIT},
	{0, "cold", NULL, "boot from the disk, and give up what would be restored (the memory of a paused one)",
	 .flag = &cold},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

static int start(struct cli *cli, const char *name, struct hull_error *err)
{
	enum hull_until until = !wait_for || !strcmp(wait_for, "exec") ? HULL_UNTIL_EXEC
				: !strcmp(wait_for, "docker")          ? HULL_UNTIL_DOCKER
								       : HULL_UNTIL_NOW;
	int r = cli_catch(cli, err);
	if (r >= 0)
		r = hull_start(cli->hull, name, until, cold ? HULL_START_COLD : 0, err);
	if (r > 0 && !quiet)
		cli_note("%s is running already", name);
	return r < 0 ? r : 0;
}

static bool wanted(const struct hull_paths *p, const char *name)
{
	return !hull_sandbox_running(p, name);
}

static int run(struct cli *cli, struct hull_error *err)
{
	if (wait_for && strcmp(wait_for, "exec") != 0 && strcmp(wait_for, "docker") != 0 &&
	    strcmp(wait_for, "none") != 0)
		return hull_fail(err, -EINVAL, "--wait takes exec, docker or none");
	char **names = NULL;
	int r = each_names(cli, all, wanted, &names, err);
	if (r >= 0)
		r = each_run(cli, names, quiet, start, err);
	hull_strv_free(names);
	return r;
}

const struct cli_verb verb_start = {
	.name = "start",
	.usage = "NAME...",
	.summary = "start sandboxes",
	.about = "Prints the name of each one that runs then. One that runs already is left as it is.",
	.aka = "boot up",
	.options = options,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* hull pause and hull resume: suspend a sandbox's memory to disk and restore it. A paused sandbox uses no memory and no
 * CPU; after resume its processes continue. */
#include "cli/each.h"

#include "base/cleanup.h"

#include <string.h>

static bool pause_all, resume_all, quiet;

static const struct cli_opt pause_options[] = {
	{'a', "all", NULL, "all that run", .flag = &pause_all},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};
static const struct cli_opt resume_options[] = {
	{'a', "all", NULL, "all that are paused", .flag = &resume_all},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

static bool is_paused(const struct hull_paths *p, const char *name)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	return !hull_sandbox_running(p, name) && hull_sandbox_load(p, name, &sb, NULL) == 0 &&
	       !strcmp(hull_sandbox_truth(&sb, false), "paused");
}

static int pause_one(struct cli *cli, const char *name, struct hull_error *err)
{
	return hull_pause(cli->hull, name, err);
}

static int resume_one(struct cli *cli, const char *name, struct hull_error *err)
{
	return hull_resume(cli->hull, name, err);
}

static int run_pause(struct cli *cli, struct hull_error *err)
{
	char **names = NULL;
	int r = each_names(cli, pause_all, hull_sandbox_running, &names, err);
	if (r >= 0)
		r = each_run(cli, names, quiet, pause_one, err);
	hull_strv_free(names);
	return r;
}

static int run_resume(struct cli *cli, struct hull_error *err)
{
	char **names = NULL;
	int r = each_names(cli, resume_all, is_paused, &names, err);
	if (r >= 0)
		r = each_run(cli, names, quiet, resume_one, err);
	hull_strv_free(names);
	return r;
}

const struct cli_verb verb_pause = {
	.name = "pause",
	.usage = "NAME...",
	.summary = "suspend running sandboxes: save memory and processes to disk",
	.about = "A paused sandbox takes no memory and no CPU. `hull resume` or `hull start` brings it back with its "
		 "processes and containers where they were; open connections into it are closed. Its memory is on disk "
		 "in the clear, as its disk is.",
	.aka = "suspend hibernate freeze",
	.options = pause_options,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.run = run_pause,
};

const struct cli_verb verb_resume = {
	.name = "resume",
	.usage = "NAME...",
	.summary = "bring paused sandboxes back",
	.about =
		"If the saved memory is damaged or the engine has changed since, this says so and "
		"changes "
		"nothing; `hull start --cold` gives the memory up and boots from the disk. A sandbox that stands still "
		"because the host's disk was full goes on with this, too.",
	.aka = "unpause thaw",
	.options = resume_options,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.run = run_resume,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* hull wait: block until a sandbox accepts commands, its Docker is ready, or it has stopped. */
#include "cli/cli.h"

#include "cli/out.h"

#include <string.h>

static const char *what = "docker";
static bool quiet;

static const struct cli_opt options[] = {
	{0, "for", "WHAT", "exec (commands can be run), docker (the default), or stop", .text = &what,
	 .complete = CLI_WAIT_FOR},
	{'q', "quiet", NULL, "no progress", .flag = &quiet},
	{0},
};

static int run(struct cli *cli, struct hull_error *err)
{
	enum hull_until until = !strcmp(what, "stop") ? HULL_UNTIL_STOPPED
				: *what == 'd'        ? HULL_UNTIL_DOCKER
						      : HULL_UNTIL_EXEC;
	if (strcmp(what, "stop") != 0 && strcmp(what, "exec") != 0 && strcmp(what, "docker") != 0)
		return hull_fail(err, -EINVAL, "--for takes exec, docker or stop");
	int r = cli_open(cli, quiet, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, cli->words[0]);
	r = hull_wait(cli->hull, cli->words[0], until, -1, err);
	cli_progress_end(&progress);
	return r;
}

const struct cli_verb verb_wait = {
	.name = "wait",
	.usage = "NAME",
	.summary = "wait until a sandbox is ready, or has stopped",
	.about = NULL,
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = run,
};

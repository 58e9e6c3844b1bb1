/* SPDX-License-Identifier: Apache-2.0 */
/* hull attach: connects this terminal, or these pipes, to a running job: its output from now on, and its stdin if it
 * was started with -i. Signals, detach keys and exit code as in docker attach. */
#include "cli/cli.h"

#include "cli/session.h"

static bool no_stdin, keep;
static bool proxy = true;

static const struct cli_opt options[] = {
	{0, "no-stdin", NULL, "pass no stdin on", .flag = &no_stdin},
	{0, "keep-stdin", NULL, "leave the job's stdin open when ours ends", .flag = &keep},
	{0, "sig-proxy", NULL, "pass signals on to the job (the default); =false: they end hull attach only",
	 .flag = &proxy},
	{0},
};

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0], *id = cli->words[1];
	unsigned has = 0;
	int r = cli_open(cli, false, err);
	if (r >= 0)
		r = hull_job_find(cli->hull, name, id, &has, err);
	if (r < 0)
		return r;
	const struct cli_session session = {.job = id,
					    .input = (has & HULL_EXEC_INPUT) && !no_stdin,
					    .tty = (has & HULL_EXEC_TTY) != 0,
					    .no_signals = !proxy,
					    .keep_input = keep};
	return cli_session_run(cli, name, &session, err);
}

const struct cli_verb verb_attach = {
	.name = "attach",
	.usage = "NAME JOB",
	.summary = "follow a job that runs, and type into it",
	.about = "Shows what the job prints from now on (`hull logs --job` has what came before) and passes stdin on "
		 "to a job "
		 "that was started with `exec -d -i`, until either ends. The exit code is the job's. Signals go to the "
		 "job; "
		 "when it has a terminal, Ctrl-P Ctrl-Q leaves it running. However hull attach ends otherwise, the job "
		 "goes "
		 "on.",
	.aka = "fg follow",
	.options = options,
	.min_words = 2,
	.max_words = 2,
	.complete = CLI_SANDBOX,
	.complete_more = CLI_JOB,
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* hull kill: sends a signal to a job or, like docker kill, ends a sandbox. The signal reaches every process of the
 * job's session, in any process group or kernel session. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"
#include "cli/signal_name.h"

#include <signal.h>

static const char *signal_text;

static const struct cli_opt options[] = {
	{'s', "signal", "SIGNAL", "which, by name or number (default: TERM to a job, KILL to a sandbox)",
	 .text = &signal_text},
	{0},
};

static int kill_job(struct cli *cli, const char *name, const char *job, int sig, struct hull_error *err)
{
	_cleanup_free_ char *state = NULL;
	int r = hull_job_signal(cli->hull, name, job, sig, &state, err);
	if (r < 0)
		return r;
	if (r > 0)
		cli_note("job %s %s (%s); %s", job, hull_streq(state, "paused") ? "is not running" : "has ended",
			 state ? state : "?",
			 r == 1 ? "what it left running got the signal" : "nothing got the signal");
	printf("%s\n", job);
	return 0;
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0];
	int sig = signal_text ? signal_number(signal_text, err) : 0;
	int r = sig < 0 ? sig : cli_open(cli, false, err);
	if (r < 0)
		return r;
	if (cli->word_count == 2)
		return kill_job(cli, name, cli->words[1], sig ? sig : SIGTERM, err);
	if (sig && sig != SIGKILL)
		return hull_fail(err, -EINVAL,
				 "kill: a sandbox as a whole takes KILL only: hull stop %s ends it in good order, and "
				 "hull kill %s JOB -s SIGNAL reaches a job",
				 name, name);
	r = hull_stop(cli->hull, name, 0, err);
	if (r > 0)
		return hull_fail(err, -ESRCH, "%s is not running", name);
	if (r >= 0)
		printf("%s\n", name);
	return r;
}

const struct cli_verb verb_kill = {
	.name = "kill",
	.usage = "NAME [JOB]",
	.summary = "end a job; or, without a JOB, a sandbox at once",
	.about = "The signal goes to every process of the job's, also those that have made a session of their own. "
		 "Without "
		 "a JOB the machine is switched off as it is, as `hull stop -f` does.",
	.aka = "signal pkill",
	.options = options,
	.min_words = 1,
	.max_words = 2,
	.complete = CLI_SANDBOX,
	.complete_more = CLI_JOB,
	.run = run,
};

/* hull kill: end a job, or as docker kill a whole sandbox. A job's signal goes to every process of its session,
 * whatever process group or session of the kernel's they have put themselves in. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "cli/signal_name.h"

#include <signal.h>
#include <string.h>

static const char *signal_text;

static const struct cli_opt options[] = {
	{'s', "signal", "SIGNAL", "which, by name or number (default: TERM to a job, KILL to a sandbox)",
	 .text = &signal_text},
	{0},
};

static int kill_job(struct cli *cli, const char *name, const char *job, int sig, struct hull_error *err)
{
	json_t *answer = NULL;
	int r = client_ask(&cli->paths, name, json_pack("{s:s, s:s, s:i}", "do", "signal", "job", job, "signal", sig),
			   10000, NULL, &answer, err);
	if (r == -ENOTCONN)
		return hull_fail(err, r, "%s does not run, and so does no job of it", name);
	if (r < 0)
		return r;
	const char *state = json_string_value(json_object_get(answer, "state"));
	if (!hull_streq(state, "running"))
		cli_note("job %s %s (%s); %s", job, hull_streq(state, "paused") ? "is not running" : "has ended",
			 state ? state : "?",
			 json_is_true(json_object_get(answer, "reached")) ? "what it left running got the signal"
									  : "nothing got the signal");
	json_decref(answer);
	printf("%s\n", job);
	return 0;
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0];
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int sig = signal_text ? signal_number(signal_text, err) : 0;
	if (sig < 0)
		return sig;
	int r = life_load(cli, name, &sb, err);
	/* A damaged file is no reason not to end what runs. */
	if (r < 0 && (r != -EBADMSG || !hull_sandbox_running(&cli->paths, name)))
		return r;
	if (cli->word_count == 2) {
		size_t n = strlen(cli->words[1]);
		_cleanup_free_ char *shown = hull_printable(cli->words[1], n);
		if (!n || n > 32 || strspn(cli->words[1], "0123456789abcdef") != n)
			return hull_fail(err, -EINVAL, "\"%s\" is not the id of a job", shown ? shown : "");
		return kill_job(cli, name, cli->words[1], sig ? sig : SIGTERM, err);
	}
	if (sig && sig != SIGKILL)
		return hull_fail(err, -EINVAL,
				 "kill: a sandbox as a whole takes KILL only: hull stop %s ends it in good order, and "
				 "hull kill %s JOB -s SIGNAL reaches a job",
				 name, name);
	if (!hull_sandbox_running(&cli->paths, name))
		return hull_fail(err, -ESRCH, "%s is not running", name);
	r = life_stop(&cli->paths, name, -1, NULL, err);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* hull run: makes a sandbox for this directory if there is none, starts it if necessary, and runs a shell or a command
 * in it. With --rm it is removed on every exit path; if this process is killed, the keeper removes it. */
#include "cli/create.h"

#include "base/cleanup.h"
#include "cli/out.h"
#include "cli/refused.h"
#include "cli/session.h"
#include "cli/signals.h"

#include <unistd.h>

static bool remove_after, detach, tolerated;

static const struct cli_opt options[] = {
	{'d', "detach", NULL, "start it in the background and print its name; a command becomes a job",
	 .flag = &detach},
	{0, "rm", NULL, "make a new one and remove it at the end", .flag = &remove_after},
	{'i', "interactive", NULL, "accepted as docker has it: stdin is always passed on", .flag = &tolerated},
	{0, "tty", NULL, "accepted as docker has it: a terminal is used when there is one", .flag = &tolerated},
	{0},
};

static int in_background(struct cli *cli, const char *name, char *const *env, struct hull_error *err)
{
	const struct hull_exec_spec spec = {
		.size = sizeof(spec), .argv = (const char *const *)cli->command, .env = (const char *const *)env};
	_cleanup_free_ char *id = NULL;
	int r = cli->command_count ? hull_job_start(cli->hull, name, &spec, &id, err)
				   : hull_start(cli->hull, name, HULL_UNTIL_EXEC, 0, err);
	if (cli_progress_current())
		cli_progress_end(cli_progress_current());
	int cannot = r < 0 && cli->command_count ? cli_session_cannot(err) : 0;
	if (r < 0)
		return cannot ? cannot : r;
	if (id && !create_quiet())
		cli_note("the command is job %s: `hull logs %s --job %s -f` shows its output", id, name, id);
	printf("%s\n", name);
	return 0;
}

static int in_foreground(struct cli *cli, const char *name, char ***env, struct hull_error *err)
{
	bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	if (tty)
		cli_session_terminal_env(env);
	const struct cli_session session = {.argv = cli->command, .env = *env, .input = true, .tty = tty};
	struct refused_mark mark = refused_mark(cli->paths, name);
	int r = cli_session_run(cli, name, &session, err);
	if (r > 0 && !create_quiet())
		refused_tell(cli, name, &mark);
	return r;
}

static int in_it(struct cli *cli, const char *name, char ***env, struct hull_error *err)
{
	struct cli_progress progress;
	cli_progress_begin(&progress, create_quiet(), false, name);
	int r = detach ? in_background(cli, name, *env, err) : in_foreground(cli, name, env, err);
	cli_progress_end(&progress);
	struct hull_error why = {0};
	/* In the background, only a sandbox that failed to start is removed here; otherwise the keeper removes it at
	 * its end. */
	if (remove_after && (!detach || r != 0) && hull_remove(cli->hull, name, HULL_REMOVE_FORCE, &why) < 0) {
		cli_error("removing %s: %s", name, why.msg);
		r = r > 0 ? r : CLI_EXIT_HULL;
	}
	return r;
}

static int run(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *name = NULL;
	char **env = NULL;
	int r = cli_open(cli, create_quiet(), err);
	/* With --rm a signal must not end the process before the removal. Otherwise it may end the wait for another
	 * hull. */
	if (r >= 0 && remove_after)
		r = cli_catch(cli, err);
	if (r >= 0)
		r = create_make(cli, remove_after ? HULL_CREATE_REMOVE : HULL_CREATE_REUSE, &name, &env, err);
	if (r >= 0)
		r = cli_catch(cli, err);
	if (r >= 0)
		r = in_it(cli, name, &env, err);
	hull_strv_free(env);
	return cli_signals_code(r);
}

const struct cli_verb verb_run = {
	.name = "run",
	.usage = "[AGENT] [PATH...] [-- COMMAND [ARG...]]",
	.summary = "a shell, or a command, in a sandbox for this directory",
	.about = "Makes a sandbox if there is none for this agent and these paths, starts it if it is not running, and "
		 "opens a "
		 "login shell in it as user agent, or runs COMMAND. Without a terminal the shell reads its commands "
		 "from "
		 "stdin. The sandbox goes on running afterwards, unless --rm was given: `hull stop` stops it. The exit "
		 "code "
		 "is the command's.",
	.aka = "up enter",
	.options = options,
	.more_options = create_options,
	.max_words = CLI_WORDS_ANY,
	.command = true,
	.complete = CLI_AGENT,
	.complete_more = CLI_DIR,
	.run = run,
};

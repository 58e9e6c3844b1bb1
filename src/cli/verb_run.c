/* hull run: a sandbox for this directory, made if there is none, started if it is not, and a shell or a command in
 * it. With --rm it is removed again on every way out that leaves us alive; the keeper removes it otherwise. */
#include "cli/create.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/command/job.h"
#include "lib/sandbox/life.h"
#include "lib/command/refused.h"
#include "lib/command/session.h"

#include <string.h>

static bool remove_after, detach, tolerated;

static const struct cli_opt options[] = {
	{'d', "detach", NULL, "start it in the background and print its name; a command becomes a job",
	 .flag = &detach},
	{0, "rm", NULL, "make a new one and remove it at the end", .flag = &remove_after},
	{'i', "interactive", NULL, "accepted as docker has it: stdin is always passed on", .flag = &tolerated},
	{0, "tty", NULL, "accepted as docker has it: a terminal is used when there is one", .flag = &tolerated},
	{0},
};

static int in_background(struct cli *cli, const char *name, char *const *env, struct cli_progress *progress,
			 struct hull_error *err)
{
	int r = life_start(&cli->paths, name, NULL, progress, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *id = NULL;
	if (cli->command_count) {
		struct job_spec job = {.argv = cli->command, .env = env};
		r = job_begin(&cli->paths, name, &job, progress, &id, err);
	} else {
		r = client_ask(&cli->paths, name, json_pack("{s:s, s:s}", "do", "wait", "for", "exec"), -1, progress,
			       NULL, err);
	}
	cli_progress_end(progress);
	if (r < 0 && cli->command_count && session_cannot(-r)) {
		cli_error("%s", err->msg);
		return session_cannot(-r);
	}
	if (r < 0)
		return r;
	if (id && !create_quiet())
		cli_note("the command is job %s: `hull logs %s --job %s -f` shows its output", id, name, id);
	printf("%s\n", name);
	return 0;
}

static int in_foreground(struct cli *cli, const char *name, char ***env, struct cli_progress *progress,
			 struct hull_error *err)
{
	bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	int fd = life_connect(cli, name, progress, err);
	if (fd < 0)
		return fd;
	if (tty)
		session_terminal_env(env);
	struct session_spec spec = {.name = name,
				    .argv = cli->command,
				    .env = *env,
				    .input = true,
				    .tty = tty,
				    .in_fd = STDIN_FILENO,
				    .out_fd = STDOUT_FILENO,
				    .err_fd = STDERR_FILENO};
	struct refused_mark mark = refused_mark(&cli->paths, name);
	int r = session_run(fd, &spec, progress, err);
	if (r > 0 && !create_quiet())
		refused_tell(&cli->paths, name, &mark);
	return r;
}

static int run(struct cli *cli, struct hull_error *err)
{
	_cleanup_(create_place_free) struct create_place place = {0};
	_cleanup_free_ char *name = NULL;
	char **env = NULL;
	int r = create_place(cli, &place, err);
	if (r >= 0)
		r = create_session_env(cli, &place, &env, err);
	/* Two at once in a new directory are to share one sandbox. */
	_cleanup_close_ int turn = r >= 0 && !remove_after ? create_turn(cli, &place, err) : -1;
	if (r >= 0 && !remove_after && turn < 0)
		r = turn;
	if (r >= 0 && cli_signals_catch() < 0)
		r = hull_fail(err, -EIO, "catching signals: %s", strerror(errno));
	if (r >= 0 && !remove_after)
		r = create_again(cli, &place, &name, err);
	if (r >= 0 && !name)
		r = create_make(cli, &place, remove_after, &name, err);
	hull_closep(&turn);
	turn = -1;
	if (r >= 0) {
		struct cli_progress progress;
		cli_progress_begin(&progress, create_quiet(), false, name);
		r = detach ? in_background(cli, name, env, &progress, err)
			   : in_foreground(cli, name, &env, &progress, err);
		cli_progress_end(&progress);
		struct hull_error why = {0};
		/* In the background only what did not come up is removed here; the keeper does it at the end otherwise.
		 */
		if (remove_after && (!detach || r != 0) && life_remove(&cli->paths, name, &why) < 0) {
			cli_error("removing %s: %s", name, why.msg);
			r = r > 0 ? r : CLI_EXIT_HULL;
		}
	}
	hull_strv_free(env);
	if (r == -EINTR && cli_signals_ended())
		r = 128 + cli_signals_ended();
	return r;
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

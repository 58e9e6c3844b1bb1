/* hull exec: a command in a sandbox, with docker exec's flags. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "cli/create.h"
#include "lib/command/job.h"
#include "lib/sandbox/life.h"
#include "lib/command/refused.h"
#include "lib/command/session.h"

#include <string.h>

static bool interactive, tty, detach, quiet;
static char **env_pairs, **env_files;
static const char *user, *cwd;
static bool privileged; /* without effect */

static const struct cli_opt options[] = {
	{'i', "interactive", NULL,
	 "pass stdin on; without it the command finds stdin empty. With -d: keep it open for hull attach",
	 .flag = &interactive},
	{'t', "tty", NULL, "give the command a terminal", .flag = &tty},
	{'d', "detach", NULL, "start it as a job that goes on by itself, and print the job's id", .flag = &detach},
	{'e', "env", "K[=V]", "set a variable; K alone takes the value it has here", .list = &env_pairs},
	{0, "env-file", "FILE", "variables from a file, a line each", .list = &env_files, .complete = CLI_FILE},
	{'u', "user", "USER", "as this user: name, id, name:group or uid:gid (default agent)", .text = &user},
	{'w', "workdir", "DIR",
	 "in this directory of the sandbox (default: its clone, its first mounted path, or the user's home)",
	 .text = &cwd},
	{0, "privileged", NULL, "accepted as docker has it, without effect: root in the sandbox is -u root",
	 .flag = &privileged},
	{'q', "quiet", NULL, "no progress while the sandbox starts", .flag = &quiet},
	{0},
};

static int job(struct cli *cli, const char *name, char *const *env, struct cli_progress *progress,
	       struct hull_error *err)
{
	_cleanup_free_ char *id = NULL;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = life_load(cli, name, &sb, err);
	if (r >= 0)
		r = life_start(&cli->paths, name, NULL, progress, err);
	if (r < 0)
		return r;
	struct job_spec spec = {
		.argv = cli->command, .env = env, .cwd = cwd, .user = user, .tty = tty, .input = interactive};
	r = job_begin(&cli->paths, name, &spec, progress, &id, err);
	cli_progress_end(progress);
	if (r < 0 && session_cannot(-r)) {
		cli_error("%s", err->msg);
		return session_cannot(-r);
	}
	if (r < 0)
		return r;
	printf("%s\n", id);
	return 0;
}

static int session(struct cli *cli, const char *name, char ***env, struct cli_progress *progress,
		   struct hull_error *err)
{
	int fd = life_connect(cli, name, progress, err);
	if (fd < 0)
		return fd;
	if (tty)
		session_terminal_env(env);
	struct session_spec spec = {.name = name,
				    .argv = cli->command,
				    .env = *env,
				    .cwd = cwd,
				    .user = user,
				    .input = interactive,
				    .tty = tty,
				    .in_fd = STDIN_FILENO,
				    .out_fd = STDOUT_FILENO,
				    .err_fd = STDERR_FILENO};
	struct refused_mark mark = refused_mark(&cli->paths, name);
	int r = session_run(fd, &spec, progress, err);
	if (r > 0 && !quiet)
		refused_tell(&cli->paths, name, &mark);
	return r;
}

static int environment(struct cli *cli, const char *name, char ***env, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = cli_paths(cli, err);
	if (r < 0 || !env_files)
		return r < 0 ? r : create_env(&cli->paths, NULL, NULL, env_pairs, env, err);
	r = life_load(cli, name, &sb, err);
	if (r < 0)
		return r;
	if (sb.clone && hull_strv_add(&sb.paths, sb.clone) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return create_env(&cli->paths, sb.paths, env_files, env_pairs, env, err);
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0];
	/* On a terminal, or with input, a shell is what is meant. */
	if ((!cli->command_count && !((tty || interactive) && !detach)) || (cli->command_count && !*cli->command[0]))
		return hull_fail(err, -EINVAL,
				 "exec: which command? hull exec %s COMMAND, or `hull exec -it %s bash` for a shell",
				 name, name);
	if (tty && interactive && !detach && !isatty(STDIN_FILENO))
		return hull_fail(err, -EINVAL, "exec: stdin is not a terminal: leave out -t, or use -i alone");
	char **env = NULL;
	int r = environment(cli, name, &env, err);
	if (r >= 0 && cli_signals_catch() < 0)
		r = hull_fail(err, -EIO, "catching signals: %s", strerror(errno));
	if (r >= 0) {
		struct cli_progress progress;
		cli_progress_begin(&progress, quiet, false, name);
		r = detach ? job(cli, name, env, &progress, err) : session(cli, name, &env, &progress, err);
		cli_progress_end(&progress);
	}
	hull_strv_free(env);
	if (r == -EINTR && cli_signals_ended())
		r = 128 + cli_signals_ended();
	return r;
}

const struct cli_verb verb_exec = {
	.name = "exec",
	.usage = "NAME [--] [COMMAND [ARG...]]",
	.summary = "run a command in a sandbox",
	.about = "Starts the sandbox if it is not running. The exit code is the command's; 126 when it cannot be "
		 "executed, "
		 "127 when there is none, 125 when hull itself failed. Without -t, signals sent to hull go to the "
		 "command. "
		 "With -i or -t and no COMMAND it is the user's login shell.",
	.aka = "ssh",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.options_end = CLI_OPTIONS_BEFORE_COMMAND,
	.command = true,
	.complete = CLI_SANDBOX,
	.run = run,
};

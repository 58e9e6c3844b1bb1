/* SPDX-License-Identifier: Apache-2.0 */
/* hull exec: runs a command in a sandbox, with docker exec's flags. */
#include "cli/create.h"

#include "cli/out.h"
#include "cli/refused.h"
#include "cli/session.h"
#include "cli/signals.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static int job(struct cli *cli, const char *name, char *const *env, struct hull_error *err)
{
	const struct hull_exec_spec spec = {.size = sizeof(spec),
					    .argv = (const char *const *)cli->command,
					    .env = (const char *const *)env,
					    .cwd = cwd,
					    .user = user,
					    .flags = (tty ? HULL_EXEC_TTY : 0) | (interactive ? HULL_EXEC_INPUT : 0)};
	char *id = NULL;
	int r = hull_job_start(cli->hull, name, &spec, &id, err);
	if (cli_progress_current())
		cli_progress_end(cli_progress_current());
	if (r >= 0)
		printf("%s\n", id);
	free(id);
	int cannot = r < 0 ? cli_session_cannot(err) : 0;
	return cannot ? cannot : r;
}

static int session(struct cli *cli, const char *name, char ***env, struct hull_error *err)
{
	if (tty)
		cli_session_terminal_env(env);
	const struct cli_session session = {
		.argv = cli->command, .env = *env, .cwd = cwd, .user = user, .input = interactive, .tty = tty};
	struct refused_mark mark = refused_mark(cli->paths, name);
	int r = cli_session_run(cli, name, &session, err);
	if (r > 0 && !quiet)
		refused_tell(cli, name, &mark);
	return r;
}

static int environment(struct cli *cli, const char *name, char ***env, struct hull_error *err)
{
	struct hull_info *info = NULL;
	if (!env_files)
		return create_env(cli->paths, NULL, NULL, env_pairs, env, err);
	int r = hull_inspect(cli->hull, name, &info, err);
	if (r < 0)
		return r;
	/* A damaged file may have had any path. */
	if (!strcmp(info->state, "damaged"))
		r = hull_fail(err, -EBADMSG, "%s", info->error ? info->error : info->state);
	char **given = r < 0 ? NULL : hull_strv_copy((char *const *)(uintptr_t)info->paths);
	if (r >= 0 && (!given || (info->clone && hull_strv_add(&given, info->clone) < 0)))
		r = hull_fail(err, -ENOMEM, "out of memory");
	if (r >= 0)
		r = create_env(cli->paths, given, env_files, env_pairs, env, err);
	hull_strv_free(given);
	hull_info_free(info);
	return r;
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0];
	/* Without a command, a terminal or piped input means a shell. */
	if ((!cli->command_count && !((tty || interactive) && !detach)) || (cli->command_count && !*cli->command[0]))
		return hull_fail(err, -EINVAL,
				 "exec: which command? hull exec %s COMMAND, or `hull exec -it %s bash` for a shell",
				 name, name);
	if (tty && interactive && !detach && !isatty(STDIN_FILENO))
		return hull_fail(err, -EINVAL, "exec: stdin is not a terminal: leave out -t, or use -i alone");
	char **env = NULL;
	int r = cli_open(cli, quiet, err);
	if (r >= 0)
		r = environment(cli, name, &env, err);
	if (r >= 0)
		r = cli_catch(cli, err);
	if (r >= 0) {
		struct cli_progress progress;
		cli_progress_begin(&progress, quiet, false, name);
		r = detach ? job(cli, name, env, err) : session(cli, name, &env, err);
		cli_progress_end(&progress);
	}
	hull_strv_free(env);
	return cli_signals_code(r);
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

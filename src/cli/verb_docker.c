/* SPDX-License-Identifier: Apache-2.0 */
/* hull docker: runs the docker client against a sandbox's daemon. Uses this machine's client if it is installed (it
 * then reads this machine's files, but the sandbox's configuration: docker_env.c), through the socket in the runtime
 * directory; otherwise the client in the sandbox. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/docker_env.h"
#include "cli/out.h"
#include "cli/session.h"
#include "cli/signals.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

/* docker in PATH; owned, NULL when there is none. */
static char *find_client(void)
{
	const char *set = getenv("PATH");
	_cleanup_free_ char *path = strdup(set ? set : "/usr/local/bin:/usr/bin:/bin");
	char *rest = path;
	for (char *dir; rest && (dir = strsep(&rest, ":")) != NULL;) {
		char *file = hull_fmt("%s/docker", *dir ? dir : ".");
		struct stat st;
		if (file && stat(file, &st) == 0 && S_ISREG(st.st_mode) && access(file, X_OK) == 0)
			return file;
		free(file);
	}
	return NULL;
}

static int here(struct cli *cli, const char *name, const char *client, const char *socket, struct hull_error *err)
{
	_cleanup_free_ char *host = hull_fmt("unix://%s", socket);
	char **argv = hull_strv_copy(NULL);
	int r = argv && host ? hull_strv_add(&argv, "docker") : -ENOMEM;
	for (size_t i = 0; r >= 0 && i < cli->command_count; i++)
		r = hull_strv_add(&argv, cli->command[i]);
	if (r >= 0)
		r = docker_env(cli->paths, name, host, err);
	else
		r = hull_fail(err, r, "out of memory");
	if (r >= 0) {
		fflush(NULL);
		cli_signals_child();
		execv(client, argv);
		r = hull_fail_errno(err, "running %s", client);
	}
	hull_strv_free(argv);
	return r;
}

static int inside(struct cli *cli, const char *name, struct hull_error *err)
{
	bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	char **argv = hull_strv_copy(NULL), **env = hull_strv_copy(NULL);
	int r = argv && env ? hull_strv_add(&argv, "docker") : -ENOMEM;
	for (size_t i = 0; r >= 0 && i < cli->command_count; i++)
		r = hull_strv_add(&argv, cli->command[i]);
	if (r < 0) {
		hull_fail(err, r, "out of memory");
	} else {
		if (tty)
			cli_session_terminal_env(&env);
		const struct cli_session session = {.argv = argv, .env = env, .input = true, .tty = tty};
		r = cli_session_run(cli, name, &session, err);
	}
	hull_strv_free(argv);
	hull_strv_free(env);
	return r;
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0];
	_cleanup_free_ char *socket = NULL;
	int r = cli_open(cli, false, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, false, false, name);
	r = hull_docker_socket(cli->hull, name, &socket, err);
	cli_progress_end(&progress);
	if (r < 0)
		return r;
	_cleanup_free_ char *client = find_client();
	if (client && strlen(socket) < sizeof((struct sockaddr_un *)0)->sun_path)
		return here(cli, name, client, socket, err);
	if (isatty(STDERR_FILENO))
		cli_note("%s: the docker client in the sandbox is used, and paths are the sandbox's",
			 client ? "its socket's path is too long for a docker client here" : "no docker client here");
	return inside(cli, name, err);
}

const struct cli_verb verb_docker = {
	.name = "docker",
	.usage = "NAME [DOCKER-ARGUMENT...]",
	.summary = "run the docker client against a sandbox's Docker",
	.about = "Starts the sandbox if need be and waits for its Docker. Uses this machine's docker client when there "
		 "is one "
		 "in PATH, with a configuration and logins of the sandbox's own, else the client in the sandbox. All "
		 "that stands behind NAME is docker's.",
	.options = NULL,
	.min_words = 1,
	.max_words = 1,
	.options_end = CLI_OPTIONS_BEFORE_NAME,
	.command = true,
	.complete = CLI_SANDBOX,
	.run = run,
};

/* hull attach: this terminal, or these pipes, on a job that runs: what it prints from now on, and its stdin when it was
 * started with -i. Signals, detach keys and exit code as docker attach has them. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/command/session.h"

#include <string.h>

static bool no_stdin, keep;
static bool proxy = true;

static const struct cli_opt options[] = {
	{0, "no-stdin", NULL, "pass no stdin on", .flag = &no_stdin},
	{0, "keep-stdin", NULL, "leave the job's stdin open when ours ends", .flag = &keep},
	{0, "sig-proxy", NULL, "pass signals on to the job (the default); =false: they end hull attach only",
	 .flag = &proxy},
	{0},
};

/* What is known of a job. */
static int find(struct cli *cli, const char *name, const char *id, bool *tty, bool *input, struct hull_error *err)
{
	json_t *answer = NULL, *j;
	size_t i;
	int r = client_ask(&cli->paths, name, json_pack("{s:s}", "do", "jobs"), 10000, NULL, &answer, err);
	if (r == -ENOTCONN)
		return hull_fail(err, r, "%s does not run, and so does no job of it", name);
	if (r < 0)
		return r;
	r = hull_fail(err, -ENOENT, "%s has no job %s: `hull logs %s --jobs` lists them", name, id, name);
	json_array_foreach(json_object_get(answer, "jobs"), i, j)
	{
		if (!hull_streq(json_string_value(json_object_get(j, "id")), id))
			continue;
		*tty = json_is_true(json_object_get(j, "tty"));
		*input = json_is_true(json_object_get(j, "stdin"));
		if (hull_streq(json_string_value(json_object_get(j, "state")), "running"))
			r = 0;
		else
			hull_fail(err, r, "job %s has ended: `hull logs %s --job %s` has its output", id, name, id);
	}
	json_decref(answer);
	return r;
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0], *id = cli->words[1];
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	size_t n = strlen(id);
	if (!n || n > 32 || strspn(id, "0123456789abcdef") != n) {
		_cleanup_free_ char *shown = hull_printable(id, n);
		return hull_fail(err, -EINVAL, "\"%s\" is not the id of a job", shown ? shown : "");
	}
	int r = life_load(cli, name, &sb, err);
	bool tty = false, input = false;
	if (r >= 0)
		r = find(cli, name, id, &tty, &input, err);
	int fd = r < 0 ? r : client_connect(&cli->paths, name, 10000, err);
	if (fd < 0)
		return fd;
	struct session_spec spec = {.name = name,
				    .job = id,
				    .input = input && !no_stdin,
				    .tty = tty,
				    .no_signals = !proxy,
				    .keep_input = keep || !input || no_stdin,
				    .in_fd = STDIN_FILENO,
				    .out_fd = STDOUT_FILENO,
				    .err_fd = STDERR_FILENO};
	return session_run(fd, &spec, NULL, err);
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

/* hull wait: sleep until a sandbox takes commands, has its Docker ready, or has stopped. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"

#include <poll.h>
#include <string.h>

static const char *what = "docker";
static bool quiet;

static const struct cli_opt options[] = {
	{0, "for", "WHAT", "exec (commands can be run), docker (the default), or stop", .text = &what,
	 .complete = CLI_WAIT_FOR},
	{'q', "quiet", NULL, "no progress", .flag = &quiet},
	{0},
};

/* The connection ends with the keeper. */
static int until_stopped(struct cli *cli, const char *name, struct cli_progress *progress, struct hull_error *err)
{
	int fd = client_connect(&cli->paths, name, 10000, err);
	if (fd == -ENOTCONN)
		return 0;
	if (fd < 0)
		return fd;
	_cleanup_close_ int held = fd;
	cli_progress_stage(progress, "waiting for it to stop");
	struct pollfd pfd = {.fd = held, .events = POLLRDHUP};
	while (poll(&pfd, 1, cli_progress_tick(progress)) <= 0)
		;
	return 0;
}

static int run(struct cli *cli, struct hull_error *err)
{
	bool stop = !strcmp(what, "stop");
	if (!stop && strcmp(what, "exec") != 0 && strcmp(what, "docker") != 0)
		return hull_fail(err, -EINVAL, "--for takes exec, docker or stop");
	const char *name = cli->words[0];
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = life_load(cli, name, &sb, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, name);
	if (stop) {
		r = until_stopped(cli, name, &progress, err);
	} else {
		cli_progress_stage(&progress, *what == 'd' ? "waiting for Docker" : "waiting for the guest to boot");
		r = client_ask(&cli->paths, name, json_pack("{s:s, s:s}", "do", "wait", "for", what), -1, &progress,
			       NULL, err);
	}
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

/* hull start: start sandboxes and wait until they take commands. */
#include "cli/each.h"

#include "base/cleanup.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/saved/saved.h"

#include <string.h>

static bool all, cold, quiet;
static const char *wait_for;

static const struct cli_opt options[] = {
	{'a', "all", NULL, "all that are not running", .flag = &all},
	{0, "wait", "WHAT", "come back when it is so: exec (commands can be run; the default), docker, or none",
	 .text = &wait_for, .complete = CLI_WAIT},
	{0, "cold", NULL, "boot from the disk, and give up what would be restored (the memory of a paused one)",
	 .flag = &cold},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

static int start(struct cli *cli, const char *name, struct cli_progress *progress, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = life_load(cli, name, &sb, err);
	if (r >= 0 && cold && sb.restore)
		r = saved_forget(cli, name, err);
	if (r >= 0 && cli_signals_catch() < 0)
		r = hull_fail(err, -EIO, "cannot catch signals");
	if (r >= 0)
		r = life_start(&cli->paths, name, NULL, progress, err);
	if (r < 0)
		return r;
	if (r > 0 && !quiet)
		cli_note("%s is running already", name);
	if (wait_for && !strcmp(wait_for, "none"))
		return 0;
	bool docker = wait_for && !strcmp(wait_for, "docker");
	cli_progress_stage(progress, docker ? "waiting for Docker" : "waiting for the guest to boot");
	r = client_ask(&cli->paths, name, json_pack("{s:s, s:s}", "do", "wait", "for", docker ? "docker" : "exec"), -1,
		       progress, NULL, err);
	if (r == -EINTR)
		return hull_fail(err, r, "interrupted, and %s goes on starting: `hull stop %s` stops it", name, name);
	return r;
}

static bool wanted(const struct hull_paths *p, const char *name)
{
	return !hull_sandbox_running(p, name);
}

static int run(struct cli *cli, struct hull_error *err)
{
	if (wait_for && strcmp(wait_for, "exec") != 0 && strcmp(wait_for, "docker") != 0 &&
	    strcmp(wait_for, "none") != 0)
		return hull_fail(err, -EINVAL, "--wait takes exec, docker or none");
	char **names = NULL;
	int r = each_names(cli, all, wanted, &names, err);
	if (r >= 0)
		r = each_run(cli, names, quiet, start, err);
	hull_strv_free(names);
	return r;
}

const struct cli_verb verb_start = {
	.name = "start",
	.usage = "NAME...",
	.summary = "start sandboxes",
	.about = "Prints the name of each one that runs then. One that runs already is left as it is.",
	.aka = "boot up",
	.options = options,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.run = run,
};

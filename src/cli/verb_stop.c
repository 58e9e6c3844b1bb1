/* SPDX-License-Identifier: Apache-2.0 */
/* hull stop: shut sandboxes down. */
#include "cli/each.h"

#include "base/text.h"
#include "cli/out.h"
#include "wire/service.h"

#include <string.h>

enum { GRACE_DEFAULT_S = 10, GRACE_MAX_S = HULL_GRACE_MAX_MS / 1000 };

static bool all, force, quiet;
static const char *grace_text;
static uint64_t grace = GRACE_DEFAULT_S;

static const struct cli_opt options[] = {
	{'a', "all", NULL, "all that are running", .flag = &all},
	{'t', "time", "SECONDS", "for its processes to end before they are killed (default 10); 0 pulls the plug",
	 .text = &grace_text},
	{'f', "force", NULL, "pull the plug, as --time 0", .flag = &force},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

static int stop(struct cli *cli, const char *name, struct hull_error *err)
{
	int r = hull_stop(cli->hull, name, (int)grace * 1000, err);
	if (r > 0 && !quiet)
		cli_note("%s is not running", name);
	return r < 0 ? r : 0;
}

static int run(struct cli *cli, struct hull_error *err)
{
	if (grace_text && hull_parse_u64(grace_text, GRACE_MAX_S, &grace) < 0)
		return hull_fail(err, -EINVAL, "--time takes whole seconds, 0 to %d", GRACE_MAX_S);
	if (force)
		grace = 0;
	char **names = NULL;
	int r = each_names(cli, all, hull_sandbox_running, &names, err);
	if (r >= 0)
		r = each_run(cli, names, quiet, stop, err);
	hull_strv_free(names);
	return r;
}

const struct cli_verb verb_stop = {
	.name = "stop",
	.usage = "NAME...",
	.summary = "stop sandboxes; their disks stay",
	.about = "Its processes get TERM, and KILL when the time is over; then its disk is unmounted and the machine "
		 "switched "
		 "off. Prints the name of each one that is stopped then.",
	.aka = "halt shutdown down",
	.options = options,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.run = run,
};

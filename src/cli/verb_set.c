/* SPDX-License-Identifier: Apache-2.0 */
/* hull set: change the size of an existing sandbox. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/create.h"
#include "cli/out.h"
#include "lib/sandbox/size.h"

static const char *flag_cpus, *flag_memory, *flag_disk, *flag_swap;
static bool quiet;

static const struct cli_opt options[] = {
	{0, "cpus", "N", "virtual CPUs, 0 = as many as the host has; of a stopped sandbox", .text = &flag_cpus},
	{'m', "memory", "SIZE", "the most memory it may use, as 512m or 8g; of a stopped sandbox",
	 .text = &flag_memory},
	{0, "disk", "SIZE", "make its disk larger, also while it runs", .text = &flag_disk},
	{0, "swap", "SIZE", "swap on its disk, 0 = none; of a stopped sandbox", .text = &flag_swap},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

/* 0 is not the default. */
static int size(const char *flag, const char *text, uint64_t *out, struct hull_error *err)
{
	int r = text ? hull_parse_size(text, out, err) : 0;
	if (r < 0)
		return hull_wrap(err, "--%s", flag);
	if (text && !*out)
		*out = HULL_NONE;
	return 0;
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0];
	struct hull_set_spec spec = {.size = sizeof(spec)};
	if (!flag_cpus && !flag_memory && !flag_disk && !flag_swap)
		return hull_fail(err, -EINVAL, "nothing to change: give --cpus, --memory, --swap or --disk");
	int r = flag_cpus ? create_cpus(flag_cpus, size_host_cpus(), &spec.cpus, err) : 0;
	if (r >= 0)
		r = size("memory", flag_memory, &spec.memory, err);
	if (r >= 0)
		r = size("disk", flag_disk, &spec.disk, err);
	if (r >= 0)
		r = size("swap", flag_swap, &spec.swap, err);
	if (r >= 0)
		r = cli_open(cli, quiet, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, name);
	r = hull_set(cli->hull, name, &spec, err);
	cli_progress_end(&progress);
	return r < 0 ? create_flag_words(err) : r;
}

const struct cli_verb verb_set = {
	.name = "set",
	.usage = "NAME",
	.summary = "change a sandbox's cpus, memory, swap or disk",
	.about =
		"CPUs, memory and swap are changed while it is stopped. The disk can be made larger at any time, never "
		"smaller: "
		"while the sandbox runs, its file system has the new size when this returns. A sandbox that would "
		"start from a "
		"template boots instead when its size is no longer the template's.",
	.aka = "update resize edit configure",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* hull fork: running copies of a running sandbox. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"
#include "cli/signals.h"

#include <unistd.h>

static const char *count_text;
static bool quiet;

static const struct cli_opt options[] = {
	{'n', "count", "N", "make so many (default 1)", .text = &count_text},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

enum { COUNT_MAX = 1000 };

static void made(void *ctx, const char *name)
{
	cli_progress_end(ctx);
	printf("%s\n", name);
	fflush(stdout);
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0], *wish = cli->word_count > 1 ? cli->words[1] : NULL;
	uint64_t count = 1;
	double paused = 0;
	if (count_text && (hull_parse_u64(count_text, COUNT_MAX, &count) < 0 || count == 0))
		return hull_fail(err, -EINVAL, "--count takes a number from 1 to %d", COUNT_MAX);
	int r = cli_open(cli, quiet, err);
	if (r >= 0)
		r = cli_catch(cli, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, name);
	r = hull_fork(cli->hull, name, wish, (unsigned)count, made, &progress, &paused, err);
	cli_progress_end(&progress);
	if (r >= 0 && !quiet && isatty(STDERR_FILENO))
		cli_note("%s stood still for %.0f ms", name, paused);
	return cli_signals_code(r);
}

const struct cli_verb verb_fork = {
	.name = "fork",
	.usage = "NAME [NEW]",
	.summary = "make running copies of a running sandbox",
	.about = "Each copy has the processes, containers, memory and disk that NAME has at that moment, and goes its "
		 "own "
		 "way: own hostname, machine id, random numbers and SSH host keys. NAME goes on; it stands still only "
		 "while "
		 "the memory it has changed is copied. Open connections are closed in the copies; published ports and "
		 "--rm are not theirs. The new names are "
		 "printed: NEW, or NEW-1, NEW-2... with -n, or NAME-2, NAME-3...",
	.aka = "clone copy duplicate branch",
	.options = options,
	.min_words = 1,
	.max_words = 2,
	.complete = CLI_SANDBOX,
	.run = run,
};

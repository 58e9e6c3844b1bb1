/* SPDX-License-Identifier: Apache-2.0 */
/* hull mount and hull unmount: host paths in a sandbox. */
#include "cli/cli.h"

#include "cli/verbs.h"

static bool force;

static int run_mount(struct cli *cli, struct hull_error *err)
{
	int r = cli_open(cli, false, err);
	for (size_t i = 1; r >= 0 && i < cli->word_count; i++)
		r = hull_mount(cli->hull, cli->words[0], cli->words[i], err);
	return r;
}

static int run_unmount(struct cli *cli, struct hull_error *err)
{
	int r = cli_open(cli, false, err);
	for (size_t i = 1; r >= 0 && i < cli->word_count; i++)
		r = hull_unmount(cli->hull, cli->words[0], cli->words[i], force ? HULL_UNMOUNT_FORCE : 0, err);
	return r;
}

const struct cli_verb verb_mount = {
	.name = "mount",
	.usage = "NAME PATH[:ro]...",
	.summary = "mount directories of the host in a sandbox, at their own paths",
	.about = "In a sandbox that runs they are there when the command returns; the others have them from the next "
		 "start on. :ro behind a path makes it read-only; a single file can be mounted read-only only.",
	.aka = "share bind volume",
	.min_words = 2,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.complete_more = CLI_DIR,
	.run = run_mount,
};

static const struct cli_opt unmount_options[] = {
	{'f', "force", NULL, "also while something in the sandbox uses it: that gets errors then", .flag = &force},
	{0},
};

const struct cli_verb verb_unmount = {
	.name = "unmount",
	.usage = "NAME PATH...",
	.summary = "take directories of the host out of a sandbox again",
	.aka = "umount unshare",
	.options = unmount_options,
	.min_words = 2,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.complete_more = CLI_DIR,
	.run = run_unmount,
};

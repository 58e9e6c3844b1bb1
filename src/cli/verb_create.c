/* SPDX-License-Identifier: Apache-2.0 */
/* hull create: make a sandbox and print its name; nothing is started. */
#include "cli/create.h"

#include "base/cleanup.h"

static bool remove_after;

static const struct cli_opt options[] = {
	{0, "rm", NULL, "remove it when it stops", .flag = &remove_after},
	{0},
};

static int run(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *name = NULL;
	char **env = NULL;
	int r = create_make(cli, remove_after ? HULL_CREATE_REMOVE : 0, &name, &env, err);
	hull_strv_free(env);
	if (r < 0)
		return r;
	printf("%s\n", name);
	return 0;
}

const struct cli_verb verb_create = {
	.name = "create",
	.usage = "[AGENT] [PATH...]",
	.summary = "make a sandbox without starting it, and print its name",
	.about = "AGENT is what will work in it: shell (the default) for now. Each PATH is mounted in it at the same "
		 "path, "
		 "read-only with :ro behind it; commands start in the first. Without a PATH nothing is mounted.",
	.aka = "new init",
	.options = options,
	.more_options = create_options,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_AGENT,
	.complete_more = CLI_DIR,
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* hull help [COMMAND]. */
#include "cli/cli.h"

static int run(struct cli *cli, struct hull_error *err)
{
	const struct cli_verb *verb = NULL, *parent = NULL;
	for (size_t i = 0; i < cli->word_count; i++) {
		if (verb && !verb->verbs)
			return hull_fail(err, -EINVAL, "%s has no commands of its own", verb->name);
		parent = verb;
		verb = cli_find_verb(verb ? verb->verbs : cli_verbs, verb ? verb->name : "", cli->words[i], err);
		if (!verb)
			return err->code;
	}
	if (verb)
		cli_help_verb(verb, parent);
	else
		cli_help_all();
	return 0;
}

const struct cli_verb verb_help = {
	.name = "help",
	.usage = "[COMMAND...]",
	.summary = "this list, or what a command does",
	.max_words = 2,
	.complete = CLI_VERB,
	.run = run,
};

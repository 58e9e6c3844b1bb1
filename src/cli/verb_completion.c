/* SPDX-License-Identifier: Apache-2.0 */
/* hull completion: the completion script of a shell. */
#include "cli/cli.h"

static int run(struct cli *cli, struct hull_error *err)
{
	return cli_completion(cli->words[0], err);
}

const struct cli_verb verb_completion = {
	.name = "completion",
	.usage = "bash|zsh",
	.summary = "print the completion script of a shell",
	.about = "For this session: source <(hull completion bash). To keep it: hull completion bash > "
		 "~/.local/share/bash-completion/completions/hull, or hull completion zsh > _hull in a directory of "
		 "$fpath.",
	.min_words = 1,
	.max_words = 1,
	.complete = CLI_SHELL,
	.run = run,
};

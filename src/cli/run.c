/* SPDX-License-Identifier: Apache-2.0 */
/* From argv to a verb and back to an exit code. Every failure is printed here, once. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/debug.h"
#include "cli/out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int help(const struct cli_verb *verb, const struct cli_verb *parent)
{
	if (verb)
		cli_help_verb(verb, parent);
	else
		cli_help_all();
	return 0;
}

/* argv[0] is the verb's word. */
static int dispatch(struct cli *cli, const struct cli_verb *verb, char **argv, struct hull_error *err)
{
	if (verb->verbs) {
		if (!argv[1] || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
			return help(verb, NULL);
		cli->parent = verb;
		verb = cli_find_verb(verb->verbs, verb->name, argv[1], err);
		if (!verb)
			return err->code;
		argv++;
	}
	int r = cli_parse(cli, verb, argv, err);
	if (r < 0)
		return r;
	if (cli->help)
		return help(verb, cli->parent);
	return verb->run(cli, err);
}

static int start(struct cli *cli, int argc, char **argv, struct hull_error *err)
{
	int r = hull_debug_init(&argc, argv, err);
	char levels[HULL_DEBUG_TEXT];
	/* Inherited by a keeper that this command starts. */
	if (r >= 0 && hull_debug_text(levels)[0] && setenv("HULL_LOG", levels, 1) < 0)
		r = hull_fail_errno(err, "HULL_LOG");
	if (r < 0)
		return r;
	const char *word = argv[0] && argv[1] ? argv[1] : "--help";
	if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		return help(NULL, NULL);
	if (!strcmp(word, "--version") || !strcmp(word, "-v"))
		word = "version";
	else if (word[0] == '-')
		return hull_fail(err, -EINVAL,
				 "flags stand behind the command: hull COMMAND %s; `hull --help` lists the commands",
				 word);
	const struct cli_verb *verb = cli_find_verb(cli_verbs, "", word, err);
	return verb ? dispatch(cli, verb, argv + 1, err) : err->code;
}

int cli_main(int argc, char **argv)
{
	struct cli cli = {0};
	struct hull_error err = {0};
	int r = start(&cli, argc, argv, &err);
	if (r < 0) {
		cli_error("%s", err.code ? err.msg : strerror(-r));
		r = CLI_EXIT_HULL;
	}
	/* Check that all output was written: a full disk behind `>` is a failure. */
	if ((fflush(stdout) || ferror(stdout)) && r == 0) {
		cli_error("writing to standard output: %s", strerror(errno));
		r = CLI_EXIT_HULL;
	}
	cli_free(&cli);
	return r;
}

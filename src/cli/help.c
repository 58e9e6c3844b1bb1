/* SPDX-License-Identifier: Apache-2.0 */
/* Help, from the table of verbs: `hull help`, `hull help VERB`, `hull VERB --help`. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* Wraps text at `width`, indenting continuation lines by `indent`; the first line starts at column `at`. */
static void wrap(const char *text, int at, int indent, int width)
{
	int col = at;
	while (*text) {
		if (*text == '\n') { /* a line break in the text is kept */
			printf("\n%*s", indent, "");
			col = indent;
			text++;
			continue;
		}
		int n = (int)strcspn(text, " \n");
		if (col > indent && col + 1 + n > width) {
			printf("\n%*s", indent, "");
			col = indent;
		}
		printf("%s%.*s", col > indent ? " " : "", n, text);
		col += n + (col > indent);
		text += n;
		while (*text == ' ')
			text++;
	}
	printf("\n");
}

static int flag_width(const struct cli_opt *o)
{
	return (int)(8 + strlen(o->name) + (o->metavar ? 1 + strlen(o->metavar) : 0));
}

static void print_options(const struct cli_opt *o, int column)
{
	for (; o && o->name; o++) {
		int w = printf("  %c%c%c --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
			       o->letter ? ',' : ' ', o->name, o->metavar ? " " : "", o->metavar ? o->metavar : "");
		printf("%*s", column > w ? column - w : 2, "");
		wrap(o->help, column, column, 100);
	}
}

static void print_verbs(const struct cli_verb *const *verbs)
{
	for (; *verbs; verbs++)
		printf("  %-12s%s\n", (*verbs)->name, (*verbs)->summary);
}

static int widest(const struct cli_opt *o, int so_far)
{
	for (; o && o->name; o++)
		if (flag_width(o) + 2 > so_far)
			so_far = flag_width(o) + 2;
	return so_far;
}

/* The summary is written for the list, without a capital; --help prints it as a sentence. */
void cli_help_verb(const struct cli_verb *verb, const struct cli_verb *parent)
{
	const char *above = parent ? parent->name : "", *sp = parent ? " " : "";
	char first = verb->summary[0];
	printf("%c%s.\n\n", first >= 'a' && first <= 'z' ? first - 'a' + 'A' : first, verb->summary + 1);
	if (verb->verbs) {
		printf("Usage: hull %s COMMAND\n\nCommands:\n", verb->name);
		print_verbs(verb->verbs);
		printf("\n`hull %s COMMAND --help` says more.\n", verb->name);
		return;
	}
	printf("Usage: hull %s%s%s [FLAGS]%s%s\n", above, sp, verb->name, *verb->usage ? " " : "", verb->usage);
	if (verb->about) {
		printf("\n");
		wrap(verb->about, 0, 0, 100);
	}
	static const struct cli_opt help[] = {{'h', "help", NULL, "show this", .flag = NULL}, {0}};
	int column = widest(help, widest(verb->more_options, widest(verb->options, 0)));
	printf("\nFlags:\n");
	print_options(verb->options, column);
	print_options(verb->more_options, column);
	print_options(help, column);
}

void cli_help_all(void)
{
	printf("hull: a microVM of its own for every coding agent: own kernel, own Docker, no way out but yours.\n\n"
	       "Usage: hull COMMAND [FLAGS] ...\n\nCommands:\n");
	print_verbs(cli_verbs);
	printf("\nTo begin:   hull doctor             what this machine can do, and what it lacks\n"
	       "            hull image build        once; takes a few minutes\n"
	       "            hull run                a shell in a microVM, Docker ready\n"
	       "`hull --debug COMMAND` and HULL_LOG=AREA=LEVEL,... show what happens inside (docs/debugging.md).\n"
	       "`hull COMMAND --help` says more; `man hull` and docs/cli.md say all.\n");
}

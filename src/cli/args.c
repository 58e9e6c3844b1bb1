/* SPDX-License-Identifier: Apache-2.0 */
/* The option parser: docker's conventions, from one table per verb.
 *
 *   --name VALUE, --name=VALUE      long flags
 *   -m VALUE, -mVALUE, -m=VALUE     short flags
 *   -it                             joined switches
 *   --x, --x=true, --x=false        switches
 *   --                              ends the flags
 *
 * Each verb chooses where flags end otherwise (options_end), so that flags of a command to be run are not parsed as
 * hull's. Of a repeated flag the last value counts; lists accumulate. For an unknown flag the closest known one is
 * suggested. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_opt help_option = {'h', "help", NULL, "show this", .flag = NULL};

static const struct cli_opt *scan(const struct cli_opt *table, const char *name, size_t n, char letter)
{
	for (const struct cli_opt *o = table; o && o->name; o++)
		if (name ? strlen(o->name) == n && !memcmp(o->name, name, n) : o->letter && o->letter == letter)
			return o;
	return NULL;
}

static const struct cli_opt *find(const struct cli_verb *verb, const char *name, size_t n, char letter)
{
	const struct cli_opt *o = scan(verb->options, name, n, letter);
	if (!o)
		o = scan(verb->more_options, name, n, letter);
	if (!o && (name ? n == 4 && !memcmp(name, "help", 4) : letter == 'h'))
		o = &help_option;
	return o;
}

const struct cli_opt *cli_option(const struct cli_verb *verb, const char *name)
{
	return find(verb, name, strlen(name), 0);
}

/* "hull image build", for messages. */
static const char *title(const struct cli *cli, char *out, size_t cap)
{
	snprintf(out, cap, "hull %s%s%s", cli->parent ? cli->parent->name : "", cli->parent ? " " : "",
		 cli->verb->name);
	return out;
}

static int unknown_flag(const struct cli *cli, const char *flag, size_t n, struct hull_error *err)
{
	const char *names[64];
	size_t count = 0;
	for (const struct cli_opt *o = cli->verb->options; o && o->name && count < 62; o++)
		names[count++] = o->name;
	for (const struct cli_opt *o = cli->verb->more_options; o && o->name && count < 63; o++)
		names[count++] = o->name;
	names[count++] = "help";
	_cleanup_free_ char *word = strndup(flag, n);
	_cleanup_free_ char *shown = hull_printable(flag, n);
	char self[64];
	title(cli, self, sizeof self);
	/* "-memory" is a long flag with a missing dash. */
	const char *bare = word ? word + strspn(word, "-") : "";
	const char *near = *bare ? hull_closest(bare, names, count) : NULL;
	if (near)
		return hull_fail(err, -EINVAL, "unknown flag %s: did you mean --%s? `%s --help` lists all",
				 shown ? shown : "", near, self);
	if (cli->verb->command)
		return hull_fail(err, -EINVAL,
				 "unknown flag %s: `%s --help` lists them; put -- before a command of your own",
				 shown ? shown : "", self);
	return hull_fail(err, -EINVAL, "unknown flag %s: `%s --help` lists them", shown ? shown : "", self);
}

static int set_switch(struct cli *cli, const struct cli_opt *o, const char *value, struct hull_error *err)
{
	bool on = true;
	if (value) {
		if (hull_streq(value, "true") || hull_streq(value, "1"))
			on = true;
		else if (hull_streq(value, "false") || hull_streq(value, "0"))
			on = false;
		else
			return hull_fail(err, -EINVAL, "--%s takes no value but true or false", o->name);
	}
	if (o == &help_option)
		cli->help = on;
	else
		*o->flag = on;
	return 0;
}

static int set_value(const struct cli_opt *o, const char *value, struct hull_error *err)
{
	if (o->text) {
		*o->text = value;
		return 0;
	}
	if (hull_strv_add(o->list, value) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* One argument that starts with "--": 1 when it consumed the next argument as its value. */
static int take_long(struct cli *cli, const char *arg, const char *next, struct hull_error *err)
{
	const char *name = arg + 2;
	size_t n = strcspn(name, "=");
	const char *value = name[n] ? name + n + 1 : NULL;
	const struct cli_opt *o = n ? find(cli->verb, name, n, 0) : NULL;
	if (!o)
		return unknown_flag(cli, arg, n + 2, err);
	if (!o->metavar)
		return set_switch(cli, o, value, err);
	if (value)
		return set_value(o, value, err);
	if (!next)
		return hull_fail(err, -EINVAL, "--%s needs a value: --%s %s", o->name, o->name, o->metavar);
	int r = set_value(o, next, err);
	return r < 0 ? r : 1;
}

/* One argument of short flags: 1 when it consumed the next argument as a value. */
static int take_short(struct cli *cli, const char *arg, const char *next, struct hull_error *err)
{
	for (const char *c = arg + 1; *c; c++) {
		const struct cli_opt *o = find(cli->verb, NULL, 0, *c);
		if (!o) {
			size_t n = strcspn(arg, "=");
			return c == arg + 1 ? unknown_flag(cli, arg, n, err)
					    : hull_fail(err, -EINVAL, "unknown flag -%c in %.*s",
							*c >= ' ' && *c < 127 ? *c : '?', (int)(c - arg), arg);
		}
		if (!o->metavar) {
			const char *value = c[1] == '=' ? c + 2 : NULL;
			int r = set_switch(cli, o, value, err);
			if (r < 0 || value)
				return r;
			continue;
		}
		if (c[1])
			return set_value(o, c[1] == '=' ? c + 2 : c + 1, err);
		if (!next)
			return hull_fail(err, -EINVAL, "-%c needs a value: -%c %s", o->letter, o->letter, o->metavar);
		int r = set_value(o, next, err);
		return r < 0 ? r : 1;
	}
	return 0;
}

static int check_count(const struct cli *cli, struct hull_error *err)
{
	char self[64];
	title(cli, self, sizeof self);
	if (cli->word_count < cli->verb->min_words)
		return hull_fail(err, -EINVAL, "%s: something is missing: usage: %s %s", self + 5, self,
				 cli->verb->usage);
	if (cli->word_count > cli->verb->max_words) {
		const char *extra = cli->words[cli->verb->max_words];
		_cleanup_free_ char *shown = hull_printable(extra, strlen(extra));
		return hull_fail(err, -EINVAL, "%s: one word too many, \"%s\": usage: %s%s%s", self + 5,
				 shown ? shown : "", self, *cli->verb->usage ? " " : "", cli->verb->usage);
	}
	return 0;
}

int cli_parse(struct cli *cli, const struct cli_verb *verb, char **argv, struct hull_error *err)
{
	cli->verb = verb;
	size_t n = 0;
	while (argv[n])
		n++;
	free(cli->words);
	cli->words = calloc(n + 1, sizeof *cli->words);
	if (!cli->words)
		return hull_fail(err, -ENOMEM, "out of memory");
	cli->word_count = 0;
	size_t i = 1 < n ? 1 : n;
	for (; i < n; i++) {
		char *arg = argv[i];
		if (!strcmp(arg, "--")) {
			i++;
			break;
		}
		if (arg[0] == '-' && arg[1]) {
			int r = arg[1] == '-' ? take_long(cli, arg, argv[i + 1], err)
					      : take_short(cli, arg, argv[i + 1], err);
			if (r < 0)
				return r;
			i += (size_t)r;
			continue;
		}
		if (verb->options_end == CLI_OPTIONS_BEFORE_COMMAND && cli->word_count == 1)
			break;
		cli->words[cli->word_count++] = arg;
		if (verb->options_end == CLI_OPTIONS_BEFORE_NAME) {
			i++;
			break;
		}
	}
	/* "hull exec -- NAME CMD": the dashes end hull's flags; the name follows. */
	if (verb->options_end != CLI_OPTIONS_ANYWHERE && !cli->word_count && i < n)
		cli->words[cli->word_count++] = argv[i++];
	if (verb->options_end == CLI_OPTIONS_BEFORE_NAME && i < n && !strcmp(argv[i], "--"))
		i++;
	if (!verb->command)
		while (i < n)
			cli->words[cli->word_count++] = argv[i++];
	cli->command = argv + i;
	cli->command_count = n - i;
	return cli->help ? 0 : check_count(cli, err);
}

void cli_free(struct cli *cli)
{
	free(cli->words);
	hull_close(cli->hull);
	*cli = (struct cli){0};
}

const struct cli_verb *cli_find_verb(const struct cli_verb *const *table, const char *below, const char *name,
				     struct hull_error *err)
{
	const char *names[64];
	size_t count = 0, len = strlen(name);
	for (const struct cli_verb *const *v = table; *v; v++) {
		if (!strcmp((*v)->name, name))
			return *v;
		if (count < 64)
			names[count++] = (*v)->name;
	}
	const char *near = NULL;
	for (const struct cli_verb *const *v = table; *v && len; v++)
		for (const char *aka = (*v)->aka; aka && *aka; aka += strcspn(aka, " "), aka += strspn(aka, " "))
			if (strcspn(aka, " ") == len && !memcmp(aka, name, len))
				near = (*v)->name;
	if (!near && len)
		near = hull_closest(name, names, count);
	_cleanup_free_ char *shown = hull_printable(name, len);
	const char *sp = *below ? " " : "";
	if (near)
		hull_fail(err, -EINVAL,
			  "unknown command \"%s%s%s\": did you mean `hull %s%s%s`? `hull %s%s--help` lists all", below,
			  sp, shown ? shown : "", below, sp, near, below, sp);
	else
		hull_fail(err, -EINVAL, "unknown command \"%s%s%s\": `hull %s%s--help` lists them", below, sp,
			  shown ? shown : "", below, sp);
	return NULL;
}

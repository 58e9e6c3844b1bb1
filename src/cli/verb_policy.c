/* SPDX-License-Identifier: Apache-2.0 */
/* hull policy: the network policy of sandboxes. This file has the verbs that change a file; the others are in
 * policy_show.c and policy_log.c. */
#include "cli/policy.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/network/rules.h"

#include <stdlib.h>
#include <unistd.h>

static const char *sandbox;
static char **methods, **paths;
static bool private_ok, yes;

#define OPT_SANDBOX                                                                                     \
	{                                                                                               \
		's', "sandbox", "NAME", "of this sandbox only, instead of all", .text = &sandbox,       \
										.complete = CLI_SANDBOX \
	}

static const struct cli_opt options[] = {OPT_SANDBOX, {0}};
#define OPT_METHOD                                                                                                \
	{                                                                                                         \
		0, "method", "METHOD", "only this HTTP method (plain HTTP; may be given again)", .list = &methods \
	}
#define OPT_PATH                                                                                                \
	{                                                                                                       \
		0, "path", "GLOB",                                                                              \
			"only paths like this: * within a segment, ** across (plain HTTP; may be given again)", \
			.list = &paths                                                                          \
	}

static const struct cli_opt deny_options[] = {OPT_SANDBOX, OPT_METHOD, OPT_PATH, {0}};
static const struct cli_opt rule_options[] = {
	OPT_SANDBOX, OPT_METHOD,
	OPT_PATH,    {0, "private", NULL, "the name may resolve to a private address", .flag = &private_ok},
	{0},
};
static const struct cli_opt reset_options[] = {
	OPT_SANDBOX, {'f', "force", NULL, "no question asked", .flag = &yes}, {0}};

static void told(void *ctx, const struct hull_rule_spec *rule, const char *text)
{
	printf("%s %s%s%s\n", rule->allow ? "allow" : "deny", text, sandbox ? " in " : "", sandbox ? sandbox : "");
}

static void told_removed(void *ctx, const struct hull_rule_spec *rule, const char *text)
{
	printf("%s\n", text);
}

enum change { ALLOW, DENY, REMOVE };

static int change(struct cli *cli, enum change what, struct hull_error *err)
{
	size_t n = cli->word_count;
	_cleanup_free_ struct hull_rule_spec *rules = calloc(n + 1, sizeof(*rules));
	_cleanup_free_ const struct hull_rule_spec **list = calloc(n + 1, sizeof(struct hull_rule_spec *));
	int r = rules && list ? cli_open(cli, false, err) : hull_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r >= 0 && i < n; i++) {
		rules[i] = (struct hull_rule_spec){.size = sizeof(*rules),
						   .rule = cli->words[i],
						   .methods = (const char *const *)methods,
						   .paths = (const char *const *)paths,
						   .allow = what == ALLOW,
						   .private_ok = private_ok};
		list[i] = &rules[i];
	}
	if (r < 0)
		return r;
	return what == REMOVE ? rules_unset(cli->hull, sandbox, list, told_removed, NULL, err)
			      : rules_set(cli->hull, sandbox, list, told, NULL, err);
}

static int run_allow(struct cli *cli, struct hull_error *err)
{
	return change(cli, ALLOW, err);
}

static int run_deny(struct cli *cli, struct hull_error *err)
{
	return change(cli, DENY, err);
}

static int run_rm(struct cli *cli, struct hull_error *err)
{
	return change(cli, REMOVE, err);
}

static int run_init(struct cli *cli, struct hull_error *err)
{
	int r = cli_open(cli, false, err);
	_cleanup_free_ char *path = r >= 0 ? policy_path(cli->hull, sandbox, err) : NULL;
	if (!path)
		return err->code;
	r = hull_policy_preset(cli->hull, sandbox, cli->words[0], err);
	if (r >= 0)
		printf("%s\n", path);
	return r;
}

static int run_reset(struct cli *cli, struct hull_error *err)
{
	int r = cli_open(cli, false, err);
	_cleanup_free_ char *path = r >= 0 ? policy_path(cli->hull, sandbox, err) : NULL;
	if (!path)
		return err->code;
	if (!yes && isatty(0) && isatty(2)) {
		char line[16] = "";
		fprintf(stderr, "Drop all rules of %s? [y/N] ", path);
		if (!fgets(line, sizeof(line), stdin) || (line[0] != 'y' && line[0] != 'Y'))
			return hull_fail(err, -ECANCELED, "nothing was changed");
	}
	return hull_policy_reset(cli->hull, sandbox, err);
}

static const struct cli_verb verb_init = {
	.name = "init",
	.usage = "PRESET",
	.summary = "choose what rules begin with: open, balanced or locked",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.run = run_init,
};
static const struct cli_verb verb_allow = {
	.name = "allow",
	.usage = "RULE...",
	.summary = "add rules that allow",
	.about = "A RULE is PATTERN[:PORTS][/tcp|/udp|/any]. PATTERN is a name (example.com, *.example.com for one "
		 "label in "
		 "front, **.example.com for any number), an address or network (10.1.2.3, 10.0.0.0/8, "
		 "[2001:db8::1]:443), "
		 "or localhost:PORT for a service of this host, which is host.hull.internal in the sandbox. Running "
		 "sandboxes have the rule at once.",
	.options = rule_options,
	.min_words = 1,
	.max_words = CLI_WORDS_ANY,
	.run = run_allow,
};
static const struct cli_verb verb_deny = {
	.name = "deny",
	.usage = "RULE...",
	.summary = "add rules that deny; they beat every rule that allows",
	.about = "See `hull policy allow --help` for what a RULE is. Connections that it forbids are cut at once.",
	.options = deny_options,
	.min_words = 1,
	.max_words = CLI_WORDS_ANY,
	.run = run_deny,
};
static const struct cli_verb verb_rm_rule = {
	.name = "rm",
	.usage = "RULE...",
	.summary = "remove rules",
	.aka = "remove delete",
	.options = rule_options,
	.min_words = 1,
	.max_words = CLI_WORDS_ANY,
	.run = run_rm,
};
static const struct cli_verb verb_reset = {
	.name = "reset",
	.usage = "",
	.summary = "drop all rules of the policy file: back to the default",
	.options = reset_options,
	.run = run_reset,
};

static const struct cli_verb *const verbs[] = {&verb_policy_ls, &verb_policy_check, &verb_allow,
					       &verb_deny,      &verb_rm_rule,      &verb_policy_log,
					       &verb_init,      &verb_reset,        NULL};

const struct cli_verb verb_policy = {
	.name = "policy",
	.usage = "COMMAND",
	.summary = "what sandboxes may reach on the network",
	.aka = "network rules firewall",
	.verbs = verbs,
};

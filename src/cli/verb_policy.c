/* hull policy: what sandboxes may reach. The verbs that change a file; policy_show.c and policy_log.c have the others.
 */
#include "cli/policy.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "cli/out.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
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

/* sandbox.json says that it has a policy: a running sandbox's keeper does that itself. */
static int mark(struct cli *cli, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_close_ int lock = hull_sandbox_lock(&cli->paths, sandbox, err);
	if (lock < 0)
		return lock == -EBUSY ? 0 : lock;
	int r = hull_sandbox_load(&cli->paths, sandbox, &sb, err);
	if (r < 0 || sb.has_policy)
		return r;
	sb.has_policy = true;
	return hull_sandbox_save(&cli->paths, &sb, err);
}

/* Put the new text in place, atomically, and wait until it is in force in running sandboxes. */
static int put(struct cli *cli, const char *path, const struct hull_buf *text, struct hull_error *err)
{
	int r = hull_write_file_atomic(AT_FDCWD, path, hull_buf_bytes(text), text->len, 0600, err);
	if (r >= 0 && sandbox)
		r = mark(cli, err);
	return r < 0 ? r : policy_force_wait(cli, sandbox, err);
}

/* A file that says nothing may have been cut short: what it said is not made up. */
static int says_something(const char *path, const char *text, struct hull_error *err)
{
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	struct hull_error why;
	if (text && hull_policy_build(text, NULL, &p, NULL, &why) == -ENODATA)
		return hull_fail(err, -ENODATA, "%s: %s", path, why.msg);
	return 0;
}

static int parse(const char *word, bool allow, struct hull_rule *out, struct hull_error *err)
{
	int r = hull_rule_parse(word, allow, out, err);
	if (r == 0)
		r = hull_rule_restrict(out, methods, paths, err);
	if (r == 0 && private_ok && (!allow || out->kind == HULL_RULE_NET || out->kind == HULL_RULE_HOST))
		r = hull_fail(err, -EINVAL, "--private is for names that are allowed");
	out->private_ok = private_ok;
	return r;
}

static bool has(const struct hull_policy *p, const struct hull_rule *rule)
{
	for (size_t i = 0; i < p->count; i++)
		if (hull_rule_same(&p->rules[i], rule) && p->rules[i].private_ok == rule->private_ok)
			return true;
	return false;
}

static int add(struct cli *cli, bool allow, struct hull_error *err)
{
	_cleanup_free_ char *path = policy_path(cli, sandbox, err);
	_cleanup_free_ char *text = NULL;
	if (!path)
		return err->code;
	_cleanup_close_ int lock = policy_lock(path, err);
	int r = lock < 0 ? lock : policy_text(path, &text, err);
	if (r >= 0)
		r = says_something(path, text, err);
	bool changed = false;
	for (size_t i = 0; r >= 0 && i < cli->word_count; i++) {
		_cleanup_(hull_rule_free) struct hull_rule rule = {0};
		_cleanup_(hull_policy_free) struct hull_policy now = {0};
		_cleanup_(hull_buf_free) struct hull_buf out = {0};
		r = parse(cli->words[i], allow, &rule, err);
		if (r == 0 && text)
			r = hull_policy_add(&now, "file", path, text, strlen(text), NULL, err);
		if (r == 0 && has(&now, &rule)) {
			cli_note("%s is there already", rule.text);
			continue;
		}
		if (r == 0)
			r = hull_policy_edit_add(text, &rule, &out, err);
		if (r < 0)
			break;
		free(text);
		text = strndup((char *)hull_buf_bytes(&out), out.len);
		changed = true;
		printf("%s %s%s%s\n", allow ? "allow" : "deny", rule.text, sandbox ? " in " : "",
		       sandbox ? sandbox : "");
	}
	if (r < 0)
		return r;
	if (!changed) /* it may not be in force yet */
		return policy_force_wait(cli, sandbox, err);
	if (!text)
		return hull_fail(err, -ENOMEM, "out of memory");
	struct hull_buf out = {.data = (uint8_t *)text, .len = strlen(text)};
	return put(cli, path, &out, err);
}

static int run_allow(struct cli *cli, struct hull_error *err)
{
	return add(cli, true, err);
}

static int run_deny(struct cli *cli, struct hull_error *err)
{
	return add(cli, false, err);
}

static int run_rm(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *path = policy_path(cli, sandbox, err);
	_cleanup_free_ char *text = NULL;
	if (!path)
		return err->code;
	_cleanup_close_ int lock = policy_lock(path, err);
	int r = lock < 0 ? lock : policy_text(path, &text, err);
	for (size_t i = 0; r >= 0 && i < cli->word_count; i++) {
		size_t removed = 0;
		for (int allow = 1; r >= 0 && allow >= 0; allow--) {
			_cleanup_(hull_rule_free) struct hull_rule rule = {0};
			_cleanup_(hull_buf_free) struct hull_buf out = {0};
			size_t n = 0;
			r = hull_rule_parse(cli->words[i], allow == 1, &rule, err);
			if (r == 0)
				r = hull_rule_restrict(&rule, methods, paths, err);
			if (r == 0 && text)
				r = hull_policy_edit_remove(text, &rule, &out, &n, err);
			if (r < 0 || n == 0)
				continue;
			removed += n;
			free(text);
			text = strndup((char *)hull_buf_bytes(&out), out.len);
		}
		if (r >= 0 && removed == 0)
			r = hull_fail(err, -ENOENT, "no rule \"%s\" is in %s; `hull policy ls` shows those there are",
				      cli->words[i], path);
		else if (r >= 0)
			printf("%s\n", cli->words[i]);
	}
	if (r < 0)
		return r;
	if (!text)
		return hull_fail(err, -ENOMEM, "out of memory");
	struct hull_buf out = {.data = (uint8_t *)text, .len = strlen(text)};
	return put(cli, path, &out, err);
}

static int run_init(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *path = policy_path(cli, sandbox, err);
	_cleanup_free_ char *text = NULL;
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	if (!path)
		return err->code;
	const char *preset = cli->words[0];
	if (!hull_preset_text(preset))
		return hull_fail(err, -EINVAL, "the presets are open, balanced and locked");
	_cleanup_close_ int lock = policy_lock(path, err);
	int r = lock < 0 ? lock : policy_text(path, &text, err);
	if (r == 0)
		r = hull_policy_edit_preset(text, preset, &out, err);
	if (r == 0)
		r = put(cli, path, &out, err);
	if (r == 0)
		printf("%s\n", path);
	return r;
}

static int run_reset(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *path = policy_path(cli, sandbox, err);
	if (!path)
		return err->code;
	if (!yes && isatty(0) && isatty(2)) {
		char line[16] = "";
		fprintf(stderr, "Drop all rules of %s? [y/N] ", path);
		if (!fgets(line, sizeof(line), stdin) || (line[0] != 'y' && line[0] != 'Y'))
			return hull_fail(err, -ECANCELED, "nothing was changed");
	}
	_cleanup_close_ int lock = policy_lock(path, err);
	if (lock < 0)
		return lock;
	/* Not removed: a running sandbox keeps the policy of a file that is gone. */
	static const char none[] = "# Hull's network policy; docs/network.md. It was reset.\nallow: []\n";
	struct hull_buf out = {.data = (uint8_t *)(uintptr_t)none, .len = sizeof(none) - 1};
	return put(cli, path, &out, err);
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

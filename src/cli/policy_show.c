/* SPDX-License-Identifier: Apache-2.0 */
/* hull policy ls, hull policy check. */
#include "cli/policy.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"

#include <jansson.h>
#include <string.h>

static const char *sandbox, *method, *path;
static bool as_json, all;

static const struct cli_opt ls_options[] = {
	{'s', "sandbox", "NAME", "of this sandbox, with its own rules", .text = &sandbox, .complete = CLI_SANDBOX},
	{'a', "all", NULL, "with the rules of the preset", .flag = &all},
	{0, "json", NULL, "as JSON", .flag = &as_json},
	{0},
};
static const struct cli_opt check_options[] = {
	{'s', "sandbox", "NAME", "by this sandbox's rules, too", .text = &sandbox, .complete = CLI_SANDBOX},
	{0, "method", "METHOD", "for a plain HTTP request with this method", .text = &method},
	{0, "path", "PATH", "for a plain HTTP request of this path", .text = &path},
	{0, "json", NULL, "as JSON", .flag = &as_json},
	{0},
};

static json_t *list(char *const *v)
{
	json_t *a = json_array();
	for (; v && *v; v++)
		json_array_append_new(a, json_string(*v));
	return a;
}

static char *joined(const struct hull_rule *r)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	for (char **m = r->methods; m && *m; m++)
		hull_buf_addf(&b, "%s%s", b.len ? "," : "", *m);
	for (char **p = r->paths; p && *p; p++)
		hull_buf_addf(&b, "%s%s", b.len ? " " : "", *p);
	if (r->private_ok)
		hull_buf_addf(&b, "%sprivate", b.len ? " " : "");
	return strndup(b.len ? (char *)hull_buf_bytes(&b) : "", b.len);
}

static json_t *force_json(const struct policy_force *f, size_t n)
{
	json_t *a = json_array();
	for (size_t i = 0; i < n; i++)
		if (f[i].state != FORCE_STOPPED)
			json_array_append_new(a, json_pack("{s:s,s:b,s:b,s:s*}", "name", f[i].name, "in_force",
							   f[i].state == FORCE_YES, "network",
							   f[i].state != FORCE_NO_NETWORK, "why",
							   f[i].why[0] ? f[i].why : NULL));
	return a;
}

static void ls_json(const struct hull_policy *p, const char *preset, const struct policy_force *f, size_t n)
{
	json_t *rules = json_array();
	for (size_t i = 0; i < p->count; i++) {
		const struct hull_rule *r = &p->rules[i];
		json_array_append_new(rules,
				      json_pack("{s:s,s:s,s:s,s:o,s:o,s:b}", "action", r->allow ? "allow" : "deny",
						"rule", r->text, "source", r->source, "methods", list(r->methods),
						"paths", list(r->paths), "private", r->private_ok));
	}
	json_t *j = json_pack("{s:s?,s:o,s:o}", "preset", preset, "rules", rules, "sandboxes", force_json(f, n));
	cli_json(j);
	json_decref(j);
}

static void ls_table(const struct hull_policy *p, const char *preset)
{
	_cleanup_(cli_table_free) struct cli_table t = {.columns = 4};
	cli_cell(&t, CLI_PLAIN, "ACTION");
	cli_cell(&t, CLI_PLAIN, "RULE");
	cli_cell(&t, CLI_PLAIN, "ONLY");
	cli_cell(&t, CLI_PLAIN, "SOURCE");
	size_t hidden = 0;
	for (size_t i = 0; i < p->count; i++) {
		const struct hull_rule *rule = &p->rules[i];
		if (hull_starts(rule->source, "preset") && !all) {
			hidden++;
			continue;
		}
		_cleanup_free_ char *only = joined(rule);
		cli_cell(&t, rule->allow ? CLI_GOOD : CLI_BAD, rule->allow ? "allow" : "deny");
		cli_cell(&t, CLI_PLAIN, rule->text);
		cli_cell(&t, CLI_DIM, only ? only : "");
		cli_cell(&t, CLI_DIM, rule->source);
	}
	if (t.count > 4)
		cli_table_print(&t);
	if (!preset)
		printf("everything is denied\n");
	else if (hidden)
		printf("preset %s: %zu rules that allow (`hull policy ls --all` lists them)\n", preset, hidden);
	else
		printf("preset %s\n", preset);
}

/* One line for each running sandbox. */
static void ls_force(const struct policy_force *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (f[i].state == FORCE_STOPPED || f[i].state == FORCE_NO_NETWORK)
			continue;
		_cleanup_free_ char *why = hull_printable(f[i].why, strlen(f[i].why));
		cli_tone(f[i].state == FORCE_YES ? CLI_GOOD : CLI_BAD, f[i].state == FORCE_YES ? "in force"
								       : f[i].state == FORCE_CLOSED
									       ? "everything is denied"
								       : f[i].state == FORCE_UNKNOWN ? "unknown"
												     : "not in force");
		printf(" in %s%s%s%s\n", f[i].name, f[i].why[0] ? ": " : "", why ? why : "",
		       f[i].state == FORCE_OTHER ? "; it keeps the policy that it had" : "");
	}
}

/* The policy in force in a running sandbox if it differs from the files. 1 = *out is set. */
static int from_keeper(const struct policy_force *f, struct hull_policy *out, const char **preset,
		       struct hull_error *err)
{
	const json_t *global = json_object_get(f->told, "global"), *own = json_object_get(f->told, "sandbox");
	*preset = NULL;
	if (f->state == FORCE_CLOSED)
		return 1;
	if (f->state != FORCE_OTHER)
		return 0;
	int r = hull_policy_build(json_string_value(json_object_get(global, "text")),
				  json_string_value(json_object_get(own, "text")), out, preset, err);
	return r < 0 ? r : 1;
}

static int run_ls(struct cli *cli, struct hull_error *err)
{
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	const char *preset = NULL;
	struct policy_force *f = NULL;
	size_t n = 0;
	if (!sandbox && cli->word_count)
		sandbox = cli->words[0];
	if (cli_open(cli, false, err) < 0)
		return err->code;
	_cleanup_free_ char *file = policy_path(cli->hull, sandbox, err); /* there is such a sandbox */
	int r = file ? policy_force_ask(cli->hull, sandbox, NULL, sandbox != NULL, &f, &n, err) : err->code;
	if (r == 0 && sandbox && n == 1)
		r = from_keeper(f, &p, &preset, err);
	bool other = r > 0;
	if (r == 0)
		r = policy_build(cli->hull, sandbox, &p, &preset, err);
	if (r < 0 && !sandbox && n) {
		struct hull_error why = *err;
		hull_fail(err, r, "%s; running sandboxes keep the policy they had (`hull policy ls NAME` shows it)",
			  why.msg);
	}
	if (r >= 0 && as_json) {
		ls_json(&p, preset, f, n);
	} else if (r >= 0) {
		ls_table(&p, preset);
		ls_force(f, n);
		if (other)
			printf("These are the rules in force, not those of the files.\n");
	}
	policy_force_free(f, n);
	return r < 0 ? r : 0;
}

/* HOST[:PORT][/udp]; the default port is 443. */
static int read_target(const char *word, char **name, struct hull_target *t, struct hull_error *err)
{
	_cleanup_(hull_rule_free) struct hull_rule r = {0};
	int e = hull_rule_parse(word, true, &r, NULL);
	_cleanup_free_ char *local = e < 0 ? hull_fmt("%s:443", word) : NULL;
	if (e < 0)
		e = hull_rule_parse(local ? local : "", true, &r, NULL);
	if (e < 0 || (r.kind != HULL_RULE_NAME && r.kind != HULL_RULE_HOST && r.kind != HULL_RULE_NET) ||
	    r.port_count > 1)
		return hull_fail(err, -EINVAL, "check takes HOST[:PORT][/udp], as api.example.com:443");
	t->port = r.ports ? r.ports[0].lo : method || path ? 80 : 443;
	t->proto = r.protos == HULL_PROTO_UDP ? HULL_PROTO_UDP : HULL_PROTO_TCP;
	t->addr = r.net;
	*name = r.kind == HULL_RULE_NET ? NULL : strdup(r.name);
	t->name = *name;
	return 0;
}

static int run_check(struct cli *cli, struct hull_error *err)
{
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	_cleanup_free_ char *name = NULL;
	struct hull_target t = {0};
	const char *preset;
	struct policy_force *f = NULL;
	size_t n = 0;
	int r = read_target(cli->words[0], &name, &t, err);
	if (r == 0)
		r = cli_open(cli, false, err);
	/* Of a running sandbox, the policy in force. */
	_cleanup_free_ char *file = r == 0 && sandbox ? policy_path(cli->hull, sandbox, err) : NULL;
	if (r == 0 && sandbox)
		r = file ? policy_force_ask(cli->hull, sandbox, NULL, true, &f, &n, err) : err->code;
	if (r == 0 && n == 1)
		r = from_keeper(f, &p, &preset, err);
	if (r == 0)
		r = policy_build(cli->hull, sandbox, &p, NULL, err);
	/* The answer is by what is in force; the file would change it, if it could be read. */
	if (r >= 0 && n == 1 && f[0].why[0])
		cli_note("not in force in %s: %s", f[0].name, f[0].why);
	policy_force_free(f, n);
	if (r < 0)
		return r;
	struct hull_answer a = hull_policy_connect(&p, &t);
	if (a.verdict != HULL_DENY && (method || path))
		a = hull_policy_request(&p, &t, method ? method : "GET", path ? path : "/");
	static const char *const words[] = {"deny", "allow", "http"};
	const char *rule = a.rule ? a.rule->text : NULL, *source = a.rule ? a.rule->source : NULL;
	if (as_json) {
		json_t *j = json_pack("{s:s,s:s?,s:s?,s:s,s:i}", "verdict", words[a.verdict], "rule", rule, "source",
				      source, "why", a.why, "port", t.port);
		cli_json(j);
		json_decref(j);
	} else {
		cli_tone(a.verdict == HULL_DENY ? CLI_BAD : CLI_GOOD, a.verdict == HULL_DENY ? "deny" : "allow");
		printf(" %s port %u/%s: ", cli->words[0], t.port, t.proto == HULL_PROTO_UDP ? "udp" : "tcp");
		if (rule)
			printf("%s rule \"%s\" (%s)", a.rule->allow ? "allow" : "deny", rule, source);
		else
			printf("%s", a.why);
		printf("%s\n",
		       a.verdict == HULL_ALLOW_HTTP ? "; only plain HTTP, each request by method and path" : "");
	}
	return a.verdict == HULL_DENY ? CLI_EXIT_FAIL : 0;
}

const struct cli_verb verb_policy_ls = {
	.name = "ls",
	.usage = "[SANDBOX]",
	.summary = "the rules in force",
	.aka = "list show",
	.options = ls_options,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = run_ls,
};
const struct cli_verb verb_policy_check = {
	.name = "check",
	.usage = "HOST[:PORT][/udp]",
	.summary = "would it be allowed, and by which rule? Exit code 0 = yes, 1 = no",
	.aka = "test why",
	.options = check_options,
	.min_words = 1,
	.max_words = 1,
	.run = run_check,
};

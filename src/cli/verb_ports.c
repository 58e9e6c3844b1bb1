/* hull ports: ports of a sandbox published on this host. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "cli/out.h"
#include "policy/port.h"

#include <string.h>

static char **publish, **unpublish;
static bool as_json;

static const struct cli_opt options[] = {
	{'p', "publish", "PORT", "publish [[IP:]HOST:]PORT[/udp]; may be given again", .list = &publish},
	{0, "unpublish", "PORT", "the reverse; may be given again", .list = &unpublish},
	{0, "json", NULL, "as JSON", .flag = &as_json},
	{0},
};

enum { ANSWER_MS = 30 * 1000 };

/* Of a sandbox that does not run: what is written down. */
static int change_file(struct cli *cli, struct hull_sandbox *sb, const char *spec, bool add, struct hull_error *err)
{
	struct hull_port want;
	int r = hull_port_parse(spec, &want, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *text = hull_port_text(&want);
	if (!text)
		return hull_fail(err, -ENOMEM, "out of memory");
	size_t keep = 0, n = sb->ports ? hull_strv_count(sb->ports) : 0;
	for (size_t i = 0; i < n; i++) {
		struct hull_port p;
		bool same = hull_port_parse(sb->ports[i], &p, NULL) == 0 && p.guest == want.guest &&
			    p.udp == want.udp && (!want.host || want.host == p.host) &&
			    (!want.ip[0] || !strcmp(want.ip, p.ip));
		if (same && add)
			return hull_fail(err, -EEXIST, "%s is published already", spec);
		if (same)
			free(sb->ports[i]);
		else
			sb->ports[keep++] = sb->ports[i];
	}
	if (sb->ports)
		sb->ports[keep] = NULL;
	if (!add && keep == n)
		return hull_fail(err, -ENOENT, "no such port is published; `hull ports %s` shows those that are",
				 sb->name);
	if (add && ((!sb->ports && !(sb->ports = hull_strv_copy(NULL))) || hull_strv_add(&sb->ports, text) < 0))
		return hull_fail(err, -ENOMEM, "out of memory");
	return hull_sandbox_save(&cli->paths, sb, err);
}

static int change(struct cli *cli, struct hull_sandbox *sb, const char *spec, bool add, struct hull_error *err)
{
	if (!hull_sandbox_running(&cli->paths, sb->name))
		return change_file(cli, sb, spec, add, err);
	return client_ask(&cli->paths, sb->name,
			  json_pack("{s:s,s:s}", "do", add ? "publish" : "unpublish", "port", spec), ANSWER_MS, NULL,
			  NULL, err);
}

static void show(const json_t *ports)
{
	_cleanup_(cli_table_free) struct cli_table t = {.columns = 2};
	cli_cell(&t, CLI_PLAIN, "SANDBOX PORT");
	cli_cell(&t, CLI_PLAIN, "ON THIS HOST");
	for (size_t i = 0; i < json_array_size(ports); i++) {
		const json_t *e = json_array_get(ports, i), *bound = json_object_get(e, "bound");
		const char *spec = json_string_value(json_object_get(e, "spec"));
		const char *error = json_string_value(json_object_get(e, "error"));
		const char *note = json_string_value(json_object_get(e, "note"));
		struct hull_port p;
		if (!spec || hull_port_parse(spec, &p, NULL) < 0)
			continue;
		_cleanup_(hull_buf_free) struct hull_buf where = {0};
		for (size_t k = 0; k < json_array_size(bound); k++)
			hull_buf_addf(&where, "%s%s", k ? ", " : "", json_string_value(json_array_get(bound, k)));
		hull_buf_add(&where, "", 1);
		cli_cellf(&t, CLI_PLAIN, "%u/%s", p.guest, p.udp ? "udp" : "tcp");
		if (error)
			cli_cell(&t, CLI_BAD, error);
		else if (where.len > 1)
			cli_cellf(&t, CLI_PLAIN, "%s%s%s%s", (char *)hull_buf_bytes(&where), note ? " (" : "",
				  note ? note : "", note ? ")" : "");
		else
			cli_cell(&t, CLI_DIM, spec);
	}
	cli_table_print(&t);
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0];
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = cli_paths(cli, err);
	if (r < 0 || (r = life_load(cli, name, &sb, err)) < 0)
		return r;
	for (char **p = unpublish; r >= 0 && p && *p; p++)
		r = change(cli, &sb, *p, false, err);
	for (char **p = publish; r >= 0 && p && *p; p++)
		r = change(cli, &sb, *p, true, err);
	if (r < 0)
		return r;
	json_t *answer = NULL, *ports = NULL;
	if (hull_sandbox_running(&cli->paths, name)) {
		r = client_ask(&cli->paths, name, json_pack("{s:s}", "do", "ports"), ANSWER_MS, NULL, &answer, err);
		if (r < 0)
			return r;
		ports = json_incref(json_object_get(answer, "ports"));
	} else {
		ports = json_array();
		for (char **p = sb.ports; p && *p; p++)
			json_array_append_new(ports, json_pack("{s:s}", "spec", *p));
	}
	if (as_json)
		cli_json(ports);
	else if (json_array_size(ports))
		show(ports);
	json_decref(ports);
	json_decref(answer);
	return 0;
}

const struct cli_verb verb_ports = {
	.name = "ports",
	.usage = "NAME",
	.summary = "list, publish and unpublish a sandbox's ports",
	.about = "PORT is [[IP:]HOST:]PORT[/tcp|/udp]: a port in the sandbox, and the one on this host that leads "
		 "there (any "
		 "that is free when left out), on 127.0.0.1 and ::1 unless IP says otherwise. A port of a container "
		 "counts "
		 "when it is published in the sandbox. It is kept for the next start.",
	.aka = "port publish expose",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = run,
};

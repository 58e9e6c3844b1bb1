/* SPDX-License-Identifier: Apache-2.0 */
/* hull ports: the ports of a sandbox that are published on this host. */
#include "cli/cli.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/out.h"
#include "policy/port.h"

static char **publish, **unpublish;
static bool as_json;

static const struct cli_opt options[] = {
	{'p', "publish", "PORT", "publish [[IP:]HOST:]PORT[/udp]; may be given again", .list = &publish},
	{0, "unpublish", "PORT", "the reverse; may be given again", .list = &unpublish},
	{0, "json", NULL, "as JSON", .flag = &as_json},
	{0},
};

static void show(struct hull_port_info *const *list)
{
	_cleanup_(cli_table_free) struct cli_table t = {.columns = 2};
	cli_cell(&t, CLI_PLAIN, "SANDBOX PORT");
	cli_cell(&t, CLI_PLAIN, "ON THIS HOST");
	for (; *list; list++) {
		const struct hull_port_info *e = *list;
		struct hull_port p;
		if (hull_port_parse(e->spec, &p, NULL) < 0)
			continue;
		_cleanup_(hull_buf_free) struct hull_buf where = {0};
		for (const char *const *b = e->bound; *b; b++)
			hull_buf_addf(&where, "%s%s", where.len ? ", " : "", *b);
		hull_buf_add(&where, "", 1);
		cli_cellf(&t, CLI_PLAIN, "%u/%s", p.guest, p.udp ? "udp" : "tcp");
		if (e->error)
			cli_cell(&t, CLI_BAD, e->error);
		else if (where.len > 1)
			cli_cellf(&t, CLI_PLAIN, "%s%s%s%s", (char *)hull_buf_bytes(&where), e->note ? " (" : "",
				  e->note ? e->note : "", e->note ? ")" : "");
		else
			cli_cell(&t, CLI_DIM, e->spec);
	}
	cli_table_print(&t);
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0];
	struct hull_port_info **list = NULL;
	int r = cli_open(cli, false, err);
	for (char **p = unpublish; r >= 0 && p && *p; p++)
		r = hull_unpublish(cli->hull, name, *p, err);
	for (char **p = publish; r >= 0 && p && *p; p++)
		r = hull_publish(cli->hull, name, *p, err);
	if (r >= 0)
		r = hull_ports(cli->hull, name, &list, err);
	if (r < 0)
		return r;
	if (as_json) {
		json_t *out = json_array();
		for (struct hull_port_info **p = list; *p; p++)
			json_array_append_new(out, json_loads((*p)->json, 0, NULL));
		cli_json(out);
		json_decref(out);
	} else if (*list) {
		show(list);
	}
	hull_ports_free(list);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* hull ls: all sandboxes. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"

#include <string.h>
#include <time.h>

static bool all, quiet, as_json;

static const struct cli_opt options[] = {
	{'a', "all", NULL, "accepted as docker has it: all are listed anyway", .flag = &all},
	{'q', "quiet", NULL, "names only", .flag = &quiet},
	{0, "json", NULL, "as JSON", .flag = &as_json},
	{0},
};

static enum cli_tone tone_of(const char *state)
{
	return !strcmp(state, "running")                                                                  ? CLI_GOOD
	       : !strcmp(state, "crashed") || !strcmp(state, "damaged") || !strcmp(state, "unresponsive") ? CLI_BAD
	       : !strcmp(state, "starting") || !strcmp(state, "stopping")                                 ? CLI_WARN
													  : CLI_PLAIN;
}

/* The keeper reports "QEMU 10.0 (tcg)"; the column shows one word. */
static void to_cells(struct cli_table *t, const struct hull_info *i)
{
	char used[32] = "-", limit[32], age[32];
	cli_cell(t, CLI_PLAIN, i->name);
	cli_cell(t, tone_of(i->state), i->state);
	if (!strcmp(i->state, "damaged")) {
		for (int n = 0; n < 5; n++)
			cli_cell(t, CLI_DIM, "-");
		return;
	}
	cli_cell(t, CLI_PLAIN, *i->accel ? i->accel : i->engine);
	cli_cellf(t, CLI_PLAIN, "%u", i->cpus);
	if (i->memory != HULL_UNKNOWN)
		hull_format_size(i->memory, used, sizeof used);
	cli_cellf(t, CLI_PLAIN, "%s / %s", used, hull_format_size(i->memory_limit, limit, sizeof limit));
	cli_cell(t,
		 !strcmp(i->docker, "ready")    ? CLI_GOOD
		 : !strcmp(i->docker, "failed") ? CLI_BAD
						: CLI_PLAIN,
		 *i->docker ? i->docker : "-");
	uint64_t now = (uint64_t)time(NULL);
	cli_cell(t, CLI_PLAIN, hull_format_age(now > i->created ? now - i->created : 0, age, sizeof age));
}

static int names_only(struct cli *cli, struct hull_error *err)
{
	char **names = NULL;
	int r = hull_names(cli->hull, &names, err);
	json_t *list = json_array();
	for (char **n = names; r >= 0 && *n; n++)
		as_json ? (void)json_array_append_new(list, json_string(*n)) : (void)printf("%s\n", *n);
	if (r >= 0 && as_json)
		cli_json(list);
	json_decref(list);
	hull_names_free(names);
	return r;
}

static int run(struct cli *cli, struct hull_error *err)
{
	struct hull_info **list = NULL;
	int r = cli_open(cli, true, err);
	if (r >= 0 && quiet)
		return names_only(cli, err);
	if (r >= 0)
		r = hull_list(cli->hull, &list, err);
	if (r < 0)
		return r;
	if (as_json) {
		json_t *out = json_array();
		for (struct hull_info **i = list; *i; i++)
			json_array_append_new(out, json_loads((*i)->json, 0, NULL));
		cli_json(out);
		json_decref(out);
	} else {
		_cleanup_(cli_table_free) struct cli_table t = {.columns = 7};
		static const char *const heads[] = {"NAME", "STATE", "ENGINE", "CPUS", "MEMORY", "DOCKER", "AGE"};
		for (size_t i = 0; i < 7; i++)
			cli_cell(&t, CLI_PLAIN, heads[i]);
		for (struct hull_info **i = list; *i; i++)
			to_cells(&t, *i);
		cli_table_print(&t);
	}
	hull_list_free(list);
	return 0;
}

const struct cli_verb verb_ls = {
	.name = "ls",
	.usage = "",
	.summary = "list sandboxes",
	.about = "MEMORY is what its machine holds of the host's memory now, and the most it may hold.",
	.aka = "ps list status",
	.options = options,
	.run = run,
};

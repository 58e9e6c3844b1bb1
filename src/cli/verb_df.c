/* SPDX-License-Identifier: Apache-2.0 */
/* hull df: what images, templates, sandboxes and their snapshots take on the host's disk, and what of it `hull prune`
 * would free. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"
#include "lib/report/df.h"

#include <string.h>

static bool verbose, json_out;

static const struct cli_opt options[] = {
	{'v', "verbose", NULL, "each image, template, sandbox and snapshot too", .flag = &verbose},
	{0, "json", NULL, "as JSON, with each of them, in bytes", .flag = &json_out},
	{0},
};

static const char *const titles[DF_KINDS] = {"Images", "Templates", "Sandboxes", "Snapshots", "Other"};

static void head(struct cli_table *t, const char *const *words)
{
	for (t->columns = 0; words[t->columns]; t->columns++)
		cli_cell(t, CLI_PLAIN, words[t->columns]);
}

static void size_cell(struct cli_table *t, uint64_t bytes)
{
	char text[16];
	cli_cell(t, bytes ? CLI_PLAIN : CLI_DIM, hull_format_size(bytes, text, sizeof(text)));
}

static void summary(const struct df *df)
{
	_cleanup_(cli_table_free) struct cli_table t = {0};
	uint64_t size = 0, reclaimable = 0;
	head(&t, (const char *const[]){"TYPE", "COUNT", "SIZE", "RECLAIMABLE", NULL});
	for (int i = 0; i < DF_KINDS; i++) {
		cli_cell(&t, CLI_PLAIN, titles[i]);
		cli_cellf(&t, CLI_PLAIN, "%llu", (unsigned long long)df->rows[i].count);
		size_cell(&t, df->rows[i].size);
		size_cell(&t, df->rows[i].reclaimable);
		size += df->rows[i].size;
		reclaimable += df->rows[i].reclaimable;
	}
	cli_cell(&t, CLI_PLAIN, "Total");
	cli_cell(&t, CLI_PLAIN, "");
	size_cell(&t, size);
	size_cell(&t, reclaimable);
	cli_table_print(&t);
}

/* A table of the items: text columns, then sizes; each column has a key and a heading. */
static void items(const struct df *df, int kind, const char *const *heads, const char *const *keys)
{
	_cleanup_(cli_table_free) struct cli_table t = {0};
	size_t i;
	json_t *item;
	if (!json_array_size(df->rows[kind].items))
		return;
	head(&t, heads);
	json_array_foreach(df->rows[kind].items, i, item) for (const char *const *k = keys; *k; k++)
	{
		const json_t *value = json_object_get(item, *k);
		if (json_is_integer(value))
			size_cell(&t, (uint64_t)json_integer_value(value));
		else
			cli_cell(&t, json_is_null(value) ? CLI_DIM : CLI_PLAIN,
				 json_is_null(value) ? "-" : json_string_value(value));
	}
	printf("\n");
	cli_table_print(&t);
}

static void show(const struct df *df)
{
	summary(df);
	if (!verbose)
		return;
	items(df, DF_IMAGES, (const char *const[]){"IMAGE", "NAME", "SIZE", NULL},
	      (const char *const[]){"digest", "name", "size", NULL});
	items(df, DF_TEMPLATES, (const char *const[]){"TEMPLATE", "SIZE", "RECLAIMABLE", "REASON", NULL},
	      (const char *const[]){"name", "size", "reclaimable", "reason", NULL});
	items(df, DF_SANDBOXES,
	      (const char *const[]){"SANDBOX", "DISK", "MEMORY", "LOGS", "DF_OTHER", "DF_SNAPSHOTS", "SIZE", NULL},
	      (const char *const[]){"name", "disk", "memory", "logs", "other", "snapshots", "size", NULL});
	items(df, DF_SNAPSHOTS, (const char *const[]){"SNAPSHOT OF", "TAG", "SIZE", NULL},
	      (const char *const[]){"sandbox", "tag", "size", NULL});
}

static void show_json(const struct df *df)
{
	json_t *o = json_object(), *problems = json_array();
	uint64_t size = 0, reclaimable = 0;
	for (int i = 0; i < DF_KINDS; i++) {
		json_t *row = json_pack("{s:I, s:I, s:I}", "count", (json_int_t)df->rows[i].count, "size",
					(json_int_t)df->rows[i].size, "reclaimable",
					(json_int_t)df->rows[i].reclaimable);
		if (i != DF_OTHER)
			json_object_set(row, "items", df->rows[i].items);
		json_object_set_new(o, df_kinds[i], row);
		size += df->rows[i].size;
		reclaimable += df->rows[i].reclaimable;
	}
	for (char **p = df->usage.problems; p && *p; p++) {
		_cleanup_free_ char *text = hull_printable(*p, strlen(*p));
		json_array_append_new(problems, json_string(text ? text : ""));
	}
	json_object_set_new(o, "size", json_integer((json_int_t)size));
	json_object_set_new(o, "reclaimable", json_integer((json_int_t)reclaimable));
	json_object_set_new(o, "problems", problems);
	cli_json(o);
	json_decref(o);
}

static int run(struct cli *cli, struct hull_error *err)
{
	_cleanup_(df_free) struct df df = {0};
	int r = cli_open(cli, false, err);
	if (r >= 0)
		r = df_measure(cli->hull, &df, err);
	if (r < 0)
		return r;
	json_out ? show_json(&df) : show(&df);
	for (char **p = df.usage.problems; p && *p; p++)
		cli_note("%s", *p);
	return df.usage.incomplete || !df.prunable_known ? CLI_EXIT_FAIL : 0;
}

const struct cli_verb verb_df = {
	.name = "df",
	.usage = "",
	.summary = "show what everything takes on this host's disk",
	.about = "Sizes are blocks that files really have, so that holes count nothing; what a file system shares "
		 "between files (reflinks) counts in each of them. Snapshots have a line of their own. RECLAIMABLE is "
		 "what `hull prune` would free.",
	.aka = "du disk usage space",
	.options = options,
	.run = run,
};

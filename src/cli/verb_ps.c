/* SPDX-License-Identifier: Apache-2.0 */
/* hull ps and hull top: the processes of a sandbox. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"

#include <stdlib.h>
#include <string.h>

static bool as_json;

static const struct cli_opt options[] = {
	{0, "json", NULL, "as JSON", .flag = &as_json},
	{0},
};

static const char *text_of(const json_t *j, const char *key)
{
	const char *text = json_string_value(json_object_get(j, key));
	return text ? text : "-";
}

static void elapsed(json_int_t s, char out[32])
{
	if (s >= 24 * 3600)
		snprintf(out, 32, "%lldd%02lldh", (long long)(s / 86400), (long long)(s / 3600 % 24));
	else if (s >= 3600)
		snprintf(out, 32, "%lldh%02lldm", (long long)(s / 3600), (long long)(s / 60 % 60));
	else
		snprintf(out, 32, "%lldm%02llds", (long long)(s / 60), (long long)(s % 60));
}

static int by_cpu(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	double cx = json_real_value(json_object_get(x, "cpu")), cy = json_real_value(json_object_get(y, "cpu"));
	json_int_t mx = json_integer_value(json_object_get(x, "memory")),
		   my = json_integer_value(json_object_get(y, "memory"));
	return cx != cy ? (cx < cy ? 1 : -1) : mx != my ? (mx < my ? 1 : -1) : 0;
}

/* Borrowed pointers to the list's members, in display order. */
static json_t **sorted(json_t *list, bool top)
{
	size_t n = json_array_size(list);
	json_t **all = calloc(n + 1, sizeof *all);
	for (size_t i = 0; all && i < n; i++)
		all[i] = json_array_get(list, i);
	if (all && top && n)
		qsort(all, n, sizeof *all, by_cpu);
	return all;
}

static void row(struct cli_table *t, const json_t *j, bool top)
{
	char age[32], size[32];
	const char *container = json_string_value(json_object_get(j, "container"));
	elapsed(json_integer_value(json_object_get(j, "elapsed")), age);
	cli_cellf(t, CLI_PLAIN, "%lld", (long long)json_integer_value(json_object_get(j, "pid")));
	cli_cell(t, CLI_PLAIN, text_of(j, "user"));
	cli_cell(t, CLI_PLAIN, text_of(j, "job"));
	cli_cell(t, CLI_PLAIN, container ? container : "-");
	if (top) {
		cli_cellf(t, CLI_PLAIN, "%.1f", json_real_value(json_object_get(j, "cpu")));
		hull_format_size((uint64_t)json_integer_value(json_object_get(j, "memory")), size, sizeof size);
		cli_cell(t, CLI_PLAIN, size);
	}
	cli_cell(t, CLI_PLAIN, text_of(j, "state"));
	cli_cell(t, CLI_PLAIN, age);
	cli_cell(t, CLI_PLAIN, text_of(j, "command"));
}

static int show(struct cli *cli, bool top, struct hull_error *err)
{
	_cleanup_free_ char *text = NULL;
	int r = cli_open(cli, true, err);
	if (r >= 0)
		r = hull_processes(cli->hull, cli->words[0], &text, err);
	if (r < 0)
		return r;
	json_t *list = json_loads(text, 0, NULL);
	_cleanup_free_ json_t **all = sorted(list, top);
	static const char *const heads[] = {"PID",    "USER",  "JOB",  "CONTAINER", "CPU%",
					    "MEMORY", "STATE", "TIME", "COMMAND"};
	_cleanup_(cli_table_free) struct cli_table t = {.columns = top ? 9 : 7};
	for (size_t i = 0; i < 9; i++)
		if (top || (i != 4 && i != 5))
			cli_cell(&t, CLI_PLAIN, heads[i]);
	if (as_json && all) {
		json_t *out = json_array();
		for (size_t i = 0; all[i]; i++)
			json_array_append(out, all[i]);
		cli_json(out);
		json_decref(out);
	} else {
		for (size_t i = 0; all && all[i]; i++)
			row(&t, all[i], top);
		cli_table_print(&t);
	}
	json_decref(list);
	return all ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

static int run_ps(struct cli *cli, struct hull_error *err)
{
	return show(cli, false, err);
}

static int run_top(struct cli *cli, struct hull_error *err)
{
	return show(cli, true, err);
}

const struct cli_verb verb_ps = {
	.name = "ps",
	.usage = "NAME",
	.summary = "list the processes of a sandbox",
	.about =
		"With the job or container that each belongs to. `hull kill` ends a job; any other process is ended by "
		"`hull exec -u root NAME kill PID`. `hull ls` lists the sandboxes.",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = run_ps,
};

const struct cli_verb verb_top = {
	.name = "top",
	.usage = "NAME",
	.summary = "list the processes of a sandbox by what they use",
	.about = "Once, as docker top does. CPU% is a process's share of one processor since it started, MEMORY what "
		 "of it "
		 "is in memory.",
	.aka = "stats",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = run_top,
};

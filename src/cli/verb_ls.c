/* hull ls: all sandboxes. What runs is asked for its figures, all at once and with a deadline, so that one keeper that
 * hangs does not hang the list; a sandbox whose file is damaged is listed as that. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"

#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* The keeper itself waits up to a second for a guest that is busy. */
enum { DEADLINE_MS = 1500, AT_ONCE = 64 };

static bool all, quiet, as_json;

static const struct cli_opt options[] = {
	{'a', "all", NULL, "accepted as docker has it: all are listed anyway", .flag = &all},
	{'q', "quiet", NULL, "names only", .flag = &quiet},
	{0, "json", NULL, "as JSON", .flag = &as_json},
	{0},
};

struct row {
	const char *name; /* borrowed from the list */
	struct hull_sandbox sb;
	bool damaged, running, asked;
	struct hull_error why;
	struct ask ask;
	json_t *status; /* NULL when it does not run or does not answer */
};

static void look(const struct hull_paths *p, struct row *row)
{
	row->running = hull_sandbox_running(p, row->name);
	row->damaged = hull_sandbox_load(p, row->name, &row->sb, &row->why) < 0;
	if (!row->running)
		hull_sandbox_sweep(p, row->name);
}

/* Ask those of rows[0..n) that run, together, until the deadline. */
static void ask_all(const struct hull_paths *p, struct row *rows, size_t n)
{
	uint64_t until = cli_now_ms() + DEADLINE_MS;
	for (size_t i = 0; i < n; i++)
		if (rows[i].running)
			rows[i].asked = ask_begin(&rows[i].ask, p, rows[i].name, 0, json_pack("{s:s}", "do", "status"),
						  &rows[i].why) >= 0;
	for (;;) {
		struct pollfd fds[AT_ONCE];
		size_t open = 0;
		for (size_t i = 0; i < n; i++) {
			bool wait = rows[i].asked && !rows[i].ask.done;
			fds[i] = (struct pollfd){.fd = wait ? rows[i].ask.client.fd : -1};
			if (wait) {
				fds[i].events = client_events(&rows[i].ask.client);
				open++;
			}
		}
		uint64_t now = cli_now_ms();
		if (!open || now >= until)
			break;
		if (poll(fds, n, (int)(until - now)) < 0 && errno != EINTR)
			break;
		for (size_t i = 0; i < n; i++)
			if (fds[i].fd >= 0 && fds[i].revents)
				ask_io(&rows[i].ask, fds[i].revents);
	}
	for (size_t i = 0; i < n; i++) {
		if (!rows[i].asked)
			continue;
		if (rows[i].ask.done && rows[i].ask.code == 0)
			rows[i].status = json_incref(rows[i].ask.result);
		else if (rows[i].ask.done)
			rows[i].why = rows[i].ask.error;
		ask_end(&rows[i].ask);
	}
}

static const char *state_of(const struct row *row, enum cli_tone *tone)
{
	const char *told = json_string_value(json_object_get(row->status, "state"));
	const char *state = row->damaged                 ? "damaged"
			    : told                       ? told
			    : row->running && row->asked ? "unresponsive"
							 : hull_sandbox_truth(&row->sb, row->running);
	*tone = !strcmp(state, "running")                                                                  ? CLI_GOOD
		: !strcmp(state, "crashed") || !strcmp(state, "damaged") || !strcmp(state, "unresponsive") ? CLI_BAD
		: !strcmp(state, "starting") || !strcmp(state, "stopping")                                 ? CLI_WARN
													   : CLI_PLAIN;
	return state;
}

static json_t *value(const struct row *row, const char *key)
{
	json_t *v = json_object_get(row->status, key);
	return v ? json_incref(v) : json_null();
}

static json_t *disk_used(const struct hull_paths *p, const char *name)
{
	_cleanup_free_ char *path = hull_sandbox_path(p, name, "disk.img");
	struct stat st;
	return path && stat(path, &st) == 0 ? json_integer((json_int_t)st.st_blocks * 512) : json_null();
}

static json_t *to_json(const struct hull_paths *p, const struct row *row)
{
	enum cli_tone tone;
	const struct hull_sandbox *s = &row->sb;
	json_t *o = json_pack("{s:s, s:s}", "name", row->name, "state", state_of(row, &tone));
	if (row->damaged) {
		json_object_set_new(o, "error", json_string(row->why.msg));
		return o;
	}
	json_t *paths = json_array();
	for (char **v = s->paths; v && *v; v++)
		json_array_append_new(paths, json_string(*v));
	json_t *engine = value(row, "engine");
	if (json_is_null(engine))
		engine = json_string(s->engine);
	json_t *more = json_pack(
		"{s:s, s:s, s:o, s:o, s:I, s:o, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:b, s:s?}", "agent",
		s->agent, "image", s->image, "engine", engine, "accel", value(row, "accel"), "cpus",
		(json_int_t)s->cpus, "memory", value(row, "memory"), "memory_limit", (json_int_t)s->memory, "disk",
		(json_int_t)s->disk, "swap", (json_int_t)s->swap, "disk_used", disk_used(p, row->name), "docker",
		row->status    ? value(row, "docker")
		: s->no_docker ? json_string("off")
			       : json_null(),
		"created", (json_int_t)s->created, "started", (json_int_t)s->started, "sessions",
		value(row, "sessions"), "pid", value(row, "pid"), "paths", paths, "remove", (int)s->remove, "error",
		s->last_error);
	if (more)
		json_object_update_missing(o, more);
	json_decref(more);
	if (s->clone)
		json_object_set_new(o, "clone", json_string(s->clone));
	if (row->status) {
		json_object_set_new(o, "boot", value(row, "boot"));
		json_object_set_new(o, "guest", value(row, "guest"));
	}
	return o;
}

/* "QEMU 10.0 (tcg)" is what the keeper says at length; the column has the word. */
static void to_cells(struct cli_table *t, const struct row *row)
{
	enum cli_tone tone;
	const char *state = state_of(row, &tone);
	const struct hull_sandbox *s = &row->sb;
	char used[32] = "-", limit[32], age[32];
	cli_cell(t, CLI_PLAIN, row->name);
	cli_cell(t, tone, state);
	if (row->damaged) {
		for (int i = 0; i < 5; i++)
			cli_cell(t, CLI_DIM, "-");
		return;
	}
	const char *accel = json_string_value(json_object_get(row->status, "accel"));
	cli_cell(t, CLI_PLAIN, accel ? accel : s->engine);
	cli_cellf(t, CLI_PLAIN, "%u", s->cpus);
	json_t *memory = json_object_get(row->status, "memory");
	if (json_is_integer(memory) && json_integer_value(memory) >= 0)
		hull_format_size((uint64_t)json_integer_value(memory), used, sizeof used);
	cli_cellf(t, CLI_PLAIN, "%s / %s", used, hull_format_size(s->memory, limit, sizeof limit));
	const char *docker = json_string_value(json_object_get(row->status, "docker"));
	cli_cell(t,
		 docker && !strcmp(docker, "ready")    ? CLI_GOOD
		 : docker && !strcmp(docker, "failed") ? CLI_BAD
						       : CLI_PLAIN,
		 docker         ? docker
		 : s->no_docker ? "off"
				: "-");
	uint64_t now = (uint64_t)time(NULL);
	cli_cell(t, CLI_PLAIN, hull_format_age(now > s->created ? now - s->created : 0, age, sizeof age));
}

static int run(struct cli *cli, struct hull_error *err)
{
	char **names = NULL;
	int r = cli_paths(cli, err);
	if (r >= 0)
		r = hull_sandbox_list(&cli->paths, &names, err);
	if (r < 0)
		return r;
	size_t n = hull_strv_count(names);
	if (quiet && !as_json) {
		for (size_t i = 0; i < n; i++)
			printf("%s\n", names[i]);
		hull_strv_free(names);
		return 0;
	}
	struct row *rows = calloc(n ? n : 1, sizeof *rows);
	if (!rows) {
		hull_strv_free(names);
		return hull_fail(err, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < n; i++) {
		rows[i].name = names[i];
		look(&cli->paths, &rows[i]);
	}
	for (size_t i = 0; i < n; i += AT_ONCE)
		ask_all(&cli->paths, rows + i, n - i < AT_ONCE ? n - i : AT_ONCE);
	if (as_json) {
		json_t *list = json_array();
		for (size_t i = 0; i < n; i++)
			json_array_append_new(list, quiet ? json_string(rows[i].name) : to_json(&cli->paths, &rows[i]));
		cli_json(list);
		json_decref(list);
	} else {
		_cleanup_(cli_table_free) struct cli_table t = {.columns = 7};
		static const char *const heads[] = {"NAME", "STATE", "ENGINE", "CPUS", "MEMORY", "DOCKER", "AGE"};
		for (size_t i = 0; i < 7; i++)
			cli_cell(&t, CLI_PLAIN, heads[i]);
		for (size_t i = 0; i < n; i++)
			to_cells(&t, &rows[i]);
		cli_table_print(&t);
	}
	for (size_t i = 0; i < n; i++) {
		hull_sandbox_free(&rows[i].sb);
		json_decref(rows[i].status);
	}
	free(rows);
	hull_strv_free(names);
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

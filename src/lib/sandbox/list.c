/* SPDX-License-Identifier: Apache-2.0 */
/* Lists sandboxes: their files, and the status of running ones. All keepers are queried in parallel with one deadline,
 * so that a hanging keeper does not block the list. A sandbox with a damaged file is listed as damaged. */
#include "lib/client.h"
#include "lib/sandbox/life.h"

#include "base/cleanup.h"

#include <string.h>
#include <sys/stat.h>

/* The keeper itself waits up to a second for a guest that is busy. */
enum { DEADLINE_MS = 1500 };

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

/* Query the running ones of rows[0..n) in parallel until the deadline. */
static void ask_rows(const struct hull_paths *p, struct row *rows, size_t n)
{
	struct ask *asked[ASKS_MAX];
	uint64_t until = lib_now_ms() + DEADLINE_MS;
	size_t count = 0;
	for (size_t i = 0; i < n; i++) {
		if (rows[i].running)
			rows[i].asked = ask_begin(&rows[i].ask, p, rows[i].name, 0, json_pack("{s:s}", "do", "status"),
						  &rows[i].why) >= 0;
		if (rows[i].asked)
			asked[count++] = &rows[i].ask;
	}
	ask_all(asked, count, until);
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

static const char *state_of(const struct row *row)
{
	const char *told = json_string_value(json_object_get(row->status, "state"));
	return row->damaged                 ? "damaged"
	       : told                       ? told
	       : row->running && row->asked ? "unresponsive"
					    : hull_sandbox_truth(&row->sb, row->running);
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
	const struct hull_sandbox *s = &row->sb;
	json_t *o = json_pack("{s:s, s:s}", "name", row->name, "state", state_of(row));
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

/* --- the public struct: its strings point into the JSON --- */

struct info {
	struct hull_info pub; /* first */
	json_t *json;
	char *text;
	const char **paths;
};

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));
	return text ? text : "";
}

static uint64_t number_of(const json_t *o, const char *key, uint64_t otherwise)
{
	const json_t *v = json_object_get(o, key);
	return json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v) : otherwise;
}

void hull_info_free(struct hull_info *pub)
{
	struct info *i = (struct info *)pub;
	if (!i)
		return;
	json_decref(i->json);
	free(i->text);
	free(i->paths);
	free(i);
}

static struct hull_info *make_info(json_t *o)
{
	const json_t *paths = json_object_get(o, "paths");
	size_t n = json_array_size(paths);
	struct info *i = calloc(1, sizeof(*i));
	if (!i || !o) {
		free(i);
		json_decref(o);
		return NULL;
	}
	i->json = o;
	i->text = json_dumps(o, JSON_COMPACT);
	i->paths = calloc(n + 1, sizeof(*i->paths));
	if (!i->text || !i->paths) {
		hull_info_free(&i->pub);
		return NULL;
	}
	for (size_t k = 0; k < n; k++)
		i->paths[k] = json_string_value(json_array_get(paths, k));
	i->pub = (struct hull_info){.name = text_of(o, "name"),
				    .state = text_of(o, "state"),
				    .agent = text_of(o, "agent"),
				    .image = text_of(o, "image"),
				    .engine = text_of(o, "engine"),
				    .accel = text_of(o, "accel"),
				    .docker = text_of(o, "docker"),
				    .error = json_string_value(json_object_get(o, "error")),
				    .paths = i->paths,
				    .clone = json_string_value(json_object_get(o, "clone")),
				    .cpus = (unsigned)number_of(o, "cpus", 0),
				    .remove = json_is_true(json_object_get(o, "remove")),
				    .memory = number_of(o, "memory", HULL_UNKNOWN),
				    .memory_limit = number_of(o, "memory_limit", 0),
				    .disk = number_of(o, "disk", 0),
				    .swap = number_of(o, "swap", 0),
				    .created = number_of(o, "created", 0),
				    .started = number_of(o, "started", 0),
				    .pid = (int64_t)number_of(o, "pid", 0),
				    .sessions = number_of(o, "sessions", 0),
				    .json = i->text};
	return &i->pub;
}

/* --- the calls --- */

int hull_names(struct hull *h, char ***names, struct hull_error *err)
{
	LIB_CALL(err);
	return hull_sandbox_list(&h->paths, names, err);
}

void hull_names_free(char **names)
{
	hull_strv_free(names);
}

void hull_list_free(struct hull_info **list)
{
	for (struct hull_info **i = list; i && *i; i++)
		hull_info_free(*i);
	free(list);
}

static int describe(const struct hull *h, char *const *names, struct hull_info ***list, struct hull_error *err)
{
	size_t n = hull_strv_count(names);
	struct row *rows = calloc(n + 1, sizeof(*rows));
	struct hull_info **all = calloc(n + 1, sizeof(struct hull_info *));
	int r = rows && all ? 0 : hull_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < n; i++) {
		rows[i].name = names[i];
		look(&h->paths, &rows[i]);
	}
	for (size_t i = 0; r == 0 && i < n; i += ASKS_MAX)
		ask_rows(&h->paths, rows + i, n - i < ASKS_MAX ? n - i : ASKS_MAX);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (!(all[i] = make_info(to_json(&h->paths, &rows[i]))))
			r = hull_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; rows && i < n; i++) {
		hull_sandbox_free(&rows[i].sb);
		json_decref(rows[i].status);
	}
	free(rows);
	if (r == 0)
		*list = hull_steal_ptr(all);
	hull_list_free(all);
	return r;
}

int hull_list(struct hull *h, struct hull_info ***list, struct hull_error *err)
{
	LIB_CALL(err);
	char **names = NULL;
	*list = NULL;
	int r = hull_sandbox_list(&h->paths, &names, err);
	if (r >= 0)
		r = describe(h, names, list, err);
	hull_strv_free(names);
	return r;
}

int hull_inspect(struct hull *h, const char *name, struct hull_info **info, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	struct hull_error why = {0};
	struct hull_info **list = NULL;
	char *names[] = {(char *)(uintptr_t)name, NULL};
	*info = NULL;
	int r = life_load(h, name, &sb, &why);
	if (r < 0 && r != -EBADMSG)
		return hull_fail(err, r, "%s", why.msg);
	r = describe(h, names, &list, err);
	if (r == 0)
		*info = hull_steal_ptr(list[0]);
	hull_list_free(list);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Templates as hull.h has them: listed, saved, removed, sent to a file and read from one. How Hull builds its own is in
 * template_build.c. */
#include "lib/sandbox/life.h"
#include "lib/saved/saved.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "engine/engine.h"

#include <string.h>
#include <unistd.h>

static json_t *describe(const struct hull_paths *p, const char *name, const struct hull_snapshot *s, const char *error)
{
	return json_pack("{s:s, s:b, s:s*, s:s*, s:s*, s:s*, s:i, s:I, s:I, s:b, s:I, s:I, s:I, s:s*, s:s*, s:O*}",
			 "name", name, "own", !hull_template_is_key(name), "image", s->image, "engine", s->engine,
			 "accel", s->accel, "hull", s->hull, "cpus", (int)s->cpus, "memory", (json_int_t)s->memory,
			 "disk", (json_int_t)s->disk, "no_docker", s->no_docker, "created", (json_int_t)s->created,
			 "used", (json_int_t)hull_template_used(p, name), "stored", (json_int_t)hull_snapshot_stored(s),
			 "source", hull_template_is_key(name) ? NULL : s->source, "error", error, "files", s->files);
}

/* The strings of the public struct are those of the JSON. */
struct info {
	struct hull_template_info pub; /* first */
	json_t *json;
	char *text;
};

void hull_template_info_free(struct hull_template_info *pub)
{
	struct info *i = (struct info *)pub;
	if (!i)
		return;
	json_decref(i->json);
	free(i->text);
	free(i);
}

void hull_templates_free(struct hull_template_info **list)
{
	for (struct hull_template_info **i = list; i && *i; i++)
		hull_template_info_free(*i);
	free(list);
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));
	return text ? text : "";
}

static uint64_t number_of(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));
	return v > 0 ? (uint64_t)v : 0;
}

static struct hull_template_info *make_info(const struct hull *h, const char *name)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	_cleanup_free_ char *dir = hull_template_path(&h->paths, name);
	struct hull_error why = {0};
	struct info *i = calloc(1, sizeof(*i));
	if (!dir || !i) {
		free(i);
		return NULL;
	}
	bool ok = hull_snapshot_load(dir, &s, &why) == 0;
	i->json = describe(&h->paths, name, &s, ok ? NULL : why.msg);
	i->text = i->json ? json_dumps(i->json, JSON_COMPACT) : NULL;
	if (!i->text) {
		hull_template_info_free(&i->pub);
		return NULL;
	}
	const json_t *o = i->json;
	i->pub = (struct hull_template_info){.name = text_of(o, "name"),
					     .image = text_of(o, "image"),
					     .engine = text_of(o, "engine"),
					     .error = json_string_value(json_object_get(o, "error")),
					     .own = json_is_true(json_object_get(o, "own")),
					     .no_docker = s.no_docker,
					     .cpus = s.cpus,
					     .memory = s.memory,
					     .disk = s.disk,
					     .created = number_of(o, "created"),
					     .used = number_of(o, "used"),
					     .stored = number_of(o, "stored"),
					     .json = i->text};
	return &i->pub;
}

int hull_templates(struct hull *h, struct hull_template_info ***list, struct hull_error *err)
{
	LIB_CALL(err);
	char **names = NULL;
	*list = NULL;
	int r = hull_template_list(&h->paths, &names, err);
	if (r < 0)
		return r;
	size_t n = hull_strv_count(names);
	struct hull_template_info **all = calloc(n + 1, sizeof(struct hull_template_info *));
	for (size_t i = 0; all && i < n; i++)
		if (!(all[i] = make_info(h, names[i]))) {
			hull_templates_free(all);
			all = NULL;
		}
	hull_strv_free(names);
	*list = all;
	return all ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

int hull_template_inspect(struct hull *h, const char *word, struct hull_template_info **info, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_free_ char *name = NULL;
	*info = NULL;
	int r = hull_template_find(&h->paths, word, &name, err);
	if (r < 0)
		return r;
	*info = make_info(h, name);
	return *info ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

int hull_template_remove(struct hull *h, const char *word, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_free_ char *name = NULL;
	_cleanup_free_ char *parent = hull_template_path(&h->paths, NULL);
	int r = parent ? hull_template_find(&h->paths, word, &name, err) : hull_fail(err, -ENOMEM, "out of memory");
	return r < 0 ? r : hull_saved_remove(parent, name, err);
}

/* Where a new one is to be, owned; -EEXIST when one is there and is not to be replaced. */
static int place_for(const struct hull *h, const char *name, unsigned flags, char **parent, struct hull_error *err)
{
	int r = lib_flags(flags, HULL_SAVE_REPLACE, err);
	if (r >= 0)
		r = hull_template_name_check(name, err);
	if (r < 0)
		return r;
	*parent = hull_template_path(&h->paths, NULL);
	_cleanup_free_ char *path = hull_template_path(&h->paths, name);
	if (!*parent || !path)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!(flags & HULL_SAVE_REPLACE) && access(path, F_OK) == 0)
		return hull_fail(err, -EEXIST,
				 "there is a template %s already: choose another name, or -f to replace it", name);
	return 0;
}

int hull_template_save(struct hull *h, const char *name, const char *template_name, unsigned flags,
		       struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_free_ char *parent = NULL;
	int r = place_for(h, template_name, flags, &parent, err);
	if (r >= 0)
		r = life_load(h, name, &sb, err);
	return r < 0 ? r : saved_as(h, name, parent, template_name, (flags & HULL_SAVE_REPLACE) != 0, NULL, err);
}

int hull_template_export(struct hull *h, const char *word, int fd, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_free_ char *name = NULL;
	int r = hull_template_find(&h->paths, word, &name, err);
	_cleanup_free_ char *dir = r < 0 ? NULL : hull_template_path(&h->paths, name);
	if (r >= 0)
		r = dir ? hull_archive_export(dir, fd, err) : hull_fail(err, -ENOMEM, "out of memory");
	return r;
}

/* What was imported may be of no use here, and is kept all the same. */
static void note_use(const struct hull *h, const struct hull_snapshot *s)
{
	_cleanup_(hull_image_free) struct hull_image image = {0};
	_cleanup_free_ char *identity = hull_engine_identity(NULL);
	struct hull_error why = {0};
	struct hull_probe probe;
	hull_engine_probe_cached(h->paths.runtime, &probe);
	if (hull_snapshot_fits(s, identity ? identity : "", probe.kvm_usable ? "kvm" : "tcg", &why) < 0)
		lib_note(h, HULL_NOTE_WARNING, "it cannot be used here: %s", why.msg);
	else if (hull_image_find(&h->paths, s->image, &image, &why) < 0)
		lib_note(h, HULL_NOTE_WARNING, "it needs the base image %s, which is not here", s->image);
}

int hull_template_import(struct hull *h, int fd, const char *template_name, unsigned flags, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	_cleanup_free_ char *parent = NULL;
	int r = place_for(h, template_name, flags, &parent, err);
	if (r >= 0)
		r = hull_saved_scratch(parent, &scratch, err);
	if (r >= 0)
		r = hull_archive_import(fd, scratch.path, err);
	if (r >= 0)
		r = hull_snapshot_load(scratch.path, &s, err);
	if (r < 0)
		return r;
	note_use(h, &s);
	return hull_scratch_commit(&scratch, parent, template_name, (flags & HULL_SAVE_REPLACE) != 0, err);
}

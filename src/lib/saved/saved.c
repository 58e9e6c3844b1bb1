/* SPDX-License-Identifier: Apache-2.0 */
/* Saved machines: requests one from a keeper, and makes sandboxes from one. */
#include "lib/saved/saved.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"

#include <fcntl.h>
#include <string.h>

int saved_take(const struct hull *h, const char *name, const char *dir, bool end, double *paused_ms,
	       struct hull_error *err)
{
	json_t *answer = NULL;
	int r = client_await(h, name, "exec", err);
	if (r < 0)
		return r;
	lib_stage(h, name, "saving its memory");
	r = client_ask(h, name, json_pack("{s:s, s:s, s:b}", "do", "save", "dir", dir, "end", end), -1, &answer, err);
	if (r >= 0 && paused_ms)
		*paused_ms = json_number_value(json_object_get(answer, "paused_ms"));
	json_decref(answer);
	return r;
}

static int replace(char **to, const char *with)
{
	free(*to);
	*to = strdup(with);
	return *to ? 0 : -ENOMEM;
}

int saved_sandbox(const struct hull *h, const char *rel, struct hull_sandbox *s, struct hull_error *err)
{
	const struct hull_paths *p = &h->paths;
	_cleanup_(hull_snapshot_free) struct hull_snapshot snap = {0};
	_cleanup_free_ char *dir = hull_fmt("%s/%s", p->home, rel);
	int r = dir ? hull_snapshot_load(dir, &snap, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	_cleanup_close_ int disk = hull_snapshot_open(dir, &snap, HULL_SNAPSHOT_DISK, NULL, err);
	if (disk < 0)
		return disk;
	s->cpus = snap.cpus;
	s->memory = snap.memory;
	s->disk = snap.disk;
	if (!hull_template_is_hulls(rel))
		s->swap = snap.swap;
	s->no_docker = snap.no_docker;
	s->fresh = true;
	if (replace(&s->image, snap.image) < 0 || replace(&s->restore, rel) < 0 ||
	    replace(&s->restore_id, snap.digest) < 0 || replace(&s->state, "created") < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	/* Only for Hull's own templates: the image's disk can replace theirs. */
	return hull_sandbox_create(p, s, disk, hull_template_is_hulls(rel), err);
}

/* The saved memory is dropped, but its disk is kept. If the disk is missing, the keeper uses the image's, from which
 * Hull's own templates began. */
static void make_disk(const struct hull *h, const struct hull_sandbox *s)
{
	const struct hull_paths *p = &h->paths;
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	_cleanup_free_ char *home = hull_sandbox_path(p, s->name, NULL);
	_cleanup_free_ char *disk = hull_sandbox_path(p, s->name, "disk.img");
	struct hull_error err;
	if (!home || !disk || access(disk, F_OK) == 0)
		return;
	_cleanup_close_ int from = hull_disk_source(p, s, &err);
	if (from >= 0 &&
	    (hull_disk_clone(from, s->disk, home, &scratch, &err) < 0 || hull_disk_place(&scratch, home, &err) < 0))
		lib_note(h, HULL_NOTE_WARNING, "%s; it begins with the image's disk", err.msg);
}

int saved_forget(const struct hull *h, const char *name, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	_cleanup_close_ int lock = hull_sandbox_lock(&h->paths, name, err);
	if (lock < 0)
		return lock;
	int r = hull_sandbox_load(&h->paths, name, &s, err);
	if (r < 0 || !s.restore)
		return r;
	make_disk(h, &s);
	free(s.restore);
	s.restore = NULL;
	/* s.fresh stays set: the disk may still be a copy of another sandbox's, whose identity is renewed at boot. */
	if (replace(&s.state, "stopped") < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	r = hull_sandbox_save(&h->paths, &s, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *home = hull_sandbox_path(&h->paths, name, NULL);
	_cleanup_close_ int dir = home ? open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return dir >= 0 ? hull_remove_tree(dir, "frozen", err) : hull_fail_errno(err, "%s", name);
}

int saved_as(const struct hull *h, const char *sandbox, const char *parent, const char *as, bool replace,
	     double *paused_ms, struct hull_error *err)
{
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	if (!hull_sandbox_running(&h->paths, sandbox))
		return hull_fail(err, -ENOTCONN, "%s is not running: `hull start %s` first", sandbox, sandbox);
	int r = hull_saved_scratch(parent, &scratch, err);
	if (r >= 0)
		r = saved_take(h, sandbox, scratch.path, false, paused_ms, err);
	return r < 0 ? r : hull_scratch_commit(&scratch, parent, as, replace, err);
}

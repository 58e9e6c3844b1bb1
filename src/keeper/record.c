/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.json, as the keeper writes it; see record.h.
 *
 * A write waits for the disk (fsync of the file and of its directory), so while the sandbox runs it is done by a thread
 * of libuv's pool, and the loop goes on. What is written is the text as it was when the save was requested. At most one
 * write is in flight; of those that wait for it only the last is written, since it includes the others.
 *
 * A save that something depends on (the machine may run only once it is written; a pause; the end) is done at once, on
 * the loop. Saves are numbered in the order they were asked for. Under `lock`, which is held during a write, `written`
 * is the number of the last one: an older one that comes later is dropped. So a save done at once waits for the write
 * in flight, and whatever was asked for before it cannot replace it. */
#include "keeper/keeper.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static int set_state(struct keeper *k, const char *state, const char *reason)
{
	char *s = strdup(state);
	char *e = reason && reason[0] ? strdup(reason) : NULL;
	if (!s) {
		free(e);
		return -ENOMEM;
	}
	free(k->sb.state);
	free(k->sb.last_error);
	k->sb.state = s;
	k->sb.last_error = e;
	return 0;
}

/* On either thread. 0 when a newer one has been written. */
static int write_it(struct record *r, uint64_t number, const char *path, const char *text, struct hull_error *err)
{
	int rc = 0;
	uv_mutex_lock(&r->lock);
	if (number > r->written) {
		r->written = number;
		rc = hull_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
	}
	uv_mutex_unlock(&r->lock);
	return rc;
}

int keeper_save(struct keeper *k, const char *state, const char *reason)
{
	struct record *r = &k->record;
	_cleanup_free_ char *path = hull_sandbox_path(&k->paths, k->sb.name, "sandbox.json");
	_cleanup_free_ char *text = NULL;
	struct hull_error err = {0};
	int rc = set_state(k, state, reason);
	if (rc < 0)
		return rc;
	rc = path ? hull_sandbox_text(&k->sb, &text, &err) : hull_fail(&err, -ENOMEM, "out of memory");
	if (rc == 0) {
		free(hull_steal_ptr(r->next));
		rc = write_it(r, ++r->asked, path, text, &err);
	}
	if (rc < 0)
		hull_log("%s", err.msg);
	return rc;
}

/* --- off the loop --- */

static void work(uv_work_t *w)
{
	struct record *r = container_of(w, struct record, work);
	r->code = write_it(r, r->number, r->path, r->text, &r->err);
}

static void tell(struct keeper *k, char ***paths)
{
	char **list = hull_steal_ptr(*paths);
	for (size_t i = 0; list && list[i]; i++)
		k->events->mounted(k, list[i], 0, NULL);
	hull_strv_free(list);
}

static void fly(struct keeper *k);

static void done(uv_work_t *w, int status)
{
	struct record *r = container_of(w, struct record, work);
	struct keeper *k = container_of(r, struct keeper, record);
	r->busy = false;
	if (r->code < 0)
		hull_log("%s", r->err.msg);
	free(hull_steal_ptr(r->text));
	tell(k, &r->mounts);
	if (r->next)
		fly(k);
	else
		tell(k, &r->next_mounts); /* a save done at once has said it */
}

static void fly(struct keeper *k)
{
	struct record *r = &k->record;
	r->text = hull_steal_ptr(r->next);
	r->mounts = hull_steal_ptr(r->next_mounts);
	r->number = r->asked;
	r->busy = true;
	/* It fails only without a callback. */
	uv_queue_work(&k->loop.uv, &r->work, work, done);
}

void keeper_save_later(struct keeper *k, const char *mount)
{
	struct record *r = &k->record;
	struct hull_error err = {0};
	char *text = NULL;
	int rc = set_state(k, "running", NULL);
	if (!r->path)
		r->path = hull_sandbox_path(&k->paths, k->sb.name, "sandbox.json");
	if (rc < 0 || !r->path)
		rc = hull_fail(&err, -ENOMEM, "out of memory");
	else
		rc = hull_sandbox_text(&k->sb, &text, &err);
	if (rc == 0 && mount)
		rc = hull_strv_add(&r->next_mounts, mount);
	if (rc < 0) {
		hull_log("sandbox.json is not written: %s", err.msg[0] ? err.msg : strerror(-rc));
		free(text);
		if (mount)
			k->events->mounted(k, mount, 0, NULL);
		return;
	}
	r->asked++;
	free(r->next);
	r->next = text;
	if (!r->busy)
		fly(k);
}

static bool holds(char *const *list, const char *path)
{
	for (size_t i = 0; list && list[i]; i++)
		if (strcmp(list[i], path) == 0)
			return true;
	return false;
}

bool record_awaited(const struct keeper *k, const char *path)
{
	return holds(k->record.mounts, path) || holds(k->record.next_mounts, path);
}

void record_free(struct keeper *k)
{
	struct record *r = &k->record;
	free(hull_steal_ptr(r->path));
	free(hull_steal_ptr(r->next));
	hull_strv_free(hull_steal_ptr(r->next_mounts));
	uv_mutex_destroy(&r->lock);
}

/* --- saved memory --- */

int keeper_claim_saved(struct keeper *k, struct hull_error *err)
{
	char *was = k->sb.restore, *boot = k->sb.disk_boot;
	k->sb.restore = k->sb.disk_boot = NULL;
	int r = keeper_save(k, "starting", NULL);
	if (r < 0) {
		k->sb.restore = was;
		k->sb.disk_boot = boot;
		return hull_fail(err, r, "cannot record in sandbox.json that %s runs (%s): it is not started",
				 k->sb.name, strerror(-r));
	}
	free(was);
	free(boot);
	return 0;
}

bool keeper_is_pause(const char *restore)
{
	const char *slash = restore ? strrchr(restore, '/') : NULL;
	return slash && strcmp(slash, "/frozen") == 0;
}

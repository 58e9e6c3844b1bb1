/* SPDX-License-Identifier: Apache-2.0 */
/* Moments of a sandbox to come back to. */
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/saved/saved.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "engine/engine.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_TAG "latest"

/* The sandbox and its snapshot directory; owned. */
static int open_place(const struct hull *h, const char *name, const char *tag, struct hull_sandbox *sb, char **parent,
		      struct hull_error *err)
{
	int r = hull_name_check(tag, err);
	if (r < 0)
		return hull_wrap(err, "the tag");
	r = life_load(h, name, sb, err);
	if (r < 0)
		return r;
	*parent = hull_sandbox_path(&h->paths, name, "snapshots");
	return *parent ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

int hull_snapshot_create(struct hull *h, const char *name, const char *tag, unsigned flags, double *paused_ms,
			 struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_free_ char *parent = NULL;
	struct stat st;
	bool replace = (flags & HULL_SAVE_REPLACE) != 0;
	tag = tag ? tag : DEFAULT_TAG;
	int r = lib_flags(flags, HULL_SAVE_REPLACE, err);
	if (r >= 0)
		r = open_place(h, name, tag, &sb, &parent, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = hull_fmt("%s/%s", parent, tag);
	if (!replace && path && lstat(path, &st) == 0)
		return hull_fail(err, -EEXIST, "there is a snapshot %s@%s: choose another tag, or -f to replace it",
				 name, tag);
	return saved_as(h, name, parent, tag, replace, paused_ms, err);
}

int hull_snapshot_remove(struct hull *h, const char *name, const char *tag, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_free_ char *parent = NULL;
	tag = tag ? tag : DEFAULT_TAG;
	int r = open_place(h, name, tag, &sb, &parent, err);
	if (r >= 0)
		r = hull_saved_remove(parent, tag, err);
	if (r == -ENOENT && parent)
		return hull_fail(err, r, "there is no snapshot %s@%s: `hull snapshot ls %s` lists them", name, tag,
				 name);
	return r;
}

/* --- listing --- */

struct saved {
	struct hull_saved_info pub; /* first */
	struct hull_snapshot snap;
	char *sandbox, *tag, *error;
};

static void saved_free(struct hull_saved_info *pub)
{
	struct saved *s = (struct saved *)pub;
	if (!s)
		return;
	hull_snapshot_free(&s->snap);
	free(s->sandbox);
	free(s->tag);
	free(s->error);
	free(s);
}

void hull_snapshots_free(struct hull_saved_info **list)
{
	for (struct hull_saved_info **s = list; s && *s; s++)
		saved_free(*s);
	free(list);
}

static struct hull_saved_info *describe(const char *sandbox, const char *tag, const char *dir)
{
	struct saved *s = calloc(1, sizeof(*s));
	struct hull_error why = {0};
	if (!s)
		return NULL;
	bool ok = hull_snapshot_load(dir, &s->snap, &why) == 0;
	s->sandbox = strdup(sandbox);
	s->tag = strdup(tag);
	s->error = ok ? NULL : strdup(why.msg);
	if (!s->sandbox || !s->tag || !s->error != ok) {
		saved_free(&s->pub);
		return NULL;
	}
	s->pub = (struct hull_saved_info){.sandbox = s->sandbox,
					  .tag = s->tag,
					  .engine = s->snap.engine ? s->snap.engine : "",
					  .error = s->error,
					  .created = s->snap.created,
					  .stored = hull_snapshot_stored(&s->snap)};
	return &s->pub;
}

static int add_all(const struct hull *h, const char *name, struct hull_saved_info ***list, size_t *count,
		   struct hull_error *err)
{
	_cleanup_free_ char *parent = hull_sandbox_path(&h->paths, name, "snapshots");
	struct dirent **found = NULL;
	int r = 0, n = parent ? scandir(parent, &found, NULL, alphasort) : 0;
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *dir = hull_fmt("%s/%s", parent, found[i]->d_name);
		if (r == 0 && hull_name_check(found[i]->d_name, NULL) == 0) {
			struct hull_saved_info *one = dir ? describe(name, found[i]->d_name, dir) : NULL;
			void *more = one ? reallocarray(*list, *count + 2, sizeof(one)) : NULL;
			if (more) {
				*list = more;
				(*list)[(*count)++] = one;
				(*list)[*count] = NULL;
			} else {
				saved_free(one);
				r = hull_fail(err, -ENOMEM, "out of memory");
			}
		}
		free(found[i]);
	}
	free(found);
	return r;
}

int hull_snapshots(struct hull *h, const char *name, struct hull_saved_info ***out, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	struct hull_saved_info **list = calloc(1, sizeof(struct hull_saved_info *));
	char **names = NULL;
	size_t count = 0;
	*out = NULL;
	int r = !list  ? hull_fail(err, -ENOMEM, "out of memory")
		: name ? life_load(h, name, &sb, err)
		       : hull_sandbox_list(&h->paths, &names, err);
	if (r >= 0 && name)
		r = add_all(h, name, &list, &count, err);
	for (char **n = names; r >= 0 && n && *n; n++)
		r = add_all(h, *n, &list, &count, err);
	hull_strv_free(names);
	if (r >= 0)
		*out = hull_steal_ptr(list);
	hull_snapshots_free(list);
	return r < 0 ? r : 0;
}

/* --- restoring --- */

/* Can the complete snapshot be restored into this sandbox by the installed programs? Reads and verifies all files if
 * necessary. */
static int check_all(const struct hull *h, const struct hull_sandbox *sb, const char *dir,
		     const struct hull_snapshot *snap, struct hull_error *err)
{
	static const char *const files[] = {HULL_SNAPSHOT_MEMORY, HULL_SNAPSHOT_DEVICE, HULL_SNAPSHOT_DISK};
	_cleanup_(hull_image_free) struct hull_image image = {0};
	_cleanup_free_ char *identity = hull_engine_identity(err);
	struct hull_probe probe;
	hull_engine_probe_cached(h->paths.runtime, &probe);
	int r = identity ? hull_snapshot_fits(snap, identity, probe.kvm_usable ? "kvm" : "tcg", err) : err->code;
	if (r >= 0 && (!hull_streq(snap->image, sb->image) || snap->no_docker != sb->no_docker))
		r = hull_fail(err, -ENOTSUP, "%s was saved from another sandbox than %s", dir, sb->name);
	if (r >= 0)
		r = hull_image_find(&h->paths, snap->image, &image, err);
	for (size_t i = 0; r >= 0 && i < sizeof files / sizeof *files; i++) {
		_cleanup_close_ int fd = hull_snapshot_open(dir, snap, files[i], NULL, err);
		r = fd < 0 ? fd : 0;
	}
	return r;
}

/* Copy the snapshot's disk to a file next to the sandbox's, and fsync it. */
static int copy_disk(const char *dir, const struct hull_snapshot *snap, const char *home, struct hull_scratch *scratch,
		     struct hull_error *err)
{
	_cleanup_close_ int from = hull_snapshot_open(dir, snap, HULL_SNAPSHOT_DISK, NULL, err);
	return from < 0 ? from : hull_disk_clone(from, snap->disk, home, scratch, err);
}

static int set_restore(struct hull_sandbox *s, char *restore, const char *id, struct hull_error *err)
{
	char *state = strdup("stopped"), *copy = id ? strdup(id) : NULL;
	if (!state || !restore != !id || !copy != !id) {
		free(state);
		free(copy);
		free(restore);
		return hull_fail(err, -ENOMEM, "out of memory");
	}
	free(s->state);
	free(s->restore);
	free(s->restore_id);
	s->state = state;
	s->restore = restore;
	s->restore_id = copy;
	return 0;
}

/* With the sandbox's lock held: replace its disk by the snapshot's; its next start restores the memory. */
static int go_back(const struct hull *h, const char *name, const char *tag, const struct hull_snapshot *snap,
		   const struct hull_scratch *scratch, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	_cleanup_close_ int lock = hull_sandbox_lock(&h->paths, name, err);
	if (lock < 0)
		return lock;
	_cleanup_free_ char *home = hull_sandbox_path(&h->paths, name, NULL);
	_cleanup_close_ int dir = home ? open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir < 0)
		return hull_fail_errno(err, "cannot open %s", name);
	int r = hull_sandbox_load(&h->paths, name, &s, err);
	/* Suspended memory belongs to the current disk: it is dropped before the disk is replaced. The record of the
	 * snapshot's memory is written after the replacement. Interrupted between any two steps, the sandbox boots. */
	if (r >= 0)
		r = set_restore(&s, NULL, NULL, err);
	if (r >= 0)
		r = hull_sandbox_save(&h->paths, &s, err);
	if (r < 0)
		return r;
	if (renameat(scratch->fd, "disk.img", dir, "disk.img") < 0 || fsync(dir) < 0)
		return hull_fail_errno(err, "cannot replace the disk of %s", name);
	s.fresh = false;
	free(s.disk_boot);
	s.disk_boot = NULL;
	s.cpus = snap->cpus;
	s.memory = snap->memory;
	s.disk = snap->disk;
	s.swap = snap->swap;
	r = set_restore(&s, hull_fmt("sandboxes/%s/snapshots/%s", name, tag), snap->digest, err);
	return r < 0 ? r : hull_sandbox_save(&h->paths, &s, err);
}

int hull_snapshot_restore(struct hull *h, const char *name, const char *tag, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_free_ char *parent = NULL;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_(hull_snapshot_free) struct hull_snapshot snap = {0};
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	tag = tag ? tag : DEFAULT_TAG;
	int r = open_place(h, name, tag, &sb, &parent, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *dir = hull_fmt("%s/%s", parent, tag);
	_cleanup_free_ char *home = hull_sandbox_path(&h->paths, name, NULL);
	r = dir && home ? hull_snapshot_load(dir, &snap, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r == -ENOENT)
		return hull_fail(err, r, "there is no snapshot %s@%s: `hull snapshot ls %s` lists them", name, tag,
				 name);
	if (r >= 0 && sb.remove && hull_sandbox_running(&h->paths, name))
		r = hull_fail(err, -EINVAL, "%s was made with --rm: it would be gone once it is stopped", name);
	if (r < 0)
		return r;
	/* All steps that can fail come before anything is dropped. */
	lib_stage(h, name, "checking the snapshot");
	r = check_all(h, &sb, dir, &snap, err);
	if (r >= 0) {
		lib_stage(h, name, "copying its disk");
		r = copy_disk(dir, &snap, home, &scratch, err);
	}
	if (r >= 0 && lib_interrupted(h))
		r = hull_fail(err, -EINTR, "interrupted");
	if (r >= 0 && hull_sandbox_running(&h->paths, name))
		r = life_stop(h, name, -1, err);
	if (r >= 0)
		r = go_back(h, name, tag, &snap, &scratch, err);
	if (r >= 0)
		r = life_start(h, name, NULL, err);
	return r < 0 ? r : client_await(h, name, "exec", err);
}

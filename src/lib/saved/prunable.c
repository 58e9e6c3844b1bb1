/* SPDX-License-Identifier: Apache-2.0 */
/* Determines what `hull prune` removes: templates that Hull made and can make again, and leftovers of interrupted
 * commands.
 *
 * 1. Templates that no new sandbox could use (the engine, hull or the image has changed).
 * 2. Templates not used for a month; on request all.
 * 3. Leftovers. Their lock distinguishes them from work in progress (snapshot/scratch.c).
 *
 * A user's own templates are never included. */
#include "lib/saved/prunable.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/handle.h"
#include "lib/saved/aside.h"
#include "lib/saved/saved.h"
#include "engine/engine.h"
#include "image/image.h"
#include "snapshot/snapshot.h"
#include "store/usage.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

enum { KEEP_S = 30 * 24 * 3600 };

/* The current engine, image and so on; a member that cannot be determined is NULL, and then nothing is removed because
 * of it. */
struct host {
	char *identity; /* of the engine */
	char *initramfs;
	const char *accel;
};

/* The search for it. */
struct search {
	const struct hull_paths *paths;
	struct prunable_list *out;
	struct hull_usage usage;
	enum prunable_where where;
	const char *below; /* the directory being searched, as a path below home */
	bool failed;       /* out of memory */
};

/* The reason for removal; NULL = it stays. */
static const char *reason(const struct hull_paths *p, const char *name, const struct hull_snapshot *s, int loaded,
			  const struct host *host, bool all)
{
	_cleanup_(hull_image_free) struct hull_image image = {0};
	uint64_t now = (uint64_t)time(NULL), used = hull_template_used(p, name);
	if (loaded == -ENOTSUP)
		return "made by another version of Hull";
	if (loaded < 0)
		return "damaged";
	if (host->identity && !hull_streq(s->identity, host->identity))
		return "made by another engine";
	if (host->identity && hull_snapshot_fits(s, host->identity, host->accel, NULL) < 0)
		return "made for another processor";
	if (hull_image_find(p, s->image, &image, NULL) < 0)
		return "its image is gone";
	if (host->initramfs && !hull_streq(host->initramfs, s->initramfs))
		return "made by another version of Hull";
	if (now > used && now - used > KEEP_S)
		return "not used for a month";
	return all ? "asked for" : NULL;
}

/* Add `name` in the directory root. `stored` < 0: use its measured size. */
static void add(struct search *s, int root, const char *name, const char *why, int64_t stored)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", s->below, name);
	char *own = s->where == PRUNABLE_TEMPLATE ? strdup(name) : hull_steal_ptr(path);
	struct prunable *more = reallocarray(s->out->items, s->out->count + 1, sizeof(*more));
	if (more)
		s->out->items = more;
	if (!more || !own) {
		free(own);
		s->failed = true;
		return;
	}
	/* It is removed even if it cannot be measured; the figure is for display. */
	uint64_t size = hull_usage_add(&s->usage, root, name, own);
	more[s->out->count++] = (struct prunable){.where = s->where,
						  .name = own,
						  .reason = why,
						  .stored = stored < 0 ? size : (uint64_t)stored,
						  .size = size};
}

static void found(void *ctx, int root, const char *name)
{
	add(ctx, root, name, "left by an interrupted command", -1);
}

/* Directories in which saved machines are made: two for each sandbox, since a pause saves in the sandbox's directory.
 */
static void each_parent(const struct hull_paths *p, void (*visit)(struct search *s, const char *path), struct search *s)
{
	char **names = NULL;
	_cleanup_free_ char *templates = hull_template_path(p, NULL);
	if (templates) {
		s->where = PRUNABLE_LEFT_TEMPLATES;
		s->below = "templates";
		visit(s, templates);
	}
	if (hull_sandbox_list(p, &names, NULL) < 0)
		return;
	for (char **n = names; *n; n++) {
		_cleanup_free_ char *home = hull_sandbox_path(p, *n, NULL);
		_cleanup_free_ char *snapshots = hull_sandbox_path(p, *n, "snapshots");
		if (!home || !snapshots)
			continue;
		size_t above = strlen(p->home) + 1;
		s->where = PRUNABLE_LEFT_SNAPSHOTS;
		s->below = snapshots + above;
		visit(s, snapshots);
		s->where = PRUNABLE_LEFT_SANDBOX;
		s->below = home + above;
		visit(s, home);
	}
	hull_strv_free(names);
}

static void look(struct search *s, const char *path)
{
	hull_saved_each(path, found, s);
}

static void sweep(struct search *s, const char *path)
{
	hull_saved_sweep(path);
}

void prunable_sweep(const struct hull_paths *p)
{
	struct search none = {0};
	each_parent(p, sweep, &none);
	hull_template_build_sweep(p);
	aside_sweep(p);
}

static int find_templates(struct search *s, bool all, struct hull_error *err)
{
	char **names = NULL;
	int r = hull_template_list(s->paths, &names, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *parent = hull_template_path(s->paths, NULL);
	_cleanup_close_ int root = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	_cleanup_free_ char *identity = hull_engine_identity(NULL);
	_cleanup_free_ char *initramfs = NULL;
	struct hull_error why;
	if (template_initramfs(&initramfs, &why) < 0)
		initramfs = NULL;
	struct hull_probe probe;
	hull_engine_probe_cached(s->paths->runtime, &probe);
	const struct host host = {
		.identity = identity, .initramfs = initramfs, .accel = probe.kvm_usable ? "kvm" : "tcg"};
	s->where = PRUNABLE_TEMPLATE;
	s->below = "templates";
	for (char **n = names; root >= 0 && *n; n++) {
		_cleanup_(hull_snapshot_free) struct hull_snapshot snap = {0};
		_cleanup_free_ char *dir = hull_template_path(s->paths, *n);
		if (!hull_template_is_key(*n) || !dir)
			continue;
		int loaded = hull_snapshot_load(dir, &snap, NULL);
		const char *words = reason(s->paths, *n, &snap, loaded, &host, all);
		if (words)
			add(s, root, *n, words, (int64_t)hull_snapshot_stored(&snap));
	}
	hull_strv_free(names);
	return 0;
}

int prunable_find(const struct hull_paths *p, bool all, struct prunable_list *out, struct hull_error *err)
{
	struct search s = {.paths = p, .out = out, .usage = {.freed = true}};
	*out = (struct prunable_list){0};
	int r = find_templates(&s, all, err);
	if (r >= 0)
		each_parent(p, look, &s);
	hull_usage_free(&s.usage);
	if (r >= 0 && s.failed)
		r = hull_fail(err, -ENOMEM, "out of memory");
	if (r < 0)
		prunable_free(out);
	return r;
}

void prunable_free(struct prunable_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].name);
	free(list->items);
	*list = (struct prunable_list){0};
}

int hull_prune(struct hull *h, unsigned flags, void (*gone)(void *ctx, const struct hull_pruned *what), void *ctx,
	       uint64_t *freed, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(prunable_free) struct prunable_list found = {0};
	bool dry_run = (flags & HULL_PRUNE_DRY_RUN) != 0;
	uint64_t sum = 0;
	int r = lib_flags(flags, HULL_PRUNE_ALL | HULL_PRUNE_DRY_RUN, err);
	if (r >= 0)
		r = prunable_find(&h->paths, (flags & HULL_PRUNE_ALL) != 0, &found, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *parent = hull_template_path(&h->paths, NULL);
	if (!parent)
		return hull_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < found.count; i++) {
		const struct prunable *p = &found.items[i];
		bool template = p->where == PRUNABLE_TEMPLATE;
		r = template && !dry_run ? hull_saved_remove(parent, p->name, err) : 0;
		if (r == -ENOENT) /* somebody else was quicker */
			continue;
		if (r < 0)
			break;
		sum += p->size;
		const struct hull_pruned what = {.kind = template ? "template" : "leftover",
						 .name = p->name,
						 .reason = p->reason,
						 .stored = p->stored,
						 .size = p->size};
		if (gone)
			gone(ctx, &what);
	}
	if (!dry_run)
		prunable_sweep(&h->paths);
	if (freed)
		*freed = sum;
	return r < 0 && r != -ENOENT ? r : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Two sets of names, each a ring that is hashed as well:
 *
 *   pending   names that the inotify replayer has yet to make or remove in the guest (docs/internals/workspace.md, "Watchers").
 *             Each LOOKUP of the replayer asks for them. The oldest is overwritten when the ring is full.
 *   absent    negative entries: names that the guest may believe absent for an hour. When events are lost, the server
 *             sends an invalidation for each. Only an entry that is older than an hour is overwritten. */
#include "share/watch.h"

#include "base/hash.h"
#include "share/server.h"

#include <string.h>
#include <time.h>

enum { RING = 16384, NONE = -1, ABSENT_SEC = 3600, ABSENT_FULL_SEC = 5 };

struct pending {
	uint64_t dir;
	char *name;    /* NULL = free */
	int32_t next;  /* in its bucket */
	uint8_t flags; /* CREATED, DIRECTORY, SHOWN */
	bool tried;    /* its removal was asked for once, too early */
	uint64_t node; /* of the file that had it, 0 = none that the guest knows */
	int64_t when;
};
enum { CREATED = 1, DIRECTORY = 2, SHOWN = 4 };

struct share_pendings {
	pthread_mutex_t lock;
	struct pending ring[RING];
	int32_t buckets[RING];
	uint32_t at;
};

struct share_pendings *share_pendings_new(void)
{
	struct share_pendings *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	for (size_t i = 0; i < RING; i++)
		p->buckets[i] = NONE;
	return p;
}

void share_pendings_free(struct share_pendings *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < RING; i++)
		free(p->ring[i].name);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static int32_t *pending_bucket(struct share_pendings *p, uint64_t dir, const char *name)
{
	uint64_t h = hull_hash(dir * 0x9e3779b97f4a7c15u, name, strlen(name));
	return &p->buckets[(h >> 20) % RING];
}

static struct pending *pending_find(struct share_pendings *p, uint64_t dir, const char *name, bool created)
{
	for (int32_t i = *pending_bucket(p, dir, name); i != NONE; i = p->ring[i].next) {
		struct pending *e = &p->ring[i];
		if (e->dir == dir && !(e->flags & CREATED) == !created && !strcmp(e->name, name))
			return e;
	}
	return NULL;
}

static void pending_drop(struct share_pendings *p, struct pending *e)
{
	int32_t *at = pending_bucket(p, e->dir, e->name);
	while (&p->ring[*at] != e)
		at = &p->ring[*at].next;
	*at = e->next;
	free(e->name);
	*e = (struct pending){0};
}

static void pending_put(struct share_pendings *p, struct pending *e, uint64_t dir, char *name, int flags)
{
	int32_t *head = pending_bucket(p, dir, name);
	*e = (struct pending){.dir = dir, .name = name, .next = *head, .flags = (uint8_t)flags};
	*head = (int32_t)(e - p->ring);
}

enum share_pending share_announced(struct hull_share *sh, uint64_t dir, const char *name, bool created, bool take)
{
	struct share_pendings *p = sh->pendings;
	enum share_pending found = SHARE_NOT_PENDING;
	pthread_mutex_lock(&p->lock);
	struct pending *e = pending_find(p, dir, name, created);
	if (e)
		found = e->flags & DIRECTORY ? SHARE_PENDING_DIR : SHARE_PENDING_FILE;
	if (e && take)
		pending_drop(p, e);
	pthread_mutex_unlock(&p->lock);
	return found;
}

uint64_t share_announced_node(struct hull_share *sh, uint64_t dir, const char *name)
{
	struct share_pendings *p = sh->pendings;
	pthread_mutex_lock(&p->lock);
	const struct pending *e = pending_find(p, dir, name, false);
	uint64_t node = e ? e->node : 0;
	pthread_mutex_unlock(&p->lock);
	return node;
}

void share_announced_show(struct hull_share *sh, uint64_t dir, const char *name)
{
	struct share_pendings *p = sh->pendings;
	pthread_mutex_lock(&p->lock);
	struct pending *e = pending_find(p, dir, name, false);
	if (e)
		e->flags |= SHOWN;
	pthread_mutex_unlock(&p->lock);
}

bool share_announced_again(struct hull_share *sh, uint64_t dir, const char *name)
{
	struct share_pendings *p = sh->pendings;
	pthread_mutex_lock(&p->lock);
	struct pending *e = pending_find(p, dir, name, false);
	bool again = e && e->node && !e->tried;
	if (again)
		e->tried = true;
	else if (e)
		pending_drop(p, e);
	pthread_mutex_unlock(&p->lock);
	return again;
}

bool share_announced_shown(struct hull_share *sh, uint64_t dir, const char *name)
{
	struct share_pendings *p = sh->pendings;
	pthread_mutex_lock(&p->lock);
	const struct pending *e = pending_find(p, dir, name, false);
	bool shown = e && e->flags & SHOWN;
	pthread_mutex_unlock(&p->lock);
	return shown;
}

bool share_announce(struct hull_share *sh, uint64_t dir, const char *name, bool created, bool directory, uint64_t node)
{
	struct share_pendings *p = sh->pendings;
	bool kept = true;
	if (!atomic_load(&sh->replayer))
		return true;
	pthread_mutex_lock(&p->lock);
	struct pending *e = pending_find(p, dir, name, created);
	if (e && node) {
		e->node = node; /* it came and went again: what went last */
		e->flags &= (uint8_t)~SHOWN;
		e->tried = false;
	} else if (!e) {
		e = &p->ring[p->at++ % RING];
		char *copy = strdup(name);
		kept = copy && !e->name;
		if (e->name)
			pending_drop(p, e);
		if (copy)
			pending_put(p, e, dir, copy, (created ? CREATED : 0) | (directory ? DIRECTORY : 0));
		if (copy)
			e->node = node;
	}
	pthread_mutex_unlock(&p->lock);
	return kept;
}

void share_announced_clear(struct hull_share *sh)
{
	struct share_pendings *p = sh->pendings;
	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < RING; i++)
		if (p->ring[i].name)
			pending_drop(p, &p->ring[i]);
	pthread_mutex_unlock(&p->lock);
}

uint32_t share_absent(struct hull_share *sh, uint64_t dir, const char *name)
{
	struct share_pendings *p = sh->absent;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&p->lock);
	struct pending *e = pending_find(p, dir, name, false);
	if (!e) {
		e = &p->ring[p->at++ % RING];
		bool old = !e->name || now.tv_sec - e->when > ABSENT_SEC;
		char *copy = old ? strdup(name) : NULL;
		if (copy && e->name)
			pending_drop(p, e);
		if (copy)
			pending_put(p, e, dir, copy, 0);
		else
			e = NULL;
	}
	if (e)
		e->when = now.tv_sec;
	pthread_mutex_unlock(&p->lock);
	return e ? ABSENT_SEC : ABSENT_FULL_SEC;
}

void share_each_absent(struct hull_share *sh, void (*fn)(struct hull_share *sh, uint64_t dir, const char *name))
{
	struct share_pendings *p = sh->absent;
	char name[NAME_MAX + 1];
	for (size_t i = 0; i < RING; i++) {
		pthread_mutex_lock(&p->lock);
		const struct pending *e = &p->ring[i];
		uint64_t dir = e->dir;
		bool there = e->name;
		if (there)
			snprintf(name, sizeof name, "%s", e->name);
		pthread_mutex_unlock(&p->lock);
		if (there)
			fn(sh, dir, name);
	}
}

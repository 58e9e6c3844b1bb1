/* SPDX-License-Identifier: Apache-2.0 */
/* See handles.h. A node is in the table while it is open or has a cached handle; of each node one handle is cached. At
 * most IDLE_MAX cached handles are idle, that is not in use: each is an open file on the host. Eviction is random: a
 * cyclic scan that is larger than the cache (git through its objects) defeats LRU. */
#include "guest/workspace/prefetch/handles.h"

#include "guest/workspace/prefetch/hash.h"

#include <stddef.h>
#include <stdlib.h>

enum { BUCKETS = 16384, IDLE_MAX = 16384 };

struct node {
	uint64_t id;
	uint32_t open;
	bool cached; /* fh may be used again; it is in use unless idle */
	bool idle;
	bool no_flush, locked; /* while it is open */
	uint32_t at;           /* where in the idle ones */
	uint32_t flags;
	uint64_t fh;
	struct node *next; /* in the bucket */
};

struct release {
	uint64_t node, fh;
};

struct hull_handles {
	struct node *buckets[BUCKETS];
	struct node *idle[IDLE_MAX];
	uint32_t idle_count;
	uint64_t open, most;               /* open files; the limit for them and the cached handles together */
	uint64_t chance;                   /* state of xorshift */
	struct release releases[IDLE_MAX]; /* owed to the server, which gets them after each request and message */
	uint32_t release_count;
};

struct hull_handles *hull_handles_new(void)
{
	struct hull_handles *o = calloc(1, sizeof(*o));
	if (o)
		o->chance = 1;
	return o;
}

static struct node **slot(struct hull_handles *o, uint64_t id)
{
	struct node **at = &o->buckets[hull_hash_node(id) % BUCKETS];
	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static struct node *handle_find(struct hull_handles *o, uint64_t id)
{
	return *slot(o, id);
}

static struct node *find_or_make(struct hull_handles *o, uint64_t id)
{
	struct node **at = slot(o, id);
	if (!*at && (*at = calloc(1, sizeof(struct node))))
		(*at)->id = id;
	return *at;
}

static void handle_settle(struct hull_handles *o, struct node *n)
{
	if (n->open || n->cached)
		return;
	*slot(o, n->id) = n->next;
	free(n);
}

static void leave_idle(struct hull_handles *o, struct node *n)
{
	struct node *last = o->idle[--o->idle_count];
	o->idle[n->at] = last;
	last->at = n->at;
	n->idle = false;
}

void hull_handles_drop(struct hull_handles *o, uint64_t id)
{
	struct node *n = handle_find(o, id);
	if (!n || !n->cached)
		return;
	if (n->idle) {
		leave_idle(o, n);
		if (o->release_count < IDLE_MAX) /* else the server keeps it open until it ends */
			o->releases[o->release_count++] = (struct release){.node = id, .fh = n->fh};
	}
	n->cached = false;
	handle_settle(o, n);
}

/* Evict at random until there is room for one more. xorshift will do: nobody gains by a prediction. */
static void handle_make_room(struct hull_handles *o)
{
	while (o->idle_count && (o->idle_count == IDLE_MAX || o->idle_count + o->open >= o->most)) {
		o->chance ^= o->chance << 13;
		o->chance ^= o->chance >> 7;
		o->chance ^= o->chance << 17;
		hull_handles_drop(o, o->idle[o->chance % o->idle_count]->id);
	}
}

bool hull_handles_take(struct hull_handles *o, uint64_t id, uint64_t *fh, uint32_t *flags)
{
	struct node *n = handle_find(o, id);
	if (!n || !n->idle)
		return false;
	leave_idle(o, n);
	n->open++;
	o->open++;
	*fh = n->fh;
	*flags = n->flags;
	return true;
}

void hull_handles_offer(struct hull_handles *o, uint64_t id, uint64_t fh, uint64_t most)
{
	struct node *n = find_or_make(o, id);
	o->most = most;
	if (!n || n->cached)
		return;
	n->cached = true;
	n->fh = fh;
	n->flags = 0;
}

bool hull_handles_opened(struct hull_handles *o, uint64_t id, uint64_t fh, uint32_t flags)
{
	handle_make_room(o);
	struct node *n = find_or_make(o, id);
	if (!n)
		return false;
	n->open++;
	o->open++;
	if (n->cached && !n->idle && n->fh == fh)
		n->flags = flags;
	return true;
}

void hull_handles_no_flush(struct hull_handles *o, uint64_t id)
{
	struct node *n = find_or_make(o, id);
	if (n)
		n->no_flush = true;
}

void hull_handles_locked(struct hull_handles *o, uint64_t id)
{
	struct node *n = handle_find(o, id);
	if (n && n->open)
		n->locked = true;
	hull_handles_drop(o, id);
}

bool hull_handles_flush(struct hull_handles *o, uint64_t id)
{
	const struct node *n = handle_find(o, id);
	return n && n->open && n->no_flush && !n->locked;
}

bool hull_handles_closed(struct hull_handles *o, uint64_t id, uint64_t fh)
{
	struct node *n = handle_find(o, id);
	if (!n)
		return false;
	if (n->open) {
		n->open--;
		o->open--;
	}
	if (!n->open)
		n->no_flush = n->locked = false;
	if (!n->cached || n->idle || n->fh != fh) {
		handle_settle(o, n);
		return false;
	}
	handle_make_room(o);
	n->idle = true;
	n->at = o->idle_count;
	o->idle[o->idle_count++] = n;
	return true;
}

bool hull_handles_open(struct hull_handles *o, uint64_t id)
{
	const struct node *n = handle_find(o, id);
	return n && n->open;
}

bool hull_handles_release(struct hull_handles *o, uint64_t *node, uint64_t *fh)
{
	if (o->release_count == 0)
		return false;
	const struct release *r = &o->releases[--o->release_count];
	*node = r->node;
	*fh = r->fh;
	return true;
}

void hull_handles_reset(struct hull_handles *o)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct node *n; (n = o->buckets[i]);) {
			o->buckets[i] = n->next;
			free(n);
		}
	o->idle_count = o->release_count = 0;
	o->open = 0;
}

void hull_handles_free(struct hull_handles *o)
{
	if (!o)
		return;
	hull_handles_reset(o);
	free(o);
}

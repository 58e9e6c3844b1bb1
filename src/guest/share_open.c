/* See share_open.h. A node is in the table while it is open or a handle of it is kept; of a node one handle is. Those
 * that nobody uses stand in a list by age, IDLE_MAX at most: each is an open file on the host. */
#include "guest/share_open.h"

#include "guest/share_hash.h"

#include <stddef.h>
#include <stdlib.h>

enum { BUCKETS = 4096, IDLE_MAX = 4096, RELEASES_MAX = 512 };

struct node {
	uint64_t id;
	uint32_t open;
	bool kept; /* fh may be given out again; in use unless idle */
	bool idle;
	uint64_t fh;
	uint32_t flags;
	struct node *next;          /* in the bucket */
	struct node *older, *newer; /* idle */
};

struct release {
	uint64_t node, fh;
};

struct hull_opens {
	struct node *buckets[BUCKETS];
	struct node *oldest, *newest;
	unsigned idle;
	struct release releases[RELEASES_MAX];
	unsigned release_count;
};

struct hull_opens *hull_opens_new(void)
{
	return calloc(1, sizeof(struct hull_opens));
}

static struct node **slot(struct hull_opens *o, uint64_t id)
{
	struct node **at = &o->buckets[hull_hash_node(id) % BUCKETS];
	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static struct node *find(struct hull_opens *o, uint64_t id)
{
	return *slot(o, id);
}

static struct node *find_or_make(struct hull_opens *o, uint64_t id)
{
	struct node **at = slot(o, id);
	if (!*at && (*at = calloc(1, sizeof(struct node))))
		(*at)->id = id;
	return *at;
}

static void settle(struct hull_opens *o, struct node *n)
{
	if (n->open || n->kept)
		return;
	*slot(o, n->id) = n->next;
	free(n);
}

static void leave_list(struct hull_opens *o, struct node *n)
{
	*(n->older ? &n->older->newer : &o->oldest) = n->newer;
	*(n->newer ? &n->newer->older : &o->newest) = n->older;
	n->older = n->newer = NULL;
	n->idle = false;
	o->idle--;
}

void hull_opens_drop(struct hull_opens *o, uint64_t id)
{
	struct node *n = find(o, id);
	if (!n || !n->kept)
		return;
	if (n->idle) {
		leave_list(o, n);
		if (o->release_count < RELEASES_MAX) /* else the server has it open until it ends */
			o->releases[o->release_count++] = (struct release){.node = id, .fh = n->fh};
	}
	n->kept = false;
	settle(o, n);
}

bool hull_opens_take(struct hull_opens *o, uint64_t id, uint64_t *fh, uint32_t *flags)
{
	struct node *n = find(o, id);
	if (!n || !n->idle)
		return false;
	leave_list(o, n);
	n->open++;
	*fh = n->fh;
	*flags = n->flags;
	return true;
}

void hull_opens_offer(struct hull_opens *o, uint64_t id, uint64_t fh)
{
	struct node *n = find_or_make(o, id);
	if (!n || n->kept)
		return;
	n->kept = true;
	n->fh = fh;
	n->flags = 0;
}

bool hull_opens_opened(struct hull_opens *o, uint64_t id, uint64_t fh, uint32_t flags)
{
	struct node *n = find_or_make(o, id);
	if (!n)
		return false;
	n->open++;
	if (n->kept && !n->idle && n->fh == fh)
		n->flags = flags;
	return true;
}

bool hull_opens_closed(struct hull_opens *o, uint64_t id, uint64_t fh)
{
	struct node *n = find(o, id);
	if (!n)
		return false;
	if (n->open)
		n->open--;
	if (!n->kept || n->idle || n->fh != fh) {
		settle(o, n);
		return false;
	}
	n->idle = true;
	n->older = o->newest;
	*(o->newest ? &o->newest->newer : &o->oldest) = n;
	o->newest = n;
	if (++o->idle > IDLE_MAX)
		hull_opens_drop(o, o->oldest->id);
	return true;
}

bool hull_opens_any(struct hull_opens *o, uint64_t id)
{
	const struct node *n = find(o, id);
	return n && n->open;
}

bool hull_opens_release(struct hull_opens *o, uint64_t *node, uint64_t *fh)
{
	if (o->release_count == 0)
		return false;
	const struct release *r = &o->releases[--o->release_count];
	*node = r->node;
	*fh = r->fh;
	return true;
}

void hull_opens_reset(struct hull_opens *o)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct node *n; (n = o->buckets[i]);) {
			o->buckets[i] = n->next;
			free(n);
		}
	o->oldest = o->newest = NULL;
	o->idle = o->release_count = 0;
}

void hull_opens_free(struct hull_opens *o)
{
	if (!o)
		return;
	hull_opens_reset(o);
	free(o);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See cache.h. ROOM bounds the records; a long list takes several places. The oldest ENTRY or KNOWN is dropped first:
 * there are few others. */
#include "guest/workspace/prefetch/cache.h"

#include "guest/workspace/prefetch/hash.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 8192, PLACE = 256, BUCKETS = 8192, OWED_MAX = 4096, FORGETS_AT = 32, BATCH = 250 };

struct hull_records {
	struct hull_record *nodes[BUCKETS], *names[BUCKETS];
	struct ages {
		struct hull_record *oldest, *newest;
	} entries, others;
	size_t room; /* taken */
	/* Owed to the server. */
	uint64_t forgets[OWED_MAX];
	struct hull_share_nlookup nlookup[OWED_MAX];
	uint32_t forget_count, nlookup_count;
};

struct hull_records *hull_records_new(void)
{
	return calloc(1, sizeof(struct hull_records));
}

static struct hull_record **node_bucket(struct hull_records *r, uint64_t node)
{
	return &r->nodes[hull_hash_node(node) % BUCKETS];
}

static struct hull_record **name_bucket(struct hull_records *r, uint64_t parent, const char *name, size_t n)
{
	return &r->names[hull_hash_name(parent, name, n) % BUCKETS];
}

static bool has_name(uint32_t type)
{
	return type == HULL_SHARE_PREFETCH_ENTRY || type == HULL_SHARE_PREFETCH_KNOWN;
}

static struct ages *ages_of(struct hull_records *r, const struct hull_record *one)
{
	return has_name(one->type) ? &r->entries : &r->others;
}

static size_t room_of(const struct hull_record *one)
{
	return 1 + one->len / PLACE;
}

void hull_records_used(struct hull_records *r, struct hull_record *one)
{
	struct hull_record **at = node_bucket(r, one->node);
	while (*at != one)
		at = &(*at)->by_node;
	*at = one->by_node;
	if (has_name(one->type)) {
		at = name_bucket(r, one->parent, one->more, one->len);
		while (*at != one)
			at = &(*at)->by_name;
		*at = one->by_name;
	}
	struct ages *g = ages_of(r, one);
	*(one->older ? &one->older->newer : &g->oldest) = one->newer;
	*(one->newer ? &one->newer->older : &g->newest) = one->older;
	r->room -= room_of(one);
	free(one);
}

static void give_back(struct hull_records *r, uint64_t node)
{
	if (r->forget_count < OWED_MAX) /* else the server keeps the node until it ends */
		r->forgets[r->forget_count++] = node;
}

void hull_records_drop(struct hull_records *r, struct hull_record *one)
{
	if (!one)
		return;
	if (one->type == HULL_SHARE_PREFETCH_ENTRY)
		give_back(r, one->node);
	/* What does not fit: the server forgets the node too early, and the kernel looks it up again. */
	if (one->given && r->nlookup_count < OWED_MAX)
		r->nlookup[r->nlookup_count++] = (struct hull_share_nlookup){.node = one->node, .count = one->given};
	hull_records_used(r, one);
}

struct hull_record *hull_records_named(struct hull_records *r, uint64_t parent, const char *name, size_t n)
{
	struct hull_record *one = *name_bucket(r, parent, name, n);
	while (one && (one->parent != parent || one->len != n || memcmp(one->more, name, n) != 0))
		one = one->by_name;
	return one;
}

struct hull_record *hull_records_of(struct hull_records *r, uint64_t node, uint32_t type)
{
	struct hull_record *one = *node_bucket(r, node);
	while (one && (one->node != node || one->type != type))
		one = one->by_node;
	return one;
}

void hull_records_changed(struct hull_records *r, uint64_t node)
{
	for (struct hull_record *one = *node_bucket(r, node), *next; one; one = next) {
		next = one->by_node;
		if (one->node == node && one->type == HULL_SHARE_PREFETCH_KNOWN)
			one->entry.attr_valid = one->entry.attr_valid_nsec = 0;
		else if (one->node == node)
			hull_records_drop(r, one);
	}
}

static struct hull_record *oldest(struct hull_records *r)
{
	return r->entries.oldest ? r->entries.oldest : r->others.oldest;
}

/* Drop the record for the same request. */
static void records_replace(struct hull_records *r, const struct hull_share_prefetch *from, const char *name)
{
	if (!has_name(from->type)) {
		hull_records_drop(r, hull_records_of(r, from->node, from->type));
		return;
	}
	hull_records_drop(r, hull_records_named(r, from->node, name, from->name_len));
	if (from->type == HULL_SHARE_PREFETCH_KNOWN)
		hull_records_drop(r, hull_records_of(r, from->entry.nodeid, from->type));
}

static void records_fill(struct hull_record *one, const struct hull_share_prefetch *from)
{
	one->type = from->type;
	one->node = from->node;
	if (has_name(from->type)) {
		one->parent = from->node;
		one->node = from->entry.nodeid;
		one->entry = from->entry;
	} else if (from->type == HULL_SHARE_PREFETCH_ATTR) {
		one->attr = from->attr;
	} else if (from->type == HULL_SHARE_PREFETCH_END) {
		one->offset = from->offset;
	}
}

void hull_records_refuse(struct hull_records *r, const struct hull_share_prefetch *from)
{
	if (from->type == HULL_SHARE_PREFETCH_ENTRY)
		give_back(r, from->entry.nodeid);
}

void hull_records_add(struct hull_records *r, const struct hull_share_prefetch *from, const void *more)
{
	struct hull_record *known = hull_records_of(r, from->node, HULL_SHARE_PREFETCH_KNOWN);
	size_t len = has_name(from->type) || from->type == HULL_SHARE_PREFETCH_LIST ? from->name_len : 0;
	struct hull_record *one = calloc(1, sizeof(*one) + len);
	if (known && from->type == HULL_SHARE_PREFETCH_ATTR) {
		known->entry.attr = from->attr.attr;
		known->entry.attr_valid = from->attr.attr_valid;
		known->entry.attr_valid_nsec = from->attr.attr_valid_nsec;
	}
	records_replace(r, from, more);
	if (!one) {
		hull_records_refuse(r, from);
		return;
	}
	records_fill(one, from);
	one->len = (uint32_t)len;
	if (len)
		memcpy(one->more, more, len);
	if (has_name(one->type)) {
		struct hull_record **head = name_bucket(r, one->parent, one->more, one->len);
		one->by_name = *head;
		*head = one;
	}
	struct hull_record **head = node_bucket(r, one->node);
	one->by_node = *head;
	*head = one;
	struct ages *g = ages_of(r, one);
	one->older = g->newest;
	*(g->newest ? &g->newest->newer : &g->oldest) = one;
	g->newest = one;
	for (r->room += room_of(one); r->room > ROOM;)
		hull_records_drop(r, oldest(r));
}

void hull_records_reset(struct hull_records *r)
{
	for (struct hull_record *one; (one = oldest(r));)
		hull_records_used(r, one);
	r->forget_count = r->nlookup_count = 0;
}

void hull_records_free(struct hull_records *r)
{
	if (!r)
		return;
	hull_records_reset(r);
	free(r);
}

static size_t output_nlookup(struct hull_records *r, uint8_t *out)
{
	struct fuse_in_header h = {.len = sizeof(h) + sizeof(r->nlookup[0]), .opcode = HULL_SHARE_RELAY_NLOOKUP};
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), &r->nlookup[--r->nlookup_count], sizeof(r->nlookup[0]));
	return h.len;
}

size_t hull_records_output(struct hull_records *r, uint8_t *out)
{
	if (r->nlookup_count)
		return output_nlookup(r, out);
	if (r->forget_count < FORGETS_AT)
		return 0;
	uint32_t count = r->forget_count < BATCH ? r->forget_count : BATCH;
	const struct fuse_batch_forget_in in = {.count = count};
	struct fuse_in_header h = {.opcode = FUSE_BATCH_FORGET};
	size_t n = sizeof(h) + sizeof(in);
	for (uint32_t i = 0; i < count; i++, n += sizeof(struct fuse_forget_one)) {
		const struct fuse_forget_one one = {.nodeid = r->forgets[--r->forget_count], .nlookup = 1};
		memcpy(out + n, &one, sizeof(one));
	}
	h.len = (uint32_t)n;
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), &in, sizeof(in));
	return n;
}

/* --- the negative-entry filter ---
 *
 * The filter has bits for COUNT_MAX names. When they are used up it is emptied, with all directories. A bit that
 * another name has set costs a round trip, and nothing else. */

enum { COUNT_MAX = HULL_NEGATIVE_BITS / 8 };

static unsigned negative_slot(uint64_t node)
{
	return hull_hash_node(node) % HULL_NEGATIVE_DIRS;
}

static uint64_t bit_of(uint64_t dir, const char *name, size_t n)
{
	return hull_hash_name(dir, name, n) % HULL_NEGATIVE_BITS;
}

/* Letters in lower case into `out`: file systems that do not tell cases apart take both for the same. False for a name
 * that one might take for another in some further way (other alphabets, short aliases, ends that are cut off). */
static bool plain_name(const char *name, size_t n, char out[NAME_MAX])
{
	if (n == 0 || n > NAME_MAX || name[n - 1] == '.' || name[n - 1] == ' ')
		return false;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)name[i];
		if (c < 0x20 || c > 0x7d)
			return false;
		out[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
	}
	return true;
}

void hull_negative_reset(struct hull_negative *m)
{
	memset(m, 0, sizeof(*m));
}

void hull_negative_add(struct hull_negative *m, uint64_t node)
{
	m->empty[negative_slot(node)] = node;
}

void hull_negative_drop(struct hull_negative *m, uint64_t node)
{
	if (m->empty[negative_slot(node)] == node)
		m->empty[negative_slot(node)] = 0;
}

void hull_negative_name(struct hull_negative *m, uint64_t dir, const char *name, size_t n)
{
	char plain[NAME_MAX];
	if (!plain_name(name, n, plain)) {
		hull_negative_drop(m, dir);
		return;
	}
	if (m->count == COUNT_MAX)
		hull_negative_reset(m);
	m->count++;
	uint64_t bit = bit_of(dir, plain, n);
	m->names[bit / 8] |= (uint8_t)(1 << bit % 8);
}

bool hull_negative_has(const struct hull_negative *m, uint64_t dir, const char *name, size_t n)
{
	char plain[NAME_MAX];
	if (dir == 0 || m->empty[negative_slot(dir)] != dir || !plain_name(name, n, plain))
		return false;
	uint64_t bit = bit_of(dir, plain, n);
	return !(m->names[bit / 8] >> bit % 8 & 1);
}

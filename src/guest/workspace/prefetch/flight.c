/* See flight.h. There are as many as the kernel has questions, a few dozen: they stand in an array, and each that
 * begins is compared with all others. */
#include "guest/workspace/prefetch/flight.h"

#include <stddef.h>
#include <stdlib.h>

struct hull_flights {
	struct hull_flight *all;
	size_t count, cap;
	bool blind; /* one was lost: what was beside which is not known any more */
};

struct hull_flights *hull_flights_new(void)
{
	return calloc(1, sizeof(struct hull_flights));
}

void hull_flights_free(struct hull_flights *f)
{
	if (!f)
		return;
	free(f->all);
	free(f);
}

void hull_flights_reset(struct hull_flights *f)
{
	f->count = 0;
	f->blind = false;
}

static void note(struct hull_flight_beside *b, uint64_t node)
{
	for (unsigned i = 0; i < b->count; i++)
		if (b->nodes[i] == node)
			return;
	if (node == 0)
		return;
	if (b->count == sizeof(b->nodes) / sizeof(*b->nodes))
		b->all = true;
	else
		b->nodes[b->count++] = node;
}

/* `by` is, or was, on its way beside f. */
static void note_beside(struct hull_flight *f, const struct hull_flight_change *by)
{
	struct hull_flight_beside *b = by->read ? &f->read : &f->changed;
	note(b, by->nodes[0]);
	note(b, by->nodes[1]);
	b->all = b->all || by->any;
}

void hull_flights_begin(struct hull_flights *f, uint64_t unique, uint64_t node, uint32_t opcode,
			const struct hull_flight_change *change)
{
	if (f->blind)
		return;
	if (f->count == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;
		struct hull_flight *more = reallocarray(f->all, cap, sizeof(*more));
		if (!more) {
			f->blind = true;
			f->count = 0;
			return;
		}
		f->all = more;
		f->cap = cap;
	}
	struct hull_flight *one = &f->all[f->count];
	*one = (struct hull_flight){.unique = unique, .node = node, .opcode = opcode, .change = *change};
	for (size_t i = 0; i < f->count; i++) {
		note_beside(one, &f->all[i].change);
		note_beside(&f->all[i], change);
	}
	f->count++;
}

static struct hull_flight *find(struct hull_flights *f, uint64_t unique)
{
	for (size_t i = f->count; i-- > 0;)
		if (f->all[i].unique == unique)
			return &f->all[i];
	return NULL;
}

const struct hull_flight *hull_flights_find(struct hull_flights *f, uint64_t unique)
{
	return find(f, unique);
}

void hull_flights_end(struct hull_flights *f, uint64_t unique)
{
	struct hull_flight *one = find(f, unique);
	if (one)
		*one = f->all[--f->count];
}

static bool without(const struct hull_flight_beside *b, uint64_t node)
{
	if (b->all)
		return false;
	for (unsigned i = 0; i < b->count; i++)
		if (b->nodes[i] == node)
			return false;
	return true;
}

bool hull_flight_alone(const struct hull_flight *f, uint64_t node)
{
	return without(&f->changed, node);
}

bool hull_flight_unread(const struct hull_flight *f, uint64_t node)
{
	return without(&f->read, node);
}

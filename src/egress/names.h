/* SPDX-License-Identifier: Apache-2.0 */
/* Synthetic addresses, and looking names up; names.c. */
#ifndef HULL_EGRESS_NAMES_H
#define HULL_EGRESS_NAMES_H

#include "loop/loop.h"
#include "policy/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct egress;

enum { ADDRS_MAX = 16 /* of a name */ };

struct name {
	char *text;
	uint32_t number;
	unsigned refs;            /* connections that use it */
	uint64_t until_ms;        /* given out until then */
	struct list_node in_lru;  /* least recently used first */
	struct name *next;        /* in its bucket */
	struct list_node waiters; /* of the lookup under way */
	bool looking;
	uint64_t looked_ms; /* 0 = never */
	int error;          /* of the last lookup: 0, or -errno */
	struct egress *g;   /* for `again`, which only tests use */
	struct loop_timer *again;
	struct hull_addr *addrs;
	size_t addr_count;
};
enum { NAME_TTL = 60 };

int names_open(struct egress *g);
/* The name's entry, made when there is none: NULL when the table is full. */
struct name *name_get(struct egress *g, const char *text);
/* Its answers were given out just now. */
void name_given(struct egress *g, struct name *n);
/* What a synthetic address stands for. *synthetic: the address is of that kind at all. */
struct name *name_of(struct egress *g, const struct hull_addr *a, bool *synthetic);
void name_hold(struct name *n);
void name_release(struct name *n);
void name_restore(struct egress *g, uint32_t number, const char *text);
struct hull_addr name_addr4(const struct name *n);
struct hull_addr name_addr6(const struct name *n);

struct lookup {
	struct list_node in_list;
	void (*done)(struct lookup *l, int error, const struct hull_addr *addrs, size_t n); /* error: 0 or -errno */
};
/* Calls done now or later. lookup_cancel() before it is harmless at any time after lookup_init(). */
void lookup_init(struct lookup *l);
void lookup_start(struct egress *g, struct name *n, struct lookup *l);
void lookup_cancel(struct lookup *l);
/* Is it an address of this host's own interfaces? Yes when that cannot be told. */
bool addr_is_local(const struct hull_addr *a);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Prefetched records, found by node and by name, and what the relay owes the server for them; and the negative-entry
 * filter. No I/O, no clock. */
#ifndef HULL_GUEST_CACHE_H
#define HULL_GUEST_CACHE_H

#include "share/relay.h"

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A record of type ENTRY, KNOWN, ATTR, LIST or END. */
struct hull_record {
	uint32_t type;   /* HULL_SHARE_PREFETCH_* */
	uint32_t given;  /* KNOWN: answers given, which the server has not counted */
	uint64_t node;   /* ENTRY, KNOWN: the node of the entry itself */
	uint64_t parent; /* ENTRY, KNOWN */
	uint64_t offset; /* END, LIST: the offset of the READDIR that it answers next */
	uint32_t at;     /* LIST: the byte of `more` at that offset */
	uint32_t len;    /* of `more`: the name, or the list */
	union {
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
	};
	struct hull_record *by_node, *by_name; /* next in the bucket */
	struct hull_record *older, *newer;
	char more[];
};

struct hull_records;

struct hull_records *hull_records_new(void); /* NULL when out of memory */
void hull_records_free(struct hull_records *r);
void hull_records_reset(struct hull_records *r); /* another server takes over, which is owed nothing */

/* Add a record, in the place of one for the same request; `more` is what follows it in the message. When there are too
 * many, the oldest is dropped. */
void hull_records_add(struct hull_records *r, const struct hull_share_prefetch *from, const void *more);
/* Do not keep it: a lookup that came with it is given back. */
void hull_records_refuse(struct hull_records *r, const struct hull_share_prefetch *from);
/* Find an ENTRY or a KNOWN by its name, any other by its node. NULL when there is none. */
struct hull_record *hull_records_named(struct hull_records *r, uint64_t parent, const char *name, size_t n);
struct hull_record *hull_records_of(struct hull_records *r, uint64_t node, uint32_t type);

/* It has answered a request: an ENTRY's lookup is the kernel's now. */
void hull_records_used(struct hull_records *r, struct hull_record *one);
/* It does not hold any more: drop it, and owe the server its lookups (NULL: nothing). */
void hull_records_drop(struct hull_records *r, struct hull_record *one);
/* The node changed: drop all records of it. A KNOWN keeps the name and loses the attributes. */
void hull_records_changed(struct hull_records *r, uint64_t node);

/* The next request that is owed to the server, into `out` (4096 bytes): lookups to give back, or to count. Its length;
 * 0 when there is none. */
size_t hull_records_output(struct hull_records *r, uint8_t *out);

/* --- the negative-entry filter (invariant 8) ---
 *
 * Directories that the guest has made hold nothing but names that the guest has made since, so a LOOKUP of any other
 * name needs no round trip. The names are bits in a Bloom filter. Embedded by value, zeroed. */
enum { HULL_NEGATIVE_DIRS = 16384, HULL_NEGATIVE_BITS = 1 << 20 };
struct hull_negative {
	uint64_t empty[HULL_NEGATIVE_DIRS];    /* directories, by hash; one takes the place of another */
	uint8_t names[HULL_NEGATIVE_BITS / 8]; /* hashes of (directory, name) */
	uint32_t count;
};

void hull_negative_reset(struct hull_negative *m);
/* The server says that this directory, which the guest has just made, is empty. */
void hull_negative_add(struct hull_negative *m, uint64_t node);
/* The directory may hold a name that the guest has not made. */
void hull_negative_drop(struct hull_negative *m, uint64_t node);
/* The guest makes this name in the directory. */
void hull_negative_name(struct hull_negative *m, uint64_t dir, const char *name, size_t n);
/* Is it certain that the directory has no such name? */
bool hull_negative_has(const struct hull_negative *m, uint64_t dir, const char *name, size_t n);

#endif

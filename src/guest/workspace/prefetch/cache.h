/* The answers that a workspace's relay (prefetch.c) keeps until they are asked for, found by node and by name; and
 * what its server has to hear of them. No descriptors, no clock. */
#ifndef HULL_GUEST_CACHE_H
#define HULL_GUEST_CACHE_H

#include "share/relay.h"

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of these, HULL_SHARE_PREFETCH_ENTRY, KNOWN, ATTR, LIST and END are kept. */
struct hull_record {
	uint32_t type;   /* HULL_SHARE_PREFETCH_* */
	uint32_t given;  /* known: how often it was given out, which the server has not counted */
	uint64_t node;   /* of an entry: its own */
	uint64_t parent; /* of an entry */
	uint64_t offset; /* end, list: where it is asked for */
	uint32_t at;     /* list: which byte of `more` that is */
	uint32_t len;    /* of what is behind it: an entry's name, a list */
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
void hull_records_reset(struct hull_records *r); /* there is another server, which knows of none */

/* One more, in the place of what was known of the same; `more` is what was behind it. When there are too many the
 * oldest goes. */
void hull_records_add(struct hull_records *r, const struct hull_share_prefetch *from, const void *more);
/* One that may not hold is not kept. */
void hull_records_refuse(struct hull_records *r, const struct hull_share_prefetch *from);
/* An entry or a known one by its name; any other by its node. NULL when there is none. */
struct hull_record *hull_records_named(struct hull_records *r, uint64_t parent, const char *name, size_t n);
struct hull_record *hull_records_of(struct hull_records *r, uint64_t node, uint32_t type);

/* It was given out: an entry's lookup is the kernel's now. */
void hull_records_used(struct hull_records *r, struct hull_record *one);
/* It does not hold any more (NULL: nothing). */
void hull_records_drop(struct hull_records *r, struct hull_record *one);
/* Nothing that may change with the node's names or content does; that it is there, as what it was, still holds. */
void hull_records_changed(struct hull_records *r, uint64_t node);

/* A request for the server, of at most `cap` bytes, at least 4096: lookups to be given back, or counted. Its length; 0
 * when there is none. */
size_t hull_records_tell(struct hull_records *r, uint8_t *out);

/* --- directories the guest has made ---
 *
 * Nothing is in them but what the guest has put there since, so a LOOKUP of any other name need not be asked. Embedded by value, zeroed. */
enum { HULL_NEGATIVE_DIRS = 16384, HULL_NEGATIVE_BITS = 1 << 20 };
struct hull_negative {
	uint64_t empty[HULL_NEGATIVE_DIRS];    /* nodes, by hash; one takes the place of another */
	uint8_t names[HULL_NEGATIVE_BITS / 8]; /* hashes of (directory, name) */
	uint32_t count;
};

void hull_negative_reset(struct hull_negative *m);
/* The server says that node, a directory the guest has just made, is empty. */
void hull_negative_add(struct hull_negative *m, uint64_t node);
/* Something may be in it that the guest has not put there. */
void hull_negative_drop(struct hull_negative *m, uint64_t node);
/* The guest makes a name in a directory. */
void hull_negative_name(struct hull_negative *m, uint64_t dir, const char *name, size_t n);
/* Is it known that the directory has no such name? */
bool hull_negative_has(const struct hull_negative *m, uint64_t dir, const char *name, size_t n);

#endif

/* Directories of a workspace that the guest has made, as its relay (prefetch.c) knows them: nothing is in them but
 * what the guest has put there since, so a LOOKUP of any other name need not be asked. Embedded by value, zeroed. */
#ifndef HULL_GUEST_SHARE_MADE_H
#define HULL_GUEST_SHARE_MADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HULL_MADE_DIRS = 16384, HULL_MADE_BITS = 1 << 20 };
struct hull_made {
	uint64_t empty[HULL_MADE_DIRS];    /* nodes, by hash; one takes the place of another */
	uint8_t names[HULL_MADE_BITS / 8]; /* hashes of (directory, name) */
	uint32_t count;
};

void hull_made_reset(struct hull_made *m);
/* The server says that node, a directory the guest has just made, is empty. */
void hull_made_empty(struct hull_made *m, uint64_t node);
/* Something may be in it that the guest has not put there. */
void hull_made_unknown(struct hull_made *m, uint64_t node);
/* The guest makes a name in a directory. */
void hull_made_name(struct hull_made *m, uint64_t dir, const char *name, size_t n);
/* Is it known that the directory has no such name? */
bool hull_made_absent(const struct hull_made *m, uint64_t dir, const char *name, size_t n);

#endif

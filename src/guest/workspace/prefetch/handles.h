/* Open files of a workspace, as its relay (prefetch.c) sees them go by: which ones the guest has open, and handles
 * of the server's that are kept after their last close, for the next who opens the same file to read it. No
 * descriptors, no clock. Nodes and handles (fh) are the server's numbers. */
#ifndef HULL_GUEST_HANDLES_H
#define HULL_GUEST_HANDLES_H

#include <stdbool.h>
#include <stdint.h>

struct hull_handles;

struct hull_handles *hull_handles_new(void); /* NULL when out of memory */
void hull_handles_free(struct hull_handles *o);
void hull_handles_reset(struct hull_handles *o); /* there is another server */

/* It is opened for reading: true with a handle that is kept, and the flags of the reply that it came with. */
bool hull_handles_take(struct hull_handles *o, uint64_t node, uint64_t *fh, uint32_t *flags);
/* The server says that this handle may be kept, so long as no more than `most` are, with those that are open. */
void hull_handles_offer(struct hull_handles *o, uint64_t node, uint64_t fh, uint64_t most);
/* The server has opened it. False when out of memory: then no more is known about the node. */
bool hull_handles_opened(struct hull_handles *o, uint64_t node, uint64_t fh, uint32_t flags);
/* Nobody has to hear of its closing, but for locks that are dropped then. */
void hull_handles_no_flush(struct hull_handles *o, uint64_t node);
/* Somebody takes a lock on it: no handle of it is kept, and each closing is to be told. */
void hull_handles_locked(struct hull_handles *o, uint64_t node);
/* One of its descriptors is closed, perhaps not the last one. True when the server is not to hear of it. */
bool hull_handles_flush(struct hull_handles *o, uint64_t node);
/* It is closed. True when the handle is kept: the server is not to hear of it. */
bool hull_handles_closed(struct hull_handles *o, uint64_t node, uint64_t fh);
/* Keep no handle of it: the guest forgets it, or it was changed. */
void hull_handles_drop(struct hull_handles *o, uint64_t node);
/* Has anybody in the guest got it open? */
bool hull_handles_open(struct hull_handles *o, uint64_t node);
/* A handle that is kept no longer and is to be released. False when there is none. */
bool hull_handles_release(struct hull_handles *o, uint64_t *node, uint64_t *fh);

#endif

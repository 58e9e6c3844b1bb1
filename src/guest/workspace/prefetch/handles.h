/* Open files of a workspace, as its relay (prefetch.c) sees them go by: which ones the guest has open, and handles
 * of the server's that are kept after their last close, for the next who opens the same file to read it. No
 * descriptors, no clock. Nodes and handles (fh) are the server's numbers. */
#ifndef HULL_GUEST_SHARE_OPEN_H
#define HULL_GUEST_SHARE_OPEN_H

#include <stdbool.h>
#include <stdint.h>

struct hull_opens;

struct hull_opens *hull_opens_new(void); /* NULL when out of memory */
void hull_opens_free(struct hull_opens *o);
void hull_opens_reset(struct hull_opens *o); /* there is another server */

/* It is opened for reading: true with a handle that is kept, and the flags of the reply that it came with. */
bool hull_opens_take(struct hull_opens *o, uint64_t node, uint64_t *fh, uint32_t *flags);
/* The server says that this handle may be kept, so long as no more than `most` are, with those that are open. */
void hull_opens_offer(struct hull_opens *o, uint64_t node, uint64_t fh, uint64_t most);
/* The server has opened it. False when out of memory: then no more is known about the node. */
bool hull_opens_opened(struct hull_opens *o, uint64_t node, uint64_t fh, uint32_t flags);
/* Nobody has to hear of its closing, but for locks that are dropped then. */
void hull_opens_quiet(struct hull_opens *o, uint64_t node);
/* Somebody takes a lock on it: no handle of it is kept, and each closing is to be told. */
void hull_opens_locked(struct hull_opens *o, uint64_t node);
/* One of its descriptors is closed, perhaps not the last one. True when the server is not to hear of it. */
bool hull_opens_flush(struct hull_opens *o, uint64_t node);
/* It is closed. True when the handle is kept: the server is not to hear of it. */
bool hull_opens_closed(struct hull_opens *o, uint64_t node, uint64_t fh);
/* Keep no handle of it: the guest forgets it, or it was changed. */
void hull_opens_drop(struct hull_opens *o, uint64_t node);
/* Has anybody in the guest got it open? */
bool hull_opens_any(struct hull_opens *o, uint64_t node);
/* A handle that is kept no longer and is to be released. False when there is none. */
bool hull_opens_release(struct hull_opens *o, uint64_t *node, uint64_t *fh);

#endif

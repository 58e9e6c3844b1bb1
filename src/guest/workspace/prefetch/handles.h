/* SPDX-License-Identifier: Apache-2.0 */
/* Open files of a workspace, and cached handles: handles of the server that stay open after the guest's last close, for
 * the next OPEN of the same file for reading. No I/O, no clock. Nodes and handles (fh) are the server's numbers. */
#ifndef HULL_GUEST_HANDLES_H
#define HULL_GUEST_HANDLES_H

#include <stdbool.h>
#include <stdint.h>

struct hull_handles;

struct hull_handles *hull_handles_new(void); /* NULL when out of memory */
void hull_handles_free(struct hull_handles *o);
void hull_handles_reset(struct hull_handles *o); /* another server takes over */

/* OPEN for reading: true with a cached handle, and the flags of the reply that it came with. */
bool hull_handles_take(struct hull_handles *o, uint64_t node, uint64_t *fh, uint32_t *flags);
/* The server says that this handle may be cached. Open files and cached handles together are at most `most`. */
void hull_handles_offer(struct hull_handles *o, uint64_t node, uint64_t fh, uint64_t most);
/* The server has opened it. False when out of memory: the node is not followed then. */
bool hull_handles_opened(struct hull_handles *o, uint64_t node, uint64_t fh, uint32_t flags);
/* The server says that a FLUSH of it reports nothing, but for locks that it drops. */
void hull_handles_no_flush(struct hull_handles *o, uint64_t node);
/* Somebody takes a lock on it: cache no handle of it, and forward each FLUSH. */
void hull_handles_locked(struct hull_handles *o, uint64_t node);
/* FLUSH: one of its descriptors is closed. True when it need not be forwarded. */
bool hull_handles_flush(struct hull_handles *o, uint64_t node);
/* RELEASE. True when the handle is cached, so that it must not be forwarded. */
bool hull_handles_closed(struct hull_handles *o, uint64_t node, uint64_t fh);
/* Cache no handle of it: the guest forgets the node, or it was changed. */
void hull_handles_drop(struct hull_handles *o, uint64_t node);
/* Does anybody in the guest have it open? */
bool hull_handles_open(struct hull_handles *o, uint64_t node);
/* The next handle to release at the server. False when there is none. */
bool hull_handles_release(struct hull_handles *o, uint64_t *node, uint64_t *fh);

#endif

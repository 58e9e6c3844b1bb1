/* SPDX-License-Identifier: Apache-2.0 */
/* Prefetched answers of a workspace: what the relay answers without a round trip to the server on the host.
 *
 * The server sends records (share/relay.h) in front of replies. The relay keeps them here, answers requests from them,
 * and drops them when they may not hold any more. There is no I/O and no clock: this is fed with each request of the
 * kernel and each message of the server, in the order of the stream.
 *
 *     prefetch.c   requests and messages; the requests in flight
 *     cache.c      records by node and by name; the negative-entry filter
 *     handles.c    open files, and cached handles
 *
 * Invariants. An answer from here equals one that the server could have given between the request and the answer.
 *
 *  1. Order. The server sends a record before the notification that voids it (`order` in share/server.h). A
 *     notification drops what it concerns when it passes.
 *  2. No change on the host. The server sends a record only if `changes` is what it was when the request came in.
 *     Exempt are FLUSH and CHANGED.
 *  3. No concurrent change in the guest. A record about a node is kept only if no change of that node was in flight
 *     together with the request that it belongs to. Each request in flight has a set of at most 12 changed nodes; one
 *     more node than that counts as every node. The name in a KNOWN is void only if a name went. Exempt are EMPTY
 *     (nobody knows the new directory before the reply), HANDLE and FLUSH (they say nothing of content), and CHANGED.
 *  4. atime. ATTR of a file is kept only if no READ of it was in flight either. A READ drops it.
 *  5. One name. ENTRY and ATTR of a file are sent only if it has one name: a change by another name is not seen here.
 *     DATA is sent only if the file has one name, or is watched by itself.
 *  6. Names. Which node lost or got a name the relay cannot tell. The server says so: CHANGED, whatever is in flight.
 *  7. nlookup. ENTRY carries one lookup that the server has counted; it passes to the kernel with the answer, or is
 *     given back (FORGET) when the record is dropped. KNOWN carries none: its answers are counted here, subtracted from
 *     the kernel's FORGET in place, or reported (NLOOKUP) when the record is dropped.
 *  8. Negative entries. EMPTY says that a directory, just made by the guest, is empty. Names made in it since pass here
 *     and are bits in a Bloom filter. A name that a file system may fold (case, other alphabets, short aliases, a
 *     trailing dot or blank) is always asked for.
 *  9. Page cache. DATA is stored in the kernel's page cache only when nobody in the guest has the file open. Otherwise
 *     a page may be locked by somebody who waits for PID 1, and PID 1 would wait for the page.
 * 10. Cached handles. Open files and cached handles together are at most `open_max`, which the server sets to three
 *     quarters of its handles. Eviction is random: a cyclic scan that is larger than the cache defeats LRU.
 * 11. FLUSH is answered here only for a node that the server has named (FLUSH), while it is open and nobody has locked
 *     it.
 * 12. Reset. When another server takes over, everything is dropped. Out of memory: no request is matched with records
 *     from then on, and nothing is stored in the page cache.
 * 13. Single use. A record answers one request, then it is gone. Exempt are EMPTY and KNOWN, which hold until dropped.
 *
 * Tests: test_guest_prefetch.c, test_guest_prefetch_dir.c, test_guest_handles.c in tests/unit; fuzz_prefetch.c. */
#ifndef HULL_GUEST_PREFETCH_H
#define HULL_GUEST_PREFETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hull_prefetch;

enum { HULL_PREFETCH_REPLY_MAX = 4096 + 16, HULL_PREFETCH_REQUEST_MAX = 4096, HULL_PREFETCH_STORE_HEAD = 40 };
struct hull_prefetch_answer {
	size_t len;   /* of the reply in `bytes`; 0 = not answered here */
	bool forward; /* the request goes to the server */
	uint8_t bytes[HULL_PREFETCH_REPLY_MAX];
};

/* A FUSE_NOTIFY_STORE for the kernel: the beginning of a file, for its page cache (invariant 9). */
struct hull_prefetch_store {
	uint8_t head[HULL_PREFETCH_STORE_HEAD];
	const uint8_t *data; /* in the message */
	size_t len;          /* 0 = there is none */
};

struct hull_prefetch *hull_prefetch_new(void); /* NULL when out of memory */
void hull_prefetch_free(struct hull_prefetch *a);
/* Another server takes over: drop everything (invariant 12). */
void hull_prefetch_reset(struct hull_prefetch *a);
/* A request of the kernel, n >= its header. May change it before it is forwarded. A request that is marked as the
 * inotify replayer's (hull_share_mark) is not answered here. */
void hull_prefetch_request(struct hull_prefetch *a, uint8_t *p, size_t n, struct hull_prefetch_answer *out);
/* A message of the server, n >= its header. True when it was meant for here, and is not to be forwarded. What is in
 * `store` then must reach the kernel before anything else does. */
bool hull_prefetch_message(struct hull_prefetch *a, const uint8_t *p, size_t n, struct hull_prefetch_store *store);
/* The next request that the relay owes the server (FORGET, NLOOKUP, RELEASE), in `out` (8-aligned): its length, 0 when
 * there is none. Call it after each request and each message, until it is 0. */
size_t hull_prefetch_output(struct hull_prefetch *a, uint8_t out[HULL_PREFETCH_REQUEST_MAX]);

#endif

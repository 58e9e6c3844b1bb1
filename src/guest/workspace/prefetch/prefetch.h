/* What the relay of a workspace answers by itself, without a round trip to the host: requests whose answer is known,
 * and those for which the server has sent the answer ahead (share/relay.h, HULL_SHARE_PREFETCH). No descriptors, no clock:
 * fed with what passes, in the order of the stream. */
#ifndef HULL_GUEST_PREFETCH_H
#define HULL_GUEST_PREFETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hull_prefetch;

enum { HULL_PREFETCH_REPLY_MAX = 4096 + 16, HULL_PREFETCH_REQUEST_MAX = 4096, HULL_PREFETCH_STORE_HEAD = 40 };
struct hull_prefetch_answer {
	size_t len;   /* of the reply in `bytes`; 0 = there is none from here */
	bool forward; /* the request goes to the server */
	uint8_t bytes[HULL_PREFETCH_REPLY_MAX];
};

/* A notification for the kernel: the beginning of a file, for its page cache. Nobody has the file open, so that no page
 * of it is locked by who waits for an answer, and to write this waits for nobody. */
struct hull_prefetch_store {
	uint8_t head[HULL_PREFETCH_STORE_HEAD];
	const uint8_t *data; /* in the message */
	size_t len;          /* 0 = there is none */
};

struct hull_prefetch *hull_prefetch_new(void); /* NULL when out of memory */
void hull_prefetch_free(struct hull_prefetch *a);
/* There is another server: nothing of what the last one sent holds. */
void hull_prefetch_reset(struct hull_prefetch *a);
/* A request of the kernel's, n >= its header. May change it before it is forwarded. One of the replayer's, marked
 * (share/relay.h), is never answered here. */
void hull_prefetch_request(struct hull_prefetch *a, uint8_t *p, size_t n, struct hull_prefetch_answer *out);
/* A message of the server's, n >= its header. True when it was meant for here, and goes no further; what is in `store`
 * then goes to the kernel before anything else does. */
bool hull_prefetch_message(struct hull_prefetch *a, const uint8_t *p, size_t n, struct hull_prefetch_store *store);
/* What the server has to be told by now, to forget or to release, after a request as well as after a message: a request
 * for it in `out` (8-aligned), its length. Until it is 0. */
size_t hull_prefetch_output(struct hull_prefetch *a, uint8_t out[HULL_PREFETCH_REQUEST_MAX]);

#endif

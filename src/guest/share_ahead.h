/* What the relay of a workspace answers by itself, without a round trip to the host: requests whose answer is known,
 * and those for which the server has sent the answer ahead (share/share.h, HULL_SHARE_AHEAD). No descriptors, no clock:
 * fed with what passes, in the order of the stream. */
#ifndef HULL_GUEST_SHARE_AHEAD_H
#define HULL_GUEST_SHARE_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hull_ahead;

enum { HULL_AHEAD_REPLY_MAX = 256, HULL_AHEAD_FORGETS_MAX = 4096 };
struct hull_ahead_answer {
	size_t len;   /* of the reply in `bytes`; 0 = there is none from here */
	bool forward; /* the request goes to the server */
	uint8_t bytes[HULL_AHEAD_REPLY_MAX];
};

struct hull_ahead *hull_ahead_new(void); /* NULL when out of memory */
void hull_ahead_free(struct hull_ahead *a);
/* A process whose requests are never answered here, 0 = none. */
void hull_ahead_announcer(struct hull_ahead *a, uint32_t pid);
/* There is another server: nothing of what the last one sent holds. */
void hull_ahead_reset(struct hull_ahead *a);
/* A request of the kernel's, n >= its header. May change it before it is forwarded. */
void hull_ahead_request(struct hull_ahead *a, uint8_t *p, size_t n, struct hull_ahead_answer *out);
/* A message of the server's, n >= its header. True when it was meant for here, and goes no further. */
bool hull_ahead_message(struct hull_ahead *a, const uint8_t *p, size_t n);
/* What the server is to forget: a request for it in `out` (8-aligned), its length; 0 = nothing, or not worth it yet. */
size_t hull_ahead_forgets(struct hull_ahead *a, uint8_t out[HULL_AHEAD_FORGETS_MAX]);

#endif

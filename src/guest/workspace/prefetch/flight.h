/* Requests of a workspace that are on their way to its server, and what else was on its way beside each: the server
 * works on several at once, so what its reply says of a node may be from before a change of that node or after. No
 * descriptors, no clock. Nodes and `unique` are the kernel's numbers. */
#ifndef HULL_GUEST_SHARE_FLIGHT_H
#define HULL_GUEST_SHARE_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

/* What a request may change: the names in these nodes, their attributes, their content; 0 = none. */
struct hull_flight_change {
	uint64_t nodes[2];
	bool any;  /* of other nodes as well: whose name it is that goes can not be told from here */
	bool read; /* the time of access of nodes[0], and nothing else */
};

struct hull_flight {
	uint64_t unique, node;
	uint32_t opcode;
	struct hull_flight_change change;
	/* Beside it, since it went out: what others changed, and read. */
	struct hull_flight_beside {
		uint64_t nodes[12];
		uint8_t count;
		bool all; /* more than that, or any */
	} changed, read;
};

struct hull_flights;

struct hull_flights *hull_flights_new(void); /* NULL when out of memory */
void hull_flights_free(struct hull_flights *f);
void hull_flights_reset(struct hull_flights *f); /* there is another server */

/* One goes out. Out of memory, it is not followed, and no other is from then on. */
void hull_flights_begin(struct hull_flights *f, uint64_t unique, uint64_t node, uint32_t opcode,
			const struct hull_flight_change *change);
/* The one with this number, until the next call; NULL when it is not followed. */
const struct hull_flight *hull_flights_find(struct hull_flights *f, uint64_t unique);
void hull_flights_end(struct hull_flights *f, uint64_t unique);

/* Did nothing beside it change the node, nor read it? Of node 0: did nothing change nodes that are not known? */
bool hull_flight_alone(const struct hull_flight *f, uint64_t node);
bool hull_flight_unread(const struct hull_flight *f, uint64_t node);

#endif

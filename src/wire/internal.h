/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of wire/ share and nobody else sees.
 *
 *   wire.c    a wire's life: new, HELLO and epochs, death, free
 *   parse.c   bytes in: cutting them into frames, checking every header
 *   recv.c    what each frame means, and the event it becomes
 *   send.c    the owner's calls on streams
 *   queue.c   bytes out: one queue of encoded frames, its limits, pending credit, who waits for room
 *   table.c   the streams by id
 *   trace.c   a line per frame, for whoever looks for a fault
 *
 * Reentrancy. An event may call anything but feed and free, so nothing may be kept across an event: after calling
 * one, a stream is looked up again by id, and feed looks whether the wire died or was restarted. What an event
 * borrows (payload, OPEN arguments) lives in memory that no other call touches. A stream that ends is taken out of
 * the table and off all lists first, then `closed` is called, then it is freed. */
#ifndef HULL_WIRE_INTERNAL_H
#define HULL_WIRE_INTERNAL_H

#include "base/buf.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/list.h"
#include "wire/wire.h"

enum {
	WIRE_MAGIC_LEN = 8,
	WIRE_HELLO_LEN = WIRE_MAGIC_LEN + 4 + 8,
	WIRE_TEXT_MAX = 1000,             /* of our own REFUSE and RESET messages */
	WIRE_RESYNC_MAX = 4 * 1024 * 1024 /* bytes skipped in search of HELLO after a restore */
};
#define WIRE_MAGIC "HULLWIRE"

struct stream {
	struct stream *chain;      /* next in its bucket; next in the list of a mass ending */
	struct list_node waiting;  /* on wire.waiting: has credit, waits for room in the queue */
	struct list_node granting; /* on wire.granting: `grant` is due to be sent */
	void *user;                /* the owner's */
	uint32_t id;
	uint32_t send_credit; /* bytes of DATA we may still send */
	uint32_t recv_credit; /* bytes the peer may still send, as far as it was told */
	uint32_t grant;       /* credit the owner gave that the peer was not told of yet */
	bool local;           /* we opened it */
	bool accepted;        /* ACCEPT was sent or received */
	bool sent_eof;
	bool got_eof;
	uint32_t trace;    /* HULL_TAG_TRACE of its OPEN; 0 = none, or nobody traces */
	bool wants_credit; /* the owner waits for `writable` and there is no credit */
};

struct table {
	struct stream **buckets; /* owned; 1 << bits of them, NULL before the first stream */
	unsigned bits;
	size_t count;
	uint64_t multiplier; /* odd and random: the peer cannot choose ids that collide */
};

struct header {
	uint32_t stream;
	uint8_t type;
	uint8_t flags;
	uint32_t length;
};

struct hull_wire {
	struct hull_wire_config config;
	struct hull_wire_ops ops;
	void *ctx;

	/* Session. `skipping`: until the peer's HELLO arrives, frames belong to an earlier epoch (or the host speaks
	 * another version) and are skipped; without it they are a protocol error. */
	bool said_hello;
	bool ready; /* the peer's HELLO of this epoch is here */
	bool skipping;
	bool dead;
	struct hull_error death;
	uint64_t epoch;
	unsigned restarts; /* counts hull_wire_restart(), for feed to notice */
	unsigned busy;     /* depth of feed and of hull_wire_sent()'s events: `output` waits for the end */
	bool feeding;
	bool ending; /* inside wire_finish_all() */

	/* Bytes in. */
	uint8_t head[HULL_WIRE_HEADER];
	size_t head_have;
	struct header frame; /* valid when head_have is HULL_WIRE_HEADER */
	uint8_t *payload;    /* owned, HULL_WIRE_PAYLOAD_MAX bytes */
	size_t payload_have;
	bool resyncing; /* looking for our epoch's HELLO byte by byte */
	uint8_t window[HULL_WIRE_HEADER + WIRE_HELLO_LEN];
	size_t window_seen;

	/* Streams. An opener's ids only ever grow, so one number tells ended streams from those that never were. */
	struct table table;
	uint64_t next_id;     /* of our next stream */
	uint32_t last_peer;   /* highest id the peer has opened in this epoch */
	uint32_t inbound;     /* streams in the table that the peer opened */
	uint32_t opening;     /* the peer's OPEN of which more fragments must follow, 0 = none */
	bool opening_refused; /* its fragments are skipped */
	struct hull_buf opening_args;

	/* Bytes out. */
	struct hull_buf out;
	size_t sent_left;  /* bytes at the front of `out` that are the rest of a frame partly sent */
	uint8_t sent_type; /* its type */
	size_t handed;     /* bytes at the front of `out` that the owner was shown: they may be under way */
	size_t tail;       /* bytes of the last frame in `out`, and whose it is; 0 = not to be extended */
	uint32_t tail_stream;
	uint16_t tail_kind;       /* type << 8 | flags */
	size_t out_control;       /* bytes of `out` in frames other than DATA and OPEN */
	size_t out_open;          /* bytes of `out` in OPEN frames */
	bool told;                /* `output` was called and the owner has not seen the queue empty since */
	bool firing;              /* `writable` events of the queue are running */
	struct list_node waiting; /* streams, longest waiting first */
	struct list_node granting;
};

/* table.c */
void table_init(struct table *t, const void *salt);
struct stream *table_find(const struct table *t, uint32_t id);
int table_add(struct table *t, struct stream *s);
void table_remove(struct table *t, struct stream *s);
/* Empty the table; the streams are returned chained through `chain`. */
struct stream *table_take_all(struct table *t);
void table_free(struct table *t);

/* wire.c */
/* Declare the wire dead; the first cause stays. Returns its code. No event is called: see wire_reap(). */
__attribute__((format(printf, 3, 4))) int wire_die(struct hull_wire *w, int code, const char *fmt, ...);
/* Call `closed` for what is left of a dead wire. */
void wire_reap(struct hull_wire *w);
struct stream *wire_stream_new(struct hull_wire *w, uint32_t id, bool local, void *user);
/* Take the stream out, call closed, free it. */
void wire_finish(struct hull_wire *w, struct stream *s, int code, const char *message);
/* Begin a new epoch: streams out, old output dropped. Returns the streams that ended, for wire_finish_all(). */
struct stream *wire_new_session(struct hull_wire *w);
void wire_finish_all(struct hull_wire *w, struct stream *all, const char *why);
int wire_say_hello(struct hull_wire *w, uint64_t epoch);

/* queue.c */
/* Append a frame whose payload is two pieces. The wire dies of -ENOMEM and of too much control output. */
int queue_frame(struct hull_wire *w, uint32_t stream, enum hull_wire_type type, uint8_t flags, const void *a, size_t an,
		const void *b, size_t bn);
/* Append REFUSE or RESET. */
int queue_verdict(struct hull_wire *w, uint32_t stream, enum hull_wire_type type, int code, const char *message);
/* DATA in as many frames as it takes; all or nothing. */
int queue_data(struct hull_wire *w, uint32_t stream, unsigned channel, const uint8_t *p, size_t n);
/* Bytes of DATA the queue takes now. */
size_t queue_room(const struct hull_wire *w);
/* Drop all output but what is partly sent or shown to the owner. */
void queue_forget(struct hull_wire *w);
/* Put the stream's pending credit on its way if it is due. */
void queue_grant(struct hull_wire *w, struct stream *s);
/* Call `output` if there is something to send and the owner does not know. Last thing in every public call. */
void queue_tell(struct hull_wire *w);

/* trace.c. Called behind wire_traced(), so that nothing is paid for when nobody traces. */
#define wire_traced() hull_debug_on(HULL_AREA_WIRE, HULL_LEVEL_TRACE)
/* A frame: sent or received. Frames of a stream that is not in the table (any more) have no trace id. */
void trace_frame(const struct hull_wire *w, bool sent, uint32_t stream, uint8_t type, uint8_t flags, size_t length);
/* The trace id among the arguments of an OPEN; 0 when there is none. */
uint32_t trace_id(const uint8_t *args, size_t len);

/* recv.c */
/* Act on a whole frame. 0, or the code the wire died of. */
int recv_frame(struct hull_wire *w, const struct header *h, const uint8_t *payload);

#endif

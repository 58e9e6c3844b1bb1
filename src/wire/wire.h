/* SPDX-License-Identifier: Apache-2.0 */
/* The wire: many flow-controlled streams over one byte stream. The contract.
 *
 * This is a state machine without I/O: the owner feeds it the bytes it read (hull_wire_feed), sends what it wants
 * to send (hull_wire_output / hull_wire_sent), and gets events through `struct hull_wire_ops`. So the same code runs
 * in hull-keeper under libuv, in hull-init under epoll, in the CLI, and in tests and fuzzers under nothing at all.
 * docs/internals/wire.md is the specification of the bytes; this header is how to use it.
 *
 * It is spoken in two places, with the same frames:
 *   - host to guest, on the virtio-console port org.hull.wire (keeper = host side, hull-init = guest side);
 *   - client to keeper, on the sandbox's control.sock (CLI = host side, keeper = guest side). The keeper serves the
 *     `keeper` service itself and relays the guest's services stream by stream, credit and all.
 *
 * Frame: 12 bytes little-endian, then the payload.
 *     u32 stream   0 for HELLO; else chosen by the opener: odd from the host side, even from the guest side
 *     u8  type     enum hull_wire_type
 *     u8  flags    DATA: channel in the low 4 bits; OPEN: HULL_WIRE_MORE
 *     u16 reserved must be 0
 *     u32 length   of the payload, at most HULL_WIRE_PAYLOAD_MAX
 *
 * A stream's life: OPEN -> ACCEPT or REFUSE; then DATA and MESSAGE both ways, EOF each way (half-close), gone once
 * both sides sent EOF; RESET ends it at once from either side at any time. Ids are never used twice in one epoch,
 * so a frame for a stream that has ended (they cross on the way) is known by its id and ignored.
 *
 * Flow control: DATA may be sent only against credit, counted in payload bytes. Each side starts with
 * HULL_WIRE_WINDOW of credit per stream and gets more through CREDIT. Sending beyond credit is a protocol error.
 * The receiver grants (hull_wire_grant) when it has passed the bytes on, so its memory is bounded by
 * streams x window. MESSAGE frames (resize, signal, exit status...) are outside flow control and at most
 * HULL_WIRE_MESSAGE_MAX long; the receiver acts on them at once and keeps nothing.
 *
 * Malformed input: hull_wire_feed() returns -EPROTO with a message; the wire is dead from then on (all calls are
 * safe and do nothing). It never asserts, and never allocates more than the limits allow. */
#ifndef HULL_WIRE_WIRE_H
#define HULL_WIRE_WIRE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	HULL_WIRE_VERSION = 1,
	HULL_WIRE_HEADER = 12,
	HULL_WIRE_PAYLOAD_MAX = 32 * 1024,
	HULL_WIRE_MESSAGE_MAX = 4 * 1024,
	HULL_WIRE_ARGS_MAX = 1024 * 1024, /* all fragments of one OPEN together */
	HULL_WIRE_WINDOW = 256 * 1024,    /* credit a stream starts with, and the most it can ever hold */
	HULL_WIRE_MORE = 0x01,            /* OPEN flag: another OPEN frame of this stream continues the arguments */
};

enum hull_wire_type {
	HULL_WIRE_HELLO = 1, /* payload: "HULLWIRE" u32 version u64 epoch */
	HULL_WIRE_OPEN,      /* payload: first fragment u8 service, then arguments (wire/args.h) */
	HULL_WIRE_ACCEPT,    /* payload: arguments of the answer, may be empty */
	HULL_WIRE_REFUSE,    /* payload: u32 code (a positive errno), then a message for a person */
	HULL_WIRE_DATA,      /* flow-controlled bytes; channel in flags */
	HULL_WIRE_MESSAGE,   /* one whole message; payload as the service says */
	HULL_WIRE_CREDIT,    /* payload: u32 bytes */
	HULL_WIRE_EOF,       /* no more DATA or MESSAGE from this side */
	HULL_WIRE_RESET,     /* payload: u32 code (a positive errno), then a message for a person */
};

/* Who opens odd streams. */
enum hull_wire_side { HULL_WIRE_HOST, HULL_WIRE_GUEST };

struct hull_wire;

/* Events. All pointers are borrowed for the duration of the call. Any hull_wire_* call but hull_wire_feed and
 * hull_wire_free may be made from inside one. `closed` (and only that, and only for the streams that end) is called
 * from inside hull_wire_eof, _refuse, _reset, _hello, _restart and _free: do not use what it frees after those calls.
 * When another call finds that the wire must die (no memory, control output not read), it returns -EPIPE, calls
 * `output`, and the streams are closed in the next hull_wire_feed, _output or _sent. Members may be NULL: the event is
 * then ignored, except that a NULL `open` refuses with ENOSYS. `user` is what hull_wire_set_user() attached to the
 * stream. */
struct hull_wire_ops {
	/* The peer said HELLO. On the guest side a new epoch means: every stream is gone (each got its `closed`
	 * call before this one). */
	void (*hello)(void *ctx, uint32_t version, uint64_t epoch);
	/* The peer opens a stream. Answer with hull_wire_accept() or hull_wire_refuse(), now or later. */
	void (*open)(void *ctx, uint32_t stream, uint8_t service, const uint8_t *args, size_t len);
	void (*accepted)(void *ctx, uint32_t stream, void *user, const uint8_t *args, size_t len);
	void (*data)(void *ctx, uint32_t stream, void *user, unsigned channel, const uint8_t *p, size_t n);
	void (*message)(void *ctx, uint32_t stream, void *user, const uint8_t *p, size_t n);
	/* hull_wire_write() can take more on this stream: credit came, or the output queue drained. */
	void (*writable)(void *ctx, uint32_t stream, void *user);
	/* The peer granted credit: bytes more. For a relay that passes credit on; others use `writable`. */
	void (*credit)(void *ctx, uint32_t stream, void *user, uint32_t bytes);
	void (*eof)(void *ctx, uint32_t stream, void *user); /* the peer sends no more */
	/* The stream is gone, exactly once for every stream that `open` announced or hull_wire_open() made: code 0
	 * after both EOFs, the peer's code (as -errno) and message after REFUSE or RESET, -ECONNRESET when the epoch
	 * changed or the wire died, -ECANCELED after our own hull_wire_reset() or hull_wire_refuse(). message is never
	 * NULL; the peer's may hold any bytes: hull_printable() before it is shown. Free `user` here. */
	void (*closed)(void *ctx, uint32_t stream, void *user, int code, const char *message);
	/* There is output to send where there was none: hull_wire_output() has not returned 0, nor hull_wire_sent()
	 * emptied the queue, since the last time it was called. Called last in any call that queues something. Best
	 * used to arrange for sending (arm POLLOUT); sending right here works too, but then events of
	 * hull_wire_sent() come from inside the call that queued. */
	void (*output)(void *ctx);
};

struct hull_wire_config {
	enum hull_wire_side side;
	const char *name;     /* what trace lines (base/debug.h) call the other end; borrowed, may be NULL */
	uint32_t max_inbound; /* streams the peer may have open at once; further OPENs are refused (EAGAIN) */
	size_t queue_high;    /* hull_wire_write() takes nothing while more than this is queued; 0 = 512 KiB */
	/* Bytes of control output (everything but DATA) that may be queued before the wire is declared dead: a peer
	 * that asks and never reads must not fill our memory. 0 = 4 MiB. */
	size_t queue_max_control;
	/* Host side, after a restore: the guest may still send the rest of a frame of its earlier life. Skip bytes
	 * (at most 4 MiB) until its HELLO with the epoch of our first hull_wire_hello(), which must be random. */
	bool resync;
};

/* NULL when out of memory. ops and config are copied; ctx is handed to every event. */
struct hull_wire *hull_wire_new(const struct hull_wire_config *config, const struct hull_wire_ops *ops, void *ctx);
/* Closes every stream (closed events with -ECONNRESET), then frees. */
void hull_wire_free(struct hull_wire *w);

/* --- the byte stream --- */

/* Take n received bytes. -EBUSY from inside an event. 0, or -EPROTO/-ENOMEM with err filled and the wire dead. */
int hull_wire_feed(struct hull_wire *w, const void *p, size_t n, struct hull_error *err);
/* The bytes to send now, contiguous (borrowed until the next call on w); 0 when there are none. Whoever copies them
 * may report them as sent later: what was shown here is never taken back or changed. */
size_t hull_wire_output(struct hull_wire *w, const uint8_t **p);
/* n of them were sent. */
void hull_wire_sent(struct hull_wire *w, size_t n);
bool hull_wire_dead(const struct hull_wire *w);

/* --- sessions --- */

/* Send HELLO. The host side must, first; the guest side answers automatically with the epoch it was given. Calling
 * it again with a new epoch (after a restore) drops all streams on both sides. -EINVAL on the guest side, and for the
 * epoch that is current. Streams may be opened at once, without waiting for the answer. */
int hull_wire_hello(struct hull_wire *w, uint64_t epoch);
/* The transport was closed and opened again: forget half-read and half-sent frames and all streams (closed events
 * with -ECONNRESET), and be as new: the guest side waits for HELLO, the host side must say it. A dead wire lives
 * again. Without this a guest that was restored amid a frame would take the host's HELLO for the frame's rest.
 * When called from inside an event of hull_wire_feed(), the rest of what was fed is dropped. Returns 0. */
int hull_wire_restart(struct hull_wire *w);

/* --- streams ---
 *
 * All return -EPIPE when the wire is dead and -ENOENT when there is no such stream (any more); those that send on our
 * half of the stream -EPIPE after our EOF and -ENOTCONN before our ACCEPT of a stream the peer opened. */

/* Open a stream; returns its id (> 0) in *stream. -EMSGSIZE when args exceed HULL_WIRE_ARGS_MAX, -ENOMEM,
 * -EPIPE when dead, -EMFILE when ids ran out, -ENOTCONN before HELLO (host: ours, guest: the host's), -EAGAIN when
 * queue_max_control of OPENs wait to be sent. Data may be written at once (it is queued behind the OPEN). */
int hull_wire_open(struct hull_wire *w, uint8_t service, const void *args, size_t len, void *user, uint32_t *stream);
int hull_wire_accept(struct hull_wire *w, uint32_t stream, const void *args, size_t len);
/* code: an errno, of either sign (also in hull_wire_reset); message: for a person, may be NULL, cut at 1000 bytes. */
int hull_wire_refuse(struct hull_wire *w, uint32_t stream, int code, const char *message);
/* Queue up to n bytes of DATA as credit and the queue limit allow; the number taken (less than n = `writable` will be
 * called, once), or -errno. channel < 16. */
ssize_t hull_wire_write(struct hull_wire *w, uint32_t stream, unsigned channel, const void *p, size_t n);
/* How much hull_wire_write() would take now. When that is 0, `writable` will be called, once. */
size_t hull_wire_writable(struct hull_wire *w, uint32_t stream);
/* As hull_wire_write but all or nothing and past queue_high, for a relay that has received the bytes against credit
 * the far end granted. -EAGAIN when credit does not cover n. */
int hull_wire_relay(struct hull_wire *w, uint32_t stream, unsigned channel, const void *p, size_t n);
int hull_wire_message(struct hull_wire *w, uint32_t stream, const void *p, size_t n);
/* Allow the peer to send n bytes more: those it sent have been passed on. Never lets the peer have more than the
 * window: n is capped at what was received and not granted yet. Small grants are sent together. */
int hull_wire_grant(struct hull_wire *w, uint32_t stream, size_t n);
int hull_wire_eof(struct hull_wire *w, uint32_t stream);
int hull_wire_reset(struct hull_wire *w, uint32_t stream, int code, const char *message);
/* Inside `closed`: all streams end, because the epoch changed or the wire was closed. (A peer's RESET may have the same
 * code.) */
bool hull_wire_ending(const struct hull_wire *w);
void hull_wire_set_user(struct hull_wire *w, uint32_t stream, void *user);
void *hull_wire_user(const struct hull_wire *w, uint32_t stream); /* NULL when there is no such stream */
size_t hull_wire_streams(const struct hull_wire *w);              /* open now, both directions */

/* Bytes that wait to be sent. */
size_t hull_wire_queued(const struct hull_wire *w);

#endif

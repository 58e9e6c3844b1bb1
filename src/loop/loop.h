/* SPDX-License-Identifier: Apache-2.0 */
/* The wire on a libuv loop, and what a program built around such a loop needs besides: sockets, timers and child
 * processes. hull-keeper and hull-egress are built on it; it knows nothing of either.
 *
 *   link.c    a `loop_link` is a wire on a socket; a `loop_stream` is our end of one stream of such a wire
 *   socket.c  a `loop_socket` is any other socket, watched for what its owner waits for
 *   timer.c   a `loop_timer` fires once
 *   child.c   a `loop_child` is a child process; `loop_restarts` decides when to start another one
 *   loop.c    a `loop` is what these have in common
 *
 * Reading and writing. An event of one wire may act on any other wire at once, because hull_wire_* calls only queue.
 * Sockets of wires are written in one place: when the loop is about to sleep, every link with output is flushed.
 *
 * Closing. A link is closed from the top of the loop only (`gone`, or an event of something else), never from inside an
 * event of its own wire. libuv lets go of a handle in its next turn: `freed` says when the memory may be freed.
 *
 * Nothing here blocks, except loop_child_end(), which says why and for how long. */
#ifndef HULL_LOOP_LOOP_H
#define HULL_LOOP_LOOP_H

#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

/* --- loop.c --- */

struct loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	struct list_node dirty; /* links with output */
	bool corked;            /* no link sends anything */
	uint8_t *scratch;       /* for one read; nothing in it outlives the event that read it */
	size_t scratch_size;
	void *owner;
	/* The links have been flushed and the loop is about to sleep. May be NULL. */
	void (*idle)(struct loop *loop);
};
/* scratch, owner and idle are set by the caller before. */
int loop_init(struct loop *loop, struct hull_error *err);

/* --- link.c: links --- */

struct loop_link {
	/* Set by the owner before loop_link_open(). */
	void *owner;
	/* The peer has closed (code 0), or the wire or the socket has failed. Called from the top of the loop; closes
	 * the link. */
	void (*gone)(struct loop_link *l, int code, const char *why);
	/* The peer opens a stream: to be answered with hull_wire_refuse(), or loop_stream_adopt() and an accept. NULL =
	 * every stream is refused. */
	void (*opened)(struct loop_link *l, uint32_t stream, uint8_t service, const uint8_t *args, size_t len);
	void (*hello)(struct loop_link *l, uint64_t epoch); /* may be NULL */
	void (*active)(struct loop_link *l);                /* something was received; may be NULL */
	void (*freed)(struct loop_link *l);                 /* the loop has let go of it; may be NULL */

	struct hull_wire *wire; /* NULL when closed */
	struct loop *loop;
	int fd; /* -1 when closed */
	bool owns_fd;
	uv_poll_t poll;
	int watching; /* UV_READABLE | UV_WRITABLE */
	bool dirty;
	struct list_node in_dirty;
	bool held; /* nothing but the next may_send bytes goes out */
	size_t may_send;
};
/* Takes the fd on success, when owns_fd. */
int loop_link_open(struct loop *loop, struct loop_link *l, int fd, bool owns_fd, const struct hull_wire_config *config,
		   struct hull_error *err);
/* Every stream gets its `closed`, then `freed` is called from the loop. Twice is fine. */
void loop_link_close(struct loop_link *l);
/* Write what the socket takes now; from the top of the loop only. True when nothing is left. */
bool loop_link_flush(struct loop_link *l);
/* Send what is queued now and then nothing more, until the link is released. */
void loop_link_hold(struct loop_link *l);
void loop_link_release(struct loop_link *l);

/* --- link.c: streams --- */

struct loop_stream;
/* Members may be NULL, except `closed`. A stream without `data` grants what it receives. */
struct loop_stream_ops {
	void (*accepted)(struct loop_stream *s, const uint8_t *args, size_t len);
	void (*data)(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n);
	void (*message)(struct loop_stream *s, const uint8_t *p, size_t n);
	void (*writable)(struct loop_stream *s);
	void (*credit)(struct loop_stream *s, uint32_t bytes);
	void (*eof)(struct loop_stream *s);
	/* The stream is gone (s->id is 0 already); s may be freed. code: 0, or -errno as wire.h says. */
	void (*closed)(struct loop_stream *s, int code, const char *message);
};
/* Embedded in whatever stands behind the stream. */
struct loop_stream {
	const struct loop_stream_ops *ops;
	struct hull_wire *wire;
	uint32_t id; /* 0 = not open */
};
/* Open a stream of ours, or adopt one that the peer has opened. ops are set before. */
int loop_stream_open(struct loop_stream *s, struct loop_link *l, uint8_t service, const struct hull_buf *args);
void loop_stream_adopt(struct loop_stream *s, struct loop_link *l, uint32_t id);
/* The wire's calls, harmless on a stream that is not open. */
void loop_stream_accept(struct loop_stream *s, const struct hull_buf *args);   /* args may be NULL */
void loop_stream_refuse(struct loop_stream *s, int code, const char *message); /* s may be freed after */
size_t loop_stream_room(const struct loop_stream *s);                          /* what a write would take */
ssize_t loop_stream_write(struct loop_stream *s, unsigned channel, const void *p, size_t n);
void loop_stream_grant(struct loop_stream *s, size_t n);
void loop_stream_eof(struct loop_stream *s); /* s may be freed after */
void loop_stream_message(struct loop_stream *s, const void *p, size_t n);
void loop_stream_reset(struct loop_stream *s, int code, const char *message); /* s may be freed after */

/* Pass on what is to be read from fd, as much as the stream takes: the number of bytes, 0 at the end of fd, -EAGAIN
 * when there is nothing or no room, or -errno. */
ssize_t loop_stream_fill(struct loop *loop, struct loop_stream *s, int fd);
/* Write what `out` holds to the stream, as much as that takes. The rest waits for `writable`. */
void loop_stream_push(struct loop_stream *s, unsigned channel, struct hull_buf *out);
/* Write what the stream brought and `out` holds to the socket fd, as much as that takes, and grant it. 0 or -errno. */
int loop_stream_drain(struct loop_stream *s, struct hull_buf *out, int fd);

/* --- socket.c --- */

struct loop_socket {
	uv_poll_t poll;
	int fd;
	int watching;
	bool failed; /* it has reported an error, which the next read or write tells */
	void *owner;
	void (*ready)(struct loop_socket *s, int events); /* uv_poll_event; on an error UV_READABLE | UV_WRITABLE */
};
/* Takes fd, also on failure (NULL). Watches nothing yet. */
struct loop_socket *loop_socket_new(struct loop *loop, int fd, void *owner,
				    void (*ready)(struct loop_socket *s, int events));
/* These do nothing when s is NULL. */
void loop_socket_watch(struct loop_socket *s, int events);
void loop_socket_close(struct loop_socket *s);
void loop_socket_reset(struct loop_socket *s); /* close, with an RST */

/* --- timer.c --- */

struct loop_timer {
	uv_timer_t timer;
	void *owner;
	void (*expired)(void *owner);
};
/* Fires once, in ms. It stays the owner's, who frees it. NULL when out of memory. */
struct loop_timer *loop_timer_new(struct loop *loop, uint64_t ms, void *owner, void (*expired)(void *owner));
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

/* --- child.c --- */

struct loop_child {
	/* Set by the owner before loop_child_watch(). */
	void (*exited)(struct loop_child *c, int status); /* reaped; status as of waitpid(2) */
	void (*freed)(struct loop_child *c);              /* after it: the loop has let go of it; may be NULL */

	pid_t pid; /* 0 = none, or none any more */
	int pidfd;
	uv_poll_t poll;
};
/* Watch the child that was just started. Takes pidfd; on failure the child is killed and reaped, and `freed` is not
 * called. */
int loop_child_watch(struct loop *loop, struct loop_child *c, pid_t pid, int pidfd, struct hull_error *err);
/* SIGKILL. `exited` and `freed` are called from the loop. Nothing when it has exited. */
void loop_child_kill(struct loop_child *c);
/* SIGKILL, and wait until it has exited: for the end of the program, when what the child holds (a port, a lock) must be
 * free before the next step, and nothing else is served any more. A killed process can stay only as long as the kernel
 * works for it, but that may be for ever when a disk hangs: so for at most ms. `exited` is not called, `freed` is. */
void loop_child_end(struct loop_child *c, int ms);

/* A child that dies is started again, at once the first time, then with growing delays; one that has lived for
 * calm_ms is forgiven its earlier failures. */
struct loop_restarts {
	uint64_t calm_ms;
	unsigned most;                /* failures in a row after which it is given up; 0 = never */
	uint64_t delay_ms, delay_max; /* before the second restart in a row; doubled each time, up to the maximum */
	/* State, 0 at first. */
	unsigned failures;   /* in a row */
	uint64_t started_ms; /* when the last one was started */
};
void loop_restarts_started(struct loop_restarts *r, uint64_t now_ms);
/* It has failed: how many ms to wait before the next start, or -1 when the budget is used up. */
int64_t loop_restarts_failed(struct loop_restarts *r, uint64_t now_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A client's end of control.sock: the host side of the wire over a unix socket. Requests are described in keeper/api.h.
 *
 * The caller's poll(2) loop drives a client: client_events() returns the events to wait for, client_io() transfers data
 * and calls the ops. client_ask() is a complete loop for one request, ask_all() one for several requests at once. The
 * other ask_* functions are their parts. */
#ifndef HULL_LIB_CLIENT_H
#define HULL_LIB_CLIENT_H

#include "base/buf.h"
#include "lib/handle.h"
#include "store/store.h"
#include "wire/wire.h"

#include <jansson.h>

struct client {
	int fd; /* -1 = not connected */
	struct hull_wire *wire;
};

/* Returns a connected control socket. If the sandbox's lock is held and the socket does not exist yet (the keeper is
 * starting), waits at most wait_ms for it. -ENOTCONN when the sandbox is not running. */
int client_connect(const struct hull_paths *p, const char *name, int wait_ms, struct hull_error *err);
/* Connect and say HELLO. */
int client_open(struct client *c, const struct hull_paths *p, const char *name, int wait_ms,
		const struct hull_wire_ops *ops, void *ctx, struct hull_error *err);
/* Like client_open() with a connected socket, which it takes over. */
int client_adopt(struct client *c, int fd, const struct hull_wire_ops *ops, void *ctx, struct hull_error *err);
void client_close(struct client *c);
short client_events(const struct client *c);
/* Sends and receives what is possible without blocking. -ECONNRESET: the keeper closed the connection. -EPROTO: it
 * violated the protocol. */
int client_io(struct client *c, short revents, struct hull_error *err);
/* If wire frames are traced (HULL_LOG=wire=trace), adds a trace id to the arguments of the request's OPEN, by which its
 * frames are found in the logs of all processes. 0 or -errno. */
int client_trace(struct hull_buf *args);

/* One request under way. */
struct ask {
	struct client client;
	uint32_t stream;
	struct hull_buf answer;
	bool done; /* `result` or `error` holds the outcome */
	int code;  /* 0, or -errno with error filled */
	json_t *result;
	struct hull_error error;
};
/* Sends {"do": ...}. Takes `request` over. The ask must not be moved before ask_end(). */
int ask_begin(struct ask *a, const struct hull_paths *p, const char *name, int wait_ms, json_t *request,
	      struct hull_error *err);
void ask_io(struct ask *a, short revents); /* sets done when it is over */
void ask_end(struct ask *a);
/* Until all that were begun are done, or it is `until` (lib_now_ms()). At most ASKS_MAX. */
enum { ASKS_MAX = 64 };
void ask_all(struct ask *const *asks, size_t n, uint64_t until);

/* Sends a request and waits for the answer (an object, owned by the caller). timeout_ms < 0: no limit. -ETIMEDOUT,
 * -EINTR (the caller cancelled), or the keeper's error code. */
int client_ask(const struct hull *h, const char *name, json_t *request, int timeout_ms, json_t **answer,
	       struct hull_error *err);
/* Waits until the guest accepts commands or, for "docker", until Docker is ready. */
int client_await(const struct hull *h, const char *name, const char *what, struct hull_error *err);

#endif

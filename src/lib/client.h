/* SPDX-License-Identifier: Apache-2.0 */
/* A client's end of control.sock: the wire, host side, over a unix socket. keeper/api.h says what may be asked.
 *
 * A client is driven by the caller's poll(2) loop: client_events() says what to wait for, client_io() moves bytes and
 * calls the ops. client_ask() is such a loop for one request; ask_* are its parts, for asking many at once. */
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

/* A connected control socket. While the sandbox's lock is held and the socket is not there yet (its keeper is just
 * starting) waits for it, at most wait_ms. -ENOTCONN when the sandbox is not running. */
int client_connect(const struct hull_paths *p, const char *name, int wait_ms, struct hull_error *err);
/* Connect and say HELLO. */
int client_open(struct client *c, const struct hull_paths *p, const char *name, int wait_ms,
		const struct hull_wire_ops *ops, void *ctx, struct hull_error *err);
/* As client_open with a socket connected already (owned from here on). */
int client_adopt(struct client *c, int fd, const struct hull_wire_ops *ops, void *ctx, struct hull_error *err);
void client_close(struct client *c);
short client_events(const struct client *c);
/* Send and receive what can be without blocking. -ECONNRESET when the keeper is gone, -EPROTO when it talks rubbish. */
int client_io(struct client *c, short revents, struct hull_error *err);
/* When wire frames are traced (HULL_LOG=wire=trace): a number of this request's own into the arguments of its OPEN, by
 * which its frames are found in the logs of all processes. 0 or -errno. */
int client_trace(struct hull_buf *args);
/* The keeper's process as the kernel names it, or -1. */
pid_t client_peer(const struct client *c);

/* One request under way. */
struct ask {
	struct client client;
	uint32_t stream;
	struct hull_buf answer;
	bool done; /* `result` or `error` says how */
	int code;  /* 0, or -errno with error filled */
	json_t *result;
	struct hull_error error;
};
/* {"do": ...}: `request` is taken over. The ask must stay where it is until ask_end(). */
int ask_begin(struct ask *a, const struct hull_paths *p, const char *name, int wait_ms, json_t *request,
	      struct hull_error *err);
void ask_io(struct ask *a, short revents); /* sets done when it is over */
void ask_end(struct ask *a);

/* Ask and wait for the answer (an object; owned by the caller). timeout_ms < 0 = for ever. -ETIMEDOUT, -EINTR (given up
 * by the caller), or the code the keeper gave. */
int client_ask(const struct hull *h, const char *name, json_t *request, int timeout_ms, json_t **answer,
	       struct hull_error *err);
/* Wait until it takes commands, or "docker" is ready. */
int client_await(const struct hull *h, const char *name, const char *what, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets that listen, and the clients of control.sock; client.c. */
#ifndef HULL_KEEPER_CLIENT_H
#define HULL_KEEPER_CLIENT_H

#include "base/error.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct keeper;

enum {
	CLIENTS_MAX = 256,        /* connections to control.sock at once */
	CLIENTS_RESERVED = 16,    /* more, which may only ask for the sandbox's state and stop it */
	CLIENT_STREAMS_MAX = 256, /* of one client */
};

struct listener {
	uv_poll_t poll;
	enum {
		LISTENER_CLOSED, /* nobody wants it to listen */
		LISTENER_OPEN,
		LISTENER_REOPENING, /* the loop has still to let go of its handle */
		LISTENER_LOST,      /* it could not be opened again: runtime.c tries once more */
	} state;
	int fd; /* -1 = not listening */
	const char *file;
	struct keeper *k;
	void (*accepted)(struct keeper *k, int fd); /* takes fd */
};
/* Listen on <runtime>/NAME/file, 0600. */
int listener_open(struct keeper *k, struct listener *l, const char *file, struct hull_error *err);
void listener_close(struct listener *l);
/* Listen again under its name, which somebody has removed. Connections stay. */
void listener_again(struct listener *l);
/* Is the peer this user or root? */
bool peer_allowed(int fd);

struct clients {
	struct listener listener; /* control.sock */
	struct list_node list;
	size_t count;    /* of both kinds */
	size_t reserved; /* of those that came when there were CLIENTS_MAX */
};
void clients_init(struct keeper *k);
void client_accepted(struct keeper *k, int fd);
/* Flush all clients; true when none has output left. */
bool clients_drained(struct keeper *k);
void clients_close(struct keeper *k);

#endif

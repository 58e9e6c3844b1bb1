/* SPDX-License-Identifier: Apache-2.0 */
/* docker.sock: the guest's Docker socket on the host; docker_socket.c. */
#ifndef HULL_KEEPER_DOCKER_SOCKET_H
#define HULL_KEEPER_DOCKER_SOCKET_H

#include "keeper/client/client.h"

enum { DOCKER_CLIENTS_MAX = 256 /* connections at once */ };

struct docker_socket {
	struct listener listener;
	struct list_node conns;
	size_t count;
};
void docker_init(struct keeper *k);
void docker_accepted(struct keeper *k, int fd);
void docker_changed(struct keeper *k);
void docker_close(struct keeper *k);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* May dockerd be frozen, and how is it to listen? See idle.c. */
#ifndef HULL_GUEST_DOCKER_IDLE_H
#define HULL_GUEST_DOCKER_IDLE_H

#include <stdbool.h>

/* What a daemon.json says of listeners. */
struct hull_docker_config {
	bool hosts; /* it has "hosts": dockerd refuses to start with -H besides */
	bool more;  /* it may make dockerd listen on more than its socket; also when it cannot be read */
};
/* `fd`: the open file, or a negative errno. A file that does not exist says nothing. */
struct hull_docker_config hull_docker_config_read(int fd);

/* Does this process listen on TCP? `proc` is its directory in /proc. True when that cannot be known. */
bool hull_listens_on_tcp(int proc);

/* Does this cgroup, a directory descriptor, hold other processes than `pid`? With pid 0: more than one. True when that
 * cannot be known. */
bool hull_cgroup_has_more(int dir, int pid);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Docker: dockerd as a child of hull-init, and its socket. docker.c supervises it; idle.c says when it may be frozen. */
#ifndef HULL_GUEST_DOCKER_H
#define HULL_GUEST_DOCKER_H

void hull_docker_start(void);
void hull_docker_announce(void); /* report its state to a new host */
void hull_docker_rest(void);     /* let it do nothing until somebody connects to its socket */
/* TERM it and do not start it again; `stopped` is called once it has gone (at once when it is not running). */
void hull_docker_stop(void (*stopped)(void));

#endif

/* Starting hull-egress in its jail; see gateway_child.c. */
#ifndef HULL_KEEPER_GATEWAY_CHILD_H
#define HULL_KEEPER_GATEWAY_CHILD_H

#include "keeper/keeper.h"

/* Fit for keeper.gateway_start. */
int gateway_child_start(struct keeper *k, int fd, pid_t *pid, int *pidfd, struct hull_error *err);

#endif

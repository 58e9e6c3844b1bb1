/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the sandbox, from its start to its end; life.c. The top of the keeper: every part is put together here. */
#ifndef HULL_KEEPER_LIFE_LIFE_H
#define HULL_KEEPER_LIFE_LIFE_H

#include "keeper/client/client.h"
#include "keeper/client/docker_socket.h"
#include "keeper/client/runtime.h"
#include "keeper/client/service.h"
#include "keeper/guest/clock.h"
#include "keeper/guest/dockerlog.h"
#include "keeper/guest/guest.h"
#include "keeper/keeper.h"
#include "keeper/machine/grow.h"
#include "keeper/network/gateway.h"
#include "keeper/session/jobs.h"
#include "keeper/session/relay.h"
#include "keeper/workspace/share.h"

/* Everything that needs no machine: loop, parts, timers. k is zeroed; paths and sb are set. */
int keeper_init(struct keeper *k, struct hull_error *err);
/* The sockets, in the runtime directory that exists already. */
int keeper_listen(struct keeper *k, struct hull_error *err);
/* Until the sandbox has ended and the clients have their answers. */
void keeper_run(struct keeper *k);
/* The memory of the parts, when the loop is closed. For tests: else the end of the process does it. */
void keeper_free(struct keeper *k);

#endif

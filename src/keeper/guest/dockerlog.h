/* SPDX-License-Identifier: Apache-2.0 */
/* dockerd.log: follows dockerd's log in the guest; dockerlog.c. */
#ifndef HULL_KEEPER_DOCKERLOG_H
#define HULL_KEEPER_DOCKERLOG_H

#include "keeper/logs.h"
#include "loop/loop.h"

struct keeper;

struct dockerlog {
	struct keeper *k;
	struct logfile file;
	struct loop_stream tail;
};
void dockerlog_start(struct keeper *k); /* unless it is followed already */
void dockerlog_stop(struct keeper *k);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime directory: that it and the sockets in it stay; runtime.c. */
#ifndef HULL_KEEPER_RUNTIME_H
#define HULL_KEEPER_RUNTIME_H

#include "base/error.h"

#include <stdbool.h>
#include <uv.h>

struct keeper;

struct runtime {
	uv_poll_t poll;
	uv_timer_t timer;
	int fd; /* inotify; -1 = none */
	bool watching;
	unsigned failures; /* in a row, to make again what was removed */
};
/* Make it, lock it, and record that it is ours. */
int runtime_open(struct keeper *k, struct hull_error *err);
/* The sockets are there: have them come back when they are removed. */
void runtime_watch(struct keeper *k);
/* What was to be made again could not be: try later. */
void runtime_retry(struct keeper *k);
/* Watch no more; remove it, too. */
void runtime_close(struct keeper *k, bool remove);

#endif

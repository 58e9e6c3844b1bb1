/* SPDX-License-Identifier: Apache-2.0 */
/* A larger disk while the machine runs; grow.c. */
#ifndef HULL_KEEPER_GROW_H
#define HULL_KEEPER_GROW_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct keeper;

struct grow {
	uint64_t bytes; /* the disk is being made this large; 0 = it is not */
	bool asked;     /* the guest was told so: its answer counts from here on */
	uv_timer_t timer;
	uint64_t wait_ms; /* for the answer */
};
void grow_init(struct keeper *k);
/* Make the disk `bytes` (a multiple of 1 MiB) long while the machine runs; service_grown() reports how it went. -EINVAL
 * when it is not larger than it was, -EBUSY when that is under way or the machine is being saved. */
int grow_begin(struct keeper *k, uint64_t bytes, struct hull_error *err);
/* The engine has made it so long, or (error) not. */
void grow_resized(struct keeper *k, const char *error);
/* The guest answered GROWN. One that does not is given up after a while. */
void grow_answered(struct keeper *k, struct hull_cur *cur);

#endif

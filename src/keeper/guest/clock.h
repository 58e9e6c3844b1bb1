/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's clock: set, measured and corrected; clock.c. */
#ifndef HULL_KEEPER_CLOCK_H
#define HULL_KEEPER_CLOCK_H

#include "base/bytes.h"
#include "loop/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct keeper;

struct clock {
	uv_poll_t poll;
	int fd; /* readable when the host's clock is set; -1 = none */
	bool watching;
	int64_t asked_ns;  /* the TIME that is not answered yet; 0 = none */
	uint64_t asked_hr; /* uv_hrtime of it */
	uint64_t last_ms;
	unsigned rounds;
};
void clock_open(struct keeper *k);
void clock_close(struct keeper *k);
/* It may be wrong: send the guest the time. Nothing while it is not up. */
void clock_send(struct keeper *k);
/* The guest is at work: send it the time unless that was done lately. */
void clock_active(struct keeper *k);
void clock_link_active(struct loop_link *guest); /* the same */
/* The guest answered CLOCK. */
void clock_answered(struct keeper *k, struct hull_cur *cur);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that follow a job and feed it; attach.c. */
#ifndef HULL_KEEPER_ATTACH_H
#define HULL_KEEPER_ATTACH_H

#include "base/list.h"
#include "loop/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct audience {
	struct list_node list;
	struct loop_stream *job;
	bool input;  /* its stdin takes what they send */
	size_t owed; /* passed on to them and not granted to the job yet */
};
void audience_init(struct audience *a, struct loop_stream *job, bool input);
void audience_add(struct audience *a, struct loop_link *client, uint32_t stream);
/* The job wrote this: it is granted once everybody has taken it. */
void audience_data(struct audience *a, unsigned channel, const uint8_t *p, size_t n);
void audience_writable(struct audience *a); /* the job's stdin takes more */
void audience_message(struct audience *a, const uint8_t *p, size_t n);
/* The job has ended (code 0), or was broken off. */
void audience_close(struct audience *a, int code, const char *message);

#endif

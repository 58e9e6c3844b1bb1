/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: commands that outlive the client that started them; jobs.c. */
#ifndef HULL_KEEPER_JOBS_H
#define HULL_KEEPER_JOBS_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "loop/loop.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keeper;

enum {
	JOBS_MAX = 256, /* jobs running at once, and finished ones that are kept */
	JOB_ID = 8,
};

struct jobs {
	struct list_node list; /* those that run */
	size_t count;
	size_t announced; /* sessions that the guest brought along */
	json_t *saved;    /* ids of those that ran when it was saved, as the keeper wrote then; NULL = none */
};
void jobs_init(struct keeper *k);
/* Start a job; its id in out. service_job() reports whether its command runs. */
int job_start(struct keeper *k, const json_t *request, char out[JOB_ID + 1], struct hull_error *err);
json_t *jobs_list(struct keeper *k);
/* A signal to all processes of a job, also of one that has ended in this run of the machine and left some behind; its
 * state in *state. -ENOENT when there is no such job. */
int job_signal(struct keeper *k, const char *id, uint32_t sig, const char **state, bool *reached,
	       struct hull_error *err);
/* A client opened ATTACH. */
void job_attach(struct keeper *k, struct loop_link *client, uint32_t stream, const uint8_t *args, size_t len);
void job_id(char out[JOB_ID + 1]); /* a new one: hexadecimal digits */
/* The guest has a session of before its machine was paused or copied: it is a job from now on. */
void job_adopt(struct keeper *k, struct hull_cur *session);
/* The ids of all sessions that the guest runs for this keeper, of clients and of jobs: what may be found again in a
 * copy. */
json_t *jobs_sessions(struct keeper *k);
void jobs_saved(struct keeper *k, json_t *ids); /* those of the machine that is restored; takes them over */
/* The guest has announced all of them: other jobs that were running then are not there any more. */
void jobs_adopted(struct keeper *k);
/* At start: jobs that a crash left "running" are not. At the end: those still running have been stopped. */
void jobs_recover(struct keeper *k);
void jobs_close(struct keeper *k);

#endif

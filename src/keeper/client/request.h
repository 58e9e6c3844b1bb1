/* SPDX-License-Identifier: Apache-2.0 */
/* A request of the KEEPER service, between its stream (service.c) and what it does (requests.c). */
#ifndef HULL_KEEPER_REQUEST_H
#define HULL_KEEPER_REQUEST_H

#include "base/buf.h"
#include "keeper/client/service.h"
#include "keeper/session/jobs.h"

enum wait_for {
	FOR_NOTHING,
	FOR_EXEC,
	FOR_DOCKER,
	FOR_STATS,
	FOR_SAVE,
	FOR_LEASE,
	FOR_PORT,
	FOR_MOUNT,
	FOR_JOB,
	FOR_GROWN,
	FOR_POLICY,
	FOR_END
};

struct request {
	struct keeper *k;
	struct loop_stream stream;
	struct list_node in_list;
	enum wait_for waits;
	char *path;           /* FOR_MOUNT */
	json_int_t port;      /* FOR_PORT */
	char job[JOB_ID + 1]; /* FOR_JOB: its id */
	struct hull_buf answer;
	bool answered, finished;
};

/* Takes the reference to j. The request may be gone when this returns. */
void request_answer(struct request *q, json_t *j);
void request_fail(struct request *q, int code, const char *text);
/* False when it was answered instead, and may be gone. */
bool request_wait(struct request *q, enum wait_for what);

/* requests.c. reserved: its client may only ask for the state and stop the sandbox. */
void request_handle(struct request *q, const char *text, size_t n, bool reserved);

#endif

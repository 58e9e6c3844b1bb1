/* SPDX-License-Identifier: Apache-2.0 */
/* The policy's files as the gateway has them: read, watched, and which texts are in force. gateway_policy.c. */
#ifndef HULL_KEEPER_GATEWAY_POLICY_H
#define HULL_KEEPER_GATEWAY_POLICY_H

#include "base/error.h"
#include "keeper/path_watch.h"

#include <jansson.h>

enum { POLICY_GLOBAL, POLICY_SANDBOX, POLICY_FILES };

struct policy_file {
	char *path;
	char *good;       /* its text when it last was good; NULL = there has been no file */
	bool expected;    /* there has been one in an earlier life */
	char error[1024]; /* why that is not what is there now; empty = it is */
};

struct policy_state {
	struct policy_file files[POLICY_FILES];
	struct path_watch watch;
	char *text[POLICY_FILES];  /* in force, once hull-egress has taken them */
	bool loaded;               /* there are some; else everything is denied */
	char error[1024];          /* why `text` is not what the files say; empty = it is */
	json_int_t sent, accepted; /* numbers of the last ones given to hull-egress, and of those it took */
	char refused[1024];        /* what it sent to the last one; empty = nothing */
	void *ctx;
	void (*changed)(void *ctx);
};

/* changed(ctx): there is a new text to be sent. Paths are taken over. */
int policy_state_open(struct policy_state *p, uv_loop_t *loop, char *const paths[POLICY_FILES], void *ctx,
		      void (*changed)(void *ctx), struct hull_error *err);
void policy_state_close(struct policy_state *p);
/* Read one file again, now. */
void policy_state_read(struct policy_state *p, unsigned which);
/* {"policy": {...}} for hull-egress, with the next number. */
json_t *policy_state_send(struct policy_state *p);
/* What it answered. */
void policy_state_answered(struct policy_state *p, const json_t *answer);
/* Has hull-egress answered to the last one? */
bool policy_state_settled(const struct policy_state *p);
/* What api.h says of the request "policy". */
json_t *policy_state_json(const struct policy_state *p, bool texts);

#endif

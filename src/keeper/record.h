/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.json, written while the sandbox runs; record.c. */
#ifndef HULL_KEEPER_RECORD_H
#define HULL_KEEPER_RECORD_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct keeper;

struct record {
	uv_work_t work;
	uv_mutex_t lock;  /* held during a write */
	uint64_t written; /* under the lock: the number of the last save that was written */
	uint64_t asked;   /* the number of the last save that was asked for */
	bool busy;        /* a write is in flight: the next five members are its own */
	uint64_t number;
	char *text;
	char **mounts; /* requests about these paths are answered when it is done */
	int code;
	struct hull_error err;
	char *path;
	char *next; /* the text to be written then; NULL = none */
	char **next_mounts;
};

/* Write state and reason into sandbox.json, now: 0 once it is on the disk, or -errno, which is logged too. The loop
 * waits for the disk meanwhile. */
int keeper_save(struct keeper *k, const char *state, const char *reason);
/* Write that it runs, off the loop. With `mount`, requests about that path are answered once that is done. */
void keeper_save_later(struct keeper *k, const char *mount);
/* Is a request about this path still to be answered? */
bool record_awaited(const struct keeper *k, const char *path);
/* The machine is about to change the disk that saved memory belongs to: that must not be restored again, whatever
 * happens. It is taken out of sandbox.json, for good. On failure the machine must not run. */
int keeper_claim_saved(struct keeper *k, struct hull_error *err);
/* Is this what a pause left, "sandboxes/NAME/frozen"? NULL is not. */
bool keeper_is_pause(const char *restore);
void record_free(struct keeper *k); /* no write is in flight */

#endif

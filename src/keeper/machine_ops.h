/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as the rest of the keeper has it: the engine (machine.c), or a test's. */
#ifndef HULL_KEEPER_MACHINE_OPS_H
#define HULL_KEEPER_MACHINE_OPS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct keeper;
struct machine;

struct machine_ops {
	void (*kill)(struct keeper *k);
	int (*memory)(struct keeper *k, uint64_t *bytes);
	const char *(*describe)(struct keeper *k);
	const char *(*accel)(struct keeper *k);
	pid_t (*pid)(struct keeper *k);
	/* The guest has read all there was (guest_quiesce). May be NULL, as the next. */
	void (*synced)(struct keeper *k);
	/* Save it: into `dir` (NULL = as this sandbox's frozen memory, which ends it), with its disk or without; `end`
	 * it then, or let it run on. service_saved() reports how it went. -EBUSY when a save is under way. */
	int (*save)(struct keeper *k, const char *dir, bool disk, bool end, struct hull_error *err);
	/* Let a machine go on that stands still because of a full disk. May be NULL. */
	int (*resume)(struct keeper *k, struct hull_error *err);
	/* Make its disk `bytes` long; grow_resized() reports how it went. May be NULL. */
	int (*grow)(struct keeper *k, uint64_t bytes, struct hull_error *err);
	/* kill() and close() may be called at any time and again; events.machine_ended reports the end. */
	void (*close)(struct keeper *k); /* ended or not: nothing is left of it after this */
};

#endif

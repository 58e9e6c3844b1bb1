/* SPDX-License-Identifier: Apache-2.0 */
/* Log files with a cap, and the keeper's own log; logs.c. */
#ifndef HULL_KEEPER_LOGS_H
#define HULL_KEEPER_LOGS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keeper;

enum {
	LOG_CAP = 4 << 20,           /* of one log file; one older generation is kept (.1) */
	JOB_LOG_CAP = 32 << 20,      /* the same, of what a job prints */
	GUEST_LOG_SHARE = 256 << 10, /* of keeper.log, in one run, for lines that the guest brings about */
};

struct logfile {
	int fd; /* -1 = closed */
	uint64_t size, cap;
	char *path;
	char *old; /* path.1 */
};
/* Append to path, what is there rotated away first when `fresh` or when it is over the cap. */
int logfile_open(struct logfile *f, const char *path, uint64_t cap, bool fresh, struct hull_error *err);
void logfile_write(struct logfile *f, const void *p, size_t n); /* never fails a caller: a full disk loses log lines */
void logfile_close(struct logfile *f);

struct logs {
	struct logfile keeper; /* keeper.log */
	struct logfile guest;  /* guest.log: the guest's lines that keeper.log has no room for */
	size_t guest_bytes;    /* of the guest's lines in keeper.log */
};
int keeper_log_open(struct keeper *k, struct hull_error *err);
/* A line that a guest can cause; rotates keeper.log when it is over its cap. */
__attribute__((format(printf, 2, 3))) void keeper_log_guest(struct keeper *k, const char *fmt, ...);

#endif

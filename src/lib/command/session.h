/* SPDX-License-Identifier: Apache-2.0 */
/* One command in a sandbox over a connection; used by hull_exec() and others. See session.c. */
#ifndef HULL_LIB_COMMAND_SESSION_H
#define HULL_LIB_COMMAND_SESSION_H

#include "lib/client.h"

enum { SESSION_CANNOT = 126, SESSION_ABSENT = 127 }; /* the command cannot be executed; the command does not exist */

/* Captured output: at most max bytes each of stdout and stderr. */
struct session_keep {
	struct hull_buf buf;
	size_t max;
	bool full;
};

/* hull_exec() over a connected socket (taken over) of the sandbox `name`; with a job's id, hull_job_attach(). keep:
 * NULL, or two buffers in place of spec->fds[1] and [2]. */
int session_run(const struct hull *h, int fd, const char *name, const char *job, const struct hull_exec_spec *spec,
		struct session_keep *keep, struct hull_error *err);

/* The exit code for a positive errno that says why a command could not be executed: SESSION_CANNOT, SESSION_ABSENT, or
 * 0 for any other errno. */
int session_cannot(int code);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One command in a sandbox over a connection: what hull_exec() and the like are made of. See session.c. */
#ifndef HULL_LIB_COMMAND_SESSION_H
#define HULL_LIB_COMMAND_SESSION_H

#include "lib/client.h"

enum { SESSION_CANNOT = 126, SESSION_ABSENT = 127 }; /* the command cannot be executed; there is none */

/* Where output goes that is kept in memory: of stdout and stderr, at most max bytes each. */
struct session_keep {
	struct hull_buf buf;
	size_t max;
	bool full;
};

/* hull_exec() over an open connection's socket (taken over), of a sandbox called `name`; with a job's id
 * hull_job_attach(). keep: NULL, or two in place of spec->fds[1] and [2]. */
int session_run(const struct hull *h, int fd, const char *name, const char *job, const struct hull_exec_spec *spec,
		struct session_keep *keep, struct hull_error *err);

/* What exec exits with for this positive errno of a command that could not be executed: SESSION_CANNOT, SESSION_ABSENT,
 * or 0 when it is no such errno. */
int session_cannot(int code);

#endif

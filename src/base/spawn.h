/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a program to completion, delivering its output line by line; can be cancelled.
 *
 * The child gets: its own process group (the terminal's Ctrl-C reaches only us, and cancelling reaches all its
 * descendants), /dev/null as standard input, one pipe as standard output and standard error, only the listed
 * descriptors, default signal dispositions, and SIGTERM when its parent dies. After its exit the rest of its group is
 * killed. */
#ifndef HULL_BASE_SPAWN_H
#define HULL_BASE_SPAWN_H

#include "base/error.h"

#include <stddef.h>

struct hull_spawn_fd {
	int from; /* open here */
	int to;   /* its number in the child; `from` and `to` must not overlap */
};

struct hull_spawn {
	char *const *argv;         /* argv[0] is looked up in PATH */
	const char *const *setenv; /* "K=V", added to our environment; NULL-terminated; may be NULL */
	const char *cwd;           /* NULL = ours */
	const struct hull_spawn_fd *fds;
	size_t fd_count;
	int log_fd;    /* all output is appended to it; -1 = discarded */
	int cancel_fd; /* readable = cancel (SIGTERM to the group, SIGKILL 15 s later); -1 = never */
	/* Called with each line of output, without its terminator; may contain any bytes. May be NULL. */
	void (*line)(void *ctx, const char *line);
	void *ctx;
};

/* Blocks until the child has ended. 0 and its wait status in *status; -ECANCELED when cancelled; -ENOENT when the
 * program does not exist. */
int hull_spawn_run(const struct hull_spawn *s, int *status, struct hull_error *err);

#endif

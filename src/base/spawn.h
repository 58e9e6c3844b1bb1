/* SPDX-License-Identifier: Apache-2.0 */
/* Run a program to its end: its output line by line, and a way to call it off.
 *
 * The child gets a process group of its own (so the terminal's Ctrl-C reaches only us, and calling it off reaches all
 * it started), /dev/null as standard input, one pipe as standard output and standard error, only the descriptors
 * listed, default signal dispositions, and SIGTERM when its parent dies. When it has exited, what is left of its group
 * is killed. */
#ifndef HULL_BASE_SPAWN_H
#define HULL_BASE_SPAWN_H

#include "base/error.h"

#include <stddef.h>

struct hull_spawn_fd {
	int from; /* open here */
	int to;   /* the number it has in the child; from and to ranges must not overlap */
};

struct hull_spawn {
	char *const *argv;         /* argv[0] is looked up in PATH */
	const char *const *setenv; /* "K=V", added to our environment; NULL-terminated; may be NULL */
	const char *cwd;           /* NULL = ours */
	const struct hull_spawn_fd *fds;
	size_t fd_count;
	int log_fd;    /* all output is appended here; -1 = nowhere */
	int cancel_fd; /* readable = call it off (SIGTERM to the group, SIGKILL 15 s later); -1 = never */
	/* One line of output, without its end; bytes are whatever the program wrote. May be NULL. */
	void (*line)(void *ctx, const char *line);
	void *ctx;
};

/* Blocks until it is over. 0 and its wait status in *status; -ECANCELED after a cancel; -ENOENT when there is no such
 * program. */
int hull_spawn_run(const struct hull_spawn *s, int *status, struct hull_error *err);

#endif

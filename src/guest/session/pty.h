/* SPDX-License-Identifier: Apache-2.0 */
/* A pseudo-terminal for a session. See pty.c. */
#ifndef HULL_GUEST_PTY_H
#define HULL_GUEST_PTY_H

#include "base/error.h"

#include <sys/types.h>

/* A new terminal owned by uid, both ends close-on-exec, the master non-blocking. */
int hull_pty_open(uid_t uid, unsigned rows, unsigned cols, int *master, int *slave, struct hull_error *err);
void hull_pty_resize(int master, unsigned rows, unsigned cols);
/* In the child, which leads a session: make it the controlling terminal and standard input, output and error. */
int hull_pty_adopt(int slave);

#endif

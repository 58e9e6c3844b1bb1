/* SPDX-License-Identifier: Apache-2.0 */
/* What exec.c offers the other files of this folder. */
#ifndef HULL_GUEST_EXEC_H
#define HULL_GUEST_EXEC_H

#include "base/error.h"

#include <sys/types.h>

/* A line of hull-init's own to the stderr of the session that has this process as its first, or this number. */
void hull_exec_tell(pid_t pid, unsigned session, const char *text);
/* Start a program that does nothing, as a session's process that first calls `wait`, and wait for its end. For a
 * process other than PID 1. */
int hull_exec_warmup(void (*wait)(void), struct hull_error *err);

#endif

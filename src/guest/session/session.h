/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: what the host has started in the guest, from the request to the exit code.
 *
 *     exec.c      the service exec: a process on pipes or a terminal, its end, its epoch
 *     request.c   what was asked for       users.c   as whom        pty.c   the terminal
 *     tar.c       the services tar-in and tar-out
 *     oom.c       what the kernel killed for want of memory, and whose it was
 *     warmup.c    a first command that does nothing, where the processor is emulated
 *
 * Jobs are sessions with an ID: they outlive their stream and their epoch (exec.c). */
#ifndef HULL_GUEST_SESSION_H
#define HULL_GUEST_SESSION_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- exec.c --- */
void hull_exec_open(uint32_t stream, const uint8_t *args, size_t len);
unsigned hull_exec_sessions(void);
/* Report to a new host the sessions that lost their streams. */
void hull_exec_announce(void);
/* The host gave authorities to trust: programs that have a trust store of their own are told in their environment. */
void hull_exec_authorities(bool there);
/* How many processes of sessions have not been reaped. */
unsigned hull_exec_running(void);
/* From now on call `ended` when such a process was reaped, or nobody asks for its end any more. */
void hull_exec_on_end(void (*ended)(void));

/* --- tar.c --- */
void hull_tar_open(uint32_t stream, bool in, const uint8_t *args, size_t len);

/* --- oom.c --- */
/* From now on what is killed is said, on the console, in the keeper's log and on the stderr of its session. */
void hull_oom_start(void);

/* --- warmup.c --- */
void hull_warmup_start(void);
void hull_warmup(void); /* the machine may just have been restored */

#endif

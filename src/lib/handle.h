/* SPDX-License-Identifier: Apache-2.0 */
/* What every part of the library has in hand: where the state is, and how it speaks to who called. Private; the public
 * half is hull.h.
 *
 * Nothing here prints, ends the process or touches signals and the terminal. What a person may want to know goes to the
 * callbacks of the handle; a wait is lib_poll(), which ends early when the caller wants to give up. */
#ifndef HULL_LIB_HANDLE_H
#define HULL_LIB_HANDLE_H

#include "base/error.h"
#include "lib/hull.h"
#include "store/store.h"

#include <poll.h>

struct hull {
	struct hull_paths paths;
	struct hull_callbacks callbacks; /* members that are NULL are not called */
	int interrupt_fd;                /* borrowed; -1 = none */
};

/* What is being waited for, of which sandbox (or "template"); stage NULL = the wait is over. */
__attribute__((format(printf, 3, 4))) void lib_stage(const struct hull *h, const char *subject, const char *fmt, ...);
void lib_stage_end(const struct hull *h, const char *subject);
__attribute__((format(printf, 3, 4))) void lib_note(const struct hull *h, enum hull_note kind, const char *fmt, ...);
void lib_moved(const struct hull *h, const char *subject, uint64_t bytes);
/* In a child, before exec: what the caller has changed of signals is put back. */
void lib_child(const struct hull *h);

/* Does the caller want to give up? Does not block. */
bool lib_interrupted(const struct hull *h);
/* poll(2) on at most LIB_POLL_MAX descriptors and the caller's wish to give up, who may have something to do meanwhile.
 * As poll(2) otherwise: 0 when timeout_ms (-1 = none) or the caller's own time is over. -EINTR: to be given up. */
enum { LIB_POLL_MAX = 8 };
int lib_poll(const struct hull *h, struct pollfd *fds, unsigned n, int timeout_ms, struct hull_error *err);
uint64_t lib_now_ms(void); /* CLOCK_MONOTONIC */

/* -EINVAL when there are flags that this library does not know. */
int lib_flags(unsigned flags, unsigned known, struct hull_error *err);

/* At the beginning of a call of hull.h, whose err may be NULL. */
#define LIB_CALL(err)                 \
	struct hull_error lib_no_err; \
	(err) = (err) ? (err) : &lib_no_err

/* A struct of the caller's, whose first member is its size, into one of ours: members that it does not have are zero.
 * -EINVAL when it has some that this library does not know and that are not zero. NULL gives all zero. */
int lib_spec(const void *given, void *out, size_t known, struct hull_error *err);

#endif

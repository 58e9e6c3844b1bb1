/* SPDX-License-Identifier: Apache-2.0 */
/* The state that all parts of the library share: where files are, and the caller's callbacks. Private; the public half
 * is hull.h.
 *
 * Nothing here prints, ends the process, or touches signals or the terminal. Information for the user goes to the
 * callbacks of the handle. Every wait is lib_poll(), which returns early when the caller cancels. */
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

/* Report a stage: what is waited for, for which sandbox (or "template"); stage NULL = the wait is over. */
__attribute__((format(printf, 3, 4))) void lib_stage(const struct hull *h, const char *subject, const char *fmt, ...);
void lib_stage_end(const struct hull *h, const char *subject);
__attribute__((format(printf, 3, 4))) void lib_note(const struct hull *h, enum hull_note kind, const char *fmt, ...);
void lib_moved(const struct hull *h, const char *subject, uint64_t bytes);
/* In a child, before exec: restore the signal settings that the caller has changed. */
void lib_child(const struct hull *h);

/* Has the caller cancelled? Does not block. */
bool lib_interrupted(const struct hull *h);
/* poll(2) on at most LIB_POLL_MAX descriptors and on the caller's cancel descriptor; runs the caller's periodic
 * callback. Like poll(2) otherwise: 0 after timeout_ms (-1 = no limit) or the caller's own deadline. -EINTR: cancelled.
 */
enum { LIB_POLL_MAX = 8 };
int lib_poll(const struct hull *h, struct pollfd *fds, unsigned n, int timeout_ms, struct hull_error *err);
uint64_t lib_now_ms(void); /* CLOCK_MONOTONIC */

/* -EINVAL when there are flags that this library does not know. */
int lib_flags(unsigned flags, unsigned known, struct hull_error *err);

/* To be called at the start of each function of hull.h, whose err may be NULL. */
#define LIB_CALL(err)                 \
	struct hull_error lib_no_err; \
	(err) = (err) ? (err) : &lib_no_err

/* Copies a caller's struct, whose first member is its size, into one of this version. Members that the caller's version
 * lacks become zero. -EINVAL if the caller's version has members unknown to this library that are not zero. NULL gives
 * all zero. */
int lib_spec(const void *given, void *out, size_t known, struct hull_error *err);

#endif

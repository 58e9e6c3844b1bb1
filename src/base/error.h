/* SPDX-License-Identifier: Apache-2.0 */
/* Errors that say what happened, to what, and what to do now.
 *
 * The rule, everywhere in Hull: a function that can fail returns an int, 0 or positive when fine and -errno when
 * not, and takes a `struct hull_error *err` as its last parameter. On failure it has filled err (when err is not
 * NULL) by calling hull_fail(); a caller adds context with hull_wrap() and passes the code on. Only main() exits.
 *
 * err->msg is one line, no trailing newline or full stop needed, in the form "what failed: to what: why; what to do".
 */
#ifndef HULL_BASE_ERROR_H
#define HULL_BASE_ERROR_H

#include <errno.h>

/* Same as in lib/hull.h, which must stand alone. */
#ifndef HULL_ERROR_DEFINED
#define HULL_ERROR_DEFINED
struct hull_error {
	int code;       /* -errno of the failure; 0 when nothing failed */
	char msg[1024]; /* one line for a person */
};
#endif

/* Record a failure. `code` is -errno (a positive or zero code is taken as -EIO). Returns that negative code, so
 * that `return hull_fail(err, -ENOENT, "...")` reads well. err may be NULL. */
__attribute__((format(printf, 3, 4))) int hull_fail(struct hull_error *err, int code, const char *fmt, ...);

/* As hull_fail with -errno as the code and ": strerror(errno)" put behind the message. */
__attribute__((format(printf, 2, 3))) int hull_fail_errno(struct hull_error *err, const char *fmt, ...);

/* Put "prefix: " before the message err already has; returns err->code (-EIO when err is NULL). */
__attribute__((format(printf, 2, 3))) int hull_wrap(struct hull_error *err, const char *fmt, ...);

#ifdef __clang_analyzer__
/* The static analyzer reads one file at a time: assert that a failure returns a negative code. */
#define hull_fail(...)       (hull_fail(__VA_ARGS__), -EIO)
#define hull_fail_errno(...) (hull_fail_errno(__VA_ARGS__), -EIO)
#define hull_wrap(...)       (hull_wrap(__VA_ARGS__), -EIO)
#endif

#endif

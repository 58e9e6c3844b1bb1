/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one of Hull's own commands in a running sandbox and captures its output. */
#ifndef HULL_LIB_COMMAND_CAPTURE_H
#define HULL_LIB_COMMAND_CAPTURE_H

#include "base/buf.h"
#include "store/store.h"

#include <stdint.h>

/* Runs argv as root in / and captures at most `max` bytes of its stdout. The output is untrusted. *pid = the process id
 * that the guest reports. -ENOTCONN: the sandbox does not run; -EFBIG: too much output; -EIO: the command failed, with
 * the last line of its stderr. */
int capture(const struct hull_paths *p, const char *name, const char *const *argv, size_t max, struct hull_buf *out,
	    uint32_t *pid, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The output of a command of Hull's own in a sandbox that runs. */
#ifndef HULL_LIB_COMMAND_CAPTURE_H
#define HULL_LIB_COMMAND_CAPTURE_H

#include "base/buf.h"
#include "store/store.h"

#include <stdint.h>

/* Run argv as root in /, and keep at most `max` bytes of its stdout: the guest's words, to be read as such. *pid is
 * what the guest says its process was. -ENOTCONN when the sandbox does not run, -EFBIG when there is more, -EIO when
 * the command failed, with the last line of its stderr. */
int capture(const struct hull_paths *p, const char *name, const char *const *argv, size_t max, struct hull_buf *out,
	    uint32_t *pid, struct hull_error *err);

#endif

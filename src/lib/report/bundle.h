/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the archive for a bug report, without the user's private data. */
#ifndef HULL_LIB_REPORT_BUNDLE_H
#define HULL_LIB_REPORT_BUNDLE_H

#include "base/error.h"
#include "store/store.h"

/* Write a gzipped tar to fd:
 *   README             what is in it and what was taken out
 *   doctor.json        `findings` as it is, redacted (text, borrowed)
 *   system             kernel, distribution, processor, and what of the environment is HULL_*'s name (no values)
 *   sandbox-N/state    what sandbox.json says of its machine: figures, flags, counts; no path, environment, name
 *   sandbox-N/X.log    the last 256 KiB of keeper, guest, engine and serial log, redacted (lib/report/redact.h)
 * Left out whole: job output, dockerd.log, egress.log, policies, secrets, disks.
 * A damaged sandbox is named in README with the reason. 0 or -errno. */
int hull_bundle_write(const struct hull_paths *p, const char *findings, int fd, struct hull_error *err);

#endif

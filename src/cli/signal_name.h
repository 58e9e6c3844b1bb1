/* SPDX-License-Identifier: Apache-2.0 */
/* Signal names, as in `hull kill -s`. */
#ifndef HULL_CLI_SIGNAL_NAME_H
#define HULL_CLI_SIGNAL_NAME_H

#include "base/error.h"

/* TERM, SIGTERM, sigterm or 15 -> 15, Linux's number. -EINVAL with the closest name. */
int signal_number(const char *text, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The names of signals, as `hull kill -s` takes them. */
#ifndef HULL_CLI_SIGNAL_NAME_H
#define HULL_CLI_SIGNAL_NAME_H

#include "base/error.h"

/* TERM, SIGTERM, sigterm or 15 -> 15: the number that Linux has for it. -EINVAL, with the closest name. */
int signal_number(const char *text, struct hull_error *err);

#endif

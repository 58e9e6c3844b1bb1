/* SPDX-License-Identifier: Apache-2.0 */
/* Reports why a command had no network; see refused.c. */
#ifndef HULL_CLI_REFUSED_H
#define HULL_CLI_REFUSED_H

#include "cli/cli.h"
#include "lib/command/refused.h"

/* Print on stderr the hosts that the policy refused since then, if any, and what to do. */
void refused_tell(struct cli *cli, const char *name, const struct refused_mark *since);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Saying why a command had no network; see refused.c. */
#ifndef HULL_CLI_REFUSED_H
#define HULL_CLI_REFUSED_H

#include "cli/cli.h"
#include "lib/command/refused.h"

/* Say on stderr which hosts the policy refused since then, if any, and what to do about it. */
void refused_tell(struct cli *cli, const char *name, const struct refused_mark *since);

#endif

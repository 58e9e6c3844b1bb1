/* SPDX-License-Identifier: Apache-2.0 */
/* Do one thing to several sandboxes at once, as start, stop and rm do. */
#ifndef HULL_CLI_EACH_H
#define HULL_CLI_EACH_H

#include "cli/cli.h"
#include "cli/out.h"

/* Which ones: the words, or with `all` every one that `wanted` takes (NULL = all). At least one word or `all`.
 * *names is owned by the caller. */
int each_names(struct cli *cli, bool all, bool (*wanted)(const struct hull_paths *p, const char *name), char ***names,
	       struct hull_error *err);
/* Call `fn` for each, several at a time in processes of their own; a name that went well is printed, an error is told
 * at once and the rest goes on. 0, or CLI_EXIT_HULL when one failed. There is progress when it is only one. */
int each_run(struct cli *cli, char *const *names, bool quiet,
	     int (*fn)(struct cli *cli, const char *name, struct hull_error *err), struct hull_error *err);

#endif

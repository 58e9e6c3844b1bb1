/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one operation on several sandboxes in parallel, for start, stop, rm and others. */
#ifndef HULL_CLI_EACH_H
#define HULL_CLI_EACH_H

#include "cli/cli.h"
#include "cli/out.h"

/* Select them: the words, or with `all` every one that `wanted` accepts (NULL = all). Requires at least one word or
 * `all`. *names is owned by the caller. */
int each_names(struct cli *cli, bool all, bool (*wanted)(const struct hull_paths *p, const char *name), char ***names,
	       struct hull_error *err);
/* Call `fn` for each, several at a time in child processes. The name is printed on success; an error is printed
 * immediately, and the others continue. 0, or CLI_EXIT_HULL when one failed. Progress is shown for a single one only.
 */
int each_run(struct cli *cli, char *const *names, bool quiet,
	     int (*fn)(struct cli *cli, const char *name, struct hull_error *err), struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Which sandbox and repository a URL means, and git's service in it. */
#ifndef HULL_REMOTE_SERVE_H
#define HULL_REMOTE_SERVE_H

#include "lib/hull.h"

/* "NAME" or "NAME/DIR" as in the URL: the sandbox, and the repository's directory in it; owned. An empty path is the
 * sandbox's clone, or the first of its mounts. */
int remote_parse(struct hull *h, const char *url, char **name, char **dir, struct hull_error *err);

/* serve.c: run the service in the sandbox, which is up, with our standard descriptors. The exit code. */
int remote_serve(struct hull *h, const char *service, const char *name, const char *dir, struct hull_error *err);

#endif

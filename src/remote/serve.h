/* SPDX-License-Identifier: Apache-2.0 */
/* Resolves a URL to a sandbox and repository, and runs git's service in the sandbox. */
#ifndef HULL_REMOTE_SERVE_H
#define HULL_REMOTE_SERVE_H

#include "lib/hull.h"

/* Splits "NAME" or "NAME/DIR" of a URL into the sandbox and the directory of the repository in it; owned. Without a
 * path it is the sandbox's clone, or else its first mount. */
int remote_parse(struct hull *h, const char *url, char **name, char **dir, struct hull_error *err);

/* serve.c: run the service in a running sandbox on our standard descriptors. Returns the exit code. */
int remote_serve(struct hull *h, const char *service, const char *name, const char *dir, struct hull_error *err);

#endif

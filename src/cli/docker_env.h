/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine's docker client is told about itself when it talks to a sandbox (docker_env.c). */
#ifndef HULL_CLI_DOCKER_ENV_H
#define HULL_CLI_DOCKER_ENV_H

#include "base/error.h"
#include "store/store.h"

/* Change this process's environment to that of a client of NAME's daemon at `host` ("unix://..."). */
int docker_env(const struct hull_paths *p, const char *name, const char *host, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The environment of this machine's docker client for a sandbox's daemon (docker_env.c). */
#ifndef HULL_CLI_DOCKER_ENV_H
#define HULL_CLI_DOCKER_ENV_H

#include "base/error.h"
#include "store/store.h"

/* Set this process's environment for a client of NAME's daemon at `host` ("unix://..."). */
int docker_env(const struct hull_paths *p, const char *name, const char *host, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* An exec request, read from the arguments of OPEN: see request.c. */
#ifndef HULL_GUEST_REQUEST_H
#define HULL_GUEST_REQUEST_H

#include "base/error.h"
#include "guest/session/users.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HULL_SESSION_ID = 8 };

/* Of the variables that hull_request_complete() sets, those that sudo is told to keep (setup.c). */
#define HULL_ENV_SUDO                                                                                      \
	"npm_config_fetch_retry_mintimeout npm_config_fetch_retry_maxtimeout PIP_RETRIES CARGO_NET_RETRY " \
	"NODE_EXTRA_CA_CERTS SSL_CERT_FILE REQUESTS_CA_BUNDLE PIP_CERT"

struct hull_request {
	char **argv; /* NULL-terminated; empty for a login shell until hull_request_complete() */
	size_t argc;
	char **env; /* NULL-terminated "K=V", one per key after hull_request_complete() */
	size_t envc;
	char *cwd;     /* NULL = workdir */
	char *workdir; /* when that is not given, or cannot be entered: the user's home */
	char *linkdir; /* another name of workdir; NULL = none */
	char *user;    /* NULL = agent */
	char *program; /* what to execute: argv[0], or the shell when argv[0] is "-bash" */
	bool tty;
	bool keep;
	bool authorities; /* the host gave some: tell programs that have a trust store of their own; not of the wire */
	unsigned rows, cols;
	char id[HULL_SESSION_ID + 1]; /* "" = none */
	bool attach;
};
/* Read the fields; malformed ones fail with -EINVAL. */
int hull_request_read(const uint8_t *args, size_t len, struct hull_request *out, struct hull_error *err);
/* Fill in what depends on the user: the environment's defaults, the login shell. */
int hull_request_complete(struct hull_request *r, const struct hull_user *u, struct hull_error *err);
void hull_request_free(struct hull_request *r); /* the members */

#endif

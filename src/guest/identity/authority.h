/* The authorities that the host gives this guest to trust: see authority.c. */
#ifndef HULL_GUEST_AUTHORITY_H
#define HULL_GUEST_AUTHORITY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HULL_CA_BUNDLE "/etc/ssl/certs/ca-certificates.crt"
#define HULL_CA_GIVEN  "/etc/ssl/hull-ca.pem" /* all that the host gave, and nothing else */

/* Make the trust store below `root` (a directory descriptor) what it is without Hull, plus the certificates in these
 * fields of control's OPEN; without any, what earlier starts added goes. *there: HULL_CA_GIVEN and the bundle have
 * them. No mount below root is entered: -EXDEV. */
int hull_authority_install(int root, const uint8_t *args, size_t len, bool *there, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The server name in a TLS ClientHello. */
#ifndef HULL_EGRESS_SNI_H
#define HULL_EGRESS_SNI_H

#include "policy/policy.h"

enum sni_result {
	SNI_MORE,   /* it is TLS so far; more bytes are needed */
	SNI_NONE,   /* a ClientHello without a server name */
	SNI_NAME,   /* `name` is filled */
	SNI_BROKEN, /* it begins as TLS and is none */
	SNI_NOT_TLS,
};
enum { SNI_INPUT_MAX = 64 * 1024 };

/* Look at the first n bytes of a connection. A ClientHello is broken unless it ends with a record; *used says
 * where (may be NULL). */
enum sni_result sni_parse(const uint8_t *p, size_t n, char name[HULL_HOST_MAX + 1], size_t *used);

#endif

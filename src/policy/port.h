/* SPDX-License-Identifier: Apache-2.0 */
/* A published port, as people write it: [[IP:]HOST:]PORT[/tcp|/udp]. */
#ifndef HULL_POLICY_PORT_H
#define HULL_POLICY_PORT_H

#include "base/error.h"
#include "policy/addr.h"

struct hull_port {
	char ip[HULL_ADDR_TEXT]; /* "" = 127.0.0.1 and ::1 */
	uint16_t host;           /* 0 = any that is free */
	uint16_t guest;
	bool udp;
};
/* An IPv6 address stands in brackets: [::1]:8080:80. */
int hull_port_parse(const char *text, struct hull_port *out, struct hull_error *err);
/* In its one spelling; owned by the caller, NULL when out of memory. */
char *hull_port_text(const struct hull_port *p);

#endif

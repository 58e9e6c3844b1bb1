/* SPDX-License-Identifier: Apache-2.0 */
/* The upstream proxy that hull-egress is told of; gateway_proxy.c. */
#ifndef HULL_KEEPER_GATEWAY_PROXY_H
#define HULL_KEEPER_GATEWAY_PROXY_H

#include "keeper/keeper.h"

/* The "proxy" of egress.h's start line: a new reference. */
json_t *gateway_proxy(const struct keeper *k);

#endif

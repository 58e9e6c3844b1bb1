/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to the request "status". See status.c. */
#ifndef HULL_KEEPER_STATUS_H
#define HULL_KEEPER_STATUS_H

#include <jansson.h>

struct keeper;
/* A new reference; NULL when out of memory. */
json_t *status_json(struct keeper *k);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* config.yaml, the settings of all of a person's sandboxes, as a document: see config.c. */
#ifndef HULL_POLICY_CONFIG_H
#define HULL_POLICY_CONFIG_H

#include "base/error.h"

struct fy_document;

/* That of this directory. *doc has a mapping at its root, or is NULL when the file is not there or says nothing. */
int hull_config_read(const char *dir, struct fy_document **doc, struct hull_error *err);
void hull_config_free(struct fy_document **doc); /* fit for _cleanup_ */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Private to snapshot/. */
#ifndef HULL_SNAPSHOT_INTERNAL_H
#define HULL_SNAPSHOT_INTERNAL_H

#include "snapshot/snapshot.h"

#include <stddef.h>

extern const char *const hull_snapshot_files[]; /* NULL-terminated */
int hull_snapshot_sha256(const void *p, size_t n, char hex[65], struct hull_error *err);
/* verified.c: record that all files match snapshot.json. */
void hull_snapshot_remember_all(const char *dir, const struct hull_snapshot *s);

#endif

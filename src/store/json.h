/* SPDX-License-Identifier: Apache-2.0 */
/* Reads members of a possibly damaged JSON object, checking type and range. *bad, which the caller sets to NULL, names
 * the first invalid one; the values returned then are meaningless, but can be freed. */
#ifndef HULL_STORE_JSON_H
#define HULL_STORE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A copy without NUL, owned by the caller; NULL when an optional member is missing. */
char *hull_json_str(const json_t *j, const char *key, bool required, const char **bad);
/* 0 when an optional member is missing. */
uint64_t hull_json_uint(const json_t *j, const char *key, bool required, uint64_t least, uint64_t most,
			const char **bad);
bool hull_json_bool(const json_t *j, const char *key, bool required, const char **bad);
/* Of strings; free with hull_strv_free(). */
char **hull_json_list(const json_t *j, const char *key, size_t most, const char **bad);

#endif

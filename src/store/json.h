/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a JSON object that may be damaged, each checked for type and range as it is read. The first that is wrong
 * is named in *bad, which the caller set to NULL; what is returned then is of no use, but can be freed. */
#ifndef HULL_STORE_JSON_H
#define HULL_STORE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A copy, owned by the caller, without a NUL in it; NULL when there is none and none is required. */
char *hull_json_str(const json_t *j, const char *key, bool required, const char **bad);
/* 0 when there is none and none is required. */
uint64_t hull_json_uint(const json_t *j, const char *key, bool required, uint64_t least, uint64_t most,
			const char **bad);
bool hull_json_bool(const json_t *j, const char *key, bool required, const char **bad);
/* Of strings; free with hull_strv_free(). */
char **hull_json_list(const json_t *j, const char *key, size_t most, const char **bad);

#endif

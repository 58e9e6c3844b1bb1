/* SPDX-License-Identifier: Apache-2.0 */
/* See json.h. */
#include "store/json.h"

#include "store/store.h"

#include <string.h>

enum { TEXT_MAX = 65536 };

static void wrong(const char *key, const char **bad)
{
	if (!*bad)
		*bad = key;
}

char *hull_json_str(const json_t *j, const char *key, bool required, const char **bad)
{
	const json_t *v = json_object_get(j, key);
	char *s = NULL;
	if ((!v || json_is_null(v)) && !required)
		return NULL;
	if (json_is_string(v) && json_string_length(v) <= TEXT_MAX &&
	    strlen(json_string_value(v)) == json_string_length(v))
		s = strdup(json_string_value(v));
	if (!s)
		wrong(key, bad);
	return s;
}

uint64_t hull_json_uint(const json_t *j, const char *key, bool required, uint64_t least, uint64_t most,
			const char **bad)
{
	const json_t *v = json_object_get(j, key);
	if (!v && !required)
		return 0;
	uint64_t n = json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v) : UINT64_MAX;
	if (n >= least && n <= most)
		return n;
	wrong(key, bad);
	return 0;
}

bool hull_json_bool(const json_t *j, const char *key, bool required, const char **bad)
{
	const json_t *v = json_object_get(j, key);
	if (v ? !json_is_boolean(v) : required)
		wrong(key, bad);
	return json_is_true(v);
}

char **hull_json_list(const json_t *j, const char *key, size_t most, const char **bad)
{
	const json_t *v = json_object_get(j, key);
	char **list = hull_strv_copy(NULL);
	if (!list || (v && !json_is_array(v)) || json_array_size(v) > most) {
		wrong(key, bad);
		return list;
	}
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *e = json_array_get(v, i);
		if (!json_is_string(e) || hull_strv_add(&list, json_string_value(e)) < 0) {
			wrong(key, bad);
			return list;
		}
	}
	return list;
}

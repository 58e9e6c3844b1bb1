/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of strings, NULL-terminated, owning their members; see store.h. Short lists: adding is linear. */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

size_t hull_strv_count(char *const *v)
{
	size_t n = 0;
	while (v && v[n])
		n++;
	return n;
}

void hull_strv_free(char **v)
{
	for (size_t i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}

char **hull_strv_copy(char *const *v)
{
	size_t n = hull_strv_count(v);
	char **copy = calloc(n + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < n; i++) {
		copy[i] = strdup(v[i]);
		if (!copy[i]) {
			hull_strv_free(copy);
			return NULL;
		}
	}
	return copy;
}

int hull_strv_add(char ***v, const char *s)
{
	size_t n = hull_strv_count(*v);
	char *own = strdup(s);
	char **grown = own ? reallocarray(*v, n + 2, sizeof(*grown)) : NULL;
	if (!own || !grown) {
		free(own);
		return -ENOMEM;
	}
	grown[n] = own;
	grown[n + 1] = NULL;
	*v = grown;
	return 0;
}

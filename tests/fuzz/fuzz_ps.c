/* SPDX-License-Identifier: Apache-2.0 */
/* What ps says in a guest: whatever it is, a list of objects with every member comes of it. */
#include "lib/command/ps.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *list = ps_read(data, size, 7, NULL), *j;
	size_t i;
	json_array_foreach(list, i, j)
	{
		if (!json_is_integer(json_object_get(j, "pid")) || !json_is_string(json_object_get(j, "command")))
			abort();
	}
	json_decref(list);
	return 0;
}

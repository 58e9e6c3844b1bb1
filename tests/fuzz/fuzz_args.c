/* SPDX-License-Identifier: Apache-2.0 */
/* Argument lists out of any bytes: reading stays inside, and what was read can be written again to the same bytes. */
#include "wire/args.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hull_cur cur = hull_cur_make(data, size);
	struct hull_buf again = {0};
	struct hull_arg a;
	while (hull_args_next(&cur, &a)) {
		char *s = hull_arg_str(&a);
		if (s && (strlen(s) != a.n || memcmp(s, a.p, a.n) != 0))
			abort();
		free(s);
		if ((hull_arg_u32(&a) && a.n != 4) || (hull_arg_u64(&a) && a.n != 8))
			abort();
		if (hull_args_put(&again, a.tag, a.p, a.n) < 0)
			abort();
	}
	if (again.len > size || (again.len && memcmp(hull_buf_bytes(&again), data, again.len) != 0) ||
	    cur.bad != (again.len != size))
		abort();
	hull_buf_free(&again);
	return 0;
}

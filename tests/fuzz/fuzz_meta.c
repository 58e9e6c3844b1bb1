/* SPDX-License-Identifier: Apache-2.0 */
/* The record beside a file of a workspace, which a stranger may have written. What is taken for one must come out again
 * as the same bytes: there is one way to write each. */
#include "share/meta.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct share_meta m;
	uint8_t again[SHARE_META_SIZE];
	if (!share_meta_parse(data, size, &m))
		return 0;
	share_meta_format(&m, again);
	if (size != sizeof again || memcmp(data, again, sizeof again) != 0)
		abort();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the kernel's log, which a process can put its name into: whatever they are, what is told of them is short,
 * printable and about a process that may exist. */
#include "guest/session/oom.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hull_oom o;
	if (!hull_oom_record((const char *)data, size, &o))
		return 0;
	if (o.pid < 2)
		abort();
	for (const char *c = o.task; *c; c++)
		if ((unsigned char)*c < ' ')
			abort();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Exec requests out of any bytes: what is taken is a well-formed argv and an environment with each name once. */
#include "guest/session/request.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char name[] = "agent", home[] = "/home/agent", shell[] = "/bin/bash";
	const struct hull_user u = {.name = name, .home = home, .shell = shell};
	struct hull_request r = {0};
	if (hull_request_read(data, size, &r, NULL) < 0)
		return 0;
	if (hull_request_complete(&r, &u, NULL) < 0 || r.argc == 0 || r.argv[r.argc] || r.env[r.envc] || !r.program[0])
		abort();
	for (size_t i = 0; i < r.envc; i++) {
		size_t n = strcspn(r.env[i], "=") + 1;
		for (size_t j = i + 1; r.envc < 100 && j < r.envc; j++)
			if (strncmp(r.env[i], r.env[j], n) == 0)
				abort();
	}
	hull_request_free(&r);
	return 0;
}

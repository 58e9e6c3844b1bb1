/* SPDX-License-Identifier: Apache-2.0 */
/* The QMP client against arbitrary bytes from a QEMU that its guest has taken over. The first byte says in what
 * pieces the rest arrives, and whether a good greeting comes first. */
#include "engine/qmp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_greeting(void *ctx, int major, int minor, int micro)
{
	(void)ctx;
	(void)(major ^ minor ^ micro);
}

static void on_event(void *ctx, const char *name, const json_t *data)
{
	*(size_t *)ctx += strlen(name) + json_object_size(data);
}

static void on_reply(void *ctx, uint64_t id, const json_t *result, const char *error)
{
	*(size_t *)ctx += id + (error ? strlen(error) : 0) + (result ? 1 : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct hull_qmp_ops ops = {.greeting = on_greeting, .event = on_event, .reply = on_reply};
	static const char hello[] =
		"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 10}}}}\n";
	size_t sum = 0;
	if (size < 1)
		return 0;
	struct hull_qmp *q = hull_qmp_new(&ops, &sum);
	if (!q)
		return 0;
	size_t piece = (size_t)(data[0] & 0x7f) + 1;
	if (data[0] & 0x80)
		hull_qmp_feed(q, hello, sizeof(hello) - 1, NULL);
	data++;
	size--;
	hull_qmp_command(q, "stop", NULL, NULL);
	while (size > 0) {
		size_t n = size < piece ? size : piece;
		const uint8_t *out;
		struct hull_error err;
		hull_qmp_feed(q, data, n, &err);
		size_t sent = hull_qmp_output(q, &out);
		if (sent && out[sent - 1] != '\n')
			abort();
		hull_qmp_sent(q, sent);
		data += n;
		size -= n;
	}
	hull_qmp_free(q);
	return 0;
}

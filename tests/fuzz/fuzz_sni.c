/* SPDX-License-Identifier: Apache-2.0 */
/* A ClientHello. What needs more bytes must go on needing them only, or become something; a prefix never has a name
 * that the whole has not. */
#include "egress/sni.h"
#include "egress/tls.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What both ends say behind a first ClientHello for "good.test": the first byte of each piece says whose it is and how
 * long. Nothing that goes out before the server's answer is a handshake record, and no second ClientHello goes out that
 * names another server. */
static void later(const uint8_t *p, size_t n)
{
	static struct tls_watch w;
	uint8_t in[1024];
	size_t have = 0, skip = 0;
	char name[HULL_HOST_MAX + 1];
	w = (struct tls_watch){.first = SNI_NAME, .name = "good.test"};
	while (n > 1) {
		bool guest = p[0] & 1;
		size_t k = p[0] >> 1 < n - 1 ? p[0] >> 1 : n - 1, used;
		const char *why;
		if (!guest)
			tls_heard(&w, p + 1, k);
		else if (have + k <= sizeof(in)) {
			memcpy(in + have, p + 1, k);
			have += k;
		}
		p += k + 1;
		n -= k + 1;
		for (;;) {
			enum tls_step step = tls_said(&w, in, have, &used, &why);
			if (step == TLS_WRONG)
				return;
			if (step == TLS_REST && w.answer == TLS_RETRY &&
			    (sni_parse(in, have, name, NULL) != SNI_NAME || strcmp(name, w.name) != 0))
				abort();
			if (step != TLS_PASS)
				break;
			if (used == 0 || used > have || (skip == 0 && in[0] == 0x16))
				abort();
			skip = skip ? skip - used : w.left;
			if (skip != w.left)
				abort();
			memmove(in, in + used, have - used);
			have -= used;
		}
		if (w.answer == TLS_DONE)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	tls_malformed(data, size);

	char whole[HULL_HOST_MAX + 1] = "", part[HULL_HOST_MAX + 1] = "";
	size_t used = 0;
	enum sni_result a = sni_parse(data, size, whole, &used), b = sni_parse(data, size / 2, part, NULL);
	if (b == SNI_NAME && (a != SNI_NAME || strcmp(whole, part) != 0))
		abort();
	if (a == SNI_NAME && strlen(whole) > HULL_HOST_MAX)
		abort();
	if ((a == SNI_NAME || a == SNI_NONE) && (used == 0 || used > size))
		abort();
	later(data, size);
	return 0;
}

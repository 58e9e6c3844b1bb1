/* SPDX-License-Identifier: Apache-2.0 */
/* The server name in a TLS ClientHello; see sni.h.
 *
 * A ClientHello may be cut into several records, and a record into several reads: the handshake bytes are first put
 * together (bounded), then read with the checked cursor. Whatever is not exactly what RFC 8446 and RFC 6066 say is
 * broken, and the caller then refuses: what two parsers read differently must not pass. */
#include "egress/sni.h"

#include "base/bytes.h"
#include "base/cleanup.h"

#include <string.h>

enum { RECORD_HEADER = 5, RECORD_MAX = 16384 + 2048, HELLO_MAX = 48 * 1024 };

static unsigned be(struct hull_cur *c, unsigned bytes)
{
	unsigned v = 0;
	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | hull_cur_u8(c);
	return v;
}

/* A vector: its length in `bytes` bytes, then that much. */
static struct hull_cur vector(struct hull_cur *c, unsigned bytes)
{
	size_t n = be(c, bytes);
	const uint8_t *p = hull_cur_take(c, n);
	struct hull_cur v = hull_cur_make(p ? p : c->p, p ? n : 0);
	v.bad = !p;
	return v;
}

static enum sni_result server_name(struct hull_cur ext, char name[HULL_HOST_MAX + 1])
{
	struct hull_cur list = vector(&ext, 2);
	if (list.bad || hull_cur_left(&ext) || !hull_cur_left(&list))
		return SNI_BROKEN;
	unsigned type = be(&list, 1);
	struct hull_cur host = vector(&list, 2);
	/* One entry, of the one type there is. */
	if (type != 0 || host.bad || hull_cur_left(&list))
		return SNI_BROKEN;
	return hull_host_name((const char *)host.p, hull_cur_left(&host), name) ? SNI_NAME : SNI_BROKEN;
}

static enum sni_result client_hello(struct hull_cur c, char name[HULL_HOST_MAX + 1])
{
	be(&c, 2);                                   /* legacy_version */
	hull_cur_take(&c, 32);                       /* random */
	struct hull_cur session = vector(&c, 1);     /* legacy_session_id */
	struct hull_cur ciphers = vector(&c, 2);     /* cipher_suites */
	struct hull_cur compression = vector(&c, 1); /* legacy_compression_methods */
	if (c.bad || session.bad || ciphers.bad || compression.bad)
		return SNI_BROKEN;
	if (!hull_cur_left(&c))
		return SNI_NONE;
	struct hull_cur extensions = vector(&c, 2);
	if (extensions.bad || hull_cur_left(&c))
		return SNI_BROKEN;
	enum sni_result found = SNI_NONE;
	while (hull_cur_left(&extensions)) {
		unsigned type = be(&extensions, 2);
		struct hull_cur body = vector(&extensions, 2);
		if (extensions.bad || body.bad)
			return SNI_BROKEN;
		if (type != 0)
			continue;
		if (found != SNI_NONE)
			return SNI_BROKEN; /* twice */
		found = server_name(body, name);
		if (found != SNI_NAME)
			return SNI_BROKEN;
	}
	return found;
}

enum sni_result sni_parse(const uint8_t *p, size_t n, char name[HULL_HOST_MAX + 1], size_t *used)
{
	_cleanup_(hull_buf_free) struct hull_buf hello = {0};
	if (n == 0)
		return SNI_MORE;
	if (p[0] != 0x16 || (n > 1 && p[1] != 3))
		return SNI_NOT_TLS;
	for (size_t at = 0;;) {
		if (n - at < RECORD_HEADER)
			return n - at > 0 && p[at] != 0x16 ? SNI_BROKEN : SNI_MORE;
		size_t len = (size_t)p[at + 3] << 8 | p[at + 4];
		if (p[at] != 0x16 || p[at + 1] != 3 || len == 0 || len > RECORD_MAX)
			return at == 0 && p[at + 1] != 3 ? SNI_NOT_TLS : SNI_BROKEN;
		size_t have = n - at - RECORD_HEADER < len ? n - at - RECORD_HEADER : len;
		if (hello.len + have > HELLO_MAX || hull_buf_add(&hello, p + at + RECORD_HEADER, have) < 0)
			return SNI_BROKEN;
		const uint8_t *h = hull_buf_bytes(&hello);
		if (hello.len > 0 && h[0] != 1)
			return SNI_BROKEN;
		if (hello.len >= 4) {
			size_t want = (size_t)h[1] << 16 | (size_t)h[2] << 8 | h[3];
			if (want > HELLO_MAX)
				return SNI_BROKEN;
			/* It ends where its record ends: what is behind it could be another one. */
			bool whole = hello.len - 4 >= want;
			if (whole && (hello.len - 4 > want || have < len))
				return SNI_BROKEN;
			if (whole && used)
				*used = at + RECORD_HEADER + len;
			if (whole)
				return client_hello(hull_cur_make(h + 4, want), name);
		}
		if (have < len)
			return SNI_MORE;
		at += RECORD_HEADER + len;
	}
}

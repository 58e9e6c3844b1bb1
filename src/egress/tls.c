/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS handshake behind its first ClientHello; see tls.h.
 *
 * A server of TLS 1.3 may answer with a HelloRetryRequest, and the client then sends a second ClientHello in the clear.
 * Servers take the name in that one, so it is held to the name of the first. Until the server's answer is known the
 * guest may send what is legal there: change_cipher_spec, early data, an alert. A handshake record before the answer is
 * what no client sends, and could be a second ClientHello for a retry that the guest foresees: it is refused. After
 * a ServerHello no server takes another ClientHello in the clear, and the handshake passes unseen.
 *
 * The state is a record's header and the first 38 bytes of the answer, where HelloRetryRequest has a fixed random. */
#include "egress/tls.h"

#include <string.h>

enum { CCS = 0x14, ALERT, HANDSHAKE, DATA, HEADER = 5, RECORD_MAX = 16384 + 2048, SERVER_HELLO = 2 };

static const uint8_t retry[32] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
				  0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
				  0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};

static size_t length(const uint8_t *header)
{
	return (size_t)header[3] << 8 | header[4];
}

void tls_heard(struct tls_watch *w, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n && w->answer == TLS_WAIT;) {
		if (w->peer_left == 0) {
			w->header[w->header_len++] = p[i++];
			bool bad = w->header[0] < CCS || w->header[0] >= DATA ||
				   (w->header_len > 1 && w->header[1] != 3);
			if (bad)
				w->answer = TLS_DONE; /* it does not speak TLS, or is past the hellos */
			if (w->header_len < HEADER)
				continue;
			w->peer_left = length(w->header);
			w->header_len = 0;
			continue;
		}
		size_t take = n - i < w->peer_left ? n - i : w->peer_left;
		if (w->header[0] == HANDSHAKE) {
			size_t room = sizeof(w->hello) - w->hello_len;
			size_t k = take < room ? take : room;
			memcpy(w->hello + w->hello_len, p + i, k);
			w->hello_len += (unsigned)k;
			if (w->hello[0] != SERVER_HELLO)
				w->answer = TLS_DONE;
			else if (w->hello_len == sizeof(w->hello))
				w->answer = memcmp(w->hello + 6, retry, 32) == 0 ? TLS_RETRY : TLS_DONE;
		}
		w->peer_left -= take;
		i += take;
	}
}

static enum tls_step wrong(const char **why, const char *text)
{
	*why = text;
	return TLS_WRONG;
}

static enum tls_step second(struct tls_watch *w, const uint8_t *p, size_t n, const char **why)
{
	char name[HULL_HOST_MAX + 1];
	enum sni_result r = sni_parse(p, n, name, NULL);
	if (r == SNI_MORE)
		return n < SNI_INPUT_MAX ? TLS_MORE : wrong(why, "the second ClientHello of TLS is malformed");
	if (r != SNI_NAME && r != SNI_NONE)
		return wrong(why, "the second ClientHello of TLS is malformed");
	if (r != w->first || (r == SNI_NAME && strcmp(name, w->name) != 0))
		return wrong(why, "the TLS server name was changed in a second ClientHello");
	return TLS_REST;
}

enum tls_step tls_said(struct tls_watch *w, const uint8_t *p, size_t n, size_t *used, const char **why)
{
	*used = 0;
	if (w->answer == TLS_DONE)
		return TLS_REST;
	if (n == 0)
		return TLS_MORE;
	if (w->left) {
		*used = n < w->left ? n : w->left;
		w->left -= *used;
		return TLS_PASS;
	}
	if (p[0] < CCS || p[0] > DATA || (n > 1 && p[1] != 3))
		return wrong(why, "this is not a TLS record");
	if (p[0] == HANDSHAKE)
		return w->answer == TLS_RETRY ? second(w, p, n, why)
					      : wrong(why, "a TLS handshake message came before the server's answer");
	if (n < HEADER)
		return TLS_MORE;
	if (length(p) > RECORD_MAX)
		return wrong(why, "this is not a TLS record");
	w->left = length(p);
	*used = HEADER;
	return TLS_PASS;
}

/* Is it so as far as it goes? */
static enum tls_look begins(const uint8_t *p, size_t n, const uint8_t *want, const uint8_t *mask, size_t m)
{
	for (size_t i = 0; i < n && i < m; i++)
		if ((p[i] & mask[i]) != want[i])
			return TLS_NO;
	return n < m ? TLS_MAYBE : TLS_YES;
}

enum tls_look tls_malformed(const uint8_t *p, size_t n)
{
	/* Of SSLv2: the length of a record with its highest bit set, CLIENT-HELLO, version 0.2 or 3.x. */
	static const uint8_t two[] = {0x80, 0, 1, 0, 2}, two_mask[] = {0x80, 0, 0xff, 0xff, 0xff};
	static const uint8_t three[] = {0x80, 0, 1, 3}, three_mask[] = {0x80, 0, 0xff, 0xff};
	if (n == 0)
		return TLS_MAYBE;
	if (p[0] >= CCS && p[0] <= DATA && p[0] != HANDSHAKE)
		return n < 2 ? TLS_MAYBE : p[1] == 3 ? TLS_YES : TLS_NO;
	enum tls_look a = begins(p, n, two, two_mask, sizeof(two));
	enum tls_look b = begins(p, n, three, three_mask, sizeof(three));
	return a > b ? a : b;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS handshake behind its first ClientHello, as long as a second one may follow. */
#ifndef HULL_EGRESS_TLS_H
#define HULL_EGRESS_TLS_H

#include "egress/sni.h"

enum tls_answer {
	TLS_WAIT,  /* the server has not answered yet */
	TLS_RETRY, /* it asks for a second ClientHello */
	TLS_DONE,  /* it takes none any more */
};

struct tls_watch {
	enum sni_result first; /* SNI_NAME or SNI_NONE */
	char name[HULL_HOST_MAX + 1];
	enum tls_answer answer;
	/* From the server. */
	uint8_t header[5], hello[38];
	unsigned header_len, hello_len;
	size_t peer_left; /* of the body of a record */
	/* From the guest. */
	size_t left;
};

/* What the server says: sets `answer` when that is known. */
void tls_heard(struct tls_watch *w, const uint8_t *p, size_t n);

enum tls_step {
	TLS_PASS,  /* *used bytes may go */
	TLS_MORE,  /* more bytes are needed */
	TLS_REST,  /* all may go, from here on */
	TLS_WRONG, /* *why says what is wrong */
};
/* What the guest says behind its first ClientHello. */
enum tls_step tls_said(struct tls_watch *w, const uint8_t *p, size_t n, size_t *used, const char **why);

/* Do these bytes begin as TLS must not, though some server would go on to a ClientHello: an alert or another record
 * that is no handshake, or the hello of SSLv2? */
enum tls_look { TLS_NO, TLS_MAYBE, TLS_YES };
enum tls_look tls_malformed(const uint8_t *p, size_t n);

#endif

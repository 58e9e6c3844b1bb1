/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of plain HTTP/1, as they pass: enough to know for each where it begins and ends, and what it asks for.
 *
 * Strict where servers differ: whatever two of them could read differently (both lengths, folded lines, bare line
 * feeds, two Hosts...) is broken, and the caller closes. Bodies are not kept. */
#ifndef HULL_EGRESS_HTTP_H
#define HULL_EGRESS_HTTP_H

#include "base/buf.h"
#include "policy/policy.h"

#include <stdbool.h>

enum { HTTP_HEAD_MAX = 64 * 1024, HTTP_LINE_MAX = 16 * 1024 };

enum http_look {
	HTTP_MAYBE, /* more bytes are needed */
	HTTP_YES,
	HTTP_NO,
	HTTP_TWO, /* HTTP/2 with prior knowledge */
};
/* Is this the beginning of a request, to whatever server there is? What only resembles one is HTTP_YES, too, and
 * http_feed() then says that it is broken. An answer comes within HTTP_LINE_MAX bytes. */
enum http_look http_look(const uint8_t *p, size_t n);

enum http_event {
	HTTP_MORE, /* all was taken */
	HTTP_HEAD, /* the head of a request is complete: see the members; call http_go_on() */
	HTTP_BODY, /* *used bytes belong to the request: pass them on */
	HTTP_BAD,  /* `bad` says why; final */
};

struct http {
	int state;
	uint64_t left; /* of the body, or of a chunk */
	unsigned digits, line;
	/* While there is an HTTP_HEAD: */
	struct hull_buf head;         /* as it came, with the empty line */
	char *method, *target, *path; /* path without query; "*" and "" for what has none */
	char *host;                   /* of the Host field; NULL = none */
	char *authority;              /* of an absolute target; NULL = none */
	size_t target_at;             /* where the target stands in head */
	bool v10, upgrade, upgrade_h2, connect;
	bool chunked; /* a body of unknown length; else length bytes of it follow */
	uint64_t length;
	const char *bad;
};

/* Take bytes; *used says how many. */
enum http_event http_feed(struct http *h, const uint8_t *p, size_t n, size_t *used);
/* Take the wish for another protocol out of the head (Upgrade, HTTP2-Settings), so that no answer can be taken for a
 * yes to it. What is in front of those fields stays where it is. */
void http_strip_upgrade(struct http *h);
/* Behind the head: the body, or the next head. */
void http_go_on(struct http *h);
void http_free(struct http *h);
/* "name", "name:port" or "[::1]:port": its host, as it stands there but without brackets. *port is 0 when none is said.
 * False when it is none of these, or the host is too long. */
bool http_authority_split(const char *authority, char host[HULL_HOST_MAX + 2], uint16_t *port);
/* Does it mean this name, or this address, and port? */
bool http_authority_is(const char *authority, const char *name, uint16_t port);
bool http_authority_is_addr(const char *authority, const struct hull_addr *addr, uint16_t port);

#endif

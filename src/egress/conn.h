/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of the guest: a CONNECT stream, and the socket that it leads to. internal.h lists the files. */
#ifndef HULL_EGRESS_CONN_H
#define HULL_EGRESS_CONN_H

#include "egress/dial.h"
#include "egress/internal.h"
#include "egress/names.h"
#include "egress/proxy.h"

/* --- connect.c, conn.c --- */

enum conn_state {
	CONN_LOOKUP,  /* looking the name up */
	CONN_DIAL,    /* connecting */
	CONN_PROXY,   /* speaking with the proxy */
	CONN_OPEN,    /* connected */
	CONN_REFUSED, /* not connected: waiting whether it is HTTP or TLS, to say no in it */
	CONN_ENDING,  /* our side is done: discarding until the guest closes */
};
enum conn_mode {
	MODE_FIRST,  /* the first bytes decide */
	MODE_PASS,   /* pass everything */
	MODE_TLS,    /* behind a ClientHello: another may follow */
	MODE_HTTP,   /* look at each request */
	MODE_SWITCH, /* a request asked for another protocol: wait for the answer */
};

/* What helps against a refusal. */
enum conn_remedy {
	REMEDY_ALLOW,     /* a rule for the target, or for this method and path */
	REMEDY_PRIVATE,   /* one with --private */
	REMEDY_LOCALHOST, /* one for the host's own service */
	REMEDY_RM,        /* nothing while a rule denies it */
	REMEDY_PROXY,     /* mending the proxy's setting */
	REMEDY_NONE,      /* no rule */
};

struct conn {
	struct egress *g;
	struct loop_stream stream;
	struct list_node in_list;
	enum conn_state state;
	enum conn_mode mode;
	enum hull_verdict verdict;
	enum conn_remedy remedy; /* of a refusal, set before it */
	char *host;              /* the name, or the literal address as text */
	bool literal, host_service;
	bool via_proxy, absolute; /* absolute: requests go to an HTTP proxy as they are */
	bool accepted, guest_eof, sent_eof, peer_eof;
	struct hull_target target; /* name points to host */
	struct name *name, *proxy_name;
	struct lookup lookup;
	struct dial dial;
	struct handshake shake;
	struct loop_socket *sock;
	struct loop_timer *alarm;
	struct hull_buf in;    /* from the guest, not judged */
	struct hull_buf out;   /* judged, on its way to the peer */
	struct hull_buf reply; /* its beginning: the proxy's, or in MODE_SWITCH the peer's */
	size_t owed;           /* bytes received from the guest and not granted */
	struct http *http;
	struct tls_watch *tls; /* of MODE_TLS */
	size_t sent_early;     /* bytes of `in` that may be a request line and went out already */
	bool judged;           /* MODE_PASS after a request that was allowed (WebSocket) */
	bool answered;         /* the peer said something since the last request */
	bool uninspected;      /* MODE_PASS without a look, and a rule that denies could be for what it says */
	/* for the log */
	uint64_t begin_ms, sent, received, sent_before, received_before;
	char *rule, *method, *path;
	char *spoken_for;    /* to a literal address: the host that the last request, or TLS, named; NULL = none */
	const char *refused; /* a phrase; NULL = allowed */
	struct hull_addr peer;
	bool logged, failed;
};

/* inspect.c: judge c->in and move it to c->out. May end the connection (then the stream is gone or ending): false. */
bool conn_inspect(struct conn *c);
/* The peer said something while a request waits for another protocol. False when c is gone, or ending. */
bool conn_switched(struct conn *c, const uint8_t *p, size_t n);
/* The same behind a ClientHello. */
bool conn_tls_heard(struct conn *c, const uint8_t *p, size_t n);
/* The rule that denies a request to a literal address; see hull_policy_veto(). */
const struct hull_rule *conn_veto(const struct conn *c, const char *host, const char *method, const char *path);
/* Connected: what the guest has sent meanwhile goes out. */
void conn_opened(struct conn *c);
void conn_sock_ready(struct loop_socket *s, int events);
extern const struct loop_stream_ops conn_stream_ops;
void conn_set_rule(struct conn *c, const struct hull_rule *r);
void conn_log(struct conn *c);
void conn_reset(struct conn *c, int code, const char *text);
/* Send what is in c->out as far as it goes, and give credit. False when c is gone. */
bool conn_flush(struct conn *c);
/* Bytes of our own to the guest, then the end. */
void conn_finish(struct conn *c, const void *p, size_t n);
/* Give the peer up, and wait for a while whether the guest speaks HTTP or TLS, to say no in it. */
void conn_await_first(struct conn *c);
/* An address that the target's name resolved to, or that was asked for: the policy's verdict, and whether it is one
 * of this host's own. */
struct hull_answer judge_address(const struct egress *g, const struct hull_target *target, const struct hull_addr *a);

/* --- passthrough.c --- */

/* Does a rule allow this connection without inspection? */
bool conn_whole(const struct conn *c);
/* For the log, before such a connection passes: what its first bytes, in c->in, are for. */
void conn_note(struct conn *c);

/* --- refuse.c --- */

/* Refuse, with c->remedy in the text: in HTTP or TLS when the port is one for these (page), else a reset. */
void conn_deny(struct conn *c, const struct hull_answer *a, const char *why, bool page);
/* The alert of TLS that says no. False: c is ending, or gone. */
bool conn_alert(struct conn *c);
/* The page. False: c is ending, or gone. */
bool conn_page(struct conn *c, const char *method, const char *path, const char *why);

#endif

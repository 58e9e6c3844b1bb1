/* Inside hull-egress: what its files share. The contract to the outside is egress/egress.h.
 *
 *   serve.c    the loop, the wire to the keeper, and the table of services
 *   request.c  arguments of an OPEN
 *   config.c   the EGRESS stream: lines from and to the keeper
 *   names.c    synthetic addresses, and looking names up
 *   resolve.c  RESOLVE streams
 *   dial.c     connecting to the first of several addresses that answers; proxies
 *   connect.c  CONNECT streams: from the question to a connected socket;  conn.c  their bytes
 *   inspect.c  their first bytes, and HTTP requests
 *   whole.c    what passes without a look
 *   refuse.c   saying no, and what helps
 *   datagram.c DATAGRAM streams
 *   ports.c    published ports
 *
 * One thread and one libuv loop; only getaddrinfo(3) runs in libuv's threads. The guest is hostile: all it can make us
 * hold is bounded by the limits in egress.h and a window for each stream. */
#ifndef HULL_EGRESS_INTERNAL_H
#define HULL_EGRESS_INTERNAL_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "egress/egress.h"
#include "loop/loop.h"
#include "policy/policy.h"

#include <jansson.h>
#include <uv.h>

enum { SCRATCH = 128 * 1024, ADDRS_MAX = 16 };

struct names;
struct proxy {
	bool set, socks;
	char *bad; /* what to mend: it cannot be used; NULL = it can */
	char *host;
	uint16_t port;
	char *user, *password; /* NULL = none */
};

struct egress {
	struct loop loop;
	struct loop_link link; /* to the keeper */
	int exit_code;
	const struct egress_hooks *hooks;

	struct loop_stream control;
	struct hull_buf control_in, control_out;
	unsigned log_lost;

	char *sandbox;
	struct hull_policy policy;
	struct proxy http_proxy, https_proxy, all_proxy;
	char *no_proxy;
	struct names *names;
	struct list_node conns, flows, questions, ports;
	size_t conn_count, flow_count, question_count, port_count;
	uint8_t scratch[SCRATCH];
};

/* What to do about a stream that is opened; each answers it. */
void connect_open(struct egress *g, uint32_t id, const uint8_t *args, size_t len);
void resolve_open(struct egress *g, uint32_t id, const uint8_t *args, size_t len);
void datagram_open(struct egress *g, uint32_t id, const uint8_t *args, size_t len);
void control_open(struct egress *g, uint32_t id);

/* --- request.c --- */

/* ADDRESS, PORT, NAME, QTYPE of an OPEN. Texts owned; false when malformed. */
struct request {
	char *address, *name;
	uint32_t port, qtype;
};
bool request_read(const uint8_t *args, size_t len, struct request *out);
void request_free(struct request *r);

/* --- config.c --- */

/* Queue a line to the keeper; takes j. A line that may be lost is dropped while too many wait. */
void control_send(struct egress *g, json_t *j, bool may_be_lost);
/* Cut what the policy does not allow any more; how many. */
size_t connect_recheck(struct egress *g);
size_t datagram_recheck(struct egress *g);

/* --- names.c --- */

struct name {
	char *text;
	uint32_t number;
	unsigned refs;            /* connections that use it */
	uint64_t until_ms;        /* given out until then */
	struct list_node in_lru;  /* least recently used first */
	struct name *next;        /* in its bucket */
	struct list_node waiters; /* of the lookup under way */
	bool looking;
	uint64_t looked_ms; /* 0 = never */
	int error;          /* of the last lookup: 0, or -errno */
	struct egress *g;   /* for `again`, which only tests use */
	struct loop_timer *again;
	struct hull_addr *addrs;
	size_t addr_count;
};
enum { NAME_TTL = 60 };

int names_open(struct egress *g);
/* The name's entry, made when there is none: NULL when the table is full. */
struct name *name_get(struct egress *g, const char *text);
/* Its answers were given out just now. */
void name_given(struct egress *g, struct name *n);
/* What a synthetic address stands for. *synthetic: the address is of that kind at all. */
struct name *name_of(struct egress *g, const struct hull_addr *a, bool *synthetic);
void name_hold(struct name *n);
void name_release(struct name *n);
void name_restore(struct egress *g, uint32_t number, const char *text);
struct hull_addr name_addr4(const struct name *n);
struct hull_addr name_addr6(const struct name *n);

struct lookup {
	struct list_node in_list;
	void (*done)(struct lookup *l, int error, const struct hull_addr *addrs, size_t n); /* error: 0 or -errno */
};
/* Calls done now or later. lookup_cancel() before it is harmless at any time after lookup_init(). */
void lookup_init(struct lookup *l);
void lookup_start(struct egress *g, struct name *n, struct lookup *l);
void lookup_cancel(struct lookup *l);
/* Is it an address of this host's own interfaces? Yes when that cannot be told. */
bool addr_is_local(const struct hull_addr *a);

/* --- dial.c --- */

enum {
	DIAL_AGAIN_MS = 250, /* RFC 8305, 5 */
	DIAL_AT_ONCE = 3,    /* descriptors that a connection may take while it is made */
	DIAL_DROP_MS = 1000, /* for the oldest of those, while there are other addresses */
};

struct dial {
	struct egress *g;
	struct hull_addr addrs[ADDRS_MAX];
	size_t count, next;
	uint16_t port;
	struct loop_socket *tries[ADDRS_MAX];
	size_t under_way;
	int error; /* the first */
	struct loop_timer *alarm;
	bool active;
	void *owner;
	/* fd connected (the callee's), or -errno. addr: which. */
	void (*done)(struct dial *d, int fd, const struct hull_addr *addr);
};
/* Addresses of both families are tried in turn. */
void dial_start(struct egress *g, struct dial *d, const struct hull_addr *addrs, size_t n, uint16_t port);
void dial_cancel(struct dial *d);

/* --- proxy.c --- */

/* The proxy for this destination, or NULL. */
const struct proxy *proxy_for(const struct egress *g, const char *host, uint16_t port);
int proxy_parse(const char *url, struct proxy *out);
void proxy_free(struct proxy *p);
/* What is said to it and what must come back, for host:port; state starts at 0. Appends to `say`; reads from the front
 * of `heard` what belongs to the proxy. 1 = done, 0 = more is needed, -errno with why filled. */
struct handshake {
	const struct proxy *proxy;
	const char *host;
	uint16_t port;
	int state;
	char why[256];
};
int proxy_step(struct handshake *h, struct hull_buf *heard, struct hull_buf *say);
/* "Proxy-Authorization: ...\r\n", or an empty string; owned. */
char *proxy_authorization(const struct proxy *p);

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
	enum conn_remedy remedy;  /* of a refusal, set before it */
	char *host;               /* the name, or the literal address as text */
	bool literal, own;        /* own: a service of the host's */
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
	struct hull_buf heard; /* from a proxy, before the connection is open */
	size_t owed;           /* bytes received from the guest and not granted */
	struct http *http;
	struct tls_watch *tls; /* of MODE_TLS */
	size_t ahead;          /* bytes of `in` that may be a request line and went out already */
	bool judged;           /* MODE_PASS after a request that was allowed (WebSocket) */
	bool answered;         /* the peer said something since the last request */
	bool unseen;           /* MODE_PASS without a look, and a rule that denies could be for what it says */
	/* for the log */
	uint64_t begin_ms, sent, received, sent_before, received_before;
	char *rule, *method, *path;
	char *said;          /* to a literal address: the host that the last request, or TLS, was for; NULL = none */
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
/* The rule that denies what was said to a literal address; see hull_policy_veto(). */
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
void conn_say(struct conn *c, const void *p, size_t n);
/* Give the peer up, and wait for a while whether the guest speaks HTTP or TLS, to say no in it. */
void conn_await_first(struct conn *c);
/* An address that the target's name resolved to, or that was asked for: the policy's word on it, and whether it is one
 * of this host's own. */
struct hull_answer judge_address(const struct egress *g, const struct hull_target *target, const struct hull_addr *a);

/* --- whole.c --- */

/* Does a rule allow what is behind this connection whole, whatever is said on it? */
bool conn_whole(const struct conn *c);
/* For the log, before such a connection passes: what its first bytes, in c->in, are for. */
void conn_note(struct conn *c);

/* --- refuse.c --- */

/* Say no, for c->remedy to be told with it: in HTTP or TLS when the port is one for these (page), else a reset. */
void conn_deny(struct conn *c, const struct hull_answer *a, const char *why, bool page);
/* The alert of TLS that says no. False: c is ending, or gone. */
bool conn_alert(struct conn *c);
/* The page. False: c is ending, or gone. */
bool conn_page(struct conn *c, const char *method, const char *path, const char *why);

/* --- ports.c --- */

void port_publish(struct egress *g, const json_t *j);
void port_unpublish(struct egress *g, json_int_t id);

#endif

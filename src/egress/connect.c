/* CONNECT streams: a connection of the guest's, from the question to the last byte; see internal.h.
 *
 *     policy -> LOOKUP -> DIAL -> (PROXY) -> OPEN -> gone          refused: REFUSED -> ENDING -> gone
 *
 * The policy is asked before anything else happens, and for each address that a name turned out to have. What the guest
 * sends is looked at (inspect.c) before it goes out; what the peer sends passes. Memory: what the guest has sent and
 * the peer not taken is at most a window, because credit is given for what has gone out only; from the peer nothing is
 * read that the wire does not take at once. Ends in one direction are passed on alone, and a connection that broke is
 * an RST on the other side. */
#include "egress/internal.h"

#include "egress/http.h"
#include "wire/service.h"

#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum {
	REFUSED_MS = 1000, /* who has not said anything by then does not speak first */
	ENDING_MS = 5000,  /* to take a refusal in */
};

static void on_sock(struct loop_socket *s, int events);

/* --- the end --- */

static void conn_free(struct conn *c)
{
	struct egress *g = c->g;
	conn_log(c);
	lookup_cancel(&c->lookup);
	dial_cancel(&c->dial);
	loop_timer_free(c->alarm);
	list_del(&c->in_list);
	g->conn_count--;
	name_release(c->name);
	name_release(c->proxy_name);
	hull_buf_free(&c->in);
	hull_buf_free(&c->out);
	hull_buf_free(&c->heard);
	if (c->http)
		http_free(c->http);
	free(c->http);
	free(c->tls);
	free(c->host);
	free(c->rule);
	free(c->method);
	free(c->path);
	free(c->said);
	free(c);
}

/* Refuse or reset the stream; c is gone when this returns. */
void conn_reset(struct conn *c, int code, const char *text)
{
	if (!c->refused && !c->accepted) {
		c->failed = true;
		c->refused = strerrordesc_np(code);
	}
	loop_socket_reset(c->sock);
	c->sock = NULL;
	if (!c->stream.id)
		conn_free(c);
	else if (c->accepted)
		loop_stream_reset(&c->stream, code, text);
	else
		loop_stream_refuse(&c->stream, code, text);
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct conn *c = container_of(s, struct conn, stream);
	if (code == 0 && c->sock && c->out.len > 0 && !c->sent_eof)
		return; /* both ends are told; the last bytes are still on their way to the peer */
	if (code == 0)
		loop_socket_close(c->sock);
	else
		loop_socket_reset(c->sock);
	c->sock = NULL;
	conn_free(c);
}

void conn_set_rule(struct conn *c, const struct hull_rule *r)
{
	free(c->rule);
	c->rule = r ? hull_fmt("%s: %s %s", r->source, r->allow ? "allow" : "deny", r->text) : NULL;
}

static void on_alarm(void *owner)
{
	struct conn *c = owner;
	conn_reset(c, c->state == CONN_REFUSED ? EACCES : ECONNRESET, "refused by the policy");
}

static void set_alarm(struct conn *c, uint64_t ms)
{
	loop_timer_free(c->alarm);
	c->alarm = loop_timer_new(&c->g->loop, ms, c, on_alarm);
}

static void accept_stream(struct conn *c)
{
	if (!c->accepted && c->stream.id)
		loop_stream_accept(&c->stream, NULL);
	c->accepted = true;
}

static void give_up_peer(struct conn *c)
{
	lookup_cancel(&c->lookup);
	dial_cancel(&c->dial);
	loop_socket_reset(c->sock);
	c->sock = NULL;
	hull_buf_free(&c->out);
}

void conn_say(struct conn *c, const void *p, size_t n)
{
	give_up_peer(c);
	accept_stream(c);
	c->state = CONN_ENDING;
	hull_buf_free(&c->in);
	loop_stream_write(&c->stream, 0, p, n);
	set_alarm(c, ENDING_MS);
	if (c->owed)
		loop_stream_grant(&c->stream, c->owed);
	c->owed = 0;
	loop_stream_eof(&c->stream);
}

/* Not connected: what the guest says is only to tell how a refusal can be read. */
void conn_await_first(struct conn *c)
{
	give_up_peer(c);
	accept_stream(c);
	c->state = CONN_REFUSED;
	set_alarm(c, REFUSED_MS);
	if (c->in.len)
		conn_inspect(c);
}

/* --- to the peer --- */

static size_t held(const struct conn *c)
{
	return c->in.len + c->out.len + (c->http ? c->http->head.len : 0);
}

static void watch(struct conn *c)
{
	if (!c->sock)
		return;
	int events = c->out.len ? UV_WRITABLE : 0;
	if (c->state == CONN_PROXY)
		events |= UV_READABLE;
	else if (!c->peer_eof && loop_stream_room(&c->stream) > 0)
		events |= UV_READABLE;
	loop_socket_watch(c->sock, events);
}

/* Returns the bytes that went, or -errno. */
static ssize_t send_some(struct conn *c, const uint8_t *p, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t w = send(c->sock->fd, p + done, n - done, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno == EAGAIN)
			break;
		if (w < 0)
			return -errno;
		done += (size_t)w;
	}
	c->sent += c->state == CONN_OPEN ? done : 0;
	return (ssize_t)done;
}

bool conn_flush(struct conn *c)
{
	if (c->sock && (c->state == CONN_OPEN || c->state == CONN_PROXY) && c->out.len > 0) {
		ssize_t n = send_some(c, hull_buf_bytes(&c->out), c->out.len);
		/* What the peer said before it went is still to be read; the read tells how it ended. */
		hull_buf_drain(&c->out, n < 0 ? c->out.len : (size_t)n);
	}
	if (!c->stream.id && !c->out.len) {
		loop_socket_close(c->sock);
		c->sock = NULL;
		conn_free(c);
		return false;
	}
	size_t keep = held(c);
	if (c->stream.id && c->owed > keep) {
		loop_stream_grant(&c->stream, c->owed - keep);
		c->owed = keep;
	}
	if (c->sock && c->state == CONN_OPEN && c->guest_eof && !c->sent_eof && c->in.len + c->out.len == 0) {
		c->sent_eof = true;
		shutdown(c->sock->fd, SHUT_WR);
	}
	watch(c);
	return true;
}

/* --- from the guest --- */

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct conn *c = container_of(s, struct conn, stream);
	if (c->state == CONN_ENDING) {
		loop_stream_grant(s, n);
		return;
	}
	c->owed += n;
	if (c->mode == MODE_PASS && c->state == CONN_OPEN && c->out.len == 0 && c->in.len == 0) {
		ssize_t w = send_some(c, p, n);
		if (w < 0)
			w = (ssize_t)n; /* the read tells how it ended */
		p += w;
		n -= (size_t)w;
	}
	if (n > 0 && hull_buf_add(c->mode == MODE_PASS ? &c->out : &c->in, p, n) < 0) {
		conn_reset(c, ENOMEM, "out of memory");
		return;
	}
	if (c->in.len > 0 && !conn_inspect(c))
		return;
	if (c->state != CONN_LOOKUP && c->state != CONN_DIAL)
		conn_flush(c);
}

static void on_eof(struct loop_stream *s)
{
	struct conn *c = container_of(s, struct conn, stream);
	c->guest_eof = true;
	if (c->state == CONN_REFUSED) {
		conn_reset(c, EACCES, "refused by the policy");
		return;
	}
	if (c->in.len > 0 && !conn_inspect(c))
		return;
	if (c->state == CONN_OPEN)
		conn_flush(c);
}

static void on_writable(struct loop_stream *s)
{
	struct conn *c = container_of(s, struct conn, stream);
	if (c->state == CONN_OPEN)
		watch(c);
}

static const struct loop_stream_ops OPS = {
	.data = on_data,
	.eof = on_eof,
	.writable = on_writable,
	.closed = on_closed,
};

/* --- from the peer --- */

static void opened(struct conn *c)
{
	c->state = CONN_OPEN;
	accept_stream(c);
	if (c->in.len == 0 || conn_inspect(c))
		conn_flush(c);
}

static void proxy_said(struct conn *c)
{
	uint8_t *room = hull_buf_room(&c->heard, 4096);
	/* One byte at a time behind the answer would be the peer's: a handshake is short. */
	ssize_t n = room ? recv(c->sock->fd, room, c->shake.proxy->socks ? 512 : 4096, MSG_DONTWAIT) : -1;
	if (n < 0 && room && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_reset(c, ECONNREFUSED, "the upstream proxy closed the connection");
		return;
	}
	hull_buf_added(&c->heard, (size_t)n);
	_cleanup_(hull_buf_free) struct hull_buf say = {0};
	int r;
	do {
		int before = c->shake.state;
		r = proxy_step(&c->shake, &c->heard, &say);
		if (c->shake.state == before)
			break;
	} while (r == 0 && c->heard.len > 0);
	if (r < 0) {
		conn_reset(c, -r, c->shake.why);
		return;
	}
	if (r == 0) {
		if (say.len && hull_buf_add(&c->out, hull_buf_bytes(&say), say.len) < 0)
			conn_reset(c, ENOMEM, "out of memory");
		else
			conn_flush(c);
		return;
	}
	/* What came with the answer is the peer's. */
	_cleanup_(hull_buf_free) struct hull_buf first = c->heard;
	c->heard = (struct hull_buf){0};
	c->state = CONN_OPEN;
	accept_stream(c);
	c->received += first.len;
	if (first.len)
		loop_stream_write(&c->stream, 0, hull_buf_bytes(&first), first.len);
	opened(c);
}

/* False when c is gone. */
static bool peer_said(struct conn *c)
{
	struct egress *g = c->g;
	size_t room = c->stream.id ? loop_stream_room(&c->stream) : sizeof(g->scratch);
	if (room == 0) {
		watch(c);
		return true;
	}
	size_t want = room < sizeof(g->scratch) ? room : sizeof(g->scratch);
	ssize_t n = recv(c->sock->fd, g->scratch, want, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		watch(c);
		return true;
	}
	if (n < 0) {
		int e = errno;
		conn_reset(c, e, e == ECONNRESET ? "" : strerror(e));
		return false;
	}
	if (n == 0) {
		bool last = c->guest_eof && c->out.len == 0;
		c->peer_eof = true;
		watch(c);
		if (c->stream.id)
			loop_stream_eof(&c->stream); /* after both EOFs c is gone */
		return !last;
	}
	c->received += (uint64_t)n;
	c->answered = true;
	if (c->stream.id)
		loop_stream_write(&c->stream, 0, g->scratch, (size_t)n);
	if (c->mode == MODE_SWITCH)
		return conn_switched(c, g->scratch, (size_t)n);
	if (c->mode == MODE_TLS)
		return conn_tls_heard(c, g->scratch, (size_t)n);
	watch(c);
	return true;
}

static void on_sock(struct loop_socket *s, int events)
{
	struct conn *c = s->owner;
	if (events & UV_READABLE) {
		if (c->state == CONN_PROXY) {
			proxy_said(c);
			return;
		}
		if (!peer_said(c))
			return;
	}
	if (events & UV_WRITABLE)
		conn_flush(c);
}

/* --- connecting --- */

/* The host's own address: its services are opened as localhost:PORT, or by exactly this address. */
struct hull_answer judge_address(const struct egress *g, const struct hull_target *target, const struct hull_addr *a)
{
	struct hull_target t = *target;
	t.addr = *a;
	struct hull_answer answer = hull_policy_address(&g->policy, &t);
	unsigned whole = a->family == AF_INET ? 32 : 128;
	bool exact = answer.rule && answer.rule->kind == HULL_RULE_NET &&
		     (answer.rule->bits == whole || hull_net_special(&answer.rule->net, answer.rule->bits));
	bool named = answer.rule && answer.rule->private_ok;
	if (answer.verdict == HULL_ALLOW && !exact && !named && addr_is_local(a)) {
		answer.verdict = HULL_DENY;
		answer.rule = NULL;
		answer.why = "an address of this host (its services are allowed as localhost:PORT)";
	}
	return answer;
}

/* An address of the target's that the policy does not let us connect to. */
static void deny_address(struct conn *c, const struct hull_answer *a, const struct hull_addr *addr)
{
	bool loopback = addr->family == AF_INET ? addr->b[0] == 127
						: hull_addr_equal(addr, &(struct hull_addr){AF_INET6, {[15] = 1}});
	if (addr->family)
		c->peer = *addr; /* for the log */
	c->remedy = addr->family && (loopback || addr_is_local(addr)) ? REMEDY_LOCALHOST
		    : c->literal                                      ? REMEDY_ALLOW
		    : addr->family                                    ? REMEDY_PRIVATE
								      : REMEDY_NONE;
	conn_deny(c, a, a->why, true);
}

static void on_dialed(struct dial *d, int fd, const struct hull_addr *addr)
{
	struct conn *c = d->owner;
	if (fd < 0) {
		char text[300];
		snprintf(text, sizeof(text), "%.200s:%u: %s", c->via_proxy ? "the upstream proxy" : c->host,
			 c->target.port, strerror(-fd));
		conn_reset(c, -fd, text);
		return;
	}
	if (!c->own && !c->via_proxy) {
		/* The policy may have changed since the addresses were judged. */
		struct hull_answer a = judge_address(c->g, &c->target, addr);
		if (a.verdict != HULL_ALLOW) {
			close(fd);
			deny_address(c, &a, addr);
			return;
		}
	}
	c->peer = *addr;
	c->sock = loop_socket_new(&c->g->loop, fd, c, on_sock);
	if (!c->sock) {
		conn_reset(c, ENOMEM, "out of memory");
		return;
	}
	if (!c->via_proxy || c->absolute) {
		opened(c);
		return;
	}
	c->state = CONN_PROXY;
	c->shake.host = c->host;
	c->shake.port = c->target.port;
	int r = proxy_step(&c->shake, &c->heard, &c->out);
	if (r < 0)
		conn_reset(c, -r, "the upstream proxy cannot be spoken to");
	else
		conn_flush(c);
}

static void dial_now(struct conn *c, const struct hull_addr *addrs, size_t n, uint16_t port)
{
	c->state = CONN_DIAL;
	c->dial.owner = c;
	c->dial.done = on_dialed;
	dial_start(c->g, &c->dial, addrs, n, port);
}

static void on_looked(struct lookup *l, int error, const struct hull_addr *addrs, size_t n)
{
	struct conn *c = container_of(l, struct conn, lookup);
	if (error) {
		conn_reset(c, error == -ENOENT ? ENOENT : EHOSTUNREACH,
			   error == -ENOENT ? "no such name" : "the name could not be looked up");
		return;
	}
	if (c->via_proxy) {
		dial_now(c, addrs, n, c->shake.proxy->port);
		return;
	}
	struct hull_addr good[ADDRS_MAX];
	size_t count = 0;
	struct hull_answer no = {.why = "it has no address"};
	struct hull_addr refused = {0};
	for (size_t i = 0; i < n && i < ADDRS_MAX; i++) {
		struct hull_answer a = judge_address(c->g, &c->target, &addrs[i]);
		if (a.verdict == HULL_ALLOW) {
			good[count++] = addrs[i];
		} else {
			no = a;
			refused = addrs[i];
		}
	}
	if (count == 0)
		deny_address(c, &no, &refused);
	else
		dial_now(c, good, count, c->target.port);
}

/* The target's name, or the proxy's. */
static void look_up(struct conn *c, const char *host)
{
	struct name **slot = c->via_proxy ? &c->proxy_name : &c->name;
	if (!*slot) {
		*slot = name_get(c->g, host);
		if (!*slot) {
			conn_reset(c, EAGAIN, "too many names are in use");
			return;
		}
		name_hold(*slot);
	}
	c->state = CONN_LOOKUP;
	lookup_start(c->g, *slot, &c->lookup);
}

static void begin(struct conn *c)
{
	struct egress *g = c->g;
	struct hull_answer a = hull_policy_connect(&g->policy, &c->target);
	conn_set_rule(c, a.rule);
	c->verdict = a.verdict;
	if (a.verdict == HULL_DENY && c->literal) {
		deny_address(c, &a, &c->target.addr);
		return;
	}
	if (a.verdict == HULL_DENY) {
		conn_deny(c, &a, a.why, true);
		return;
	}
	if (c->own) {
		static const struct hull_addr loopback[] = {{AF_INET, {127, 0, 0, 1}}, {AF_INET6, {[15] = 1}}};
		dial_now(c, loopback, 2, c->target.port);
		return;
	}
	if (c->literal) {
		struct hull_answer b = judge_address(g, &c->target, &c->target.addr);
		if (b.verdict != HULL_ALLOW) {
			deny_address(c, &b, &c->target.addr);
			return;
		}
	}
	const struct proxy *p = proxy_for(g, c->host, c->target.port);
	if (p && (p->bad || !p->host)) {
		/* Never past a proxy that somebody has asked for. */
		c->remedy = REMEDY_PROXY;
		conn_deny(c, NULL, "the setting of the upstream proxy cannot be used", true);
		return;
	}
	if (p) {
		struct hull_addr at;
		c->via_proxy = true;
		c->absolute = !p->socks && c->target.port == 80;
		c->shake.proxy = p;
		if (hull_addr_parse(p->host, &at))
			dial_now(c, &at, 1, p->port);
		else
			look_up(c, p->host);
		return;
	}
	if (c->literal)
		dial_now(c, &c->target.addr, 1, c->target.port);
	else
		look_up(c, c->host);
}

/* What the guest asked for: a name, a synthetic address that stands for one, or a literal address. */
static int set_target(struct conn *c, const char *address)
{
	char name[HULL_HOST_MAX + 1], text[HULL_ADDR_TEXT];
	struct hull_addr a;
	if (hull_addr_parse(address, &a)) {
		bool synthetic;
		struct name *n = name_of(c->g, &a, &synthetic);
		if (synthetic && !n)
			return -EHOSTUNREACH;
		c->literal = !n;
		if (c->literal)
			c->target.addr = a;
		c->host = strdup(n ? n->text : hull_addr_text(&a, text));
		c->name = n;
		if (n)
			name_hold(n);
	} else if (hull_host_name(address, strlen(address), name)) {
		c->host = strdup(name);
	} else {
		return -EINVAL;
	}
	if (!c->host)
		return -ENOMEM;
	c->target.name = c->literal ? NULL : c->host;
	c->own = !c->literal && hull_host_is_host(c->host);
	return 0;
}

void connect_open(struct egress *g, uint32_t id, const uint8_t *args, size_t len)
{
	_cleanup_(request_free) struct request r = {0};
	if (!request_read(args, len, &r) || !r.address || r.port == 0 || r.port > 65535) {
		hull_wire_refuse(g->link.wire, id, EINVAL, "not an address and port");
		return;
	}
	struct conn *c = g->conn_count < EGRESS_CONNECTIONS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		hull_wire_refuse(g->link.wire, id, EAGAIN, "too many connections are open in this sandbox");
		return;
	}
	c->g = g;
	c->stream.ops = &OPS;
	c->target.port = (uint16_t)r.port;
	c->target.proto = HULL_PROTO_TCP;
	c->begin_ms = uv_hrtime() / 1000000;
	c->lookup.done = on_looked;
	lookup_init(&c->lookup);
	list_init(&c->in_list);
	list_add(&g->conns, &c->in_list);
	g->conn_count++;
	int e = set_target(c, r.address);
	loop_stream_adopt(&c->stream, &g->link, id);
	if (e < 0) {
		c->refused = e == -EINVAL ? "not an address or name" : "this synthetic address stands for no name";
		if (!c->host)
			c->host = hull_printable(r.address, strnlen(r.address, 100));
		conn_reset(c, -e, c->refused);
		return;
	}
	begin(c);
}

/* --- a new policy --- */

static bool still_allowed(struct conn *c)
{
	struct egress *g = c->g;
	struct hull_answer a = hull_policy_connect(&g->policy, &c->target);
	if (a.verdict == HULL_DENY)
		return false;
	/* What has not been looked into cannot be from here on. */
	if (a.verdict == HULL_ALLOW_HTTP && (c->mode == MODE_PASS || c->mode == MODE_TLS) && !c->judged)
		return false;
	if ((c->mode == MODE_HTTP || c->mode == MODE_SWITCH || c->judged) && c->method && c->path &&
	    hull_policy_request(&g->policy, &c->target, c->method, c->path).verdict != HULL_ALLOW)
		return false;
	if (c->unseen && hull_policy_vetoes(&g->policy, c->target.port, c->target.proto))
		return false;
	if (c->said && conn_veto(c, c->said, c->mode == MODE_PASS && !c->judged ? NULL : c->method, c->path))
		return false;
	c->verdict = a.verdict;
	return c->own || c->via_proxy || !c->peer.family ||
	       judge_address(g, &c->target, &c->peer).verdict == HULL_ALLOW;
}

size_t connect_recheck(struct egress *g)
{
	size_t cut = 0;
	list_each(at, &g->conns)
	{
		struct conn *c = container_of(at, struct conn, in_list);
		if (c->state == CONN_REFUSED || c->state == CONN_ENDING || still_allowed(c))
			continue;
		cut++;
		c->refused = "the policy was changed";
		conn_reset(c, ECONNRESET, "the policy was changed");
	}
	return cut;
}

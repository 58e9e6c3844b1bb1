/* SPDX-License-Identifier: Apache-2.0 */
/* RESOLVE streams: DNS questions of the guest (docs/internals/wire.md). The answer is a synthetic address, or an error:
 *
 *   | name                                            | the real resolver is asked | answer                         |
 *   |-------------------------------------------------|----------------------------|--------------------------------|
 *   | localhost and names below it                    | no                         | does not exist                 |
 *   | a name of the host's                            | no                         | an address                     |
 *   | allowed on some port                            | yes, unless a proxy does   | an address, if the name exists |
 *   | denied: no dot, or .local .invalid .onion .arpa | no                         | does not exist                 |
 *   | denied: any other                               | no                         | an address; A and AAAA only    |
 *
 * A denied name is not looked up, so that nothing leaves the host by a question. It still gets an address: the refusal
 * comes with the connection, where hull-egress can explain it. Names without a dot are names of containers. */
#include "egress/internal.h"
#include "egress/names.h"

#include "wire/args.h"
#include "wire/service.h"

#include <string.h>

enum { TYPE_A = 1, TYPE_AAAA = 28 };

struct ask {
	struct egress *g;
	struct loop_stream stream;
	struct list_node in_list;
	struct name *name;
	struct lookup lookup;
	uint32_t type;
};

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct ask *q = container_of(s, struct ask, stream);
	lookup_cancel(&q->lookup);
	list_del(&q->in_list);
	q->g->question_count--;
	name_release(q->name);
	free(q);
}

static const struct loop_stream_ops OPS = {.closed = on_closed};

/* The question may be gone when this returns. */
static void refuse(struct ask *q, int code, const char *text)
{
	loop_stream_refuse(&q->stream, code, text);
}

static void give(struct ask *q)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	char text[HULL_ADDR_TEXT];
	struct hull_addr a = q->type == TYPE_A ? name_addr4(q->name) : name_addr6(q->name);
	int r = 0;
	if (q->type == TYPE_A || q->type == TYPE_AAAA) {
		r = hull_args_put_str(&b, HULL_TAG_ADDRESS, hull_addr_text(&a, text));
		name_given(q->g, q->name);
	}
	if (r == 0)
		r = hull_args_put_u32(&b, HULL_TAG_TTL, NAME_TTL);
	if (r < 0) {
		refuse(q, ENOMEM, "out of memory");
		return;
	}
	loop_stream_accept(&q->stream, &b);
	loop_stream_eof(&q->stream);
}

static void on_looked(struct lookup *l, int error, const struct hull_addr *addrs, size_t n)
{
	struct ask *q = container_of(l, struct ask, lookup);
	if (error)
		refuse(q, -error, error == -ENOENT ? "no such name" : "the name could not be looked up");
	else
		give(q);
}

static bool below(const char *name, const char *tail)
{
	size_t n = strlen(name), t = strlen(tail);
	return n > t && name[n - t - 1] == '.' && strcmp(name + n - t, tail) == 0;
}

/* Is some connection to this name thinkable? */
static bool allowed_somewhere(const struct hull_policy *p, const char *name)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct hull_rule *r = &p->rules[i];
		struct hull_target t = {.name = name, .port = r->ports ? r->ports[0].lo : 443, .proto = HULL_PROTO_TCP};
		if (!r->allow)
			continue;
		if (!(r->protos & HULL_PROTO_TCP))
			t.proto = HULL_PROTO_UDP;
		struct hull_policy one = {.rules = (struct hull_rule *)r, .count = 1};
		if (hull_policy_connect(&one, &t).verdict != HULL_DENY &&
		    hull_policy_connect(p, &t).verdict != HULL_DENY)
			return true;
	}
	return false;
}

static void decide(struct ask *q, const char *name)
{
	struct egress *g = q->g;
	bool address = q->type == TYPE_A || q->type == TYPE_AAAA;
	bool host = hull_host_is_host(name) && strcmp(name, "localhost") != 0;
	bool allowed = !host && allowed_somewhere(&g->policy, name);
	if (strcmp(name, "localhost") == 0 || below(name, "localhost") ||
	    (!allowed && !host &&
	     (!strchr(name, '.') || below(name, "local") || below(name, "invalid") || below(name, "onion") ||
	      below(name, "arpa")))) {
		refuse(q, ENOENT, "no such name");
		return;
	}
	if (!address && !allowed && !host) {
		refuse(q, EACCES, "the policy does not allow this name");
		return;
	}
	q->name = name_get(g, name);
	if (!q->name) {
		refuse(q, EAGAIN, "too many names are in use");
		return;
	}
	name_hold(q->name);
	if (!allowed || host || proxy_for(g, name, 443))
		give(q);
	else
		lookup_start(g, q->name, &q->lookup);
}

void resolve_open(struct egress *g, uint32_t id, const uint8_t *args, size_t len)
{
	_cleanup_(request_free) struct request r = {0};
	char name[HULL_HOST_MAX + 1];
	if (!request_read(args, len, &r) || !r.name || r.qtype == 0 || r.qtype > 65535 ||
	    !hull_host_name(r.name, strlen(r.name), name)) {
		/* A name that is no host name (an address, wild bytes) has no address. */
		bool malformed = !r.name || r.qtype == 0 || r.qtype > 65535;
		hull_wire_refuse(g->link.wire, id, malformed ? EINVAL : ENOENT, "not a host name");
		return;
	}
	struct ask *q = g->question_count < EGRESS_QUESTIONS_MAX ? calloc(1, sizeof(*q)) : NULL;
	if (!q) {
		hull_wire_refuse(g->link.wire, id, EAGAIN, "too many questions at once");
		return;
	}
	q->g = g;
	q->type = r.qtype;
	q->stream.ops = &OPS;
	q->lookup.done = on_looked;
	lookup_init(&q->lookup);
	list_add(&g->questions, &q->in_list);
	g->question_count++;
	loop_stream_adopt(&q->stream, &g->link, id);
	decide(q, name);
}

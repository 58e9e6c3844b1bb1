/* SPDX-License-Identifier: Apache-2.0 */
/* See dns_message.h. */
#include "guest/net/dns_message.h"

#include <string.h>

enum {
	QR = 0x8000,
	TC = 0x0200,
	RD = 0x0100,
	RA = 0x0080,
	CD = 0x0010,
	CLASS_IN = 1,
	CLASS_ANY = 255,
	LABEL_MAX = 63,
	WIRE_NAME_MAX = 255,
	EXTRA_RECORDS_MAX = 64,
	OPT_RECORD = 11,
};

/* DNS is big-endian, the cursor little. */
static uint16_t be16(struct hull_cur *c)
{
	uint16_t v = hull_cur_le16(c);
	return (uint16_t)(v << 8 | v >> 8);
}

/* A label that is part of a host's name in the widest sense: printable, and nothing that presentation form would
 * have to escape. */
static bool label_ok(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] <= ' ' || p[i] >= 0x7f || strchr(".\\\"()@;$", p[i]))
			return false;
	return true;
}

/* The question's name. *plain tells whether it has a presentation form without escapes. False when malformed. */
static bool read_name(struct hull_cur *c, char *out, bool *plain)
{
	size_t wire = 1, len = 0;
	*plain = true;
	out[0] = '\0';
	for (;;) {
		uint8_t n = hull_cur_u8(c);
		if (c->bad || n > LABEL_MAX)
			return false;
		if (n == 0)
			return true;
		const uint8_t *label = hull_cur_take(c, n);
		wire += n + 1U;
		if (!label || wire > WIRE_NAME_MAX)
			return false;
		if (!label_ok(label, n))
			*plain = false;
		/* wire <= 255 bounds this: each label costs n + 1 there, n and a dot here. */
		if (len > 0)
			out[len++] = '.';
		memcpy(out + len, label, n);
		len += n;
		out[len] = '\0';
	}
}

/* Past a name in a record behind the question: labels, or a pointer, which ends it. */
static void skip_name(struct hull_cur *c)
{
	for (;;) {
		uint8_t n = hull_cur_u8(c);
		if (c->bad || n == 0)
			return;
		if (n >= 0xc0) {
			hull_cur_u8(c);
			return;
		}
		hull_cur_take(c, n);
	}
}

/* Look for OPT among the records that follow the question. Whatever is wrong with the others is nothing to us. */
static void read_opt(struct hull_cur *c, unsigned records, struct hull_dns_query *q, uint8_t *version)
{
	for (unsigned i = 0; i < records && i < EXTRA_RECORDS_MAX && !c->bad && hull_cur_left(c) > 0; i++) {
		skip_name(c);
		uint16_t type = be16(c);
		uint16_t class = be16(c);
		hull_cur_u8(c); /* the extended rcode, or part of a TTL */
		uint8_t v = hull_cur_u8(c);
		hull_cur_take(c, 2);
		uint16_t n = be16(c);
		hull_cur_take(c, n);
		if (c->bad || type != HULL_DNS_OPT || q->edns)
			continue;
		q->edns = true;
		q->size = class < HULL_DNS_UDP_MIN ? HULL_DNS_UDP_MIN : class;
		if (q->size > HULL_DNS_UDP_MAX)
			q->size = HULL_DNS_UDP_MAX;
		*version = v;
	}
}

static int message_answer(enum hull_dns_rcode code, enum hull_dns_rcode *rcode)
{
	*rcode = code;
	return HULL_DNS_ANSWER;
}

int hull_dns_parse(const void *p, size_t n, struct hull_dns_query *q, enum hull_dns_rcode *rcode)
{
	struct hull_cur c = hull_cur_make(p, n);
	bool plain;
	*q = (struct hull_dns_query){.size = HULL_DNS_UDP_MIN};
	q->id = be16(&c);
	uint16_t flags = be16(&c);
	uint16_t questions = be16(&c);
	unsigned others = be16(&c);
	others += be16(&c);
	others += be16(&c);
	if (c.bad || (flags & QR))
		return HULL_DNS_DROP;
	q->opcode = (flags >> 11) & 15;
	q->rd = flags & RD;
	q->cd = flags & CD;
	if (q->opcode != 0)
		return message_answer(HULL_DNS_NOTIMP, rcode);
	if (questions != 1)
		return message_answer(HULL_DNS_FORMERR, rcode);

	const uint8_t *start = c.p;
	bool ok = read_name(&c, q->name, &plain);
	q->qtype = be16(&c);
	uint16_t class = be16(&c);
	if (!ok || c.bad) {
		q->name[0] = '\0';
		return message_answer(HULL_DNS_FORMERR, rcode);
	}
	q->question_len = (size_t)(c.p - start);
	memcpy(q->question, start, q->question_len);

	uint8_t version = 0;
	read_opt(&c, others, q, &version);
	if (version != 0)
		return message_answer(HULL_DNS_BADVERS, rcode);
	if ((class != CLASS_IN && class != CLASS_ANY) || q->qtype == HULL_DNS_AXFR || q->qtype == HULL_DNS_IXFR)
		return message_answer(HULL_DNS_REFUSED, rcode);
	/* Only addresses are ever known. Anything else about a name: there is none (NODATA), which every program
	 * takes for "go on without". */
	if (q->qtype != HULL_DNS_A && q->qtype != HULL_DNS_AAAA)
		return message_answer(HULL_DNS_NOERROR, rcode);
	if (!plain)
		return message_answer(HULL_DNS_NXDOMAIN, rcode);
	return q->name[0] ? HULL_DNS_ASK : message_answer(HULL_DNS_NOERROR, rcode);
}

/* A writer that stops at the end. */
struct out {
	uint8_t *p;
	size_t n, cap;
};

static void message_put(struct out *o, const void *p, size_t n)
{
	if (n > o->cap - o->n)
		return;
	memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void put16(struct out *o, unsigned v)
{
	uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};
	message_put(o, b, 2);
}

size_t hull_dns_build(const struct hull_dns_query *q, enum hull_dns_rcode rcode,
		      const struct hull_dns_addresses *addresses, uint8_t *out, size_t cap)
{
	struct out o = {.p = out, .cap = cap};
	size_t width = q->qtype == HULL_DNS_AAAA ? 16 : 4;
	size_t record = 12 + width; /* pointer, type, class, TTL, length, address */
	size_t count = addresses && rcode == HULL_DNS_NOERROR ? addresses->count : 0;
	size_t fixed = HULL_DNS_HEADER + q->question_len + (q->edns ? OPT_RECORD : 0);
	unsigned flags = QR | RA | (unsigned)q->opcode << 11 | (q->rd ? RD : 0U) | (q->cd ? CD : 0U) | (rcode & 15U);
	if (count > HULL_DNS_ANSWERS_MAX)
		count = HULL_DNS_ANSWERS_MAX;
	if (cap < fixed || (cap - fixed) / record < count) {
		count = 0;
		flags |= TC;
	}
	put16(&o, q->id);
	put16(&o, flags);
	put16(&o, q->question_len ? 1 : 0);
	put16(&o, (unsigned)count);
	put16(&o, 0);
	put16(&o, q->edns ? 1 : 0);
	message_put(&o, q->question, q->question_len);
	for (size_t i = 0; i < count; i++) {
		put16(&o, 0xc000 | HULL_DNS_HEADER); /* the question's name */
		put16(&o, q->qtype);
		put16(&o, CLASS_IN);
		put16(&o, addresses->ttl >> 16);
		put16(&o, addresses->ttl & 0xffff);
		put16(&o, (unsigned)width);
		message_put(&o, addresses->bytes[i], width);
	}
	if (q->edns) {
		const uint8_t root = 0;
		message_put(&o, &root, 1);
		put16(&o, HULL_DNS_OPT);
		put16(&o, HULL_DNS_UDP_MAX);
		put16(&o, (rcode >> 4) << 8); /* the extended rcode, version 0 */
		put16(&o, 0);
		put16(&o, 0);
	}
	return o.n;
}

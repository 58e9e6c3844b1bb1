/* SPDX-License-Identifier: Apache-2.0 */
/* hull-egress and what passes through it: HTTP requests, TLS names; and its parsers alone. */
#include "egress_rig.h"

#include "egress/http.h"
#include "egress/sni.h"

static int test_resolve(const char *name, struct hull_addr *out, size_t max)
{
	bool known = strstr(name, ".test") != NULL;
	if (known)
		assert_true(hull_addr_parse("127.0.0.1", out));
	return known ? 1 : -ENOENT;
}

static struct rig rig;

/* A ClientHello with this server name (NULL = none), cut into records of `cut` bytes. */
static size_t hello(const char *name, size_t cut, uint8_t *out)
{
	uint8_t h[1024] = {1};
	size_t n = 4;
	h[n++] = 3;
	h[n++] = 3;
	n += 32;
	h[n++] = 0;                                        /* session */
	h[n++] = 0, h[n++] = 2, h[n++] = 0x13, h[n++] = 1; /* ciphers */
	h[n++] = 1, h[n++] = 0;                            /* compression */
	size_t ext = n, len = name ? strlen(name) : 0;
	n += 2;
	h[n++] = 0, h[n++] = 43, h[n++] = 0, h[n++] = 3, h[n++] = 2, h[n++] = 3, h[n++] = 4;
	if (name) {
		h[n++] = 0, h[n++] = 0, h[n++] = 0, h[n++] = (uint8_t)(len + 5), h[n++] = 0,
		h[n++] = (uint8_t)(len + 3);
		h[n++] = 0, h[n++] = 0, h[n++] = (uint8_t)len;
		memcpy(h + n, name, len);
		n += len;
	}
	h[ext] = (uint8_t)((n - ext - 2) >> 8);
	h[ext + 1] = (uint8_t)(n - ext - 2);
	h[2] = (uint8_t)((n - 4) >> 8);
	h[3] = (uint8_t)(n - 4);
	size_t o = 0;
	for (size_t i = 0; i < n; i += cut) {
		size_t part = n - i < cut ? n - i : cut;
		uint8_t head[5] = {0x16, 3, 1, (uint8_t)(part >> 8), (uint8_t)part};
		memcpy(out + o, head, 5);
		memcpy(out + o + 5, h + i, part);
		o += 5 + part;
	}
	return o;
}

static void server_names(void **state)
{
	uint8_t b[8192];
	char name[HULL_HOST_MAX + 1];
	static const size_t cuts[] = {1, 2, 5, 60, 4000};
	for (size_t c = 0; c < sizeof(cuts) / sizeof(*cuts); c++) {
		size_t n = hello("Web.Test", cuts[c], b);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(sni_parse(b, i, name, NULL), SNI_MORE);
		assert_int_equal(sni_parse(b, n, name, NULL), SNI_NAME);
		assert_string_equal(name, "web.test");
		n = hello(NULL, cuts[c], b);
		assert_int_equal(sni_parse(b, n, name, NULL), SNI_NONE);
	}
	/* Every byte changed: never a crash, never another name that passes for good. */
	size_t n = hello("web.test", 4000, b);
	for (size_t i = 0; i < n; i++)
		for (int bit = 0; bit < 8; bit++) {
			b[i] ^= (uint8_t)(1 << bit);
			sni_parse(b, n, name, NULL);
			b[i] ^= (uint8_t)(1 << bit);
		}
	assert_int_equal(sni_parse((const uint8_t *)"GET /", 5, name, NULL), SNI_NOT_TLS);
	assert_int_equal(sni_parse((const uint8_t *)"\x16\x03\x01\x00\x00", 5, name, NULL), SNI_BROKEN);
	assert_int_equal(sni_parse((const uint8_t *)"\x16\x03\x01\x00\x01\x02", 6, name, NULL), SNI_BROKEN);
	n = hello("127.0.0.1", 4000, b);
	assert_int_equal(sni_parse(b, n, name, NULL), SNI_BROKEN);
}

/* What becomes of a text: heads as "METHOD path host;", bodies as "+n;", "!" at the end when broken. */
static void parse(const char *text, size_t step, char *out, size_t cap)
{
	struct http h = {0};
	size_t n = strlen(text), o = 0, body = 0;
	out[0] = '\0';
	for (size_t i = 0; i < n;) {
		size_t used = 0, give = n - i < step ? n - i : step;
		enum http_event e = http_feed(&h, (const uint8_t *)text + i, give, &used);
		assert_true(used <= give);
		i += used;
		if (e == HTTP_BODY)
			body += used;
		if (e != HTTP_BAD && (e == HTTP_HEAD || i == n) && body) {
			o += (size_t)snprintf(out + o, cap - o, "+%zu;", body);
			body = 0;
		}
		if (e == HTTP_HEAD) {
			o += (size_t)snprintf(out + o, cap - o, "%s %s %s;", h.method, h.path, h.host ? h.host : "-");
			http_go_on(&h);
		}
		if (e == HTTP_BAD) {
			o += (size_t)snprintf(out + o, cap - o, "!");
			break;
		}
	}
	http_free(&h);
}

#define H "Host: a\r\n"

static void requests(void **state)
{
	static const struct {
		const char *text, *want;
	} t[] = {
		{"GET / HTTP/1.1\r\n" H "\r\n", "GET / a;"},
		{"\r\n\r\nGET /x?y#", ""},
		{"GET /x?y HTTP/1.1\r\nhOsT:  b \t\r\n\r\nHEAD /z HTTP/1.1\r\n" H "\r\n", "GET /x b;HEAD /z a;"},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n" H "\r\n",
		 "POST / a;+3;GET / a;"},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", "POST / a;GET / a;"},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n" H
		 "\r\n",
		 "POST / a;+13;GET / a;"},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: CHUNKED\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nT: x\r\n\r\n",
		 "POST / a;+30;"},
		{"GET http://b/c?d HTTP/1.1\r\n" H "\r\n", "GET /c a;"},
		{"GET http://b HTTP/1.1\r\n" H "\r\n", "GET / a;"},
		{"OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS * a;"},
		{"CONNECT b:443 HTTP/1.1\r\n" H "\r\n", "CONNECT  a;"},
		{"GET / HTTP/1.0\r\n\r\n", "GET / -;"},
		/* What servers may read in two ways. */
		{"GET / HTTP/1.1\r\n\r\n", "!"},
		{"GET / HTTP/1.1\r\n" H "Host: b\r\n\r\n", "!"},
		{"GET / HTTP/1.1\n" H "\r\n", "!"},
		{"GET / HTTP/1.1\r\n" H "x: y\n\r\n", ""},
		{"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "!"},
		{"GET / HTTP/1.1\r\n" H " folded\r\n\r\n", "!"},
		{"GET  / HTTP/1.1\r\n" H "\r\n", "!"},
		{"GET / x HTTP/1.1\r\n" H "\r\n", "!"},
		{"GET / HTTP/1.2\r\n" H "\r\n", "!"},
		{"GET / http/1.1\r\n" H "\r\n", "!"},
		{"GET b HTTP/1.1\r\n" H "\r\n", "!"},
		{"GET https://b/ HTTP/1.1\r\n" H "\r\n", "!"},
		{"GET /\x01 HTTP/1.1\r\n" H "\r\n", "!"},
		{"GET / HTTP/1.1\r\n" H "x: \x01\r\n\r\n", "!"},
		{"G\xc3T / HTTP/1.1\r\n" H "\r\n", "!"},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", "!"},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\n", "!"},
		{"POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\n", "!"},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", "!"},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "!"},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "!"},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", "!"},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", "!"},
		{"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", "!"},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd", "POST / a;!"},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n", "POST / a;!"},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n", "POST / a;!"},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "POST / a;!"},
	};
	static const size_t steps[] = {1, 3, 100000};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		for (size_t s = 0; s < 3; s++) {
			char got[512];
			parse(t[i].text, steps[s], got, sizeof(got));
			if (strcmp(got, t[i].want) != 0)
				fail_msg("%s step %zu: \"%s\", not \"%s\"", t[i].text, steps[s], got, t[i].want);
		}
	struct http h = {0};
	size_t used;
	static char big[HTTP_HEAD_MAX + 100];
	memset(big, 'a', sizeof(big));
	memcpy(big, "GET / HTTP/1.1\r\nx: ", 19);
	assert_int_equal(http_feed(&h, (uint8_t *)big, sizeof(big), &used), HTTP_BAD);
	http_free(&h);
}

static void looks(void **state)
{
	static const struct {
		const char *text;
		enum http_look want;
	} t[] = {
		{"", HTTP_MAYBE},
		{"G", HTTP_MAYBE},
		{"GET / HT", HTTP_MAYBE},
		{"\r\nGET", HTTP_MAYBE},
		{"GET / HTTP/1.1\r\n", HTTP_YES},
		{"GET / HTTP/1.0\n", HTTP_YES},
		{"PRI * HTTP/2.0\r\n", HTTP_TWO},
		{"GET /\r\n", HTTP_NO},
		{"EHLO x\r\n", HTTP_NO},
		{"SSH-2.0-x\r\n", HTTP_NO},
		{"*1\r\n", HTTP_NO},
		{"\x16\x03", HTTP_NO},
		{" GET / HTTP/1.1\r\n", HTTP_YES},
		{"\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", HTTP_YES},
		{"GET / HTTP/1.1 \r\n", HTTP_YES},
		{"GET / HTTP/1.1\t\r\n", HTTP_YES},
		{"GET\t/\tHTTP/1.1\r\n", HTTP_YES},
		{"GET\v/\fHTTP/1.1\n", HTTP_YES},
		{"GET\xa0/\x85HTTP/1.1\n", HTTP_YES},
		{"GET / http/1.1\r\n", HTTP_YES},
		{"GET / HTTP/1.1 x\r\n", HTTP_YES},
		{"GET / HTTP/1.1\r", HTTP_YES},
		{"GET / HTTP/2.0\r\n", HTTP_YES},
		{"GET / HTTP/1.10\r\n", HTTP_YES},
		{"AMETHODTHATHASMORETHANFORTYLETTERSFORNOREASON / HTTP/1.1\r\n", HTTP_YES},
		{"Oct 11 host nginx: GET / HTTP/1.1 200\n", HTTP_NO},
		{"see HTTP/1.1 for more\n", HTTP_NO},
		{"GET key\r\nHTTP/1.1\r\n", HTTP_NO},
		{"{\"a\": 1}", HTTP_NO},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		if (http_look((const uint8_t *)t[i].text, strlen(t[i].text)) != t[i].want)
			fail_msg("%s", t[i].text);
	/* A line without an end. */
	static const struct {
		const char *front;
		char fill;
		enum http_look want;
	} lines[] = {
		{"", '\n', HTTP_YES},           {"GET", ' ', HTTP_YES},
		{"GET /", 'a', HTTP_YES},       {"", 'A', HTTP_YES},
		{"GET http:", 'a', HTTP_YES},   {"GET key", 'a', HTTP_NO},
		{"hello world ", 'a', HTTP_NO},
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		static uint8_t b[HTTP_LINE_MAX];
		memset(b, lines[i].fill, sizeof(b));
		memcpy(b, lines[i].front, strlen(lines[i].front));
		assert_int_equal(http_look(b, sizeof(b) - 1), HTTP_MAYBE);
		if (http_look(b, sizeof(b)) != lines[i].want)
			fail_msg("\"%s\" and '%c'", lines[i].front, lines[i].fill);
	}
	assert_true(http_authority_is("A.test", "a.test", 80));
	assert_true(http_authority_is("a.test:8080", "a.test", 8080));
	assert_true(http_authority_is("a.test.", "a.test", 80));
	assert_false(http_authority_is("a.test:81", "a.test", 80));
	assert_false(http_authority_is("b.test", "a.test", 80));
	assert_false(http_authority_is("a.test@b.test", "a.test", 80));
	assert_false(http_authority_is("127.0.0.1", "a.test", 80));
	assert_false(http_authority_is("", "a.test", 80));
	assert_true(http_authority_is("127.0.0.1:8080", "host.docker.internal", 8080));
	assert_true(http_authority_is("localhost", "host.docker.internal", 8080));
}

#define POLICY                                                                                                         \
	"preset: locked\nallow: [web.test, 127.0.0.1, {host: api.test, methods: [GET], paths: [/v1/**]}, veto.test]\n" \
	"deny:\n  - {host: veto.test, paths: [/admin/**]}\n"

static int l;
static uint16_t port;

static void begin(const char *policy)
{
	port = 0;
	l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	rig_start(&rig, policy);
}

static void finish(void)
{
	close(l);
	rig_end(&rig);
}

/* A request that has to arrive as it is. */
static void passes(struct end *e, int fd, const char *text)
{
	struct rig *r = &rig;
	_cleanup_(hull_buf_free) struct hull_buf got = {0};
	say_text(r, e, text);
	world_expect(r, fd, &got, text);
	assert_int_equal(got.len, strlen(text));
	world_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	until(r, has_text(&e->in, "\r\n\r\nok"));
	hull_buf_drain(&e->in, e->in.len);
}

static void http_requests(void **state)
{
	struct rig *r = &rig;
	begin(POLICY);
	struct end *e = open_tcp(r, "web.test", port);
	int fd = world_accept(r, l);
	passes(e, fd, "GET /x?secret=1 HTTP/1.1\r\nHost: web.test\r\n\r\n");
	passes(e, fd, "POST /y HTTP/1.1\r\nHost: WEB.test\r\nContent-Length: 4\r\n\r\nbody");
	/* The third on the same connection is for another host. */
	say_text(r, e, "GET /z HTTP/1.1\r\nHost: evil.test\r\n\r\n");
	until(r, e->eof);
	assert_true(has_text(&e->in, "HTTP/1.1 403 Forbidden\r\n"));
	assert_true(has_text(&e->in, "the Host of the request is not the name that was connected to"));
	char b[16];
	until(r, recv(fd, b, sizeof(b), MSG_DONTWAIT) <= 0 && errno != EAGAIN);
	hull_wire_eof(r->wire, e->id);
	until(r, e->closed);
	close(fd);
	until(r, has_text(&r->lines, "\"path\":\"/z\""));
	assert_true(has_text(&r->lines, "\"method\":\"GET\",\"path\":\"/x\",\"rule\":\"global: allow web.test\""));
	assert_true(has_text(&r->lines, "\"method\":\"POST\",\"path\":\"/y\""));
	assert_false(has_text(&r->lines, "secret"));
	/* In one piece, or byte by byte, or with empty lines in front: refused, and nothing of it arrives. */
	static const char *const bad[] = {
		"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
		"\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
		"GET http://evil.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: web.test\r\nHost: evil.test\r\n\r\n",
		"GET / HTTP/1.1\nHost: evil.test\n\n",
		"GET / HTTP/1.1\r\nHost: web.test:1\r\n\r\n",
		"CONNECT evil.test:443 HTTP/1.1\r\nHost: web.test\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
		"GET / HTTP/1.1 \r\nHost: evil.test\r\n\r\n",
		"GET\t/\tHTTP/1.1\r\nHost: evil.test\r\n\r\n",
		"GET / HTTP/1.1\rHost: evil.test\r\r\n\r\n",
		" GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		for (int slow = 0; slow < 2; slow++) {
			e = open_tcp(r, "web.test", port);
			fd = world_accept(r, l);
			until(r, e->accepted);
			if (slow)
				for (const char *c = bad[i]; *c && !e->closed && !e->eof; c++) {
					say(r, e, c, 1);
					turn(r, 1);
				}
			else
				say_text(r, e, bad[i]);
			until(r, e->closed || e->eof);
			_cleanup_(hull_buf_free) struct hull_buf got = {0};
			ssize_t n;
			until(r, ((n = recv(fd, b, sizeof(b), MSG_DONTWAIT)) > 0 &&
				  hull_buf_add(&got, b, (size_t)n) != 0) ||
					 n == 0 || (n < 0 && errno != EAGAIN));
			assert_false(has_text(&got, "\n")); /* at most half a line */
			if (!e->closed)
				hull_wire_eof(r->wire, e->id);
			until(r, e->closed);
			close(fd);
		}
	/* A request line of any length is one. */
	static char big[HTTP_LINE_MAX + 4096];
	int n = snprintf(big, sizeof(big), "GET /%0*d HTTP/1.1\r\nHost: evil.test\r\n\r\n", HTTP_LINE_MAX + 1000, 0);
	assert_true(n > 0 && n < (int)sizeof(big));
	e = open_tcp(r, "web.test", port);
	fd = world_accept(r, l);
	until(r, e->accepted);
	say_text(r, e, big);
	until(r, e->closed || e->eof);
	_cleanup_(hull_buf_free) struct hull_buf all = {0};
	ssize_t got;
	until(r, ((got = recv(fd, b, sizeof(b), MSG_DONTWAIT)) > 0 && hull_buf_add(&all, b, (size_t)got) != 0) ||
			 got == 0 || (got < 0 && errno != EAGAIN));
	assert_false(has_text(&all, "\n"));
	close(fd);
	finish();
}

static void http_rules(void **state)
{
	struct rig *r = &rig;
	begin(POLICY);
	struct end *e = open_tcp(r, "api.test", port);
	int fd = world_accept(r, l);
	passes(e, fd, "GET /v1/a HTTP/1.1\r\nHost: api.test\r\n\r\n");
	say_text(r, e, "POST /v1/a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n");
	until(r, e->eof);
	assert_true(has_text(&e->in, "no rule allows this method and path"));
	assert_true(has_text(&e->in, "--method POST --path '/v1/a'"));
	close(fd);
	/* What cannot be looked into is not for such a host. */
	uint8_t tls[1024];
	size_t n = hello("api.test", 4000, tls);
	e = open_tcp(r, "api.test", port);
	fd = world_accept(r, l);
	say(r, e, tls, n);
	until(r, e->closed);
	assert_int_equal(e->code, -EACCES);
	close(fd);
	e = open_tcp(r, "api.test", port);
	fd = world_accept(r, l);
	say_text(r, e, "SSH-2.0-x\r\n");
	until(r, e->closed);
	close(fd);
	e = open_tcp(r, "veto.test", port);
	fd = world_accept(r, l);
	passes(e, fd, "GET /ok HTTP/1.1\r\nHost: veto.test\r\n\r\n");
	say_text(r, e, "GET /x/../%61dmin/y HTTP/1.1\r\nHost: veto.test\r\n\r\n");
	until(r, e->eof);
	assert_true(has_text(&e->in, "global: deny veto.test"));
	close(fd);
	/* A change of the policy holds for the next request on a connection that stands, and cuts one that it forbids.
	 */
	e = open_tcp(r, "web.test", port);
	fd = world_accept(r, l);
	passes(e, fd, "GET /v1/x HTTP/1.1\r\nHost: web.test\r\n\r\n");
	set_policy(r, "preset: locked\nallow: [127.0.0.1, {host: web.test, paths: [/v1/**]}]\n");
	passes(e, fd, "GET /v1/y HTTP/1.1\r\nHost: web.test\r\n\r\n");
	set_policy(r, "preset: locked\nallow: [127.0.0.1, {host: web.test, paths: [/v2/**]}]\n");
	until(r, e->closed);
	close(fd);
	finish();
}

static void denied_page(void **state)
{
	struct rig *r = &rig;
	begin(POLICY);
	struct end *e = open_tcp(r, "denied.test", 80);
	say_text(r, e, "GET /a HTTP/1.1\r\nHost: denied.test\r\n\r\n");
	until(r, e->eof);
	assert_true(has_text(&e->in, "HTTP/1.1 403 Forbidden"));
	assert_true(has_text(&e->in, "GET http://denied.test:80/a"));
	assert_true(has_text(&e->in, "hull policy allow --sandbox box denied.test:80"));
	hull_wire_eof(r->wire, e->id);
	until(r, e->closed);
	assert_int_equal(e->code, 0);
	/* Anything else is reset. */
	e = open_tcp(r, "denied.test", 8080);
	say_text(r, e, "SSH-2.0-x\r\n");
	until(r, e->closed);
	assert_int_equal(e->code, -EACCES);
	/* TLS is told in its own words, whatever is behind the first byte. */
	uint8_t tls[2048];
	static const uint8_t alert[] = {0x15, 3, 3, 0, 2, 2, 49};
	e = open_tcp(r, "denied.test", 443);
	say(r, e, tls, hello("denied.test", 4000, tls));
	until(r, e->eof);
	assert_int_equal(e->in.len, sizeof(alert));
	assert_memory_equal(hull_buf_bytes(&e->in), alert, sizeof(alert));
	/* On other ports the connection is never made. */
	e = open_tcp(r, "denied.test", 5432);
	until(r, e->closed);
	assert_int_equal(e->code, -EACCES);
	assert_false(e->accepted);
	assert_non_null(strstr(e->message, "hull policy allow --sandbox box denied.test:5432"));
	assert_int_equal(r->names.len, 0);
	finish();
}

static void tls_names(void **state)
{
	struct rig *r = &rig;
	uint8_t tls[2048];
	begin(POLICY);
	static const size_t cuts[] = {4000, 7};
	for (size_t i = 0; i < 2; i++) {
		size_t n = hello("web.test", cuts[i], tls);
		struct end *e = open_tcp(r, "web.test", port);
		int fd = world_accept(r, l);
		say(r, e, tls, n);
		size_t got = 0;
		uint8_t b[2048];
		ssize_t k;
		until(r, (k = recv(fd, b + got, sizeof(b) - got, MSG_DONTWAIT)) > 0 && (got += (size_t)k) == n);
		assert_memory_equal(b, tls, n);
		/* When the server has answered, everything passes. */
		static const char answer[] =
			"\x16\x03\x03\x00\x26\x02\x00\x00\x22\x03\x03 a random of thirty-two bytes.....";
		assert_int_equal(send(fd, answer, sizeof(answer) - 1, 0), sizeof(answer) - 1);
		until(r, e->in.len > 40);
		say_text(r, e, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
		until(r, recv(fd, b, sizeof(b), MSG_DONTWAIT) > 0);
		close(fd);
		n = hello("evil.test", cuts[i], tls);
		e = open_tcp(r, "web.test", port);
		fd = world_accept(r, l);
		say(r, e, tls, n);
		until(r, e->closed);
		assert_int_equal(e->code, -EACCES);
		assert_true(recv(fd, b, sizeof(b), MSG_DONTWAIT) <= 0);
		close(fd);
	}
	finish();
}

/* A name that is denied is denied by its address, too. */
static void denied_by_address(void **state)
{
	struct rig *r = &rig;
	uint8_t tls[2048], b[2048];
	begin("preset: locked\nallow: [127.0.0.1]\n"
	      "deny: [bad.test, 10.0.0.0/8, '**.bad.test', {host: veto.test, paths: [/admin/**]}]\n");
	static const char *const bad[] = {
		"GET / HTTP/1.1\r\nHost: bad.test\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.BAD.test.:80\r\n\r\n",
		"GET http://bad.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
		"GET http://good.test/ HTTP/1.1\r\nHost: bad.test\r\n\r\n",
		"GET http://good.test@bad.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: bad.test/\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: bad.test:80:80\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: 10.1.2.3\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::ffff:10.1.2.3]:80\r\n\r\n",
		"CONNECT bad.test:443 HTTP/1.1\r\nHost: bad.test:443\r\n\r\n",
		"CONNECT veto.test:443 HTTP/1.1\r\nHost: veto.test:443\r\n\r\n",
		"GET /admin/x HTTP/1.1\r\nHost: veto.test\r\n\r\n",
	};
	static const char *const good[] = {
		"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n",         "GET / HTTP/1.1\r\nHost: veto.test\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",    "GET / HTTP/1.1\r\nHost: \r\n\r\n",
		"GET / HTTP/1.1\r\nHost: my_service:80\r\n\r\n",     "GET / HTTP/1.0\r\n\r\n",
		"CONNECT good.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct end *e = open_tcp(r, "127.0.0.1", port);
		int fd = world_accept(r, l);
		say_text(r, e, bad[i]);
		until(r, e->eof || e->closed);
		ssize_t n;
		until(r, (n = recv(fd, b, sizeof(b), MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
		if (n > 0)
			fail_msg("%s: it arrived", bad[i]);
		close(fd);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct end *e = open_tcp(r, "127.0.0.1", port);
		int fd = world_accept(r, l);
		passes(e, fd, good[i]);
		close(fd);
	}
	static const struct {
		const char *name;
		bool passes;
	} t[] = {{"bad.test", false}, {"a.bad.test", false}, {"veto.test", false}, {"good.test", true}};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		size_t n = hello(t[i].name, 4000, tls);
		struct end *e = open_tcp(r, "127.0.0.1", port);
		int fd = world_accept(r, l);
		say(r, e, tls, n);
		ssize_t got = -1;
		until(r, (got = recv(fd, b, sizeof(b), MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
		if ((got == (ssize_t)n) != t[i].passes)
			fail_msg("%s: %zd", t[i].name, got);
		close(fd);
	}
	/* A rule that comes later cuts what says that name. */
	struct end *e = open_tcp(r, "127.0.0.1", port), *f = open_tcp(r, "127.0.0.1", port);
	int fd = world_accept(r, l), fd2 = world_accept(r, l);
	size_t n = hello("good.test", 4000, tls);
	say(r, e, tls, n);
	say_text(r, f, good[0]);
	until(r, recv(fd, b, sizeof(b), MSG_DONTWAIT) > 0 || recv(fd2, b, sizeof(b), MSG_DONTWAIT) > 0);
	until(r, recv(fd, b, sizeof(b), MSG_DONTWAIT) > 0 || recv(fd2, b, sizeof(b), MSG_DONTWAIT) > 0);
	set_policy(r, "preset: locked\nallow: [127.0.0.1]\ndeny: [good.test]\n");
	until(r, e->closed && f->closed);
	close(fd);
	close(fd2);
	finish();
}

static void upgrades(void **state)
{
	struct rig *r = &rig;
	begin(POLICY);
	struct end *e = open_tcp(r, "web.test", port);
	int fd = world_accept(r, l);
	_cleanup_(hull_buf_free) struct hull_buf got = {0};
	say_text(r, e, "GET /ws HTTP/1.1\r\nHost: web.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
	world_expect(r, fd, &got, "Upgrade\r\n\r\n");
	world_say(fd, "HTTP/1.1 1");
	until(r, has_text(&e->in, "1.1 1"));
	world_say(fd, "01 Switching Protocols\r\n\r\n");
	until(r, has_text(&e->in, "Protocols"));
	say(r, e, "\x81\x02hi", 4);
	world_expect(r, fd, &got, "hi");
	close(fd);
	/* A server that does not switch: the next request is looked at. */
	e = open_tcp(r, "web.test", port);
	fd = world_accept(r, l);
	hull_buf_drain(&got, got.len);
	say_text(r, e,
		 "GET /ws HTTP/1.1\r\nHost: web.test\r\nUpgrade: foo\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
	world_expect(r, fd, &got, "foo\r\n\r\n");
	assert_false(has_text(&got, "evil"));
	world_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	until(r, e->eof || e->closed);
	close(fd);
	finish();
}

/* A change of the policy while the answer is awaited. */
static void upgrade_forbidden_meanwhile(void **state)
{
	struct rig *r = &rig;
	begin(POLICY);
	struct end *e = open_tcp(r, "web.test", port);
	int fd = world_accept(r, l);
	_cleanup_(hull_buf_free) struct hull_buf got = {0};
	say_text(r, e, "GET /ws HTTP/1.1\r\nHost: web.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
	world_expect(r, fd, &got, "Upgrade\r\n\r\n");
	set_policy(r, POLICY "  - {host: web.test, paths: [/other]}\n");
	assert_true(has_text(&r->lines, "\"cut\":0"));
	set_policy(r, POLICY "  - {host: web.test, paths: [/ws]}\n");
	assert_true(has_text(&r->lines, "\"cut\":1"));
	until(r, e->closed);
	close(fd);
	finish();
}

/* What asks for another protocol where a yes could not be told, or not be looked at, asks for none. */
static void upgrades_stripped(void **state)
{
	static const char *const t[] = {
		"GET / HTTP/1.1\r\nHost: web.test\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX: y\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: web.test\r\nUpgrade: h2c\r\nX: y\r\nContent-Length: 4\r\n\r\nbody",
		"PUT / HTTP/1.1\r\nHost: web.test\r\nuPgrade: w\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	};
	struct rig *r = &rig;
	begin(POLICY);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		for (int slow = 0; slow < 2; slow++) {
			struct end *e = open_tcp(r, "web.test", port);
			int fd = world_accept(r, l);
			_cleanup_(hull_buf_free) struct hull_buf got = {0};
			until(r, e->accepted);
			for (const char *c = t[i]; slow && *c; c++) {
				say(r, e, c, 1);
				turn(r, 1);
			}
			if (!slow)
				say_text(r, e, t[i]);
			/* The body comes without an answer. */
			world_expect(r, fd, &got, strrchr(t[i], '\n')[1] ? "\r\n\r\nbody" : "\r\n\r\n");
			assert_false(has_text(&got, "pgrade:"));
			assert_false(has_text(&got, "Settings:"));
			assert_true(has_text(&got, "HTTP/1.1\r\nHost: web.test\r\nX: y\r\n"));
			/* Whatever the server says, requests are looked at. */
			world_say(fd, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
			until(r, has_text(&e->in, "Protocols\r\n\r\n"));
			say_text(r, e, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
			until(r, e->eof || e->closed);
			close(fd);
		}
	/* An earlier request's answer, made to look like a yes: its head is the server's, its body the guest's own. */
	struct end *e = open_tcp(r, "web.test", port);
	int fd = world_accept(r, l);
	_cleanup_(hull_buf_free) struct hull_buf got = {0};
	say_text(r, e,
		 "POST /echo HTTP/1.1\r\nHost: web.test\r\nContent-Length: 3\r\n\r\nabc"
		 "GET /ws HTTP/1.1\r\nHost: web.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	world_expect(r, fd, &got, "GET /ws HTTP/1.1\r\nHost: web.test\r\nConnection: Upgrade\r\n\r\n");
	world_say(fd, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
	until(r, has_text(&e->in, "101 Switching"));
	say_text(r, e, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
	until(r, e->eof || e->closed);
	char b[16];
	ssize_t n;
	until(r, (n = recv(fd, b, sizeof(b), MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
	assert_true(n <= 0);
	close(fd);
	finish();
}

/* Bytes that are neither: they pass at once, in both orders, also when they could be the beginning of a request. */
static void other_protocols(void **state)
{
	struct rig *r = &rig;
	begin(POLICY);
	static const char *const t[] = {"hello", "PING", "\x01\x02", "EHLO x\r\n", "GET key\r\n", "\x16\x01"};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct end *e = open_tcp(r, "web.test", port);
		int fd = world_accept(r, l);
		until(r, e->accepted);
		_cleanup_(hull_buf_free) struct hull_buf got = {0};
		say_text(r, e, t[i]);
		world_expect(r, fd, &got, t[i]);
		say_text(r, e, "more\r\n");
		world_expect(r, fd, &got, "more\r\n");
		assert_int_equal(got.len, strlen(t[i]) + 6);
		close(fd);
	}
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_names),
		cmocka_unit_test(requests),
		cmocka_unit_test(looks),
		cmocka_unit_test(http_requests),
		cmocka_unit_test(http_rules),
		cmocka_unit_test(denied_page),
		cmocka_unit_test(tls_names),
		cmocka_unit_test(denied_by_address),
		cmocka_unit_test(upgrades),
		cmocka_unit_test(upgrades_stripped),
		cmocka_unit_test(upgrade_forbidden_meanwhile),
		cmocka_unit_test(other_protocols),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hull-egress and upstream proxies; and what is told with a refusal. */
#include "egress_rig.h"

static int test_resolve(const char *name, struct hull_addr *out, size_t max)
{
	bool known = strstr(name, ".test") != NULL;
	if (known)
		assert_true(hull_addr_parse(strcmp(name, "lan.test") == 0 ? "10.0.0.1" : "127.0.0.1", out));
	return known ? 1 : -ENOENT;
}

static struct rig rig;
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

static void start_with_proxy(const char *url, const char *no)
{
	port = 0;
	l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	_cleanup_free_ char *at = hull_fmt(url, port);
	rig_start_with(&rig,
		       json_pack("{s:{s:s,s:{s:s,s:s}}}", "start", "sandbox", "box", "proxy", "all", at, "no", no));
	set_policy(&rig, "preset: locked\nallow: [web.test, six.test, 8.8.8.8]\n");
}

static void http_proxy(void **state)
{
	struct rig *r = &rig;
	start_with_proxy("http://me:s%%65cret@127.0.0.1:%u", "six.test");
	/* The proxy looks names up. */
	struct end *q = ask_name(r, "web.test", 1);
	until(r, q->closed);
	assert_int_equal(q->code, 0);
	assert_int_equal(r->names.len, 0);
	_cleanup_(hull_buf_free) struct hull_buf got = {0};
	struct end *e = open_tcp(r, "web.test", 443);
	int fd = world_accept(r, l);
	world_expect(r, fd, &got, "CONNECT web.test:443 HTTP/1.1\r\nHost: web.test:443\r\n");
	world_expect(r, fd, &got, "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n");
	assert_false(e->accepted);
	world_say(fd, "HTTP/1.1 200 Connection established\r\nX: y\r\n\r\nfirst");
	until(r, has_text(&e->in, "first"));
	say_text(r, e, "hello\r\n");
	world_expect(r, fd, &got, "hello\r\n");
	close(fd);
	/* It says no. */
	e = open_tcp(r, "8.8.8.8", 443);
	fd = world_accept(r, l);
	hull_buf_drain(&got, got.len);
	world_expect(r, fd, &got, "CONNECT 8.8.8.8:443 ");
	world_say(fd, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
	until(r, e->closed);
	assert_non_null(strstr(e->message, "407"));
	close(fd);
	/* Plain HTTP: whole URLs. */
	e = open_tcp(r, "web.test", 80);
	fd = world_accept(r, l);
	hull_buf_drain(&got, got.len);
	say_text(r, e, "GET /a HTTP/1.1\r\nHost: web.test\r\n\r\n");
	world_expect(
		r, fd, &got,
		"GET http://web.test/a HTTP/1.1\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\nHost: web.test\r\n\r\n");
	world_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	say_text(r, e, "GET /b HTTP/1.1\r\nHost: evil.test\r\n\r\n");
	until(r, e->eof || e->closed);
	close(fd);
	/* The policy comes before the proxy; and some go past it. */
	e = open_tcp(r, "denied.test", 443);
	until(r, e->closed);
	assert_int_equal(e->code, -EACCES);
	e = open_tcp(r, "six.test", 443);
	until(r, e->closed);
	assert_true(has_text(&r->names, "six.test"));
	finish();
}

/* To an address through an HTTP proxy, which would go wherever a URL leads: it gets only the URL that was allowed. */
static void http_proxy_literal(void **state)
{
	static const char *const bad[] = {
		"GET http://169.254.169.254/ HTTP/1.1\r\nHost: 8.8.8.8\r\n\r\n",
		"GET http://169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
		"GET http://169.254.169.254/ HTTP/1.0\r\n\r\n",
		"GET http://8.8.8.8:8080/ HTTP/1.1\r\nHost: 8.8.8.8\r\n\r\n",
		"GET http://8.8.8.8@169.254.169.254/ HTTP/1.1\r\nHost: 8.8.8.8\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
	};
	static const struct {
		const char *said, *want;
	} good[] = {
		{"GET http://8.8.8.8/a?b HTTP/1.1\r\nHost: 8.8.8.8\r\n\r\n",
		 "GET http://8.8.8.8/a?b HTTP/1.1\r\nHost: 8.8.8.8\r\n\r\n"},
		{"GET http://8.8.8.8:80?b HTTP/1.1\r\nHost: 8.8.8.8:80\r\n\r\n",
		 "GET http://8.8.8.8/?b HTTP/1.1\r\nHost: 8.8.8.8:80\r\n\r\n"},
		{"OPTIONS * HTTP/1.1\r\nHost: 8.8.8.8\r\n\r\n",
		 "OPTIONS http://8.8.8.8 HTTP/1.1\r\nHost: 8.8.8.8\r\n\r\n"},
		{"GET /a HTTP/1.0\r\n\r\n", "GET http://8.8.8.8/a HTTP/1.0\r\n\r\n"},
	};
	struct rig *r = &rig;
	start_with_proxy("http://127.0.0.1:%u", "");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct end *e = open_tcp(r, "8.8.8.8", 80);
		int fd = world_accept(r, l);
		say_text(r, e, bad[i]);
		until(r, e->eof || e->closed);
		char b[16];
		ssize_t n;
		until(r, (n = recv(fd, b, sizeof(b), MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
		if (n > 0)
			fail_msg("%s: the proxy got something", bad[i]);
		close(fd);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct end *e = open_tcp(r, "8.8.8.8", 80);
		int fd = world_accept(r, l);
		_cleanup_(hull_buf_free) struct hull_buf got = {0};
		say_text(r, e, good[i].said);
		world_expect(r, fd, &got, "\r\n\r\n");
		assert_int_equal(got.len, strlen(good[i].want));
		assert_memory_equal(hull_buf_bytes(&got), good[i].want, got.len);
		close(fd);
	}
	finish();
}

static void socks_proxy(void **state)
{
	struct rig *r = &rig;
	start_with_proxy("socks5h://me:pw@127.0.0.1:%u", "");
	struct end *e = open_tcp(r, "web.test", 443);
	int fd = world_accept(r, l);
	uint8_t b[64];
	until(r, recv(fd, b, sizeof(b), MSG_DONTWAIT) == 4);
	assert_memory_equal(b, "\5\2\0\2", 4);
	assert_int_equal(send(fd, "\5\2", 2, 0), 2);
	until(r, recv(fd, b, sizeof(b), MSG_DONTWAIT) == 7);
	assert_memory_equal(b, "\1\2me\2pw", 7);
	assert_int_equal(send(fd, "\1\0", 2, 0), 2);
	until(r, recv(fd, b, sizeof(b), MSG_DONTWAIT) == 15);
	assert_memory_equal(b, "\5\1\0\3\10web.test\1\273", 15);
	assert_int_equal(send(fd, "\5\0\0\1\0\0\0\0\0\0hi", 12, 0), 12);
	until(r, has_text(&e->in, "hi"));
	say_text(r, e, "hello\r\n");
	until(r, recv(fd, b, sizeof(b), MSG_DONTWAIT) == 7);
	close(fd);
	e = open_tcp(r, "8.8.8.8", 443);
	fd = world_accept(r, l);
	until(r, recv(fd, b, sizeof(b), MSG_DONTWAIT) == 4);
	assert_int_equal(send(fd, "\5\377", 2, 0), 2);
	until(r, e->closed);
	close(fd);
	assert_int_equal(r->names.len, 0);
	finish();
}

/* A proxy that cannot be spoken to is not gone past. */
static void bad_proxies(void **state)
{
	static const char *const t[][2] = {
		{"https", "https://127.0.0.1:1"},
		{"all", "https://me:secret@127.0.0.1:1"},
		{"all", "socks4://127.0.0.1:1"},
		{"all", "http://127.0.0.1:99999"},
		{"http", "http://"},
		{"bad", "the file is not YAML"},
	};
	struct rig *r = &rig;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		port = 0;
		l = world_listen("127.0.0.1", &port, SOCK_STREAM);
		rig_start_with(r, json_pack("{s:{s:s,s:{s:s}}}", "start", "sandbox", "box", "proxy", t[i][0], t[i][1]));
		set_policy(r, "preset: locked\nallow: [web.test, 127.0.0.1, 'localhost:80']\n");
		bool page = strcmp(t[i][0], "http") == 0;
		struct end *e = open_tcp(r, "web.test", page ? 80 : 1443);
		if (page) {
			say_text(r, e, "GET / HTTP/1.1\r\nHost: web.test\r\n\r\n");
			until(r, e->eof);
			assert_true(has_text(&e->in, "the setting of the upstream proxy cannot be used"));
			assert_true(has_text(&e->in, "http_proxy has to be http://"));
			assert_false(has_text(&e->in, "hull policy allow"));
		} else {
			until(r, e->closed);
			assert_int_equal(e->code, -ENETUNREACH);
			assert_non_null(
				strstr(e->message, strcmp(t[i][0], "bad") == 0 ? t[i][1] : "has to be http://"));
		}
		assert_null(strstr(e->message, "secret"));
		until(r, has_text(&r->lines, "the setting of the upstream proxy cannot be used"));
		assert_false(has_text(&r->lines, "secret"));
		assert_int_equal(accept(l, NULL, NULL), -1);
		assert_int_equal(r->names.len, 0);
		finish();
	}
}

/* What is told with a refusal is what helps. */
static void remedies(void **state)
{
	struct rig *r = &rig;
	static const struct {
		const char *to, *want;
		uint16_t port;
	} t[] = {
		{"denied.test", "to allow it: hull policy allow --sandbox box denied.test:1443", 1443},
		{"lan.test", "to allow it: hull policy allow --sandbox box lan.test:1443 --private", 1443},
		{"loop.test", "hull policy allow --sandbox box localhost:1443, and connect to host.hull.internal:1443",
		 1443},
		{"10.0.0.1", "to allow it: hull policy allow --sandbox box 10.0.0.1:1443", 1443},
		{"fd00::1", "to allow it: hull policy allow --sandbox box [fd00::1]:1443", 1443},
		{"127.0.0.1", "hull policy allow --sandbox box localhost:1443, and connect to host.hull.internal:1443",
		 1443},
		{"localhost", "to allow it: hull policy allow --sandbox box localhost:1443", 1443},
		{"bad.test", "remove the rule (`hull policy rm`)", 1443},
	};
	begin("preset: locked\nallow: [web.test, lan.test, loop.test, bad.test, 0.0.0.0/0]\ndeny: [bad.test]\n");
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct end *e = open_tcp(r, t[i].to, t[i].port);
		until(r, e->closed);
		if (!strstr(e->message, t[i].want))
			fail_msg("%s: %s", t[i].to, e->message);
		if (strcmp(t[i].to, "bad.test") == 0)
			assert_null(strstr(e->message, "hull policy allow"));
	}
	/* A Host that is another is not allowed by a rule for the name that was connected to: that is there. */
	set_policy(r, "preset: locked\nallow: [web.test, 127.0.0.1]\n");
	struct end *e = open_tcp(r, "web.test", port);
	int fd = world_accept(r, l);
	say_text(r, e, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
	until(r, e->eof);
	assert_true(has_text(&e->in, "no rule allows it: it is refused for what it says"));
	assert_false(has_text(&e->in, "hull policy allow"));
	close(fd);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_proxy),  cmocka_unit_test(http_proxy_literal), cmocka_unit_test(socks_proxy),
		cmocka_unit_test(bad_proxies), cmocka_unit_test(remedies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

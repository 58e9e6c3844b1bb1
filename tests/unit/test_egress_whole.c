/* SPDX-License-Identifier: Apache-2.0 */
/* hull-egress and what a rule allows whole: an address, or a port of this host's. It passes as it is. */
#include "egress_rig.h"

static int test_resolve(const char *name, struct hull_addr *out, size_t max)
{
	return -ENOENT;
}

static struct rig rig;
static int l;
static uint16_t port;

/* The two ways to what listens on the port: the rule for each, and what is connected to. */
static const char *const ways[][2] = {{"localhost:%u", "host.hull.internal"}, {"127.0.0.1:%u", "127.0.0.1"}};
enum { WAYS = sizeof(ways) / sizeof(*ways) };

/* allow: the rule of a way; rest: more of the policy. */
static char *policy(size_t way, const char *rest)
{
	_cleanup_free_ char *rule = NULL;
	assert_true(asprintf(&rule, ways[way][0], port) > 0); /* NOLINT(clang-diagnostic-format-nonliteral) */
	return hull_fmt("preset: locked\nallow: ['%s']\n%s", rule, rest);
}

static void begin(size_t way, const char *rest)
{
	port = 0;
	l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	_cleanup_free_ char *text = policy(way, rest);
	rig_start(&rig, text);
}

static void finish(void)
{
	close(l);
	rig_end(&rig);
}

static void arrives(struct end *e, int fd, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf got = {0};
	say_text(&rig, e, text);
	world_expect(&rig, fd, &got, text);
	assert_int_equal(got.len, strlen(text));
}

static void passed_as_it_is(void **state)
{
	static const char *const said[] = {
		"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
		"GET http://mirror.test/x HTTP/1.1\r\nHost: mirror.test\r\n\r\n",
		"CONNECT mirror.test:443 HTTP/1.1\r\nHost: mirror.test:443\r\n\r\n",
		"POST /session HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nbody",
		"POST /build HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nUpgrade: tcp\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\n folded\r\nHost: a\r\nHost: b\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GE",
		"\x16\x03\x01 no handshake",
	};
	for (size_t way = 0; way < WAYS; way++) {
		struct rig *r = &rig;
		begin(way, "");
		for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++) {
			struct end *e = open_tcp(r, ways[way][1], port);
			int fd = world_accept(r, l);
			arrives(e, fd, said[i]);
			/* A stream that was hijacked: neither side speaks HTTP any more. */
			world_say(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n");
			until(r, has_text(&e->in, "raw-stream\r\n\r\n"));
			arrives(e, fd, "GET is not a request\n\x01\xff");
			close(fd);
		}
		finish();
	}
}

/* A connection that is used again may change its protocol, too. */
static void upgrade_when_used_again(void **state)
{
	for (size_t way = 0; way < WAYS; way++) {
		struct rig *r = &rig;
		begin(way, "");
		struct end *e = open_tcp(r, ways[way][1], port);
		int fd = world_accept(r, l);
		arrives(e, fd, "GET /a HTTP/1.1\r\nHost: other.test\r\n\r\n");
		world_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
		until(r, has_text(&e->in, "\r\n\r\nok"));
		arrives(e, fd, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
		world_say(fd, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nhello");
		until(r, has_text(&e->in, "hello"));
		arrives(e, fd, "\x81\x05hello");
		close(fd);
		until(r, e->eof || e->closed);
		if (!e->closed)
			hull_wire_eof(r->wire, e->id);
		/* The first request is in the log. */
		until(r, has_text(&r->lines, "\"path\":\"/a\""));
		finish();
	}
}

/* A rule that denies a name is asked, by whatever the server is reached; and one for requests looks at them. */
static void denied_all_the_same(void **state)
{
	static const char rest[] = "deny: [bad.test, '10.0.0.0/8']\n";
	static const char *const bad[] = {
		"GET / HTTP/1.1\r\nHost: bad.test\r\n\r\n",
		"GET http://bad.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
		"CONNECT bad.test:443 HTTP/1.1\r\nHost: good.test\r\n\r\n",
		"CONNECT 10.1.2.3:443 HTTP/1.1\r\nHost: good.test\r\n\r\n",
	};
	for (size_t way = 0; way < WAYS; way++) {
		struct rig *r = &rig;
		uint8_t b[2048];
		begin(way, rest);
		for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
			struct end *e = open_tcp(r, ways[way][1], port);
			int fd = world_accept(r, l);
			say_text(r, e, bad[i]);
			until(r, e->eof || e->closed);
			if (recv(fd, b, sizeof(b), MSG_DONTWAIT) > 0)
				fail_msg("%s: it arrived", bad[i]);
			close(fd);
		}
		struct end *e = open_tcp(r, ways[way][1], port);
		int fd = world_accept(r, l);
		arrives(e, fd, "GET / HTTP/1.1\r\nHost: good.test\r\n\r\n");
		close(fd);
		finish();
	}
	/* A rule that looks at requests of the host's own service allows that service under its own names only. */
	struct rig *r = &rig;
	begin(0, "");
	_cleanup_free_ char *limited = hull_fmt("preset: locked\nallow: [{host: 'localhost:%u', paths: [/v1/**]}]\n",
						port);
	set_policy(r, limited);
	struct end *e = open_tcp(r, "host.hull.internal", port);
	int fd = world_accept(r, l);
	say_text(r, e, "GET /v1/a HTTP/1.1\r\nHost: other.test\r\n\r\n");
	until(r, e->eof || e->closed);
	assert_true(has_text(&e->in, "403 Forbidden"));
	close(fd);
	finish();
}

/* A rule that denies comes while a connection has passed unseen: it is cut when it may have named that host. */
static void denied_later(void **state)
{
	for (size_t way = 0; way < WAYS; way++) {
		struct rig *r = &rig;
		begin(way, "");
		struct end *http = open_tcp(r, ways[way][1], port), *other = open_tcp(r, ways[way][1], port);
		int a = world_accept(r, l), b = world_accept(r, l);
		say_text(r, http, "GET / HTTP/1.1\r\nHost: good.test\r\n\r\n");
		say_text(r, other, "\x01\x02\x03 a database's");
		char bytes[256];
		until(r, recv(a, bytes, sizeof(bytes), MSG_DONTWAIT) > 0);
		until(r, recv(b, bytes, sizeof(bytes), MSG_DONTWAIT) > 0);
		_cleanup_free_ char *none = policy(way, "deny: ['bad.test:1']\n");
		set_policy(r, none);
		assert_true(has_text(&r->lines, "\"cut\":0"));
		_cleanup_free_ char *some = policy(way, "deny: [bad.test]\n");
		set_policy(r, some);
		assert_true(has_text(&r->lines, "\"cut\":1"));
		until(r, http->closed);
		assert_false(other->closed);
		close(a);
		close(b);
		finish();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passed_as_it_is),
		cmocka_unit_test(upgrade_when_used_again),
		cmocka_unit_test(denied_all_the_same),
		cmocka_unit_test(denied_later),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hull-egress as a process: datagrams, and published ports. */
#include "egress_rig.h"

#include <sys/resource.h>

static int test_resolve(const char *name, struct hull_addr *out, size_t max)
{
	static bool later;
	if (strncmp(name, "later", 5) == 0 && (later = !later))
		return -EINPROGRESS;
	return hull_addr_parse("127.0.0.1", out);
}

#define POLICY "preset: locked\nallow: [web.test, 127.0.0.1, '::1']\n"

static struct rig rig;

static void datagrams(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0;
	_cleanup_close_ int s = world_listen("127.0.0.1", &port, SOCK_DGRAM);
	rig_start(r, "preset: locked\nallow: [web.test/udp, 127.0.0.1/udp]\n");
	struct end *e = open_to(r, HULL_SVC_DATAGRAM, "web.test", port);
	until(r, e->accepted);
	say(r, e, "\4\0pi", 4);
	say(r, e, "ng\0\0\2\0ab", 8);
	char b[100];
	struct sockaddr_in from;
	socklen_t n = sizeof(from);
	until(r, recvfrom(s, b, sizeof(b), MSG_DONTWAIT, (struct sockaddr *)&from, &n) == 4);
	assert_memory_equal(b, "ping", 4);
	until(r, recv(s, b, sizeof(b), MSG_DONTWAIT) == 0);
	until(r, recv(s, b, sizeof(b), MSG_DONTWAIT) == 2);
	assert_int_equal(sendto(s, "pong!", 5, 0, (struct sockaddr *)&from, n), 5);
	until(r, e->in.len == 7);
	assert_memory_equal(hull_buf_bytes(&e->in), "\5\0pong!", 7);
	/* Too long, not allowed, by TCP only, and special. */
	say(r, e, "\xff\xff", 2);
	until(r, e->closed);
	assert_int_equal(e->code, -EMSGSIZE);
	static const char *const no[] = {"other.test", "10.0.0.1",        "127.0.0.2",
					 "224.0.0.1",  "255.255.255.255", "localhost"};
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++) {
		e = open_to(r, HULL_SVC_DATAGRAM, no[i], port);
		until(r, e->closed);
		assert_int_equal(e->code, -EACCES);
	}
	rig_end(r);
}

/* What is sent while the name is looked up is not lost; what is too much then is. */
static void datagrams_early(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0;
	_cleanup_close_ int s = world_listen("127.0.0.1", &port, SOCK_DGRAM);
	rig_start(r, "preset: locked\nallow: [later.test/udp, later2.test/udp, 127.0.0.1/udp]\n");
	/* Everything in one go: the OPEN and what follows are read together. */
	struct end *e = open_to(r, HULL_SVC_DATAGRAM, "later.test", port);
	say(r, e, "\2\0ab\3\0cde", 9);
	char b[16];
	until(r, recv(s, b, sizeof(b), MSG_DONTWAIT) == 2);
	until(r, recv(s, b, sizeof(b), MSG_DONTWAIT) == 3);
	assert_memory_equal(b, "cde", 3);
	static uint8_t many[40 * 1002];
	for (size_t n = 0; n < 40; n++) {
		many[n * 1002] = 1000 & 0xff;
		many[n * 1002 + 1] = 1000 >> 8;
		memset(many + n * 1002 + 2, (int)n, 1000);
	}
	e = open_to(r, HULL_SVC_DATAGRAM, "later2.test", port);
	say(r, e, many, sizeof(many));
	until(r, e->accepted);
	say(r, e, "\1\0!", 3);
	uint8_t in[2000];
	size_t got = 0;
	ssize_t n = 0;
	until(r, (n = recv(s, in, sizeof(in), MSG_DONTWAIT)) == 1 || (n == 1000 && in[0] == got && ++got == 0));
	assert_in_range(got, 10, 39);
	rig_end(r);
}

static bool refused(const struct sockaddr_in *to)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM, 0);
	return connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno == ECONNREFUSED;
}

static void ports(void **state)
{
	struct rig *r = &rig;
	rig_start(r, POLICY);
	hull_buf_drain(&r->lines, r->lines.len);
	tell(r, json_pack("{s:{s:i,s:s,s:i,s:i,s:s}}", "publish", "id", 7, "ip", "", "host", 0, "guest", 80, "proto",
			  "tcp"));
	until(r, has_text(&r->lines, "\"bound\":[\"127.0.0.1:"));
	const char *at = memmem(hull_buf_bytes(&r->lines), r->lines.len, "\"host\":", 7);
	assert_non_null(at);
	uint16_t port = (uint16_t)atoi(at + 7);
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 to6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	for (int six = 0; six < 2; six++) {
		_cleanup_close_ int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
		size_t before = r->count;
		assert_int_equal(connect(fd, six ? (struct sockaddr *)&to6 : (struct sockaddr *)&to,
					 six ? sizeof(to6) : sizeof(to)),
				 0);
		until(r, r->count > before);
		struct end *e = &r->ends[before];
		assert_true(e->opened_by_peer);
		hull_wire_accept(r->wire, e->id, NULL, 0);
		world_say(fd, "GET");
		until(r, has_text(&e->in, "GET"));
		say_text(r, e, "answer");
		hull_wire_eof(r->wire, e->id);
		_cleanup_(hull_buf_free) struct hull_buf got = {0};
		world_expect(r, fd, &got, "answer");
		char b[4];
		until(r, recv(fd, b, 4, MSG_DONTWAIT) == 0);
		close(hull_steal_fd(&fd));
		until(r, e->closed);
		assert_int_equal(e->code, 0);
	}
	/* Nobody listens in the guest. */
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM, 0);
	size_t before = r->count;
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	until(r, r->count > before);
	hull_wire_refuse(r->wire, r->ends[before].id, ECONNREFUSED, "");
	char b[4];
	until(r, recv(fd, b, 4, MSG_DONTWAIT) == -1 && errno == ECONNRESET);
	until(r, has_text(&r->lines, "{\"listens\":{\"id\":7,\"yes\":false}}"));
	/* Taken; privileged is another matter when the tests run as root. */
	hull_buf_drain(&r->lines, r->lines.len);
	tell(r, json_pack("{s:{s:i,s:s,s:i,s:i,s:s}}", "publish", "id", 8, "ip", "", "host", (int)port, "guest", 81,
			  "proto", "tcp"));
	until(r, has_text(&r->lines, "is taken by another program"));
	tell(r, json_pack("{s:{s:i}}", "unpublish", "id", 7));
	until(r, refused(&to));
	rig_end(r);
}

static char state_of(pid_t pid)
{
	char path[64], text[512];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	return strrchr(text, ')')[2];
}

/* No descriptor is left to accept with: it waits, and does not try as fast as it can. */
static void port_without_descriptors(void **state)
{
	struct rig *r = &rig;
	rig_start(r, POLICY);
	hull_buf_drain(&r->lines, r->lines.len);
	tell(r, json_pack("{s:{s:i,s:s,s:i,s:i,s:s}}", "publish", "id", 7, "ip", "127.0.0.1", "host", 0, "guest", 80,
			  "proto", "tcp"));
	until(r, has_text(&r->lines, "\"host\":"));
	const char *at = memmem(hull_buf_bytes(&r->lines), r->lines.len, "\"host\":", 7);
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)atoi(at + 7)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct rlimit before, none;
	assert_int_equal(prlimit(r->pid, RLIMIT_NOFILE, NULL, &before), 0);
	none = before;
	none.rlim_cur = lowest_free(r->pid);
	assert_int_equal(prlimit(r->pid, RLIMIT_NOFILE, &none, NULL), 0);
	size_t count = r->count;
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	int asleep = 0;
	until(r, (asleep = state_of(r->pid) == 'S' ? asleep + 1 : 0) >= 10);
	assert_int_equal(r->count, count);
	assert_int_equal(prlimit(r->pid, RLIMIT_NOFILE, &before, NULL), 0);
	until(r, r->count > count);
	assert_true(r->ends[count].opened_by_peer);
	rig_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams),
		cmocka_unit_test(datagrams_early),
		cmocka_unit_test(ports),
		cmocka_unit_test(port_without_descriptors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hull-egress as a process: connections, names, the policy's changes, and its limits. */
#include "egress_rig.h"

#include "egress/dial.h"
#include "egress/internal.h"

#include <sys/resource.h>

static int test_resolve(const char *name, struct hull_addr *out, size_t max)
{
	static const struct {
		const char *name, *addr;
	} t[] = {
		{"web.test", "127.0.0.1"},
		{"other.test", "127.0.0.1"},
		{"dual.test", "::1"},
		{"dual.test", "127.0.0.1"},
		{"meta.test", "169.254.169.254"},
		{"lan.test", "10.0.0.1"},
		{"six.test", "::1"},
		{"mixed.test", "10.0.0.1"},
		{"mixed.test", "127.0.0.1"},
		{"embedded.test", "64:ff9b::7f00:1"},
		{"zero.test", "0.0.0.0"},
		{"self.test", "127.0.0.2"},
		{"corp.test", "127.0.0.3"},
		{"many.test", "127.0.1.1"},
		{"many.test", "127.0.1.2"},
		{"many.test", "127.0.1.3"},
		{"many.test", "127.0.1.4"},
		{"many.test", "127.0.1.5"},
		{"many.test", "127.0.2.1"},
	};
	size_t n = 0;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t) && n < max; i++)
		if (strcmp(t[i].name, name) == 0)
			assert_true(hull_addr_parse(t[i].addr, &out[n++]));
	static int turns;
	if (strcmp(name, "turn.test") == 0)
		return hull_addr_parse(turns++ == 0 ? "127.0.0.1" : "10.0.0.1", out);
	if (strcmp(name, "fail.test") == 0)
		return -EIO;
	return n ? (int)n : -ENOENT;
}

#define POLICY                                                                                                    \
	"preset: locked\nallow: [web.test, dual.test, six.test, mixed.test, meta.test, lan.test, embedded.test, " \
	"zero.test, self.test, nx.test, fail.test, '**.deep.test', 127.0.0.1, '::1', web.test/udp]\n"

static struct rig rig;

static void connects(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0;
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	rig_start(r, POLICY);
	struct end *e = open_tcp(r, "web.test", port);
	int fd = world_accept(r, l);
	until(r, e->accepted);
	/* Who speaks first does not matter: here the server. */
	world_say(fd, "220 hello\r\n");
	until(r, has_text(&e->in, "220 hello\r\n"));
	say_text(r, e, "hi");
	_cleanup_(hull_buf_free) struct hull_buf got = {0};
	world_expect(r, fd, &got, "hi");
	say_text(r, e, " there\r\n");
	world_expect(r, fd, &got, "hi there\r\n");
	/* Half-close from the guest: the other direction goes on. */
	hull_wire_eof(r->wire, e->id);
	char b[10];
	until(r, recv(fd, b, sizeof(b), MSG_DONTWAIT) == 0);
	world_say(fd, "bye");
	until(r, has_text(&e->in, "bye"));
	close(fd);
	until(r, e->closed);
	assert_int_equal(e->code, 0);
	until(r, has_text(&r->lines, "\"log\""));
	assert_true(has_text(&r->lines, "\"verdict\":\"allow\",\"name\":\"web.test\",\"address\":\"127.0.0.1\""));
	assert_true(has_text(&r->lines, "\"rule\":\"global: allow web.test\",\"sent\":10,\"received\":14"));
	rig_end(r);
}

static void breaks(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0;
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	rig_start(r, POLICY);
	/* The peer's RST becomes a RESET with ECONNRESET. */
	struct end *e = open_tcp(r, "web.test", port);
	int fd = world_accept(r, l);
	until(r, e->accepted);
	struct linger now = {.l_onoff = 1};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	until(r, e->closed);
	assert_int_equal(e->code, -ECONNRESET);
	/* The guest's RESET becomes an RST. */
	e = open_tcp(r, "web.test", port);
	fd = world_accept(r, l);
	until(r, e->accepted);
	hull_wire_reset(r->wire, e->id, ECONNRESET, "");
	char b[10];
	ssize_t n = 0;
	until(r, (n = recv(fd, b, sizeof(b), MSG_DONTWAIT)) == 0 || errno == ECONNRESET);
	assert_int_equal(n, -1);
	close(fd);
	/* Nobody listens. */
	close(hull_steal_fd(&l));
	e = open_tcp(r, "web.test", port);
	until(r, e->closed);
	assert_int_equal(e->code, -ECONNREFUSED);
	assert_false(e->accepted);
	rig_end(r);
}

static void races_families(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0;
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	rig_start(r, POLICY);
	/* ::1 comes first and refuses; 127.0.0.1 takes it. */
	struct end *e = open_tcp(r, "dual.test", port);
	int fd = world_accept(r, l);
	until(r, e->accepted);
	close(fd);
	/* ::1 comes first and does not answer at all. */
	uint16_t same = port;
	struct hole h = world_hole("::1", &same);
	assert_int_equal(same, port);
	e = open_tcp(r, "dual.test", port);
	fd = world_accept(r, l);
	until(r, e->accepted);
	world_say(fd, "here");
	until(r, has_text(&e->in, "here"));
	close(fd);
	world_hole_end(&h);
	rig_end(r);
}

/* Many addresses that never answer in front of one that does: few descriptors at a time, and it is reached. */
static void races_few_at_once(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0, same;
	struct hole h[5];
	for (int i = 0; i < 5; i++) {
		char ip[32];
		snprintf(ip, sizeof(ip), "127.0.1.%d", i + 1);
		same = port;
		h[i] = world_hole(ip, &port);
		assert_true(i == 0 || same == port);
	}
	same = port;
	_cleanup_close_ int l = world_listen("127.0.2.1", &same, SOCK_STREAM);
	rig_start(r, "preset: locked\nallow: [many.test, web.test, 127.0.0.0/8]\n");
	/* One socket more than what the tries may take, for asking the kernel about an address. */
	struct rlimit few = {.rlim_max = 1024};
	few.rlim_cur = lowest_free(r->pid) + DIAL_AT_ONCE + 1;
	assert_int_equal(prlimit(r->pid, RLIMIT_NOFILE, &few, NULL), 0);
	struct end *e = open_tcp(r, "many.test", port);
	int fd = world_accept(r, l);
	until(r, e->accepted);
	world_say(fd, "here");
	until(r, has_text(&e->in, "here"));
	close(fd);
	for (int i = 0; i < 5; i++)
		world_hole_end(&h[i]);
	rig_end(r);
}

/* Whether an address is this host's own cannot be asked without a socket: then it is taken for one. */
static void local_addresses(void **state)
{
	static const struct {
		const char *addr;
		bool local;
	} t[] = {{"127.0.0.1", true}, {"::1", true}, {"192.0.2.1", false}, {"2001:db8::1", false}};
	for (int starved = 0; starved < 2; starved++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct rlimit none = {.rlim_max = 1024};
			int bad = 0;
			if (starved)
				setrlimit(RLIMIT_NOFILE, &none);
			for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
				struct hull_addr a;
				hull_addr_parse(t[i].addr, &a);
				bad += addr_is_local(&a) != (starved ? true : t[i].local);
			}
			_exit(bad);
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

static void names(void **state)
{
	struct rig *r = &rig;
	rig_start(r, POLICY);
	struct end *a = ask_name(r, "WEB.test.", 1), *b = ask_name(r, "web.test", 28), *c = ask_name(r, "nx.test", 1),
		   *d = ask_name(r, "denied.test", 1), *e = ask_name(r, "fail.test", 1), *f = ask_name(r, "db", 1),
		   *g = ask_name(r, "denied.test", 16), *h = ask_name(r, "web.test", 16),
		   *i = ask_name(r, "127.0.0.1", 1), *j = ask_name(r, "0x7f000001", 1),
		   *k = ask_name(r, "host.docker.internal", 1), *m = ask_name(r, "localhost", 1),
		   *o = ask_name(r, "secret.data.denied.test", 1);
	until(r, a->closed && b->closed && c->closed && d->closed && e->closed && f->closed && g->closed && h->closed &&
			 i->closed && j->closed && k->closed && m->closed && o->closed);
	_cleanup_free_ char *a4 = field(a, HULL_TAG_ADDRESS), *a6 = field(b, HULL_TAG_ADDRESS),
			    *d4 = field(d, HULL_TAG_ADDRESS), *none = field(h, HULL_TAG_ADDRESS);
	assert_int_equal(a->code, 0);
	assert_true(hull_starts(a4, "198.18."));
	assert_true(hull_starts(a6, "fd68:756c:6c00::"));
	assert_true(
		hull_starts(d4, "198.18.")); /* denied names have addresses: the refusal comes with the connection */
	assert_string_not_equal(a4, d4);
	assert_int_equal(c->code, -ENOENT);
	assert_int_equal(e->code, -EIO);
	assert_int_equal(f->code, -ENOENT);
	assert_int_equal(g->code, -EACCES);
	assert_int_equal(h->code, 0);
	assert_null(none);
	assert_int_equal(i->code, -ENOENT);
	assert_int_equal(j->code, -ENOENT);
	assert_int_equal(k->code, 0);
	assert_int_equal(m->code, -ENOENT);
	assert_int_equal(o->code, 0);
	/* Nothing left for a name that is not allowed. */
	assert_false(has_text(&r->names, "denied"));
	assert_true(has_text(&r->names, "web.test\n"));
	assert_true(has_text(&r->lines, "\"name\":[256,\"web.test\"]"));
	/* The synthetic address is the name. */
	uint16_t port = 0;
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	struct end *x = open_tcp(r, a4, port), *y = open_tcp(r, a6, port);
	int p = world_accept(r, l), q = world_accept(r, l);
	until(r, x->accepted && y->accepted);
	close(p);
	close(q);
	struct end *z = open_tcp(r, d4, 1443), *w = open_tcp(r, "198.18.200.200", 1443);
	until(r, z->closed && w->closed);
	assert_int_equal(z->code, -EACCES);
	assert_non_null(strstr(z->message, "hull policy allow --sandbox box denied.test:1443"));
	assert_int_equal(w->code, -EHOSTUNREACH);
	rig_end(r);
	/* The child that follows is told, and knows the address. */
	rig_start_with(r, json_pack("{s:{s:s,s:[[i,s]]}}", "start", "sandbox", "box", "names", 300, "web.test"));
	set_policy(r, POLICY);
	x = open_tcp(r, "198.18.1.44", port);
	p = world_accept(r, l);
	until(r, x->accepted);
	close(p);
	rig_end(r);
}

/* Addresses that a guest must not reach, in every spelling. */
static void spellings(void **state)
{
	static const struct {
		const char *address;
		int code;
	} t[] = {
		{"127.0.0.2", EACCES},
		{"::ffff:127.0.0.2", EACCES},
		{"::ffff:7f00:2", EACCES},
		{"2130706434", EINVAL},
		{"0x7f000002", EINVAL},
		{"017700000002", EINVAL},
		{"0177.0.0.2", EINVAL},
		{"127.2", EINVAL},
		{"127.0.2", EINVAL},
		{"0x7f.0.0.2", EINVAL},
		{"0.0.0.0", EACCES},
		{"::", EACCES},
		{"0", EINVAL},
		{"10.0.0.1", EACCES},
		{"192.168.0.1", EACCES},
		{"172.16.0.1", EACCES},
		{"169.254.169.254", EACCES},
		{"::ffff:a9fe:a9fe", EACCES},
		{"64:ff9b::a9fe:a9fe", EACCES},
		{"2002:7f00:2::", EACCES},
		{"fe80::1", EACCES},
		{"fe80::1%lo", EINVAL},
		{"ff02::1", EACCES},
		{"fd00::1", EACCES},
		{"224.0.0.1", EACCES},
		{"255.255.255.255", EACCES},
		{"198.19.0.1", EACCES},
		{"127.0.0.1 ", EINVAL},
		{"127.0.0.1:80", EINVAL},
		{"[::1]", EINVAL},
		{"localhost", EACCES},
		{"localhost.", EACCES},
		{"LOCALHOST", EACCES},
		{"host.hull.internal", EACCES},
		{"", EINVAL},
		{"a..b", EINVAL},
		{"a b", EINVAL},
		{"web.test/x", EINVAL},
		{"user@web.test", EINVAL},
		{"100.64.0.1", EACCES},
		{"::2", EACCES},
		{"8.8.8.8", EACCES},
	};
	struct rig *r = &rig;
	rig_start(r, POLICY);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct end *e = open_tcp(r, t[i].address, 1443);
		until(r, e->closed);
		if (e->accepted || e->code != -t[i].code)
			fail_msg("%s: %d %s", t[i].address, e->code, e->message);
	}
	static const uint32_t ports[] = {0, 65536, 0xffffffff};
	for (size_t i = 0; i < 3; i++) {
		struct end *e = open_tcp(r, "web.test", ports[i]);
		until(r, e->closed);
		assert_int_equal(e->code, -EINVAL);
	}
	assert_int_equal(r->names.len, 0); /* nobody was asked about any of it */
	rig_end(r);
}

static void rebinding(void **state)
{
	static const char *const t[] = {"meta.test", "lan.test", "embedded.test", "zero.test", "self.test"};
	struct rig *r = &rig;
	rig_start(r, POLICY);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct end *e = open_tcp(r, t[i], 1443);
		until(r, e->closed);
		if (e->code != -EACCES || e->accepted)
			fail_msg("%s: %d %s", t[i], e->code, e->message);
		assert_non_null(strstr(e->message, "address"));
	}
	/* Of several addresses only those that may be. */
	uint16_t port = 0;
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	struct end *e = open_tcp(r, "mixed.test", port);
	int fd = world_accept(r, l);
	until(r, e->accepted);
	close(fd);
	/* private: true names it. */
	set_policy(r, "preset: locked\nallow: [{host: corp.test, private: true}]\n");
	uint16_t other = 0;
	_cleanup_close_ int l3 = world_listen("127.0.0.3", &other, SOCK_STREAM);
	e = open_tcp(r, "corp.test", other);
	fd = world_accept(r, l3);
	until(r, e->accepted);
	close(fd);
	rig_end(r);
}

/* The resolver's answer changes between connections: each is judged by what it is then. */
static void rebinding_later(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0;
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	rig_fresh_ms = 1;
	rig_start(r, "preset: locked\nallow: [turn.test, 127.0.0.1]\n");
	struct end *e = open_tcp(r, "turn.test", port);
	int fd = world_accept(r, l);
	until(r, e->accepted);
	close(fd);
	/* An answer is used for a while; then the next one is asked for, and it is a private address. */
	do {
		e = open_tcp(r, "turn.test", port);
		until(r, e->accepted || e->closed);
		hull_wire_eof(r->wire, e->id);
		fd = has_text(&r->names, "turn.test\nturn.test\n") ? -1 : world_accept(r, l);
		if (fd >= 0)
			close(fd);
		until(r, e->closed);
	} while (fd >= 0);
	assert_int_equal(e->code, -EACCES);
	until(r, has_text(&r->lines, "a private address"));
	assert_int_equal(accept(l, NULL, NULL), -1);
	rig_fresh_ms = 0;
	rig_end(r);
}

static void host_services(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0, six = 0;
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	_cleanup_close_ int l6 = world_listen("::1", &six, SOCK_STREAM);
	_cleanup_free_ char *policy = hull_fmt("preset: open\nallow: ['localhost:%u,%u']\n", port, six);
	rig_start(r, policy);
	struct end *a = ask_name(r, "host.docker.internal", 1);
	until(r, a->closed);
	_cleanup_free_ char *addr = field(a, HULL_TAG_ADDRESS);
	static const char *const spelled[] = {"host.hull.internal", "host.docker.internal", "localhost", NULL};
	for (size_t i = 0; i < 4; i++) {
		struct end *e = open_tcp(r, spelled[i] ? spelled[i] : addr, port);
		int fd = world_accept(r, l);
		until(r, e->accepted);
		close(fd);
	}
	struct end *e = open_tcp(r, "host.hull.internal", six);
	int fd = world_accept(r, l6);
	until(r, e->accepted);
	close(fd);
	/* A scan of the host finds nothing, whether a port is open or not. */
	uint16_t secret = 0;
	_cleanup_close_ int hidden = world_listen("127.0.0.1", &secret, SOCK_STREAM);
	static const char *const ways[] = {"host.hull.internal", "127.0.0.1",        "::1",
					   "web.test",           "::ffff:127.0.0.1", "0.0.0.0"};
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		for (int open = 0; open < 2; open++) {
			e = open_tcp(r, ways[i], open ? secret : 1);
			hull_wire_eof(r->wire, e->id);
			until(r, e->closed);
			if (e->code != -EACCES)
				fail_msg("%s: %d", ways[i], e->code);
		}
	assert_int_equal(accept(hidden, NULL, NULL), -1);
	rig_end(r);
}

static void policy_changes(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0;
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	rig_start(r, POLICY);
	struct end *e = open_tcp(r, "web.test", port), *d = open_tcp(r, "dual.test", port);
	int a = world_accept(r, l), b = world_accept(r, l);
	until(r, e->accepted && d->accepted);
	/* A bad file: the old one stays. */
	set_policy(r, "allow:\n  - web.test\n  - not good\n");
	assert_true(has_text(&r->lines, "policy.yaml:3:5: "));
	assert_false(e->closed);
	struct end *f = open_tcp(r, "web.test", port);
	int c = world_accept(r, l);
	until(r, f->accepted);
	/* A new one cuts what it forbids, and only that. */
	set_policy(r, "preset: locked\nallow: [dual.test, 127.0.0.1, '::1']\n");
	assert_true(has_text(&r->lines, "\"cut\":2"));
	until(r, e->closed && f->closed);
	assert_int_equal(e->code, -ECONNRESET);
	assert_false(d->closed);
	e = open_tcp(r, "web.test", 443);
	until(r, e->closed);
	assert_int_equal(e->code, -EACCES);
	tell(r, json_pack("{s:{s:s}}", "policy", "closed", "no file"));
	until(r, d->closed);
	close(a);
	close(b);
	close(c);
	rig_end(r);
}

/* A change while a connection is being made: judged again when it stands. */
static void policy_changes_meanwhile(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0;
	struct hole h = world_hole("127.0.0.1", &port);
	rig_start(r, POLICY);
	struct end *e = open_tcp(r, "web.test", port), *m = open_tcp(r, "mixed.test", port);
	until(r, has_text(&r->names, "mixed.test"));
	/* Nothing of it is forbidden: also not for an address of the name's that was refused before. */
	set_policy(r, POLICY "deny: [other.test]\n");
	assert_true(has_text(&r->lines, "\"cut\":0"));
	assert_false(m->closed || e->closed);
	set_policy(r, POLICY "deny: [127.0.0.1]\n");
	world_dig_out(&h);
	say_text(r, e, "SSH-2.0-x\r\n");
	say_text(r, m, "SSH-2.0-x\r\n");
	/* The queue has room for one at a time. */
	time_t end = now_s() + DEADLINE_S;
	while ((!e->closed || !m->closed) && now_s() < end) {
		char b[16];
		int fd = accept4(h.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		turn(r, 20);
		if (fd >= 0) {
			assert_true(recv(fd, b, sizeof(b), MSG_DONTWAIT) <= 0);
			close(fd);
		}
	}
	assert_true(e->closed && m->closed);
	assert_int_equal(e->code, -EACCES);
	assert_int_equal(m->code, -EACCES);
	assert_true(has_text(&r->lines, "a rule denies its address"));
	world_hole_end(&h);
	rig_end(r);
}

static void thousand(void **state)
{
	enum { N = EGRESS_CONNECTIONS_MAX };
	static struct end *e[N];
	static int fds[N];
	struct rig *r = &rig;
	uint16_t port = 0;
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	rig_start(r, POLICY);
	for (int i = 0; i < N; i++)
		e[i] = open_tcp(r, "web.test", port);
	for (int i = 0; i < N; i++)
		fds[i] = world_accept(r, l);
	for (int i = 0; i < N; i++)
		until(r, e[i]->accepted);
	/* One more is one too many. */
	struct end *more = open_tcp(r, "web.test", port);
	until(r, more->closed);
	assert_int_equal(more->code, -EAGAIN);
	/* All of them carry. */
	for (int i = 0; i < N; i++)
		say_text(r, e[i], "ping\n");
	for (int i = 0; i < N; i++) {
		_cleanup_(hull_buf_free) struct hull_buf got = {0};
		world_expect(r, fds[i], &got, "ping\n");
		world_say(fds[i], "pong\n");
	}
	for (int i = 0; i < N; i++)
		until(r, has_text(&e[i]->in, "pong\n"));
	for (int i = 0; i < N; i++)
		close(fds[i]);
	for (int i = 0; i < N; i++) {
		until(r, e[i]->eof);
		hull_wire_eof(r->wire, e[i]->id);
	}
	for (int i = 0; i < N; i++)
		until(r, e[i]->closed);
	/* And there is room again. */
	more = open_tcp(r, "web.test", port);
	int fd = world_accept(r, l);
	until(r, more->accepted);
	close(fd);
	rig_end(r);
}

static void bulk(void **state)
{
	enum { TOTAL = 100 << 20, BLOCK = 1 << 20 };
	static char block[BLOCK];
	struct rig *r = &rig;
	uint16_t port = 0;
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 7 + (i >> 8));
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	rig_start(r, POLICY);
	struct end *e = open_tcp(r, "web.test", port);
	int fd = world_accept(r, l);
	until(r, e->accepted);
	/* Down. */
	e->keep = false;
	for (size_t sent = 0; sent < TOTAL;) {
		ssize_t n = send(fd, block + sent % BLOCK, BLOCK - sent % BLOCK, MSG_DONTWAIT | MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		turn(r, n > 0 ? 0 : 20);
	}
	until(r, e->received == TOTAL);
	/* Up. */
	size_t got = 0, put = 0;
	static char b[BLOCK];
	time_t end = now_s() + DEADLINE_S;
	while (got < TOTAL && now_s() < end) {
		if (put < TOTAL && e->out.len < BLOCK) {
			say(r, e, block, BLOCK);
			put += BLOCK;
		}
		ssize_t n = recv(fd, b, sizeof(b), MSG_DONTWAIT);
		for (ssize_t i = 0; i < n; i += 4093)
			assert_int_equal(b[i], block[(got + (size_t)i) % BLOCK]);
		got += n > 0 ? (size_t)n : 0;
		turn(r, n > 0 ? 0 : 20);
	}
	assert_int_equal(got, TOTAL);
	close(fd);
	rig_end(r);
}

/* A reader that stalls, on either side, holds its own stream and no other. */
static void slow(void **state)
{
	static char block[64 * 1024];
	struct rig *r = &rig;
	uint16_t port = 0;
	_cleanup_close_ int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	rig_start(r, POLICY);
	struct end *e = open_tcp(r, "web.test", port), *d = open_tcp(r, "dual.test", port);
	int a = world_accept(r, l), b = world_accept(r, l);
	until(r, e->accepted && d->accepted);
	memset(block, 0xaa, sizeof(block));
	/* The peer does not read: credit runs out. */
	for (int i = 0; i < 200; i++) {
		say(r, e, block, sizeof(block));
		turn(r, 0);
	}
	for (int i = 0; i < 50; i++)
		turn(r, 1);
	assert_true(e->out.len > 0);
	/* The guest does not read: the peer is stopped. */
	d->stalled = true;
	size_t sent = 0;
	for (int i = 0, quiet = 0; quiet < 50 && i < 100000; i++) {
		ssize_t n = send(b, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);
		quiet = n > 0 ? 0 : quiet + 1;
		sent += n > 0 ? (size_t)n : 0;
		turn(r, n > 0 ? 0 : 2);
	}
	assert_true(d->received <= HULL_WIRE_WINDOW);
	assert_true(sent > d->received);
	/* Another one is not held up. */
	struct end *f = open_tcp(r, "web.test", port);
	int c = world_accept(r, l);
	until(r, f->accepted);
	world_say(c, "quick\n");
	until(r, has_text(&f->in, "quick\n"));
	/* They go on when they go on. */
	d->stalled = false;
	hull_wire_grant(r->wire, d->id, d->received);
	until(r, d->received == sent);
	size_t got = 0;
	static char in[256 * 1024];
	time_t end = now_s() + DEADLINE_S;
	while (got < 200 * sizeof(block) && now_s() < end) {
		ssize_t n = recv(a, in, sizeof(in), MSG_DONTWAIT);
		got += n > 0 ? (size_t)n : 0;
		turn(r, n > 0 ? 0 : 5);
	}
	assert_int_equal(got, 200 * sizeof(block));
	close(a);
	close(b);
	close(c);
	rig_end(r);
}

static void floods(void **state)
{
	struct rig *r = &rig;
	rig_start(r, POLICY);
	/* Refused connections that say nothing hold their place for a second at most; names are bounded. */
	for (int i = 0; i < 1500; i++)
		open_tcp(r, "denied.test", 8080);
	for (int i = 0; i < 1500; i++) {
		char name[64];
		snprintf(name, sizeof(name), "n%d.denied.test", i);
		ask_name(r, name, 1);
	}
	for (size_t i = 1; i < r->count; i++)
		until(r, r->ends[i].closed);
	assert_false(r->dead);
	assert_int_equal(r->names.len, 0);
	rig_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connects),
		cmocka_unit_test(breaks),
		cmocka_unit_test(races_families),
		cmocka_unit_test(names),
		cmocka_unit_test(races_few_at_once),
		cmocka_unit_test(local_addresses),
		cmocka_unit_test(spellings),
		cmocka_unit_test(rebinding),
		cmocka_unit_test(rebinding_later),
		cmocka_unit_test(host_services),
		cmocka_unit_test(policy_changes),
		cmocka_unit_test(policy_changes_meanwhile),
		cmocka_unit_test(thousand),
		cmocka_unit_test(bulk),
		cmocka_unit_test(slow),
		cmocka_unit_test(floods),
	};
	/* Both ends of every connection are in this process. */
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

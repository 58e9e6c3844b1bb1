/* SPDX-License-Identifier: Apache-2.0 */
/* A rig for the keeper's tests: a keeper without a machine. A fake guest is behind its wire, clients are on its real
 * sockets, all in this process.
 *
 * Everything is stepped by hand (step): one turn of the keeper's loop, one of the guest, one of each client, until what
 * a test waits for is so. Nothing depends on time. */
#ifndef HULL_TESTS_KEEPER_RIG_H
#define HULL_TESTS_KEEPER_RIG_H

#include "keeper/life/life.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <cmocka.h>

enum { PEERS = 4, STREAMS = 64 };

/* One stream as its end sees it. */
struct end {
	uint32_t id;
	uint8_t service;
	struct hull_buf args, in, out; /* in: received; out: still to be sent */
	size_t received;               /* bytes, also those not kept */
	size_t sent;
	bool open, accepted, eof, closed, finish; /* finish: EOF when out is empty */
	bool stalled;                             /* grants nothing */
	size_t flood;                             /* bytes to send of no interest */
	int code;
	char message[1200];
	struct hull_buf messages; /* u32 length, bytes */
};

struct peer {
	int fd;
	struct hull_wire *wire;
	struct end ends[STREAMS];
	size_t count;
	struct world *world;
	bool guest;
	bool gone;
};

struct world {
	char dir[64];
	struct keeper *k;
	struct peer guest;
	struct peer clients[PEERS];
	int pair[2];
	bool hold_configured; /* the guest does not answer CONFIGURE yet */
	bool configured_seen, shutdown_seen, killed, over;
	uint32_t grace;
	struct hull_buf configure;
	unsigned times;      /* TIMEs that came */
	int64_t clock_error; /* what the guest's clock says too little */
	bool clock_stuck;    /* it answers, always that it is a day behind */
	uint32_t control;
};

__attribute__((unused)) static size_t jobs_and_commands(const struct keeper *k)
{
	return k->jobs->count + k->relays->exec_count;
}

/* --- a peer: either end of a wire, by hand --- */

__attribute__((unused)) static struct end *end_of(struct peer *p, uint32_t id)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->ends[i].id == id)
			return &p->ends[i];
	assert_true(p->count < STREAMS);
	p->ends[p->count].id = id;
	return &p->ends[p->count++];
}

__attribute__((unused)) static void say(struct peer *p, uint32_t id, uint8_t kind, uint16_t tag, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	hull_buf_add(&b, &kind, 1);
	if (tag)
		hull_args_put_str(&b, tag, text);
	hull_wire_message(p->wire, id, hull_buf_bytes(&b), b.len);
}

__attribute__((unused)) static void say_docker(struct world *w, const char *state, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_SERVICE;
	hull_buf_add(&b, &kind, 1);
	hull_args_put_str(&b, HULL_TAG_SERVICE, "docker");
	hull_args_put_str(&b, HULL_TAG_STATE, state);
	hull_args_put_str(&b, HULL_TAG_TEXT, text);
	assert_int_equal(hull_wire_message(w->guest.wire, w->control, hull_buf_bytes(&b), b.len), 0);
}

__attribute__((unused)) static void say_exit(struct peer *p, uint32_t id, uint32_t status)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_EXIT;
	hull_buf_add(&b, &kind, 1);
	hull_args_put_u32(&b, HULL_TAG_STATUS, status);
	hull_wire_message(p->wire, id, hull_buf_bytes(&b), b.len);
}

/* The command could not be executed. */
__attribute__((unused)) static void say_cannot(struct peer *p, uint32_t id, uint32_t error, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_EXIT;
	hull_buf_add(&b, &kind, 1);
	hull_args_put_u32(&b, HULL_TAG_ERRNO, error);
	hull_args_put_str(&b, HULL_TAG_TEXT, text);
	hull_wire_message(p->wire, id, hull_buf_bytes(&b), b.len);
	hull_wire_eof(p->wire, id);
}

/* 0 = none: it does not run. */
__attribute__((unused)) static void accept_pid(struct peer *p, uint32_t id, uint32_t pid)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	if (pid)
		hull_args_put_u32(&b, HULL_TAG_PID, pid);
	hull_wire_accept(p->wire, id, hull_buf_bytes(&b), b.len);
}

/* Field number `index` of this tag, as a string; NULL when there is none. Owned. */
__attribute__((unused)) static char *field(const struct hull_buf *args, uint16_t tag, size_t index)
{
	struct hull_cur cur = hull_cur_make(hull_buf_bytes(args), args->len);
	struct hull_arg a;
	while (hull_args_next(&cur, &a))
		if (a.tag == tag && index-- == 0)
			return hull_arg_str(&a);
	return NULL;
}

__attribute__((unused)) static bool field_is(const struct hull_buf *args, uint16_t tag, size_t index, const char *want)
{
	_cleanup_free_ char *s = field(args, tag, index);
	return hull_streq(s, want);
}

__attribute__((unused)) static void on_open(void *ctx, uint32_t id, uint8_t service, const uint8_t *args, size_t len)
{
	struct peer *p = ctx;
	struct end *e = end_of(p, id);
	e->open = true;
	e->service = service;
	hull_buf_add(&e->args, args, len);
	if (service == HULL_SVC_CONTROL)
		p->world->control = id;
	if (field_is(&e->args, HULL_TAG_ARGV, 0, "missing")) {
		hull_wire_refuse(p->wire, id, ENOENT, "missing: not found");
		return;
	}
	if (field_is(&e->args, HULL_TAG_ARGV, 0, "late") || field_is(&e->args, HULL_TAG_ARGV, 0, "later"))
		return; /* answered by the test */
	if (service == HULL_SVC_EXEC)
		accept_pid(p, id, 42);
	else
		hull_wire_accept(p->wire, id, NULL, 0);
	if (field_is(&e->args, HULL_TAG_ARGV, 0, "flood"))
		e->flood = 64 << 20;
	if (field_is(&e->args, HULL_TAG_ARGV, 0, "job")) {
		hull_buf_addstr(&e->out, "some output\n");
		e->finish = true;
		e->flood = 0;
	}
}

__attribute__((unused)) static void on_accepted(void *ctx, uint32_t id, void *user, const uint8_t *args, size_t len)
{
	end_of(ctx, id)->accepted = true;
}

__attribute__((unused)) static void on_data(void *ctx, uint32_t id, void *user, unsigned channel, const uint8_t *d,
					    size_t n)
{
	struct peer *p = ctx;
	struct end *e = end_of(p, id);
	e->received += n;
	if (e->stalled)
		return;
	if (p->guest && e->service != HULL_SVC_CONTROL)
		hull_buf_add(&e->out, d, n); /* the guest echoes */
	hull_buf_add(&e->in, d, n);
	hull_wire_grant(p->wire, id, n);
}

__attribute__((unused)) static void on_message(void *ctx, uint32_t id, void *user, const uint8_t *m, size_t n)
{
	struct peer *p = ctx;
	struct world *w = p->world;
	struct end *e = end_of(p, id);
	hull_buf_le32(&e->messages, (uint32_t)n);
	hull_buf_add(&e->messages, m, n);
	if (!p->guest || e->service != HULL_SVC_CONTROL)
		return;
	struct hull_cur cur = hull_cur_make(m + 1, n - 1);
	struct hull_arg a;
	if (m[0] == HULL_MSG_CONFIGURE) {
		w->configured_seen = true;
		hull_buf_add(&w->configure, m + 1, n - 1);
		if (!w->hold_configured)
			say(p, id, HULL_MSG_CONFIGURED, 0, NULL);
	}
	if (m[0] == HULL_MSG_TIME) {
		struct timespec now;
		uint64_t told = 0;
		w->times++;
		while (hull_args_next(&cur, &a)) {
			if (a.tag == HULL_TAG_TIME_NS)
				told = hull_arg_u64(&a);
			else if (a.tag == HULL_TAG_OFFSET_NS)
				w->clock_error -= (int64_t)hull_arg_u64(&a);
		}
		clock_gettime(CLOCK_REALTIME, &now);
		now.tv_sec -= w->clock_stuck ? 24 * 3600 : 0;
		_cleanup_(hull_buf_free) struct hull_buf b = {0};
		uint8_t kind = HULL_MSG_CLOCK;
		hull_buf_add(&b, &kind, 1);
		hull_args_put_u64(&b, HULL_TAG_TIME_NS, told);
		hull_args_put_u64(&b, HULL_TAG_GUEST_NS,
				  (uint64_t)((int64_t)now.tv_sec * 1000000000 + now.tv_nsec - w->clock_error));
		hull_wire_message(p->wire, id, hull_buf_bytes(&b), b.len);
	}
	if (m[0] == HULL_MSG_SHUTDOWN) {
		w->shutdown_seen = true;
		while (hull_args_next(&cur, &a))
			if (a.tag == HULL_TAG_GRACE_MS)
				w->grace = hull_arg_u32(&a);
		say(p, id, HULL_MSG_STOPPING, 0, NULL);
	}
	if (m[0] == HULL_MSG_STATS_ASK) {
		_cleanup_(hull_buf_free) struct hull_buf b = {0};
		uint8_t kind = HULL_MSG_STATS;
		hull_buf_add(&b, &kind, 1);
		hull_args_put_u64(&b, HULL_TAG_MEM_TOTAL, 12345);
		hull_wire_message(p->wire, id, hull_buf_bytes(&b), b.len);
	}
}

__attribute__((unused)) static void on_eof(void *ctx, uint32_t id, void *user)
{
	struct peer *p = ctx;
	struct end *e = end_of(p, id);
	e->eof = true;
	e->finish = e->finish || p->guest;
	if (!p->guest)
		hull_wire_eof(p->wire, id);
}

__attribute__((unused)) static void on_closed(void *ctx, uint32_t id, void *user, int code, const char *message)
{
	struct end *e = end_of(ctx, id);
	e->closed = true;
	e->code = code;
	snprintf(e->message, sizeof(e->message), "%s", message);
}

static const struct hull_wire_ops PEER_OPS = {
	.open = on_open,
	.accepted = on_accepted,
	.data = on_data,
	.message = on_message,
	.eof = on_eof,
	.closed = on_closed,
};

__attribute__((unused)) static void peer_open(struct world *w, struct peer *p, int fd, bool guest)
{
	struct hull_wire_config config = {.side = guest ? HULL_WIRE_GUEST : HULL_WIRE_HOST, .max_inbound = 4096};
	p->fd = fd;
	p->world = w;
	p->guest = guest;
	p->gone = false;
	hull_set_nonblock(fd, true);
	p->wire = hull_wire_new(&config, &PEER_OPS, p);
	if (!guest)
		hull_wire_hello(p->wire, 7);
}

__attribute__((unused)) static void peer_close(struct peer *p)
{
	if (!p->wire)
		return;
	hull_wire_free(p->wire);
	close(p->fd);
	for (size_t i = 0; i < p->count; i++) {
		hull_buf_free(&p->ends[i].args);
		hull_buf_free(&p->ends[i].in);
		hull_buf_free(&p->ends[i].out);
		hull_buf_free(&p->ends[i].messages);
	}
	memset(p, 0, sizeof(*p));
}

__attribute__((unused)) static void peer_step(struct peer *p)
{
	static uint8_t bytes[32768];
	if (!p->wire)
		return;
	for (size_t i = 0; i < p->count; i++) {
		struct end *e = &p->ends[i];
		while (e->out.len && !e->closed) {
			ssize_t n = hull_wire_write(p->wire, e->id, 0, hull_buf_bytes(&e->out), e->out.len);
			if (n <= 0)
				break;
			hull_buf_drain(&e->out, (size_t)n);
			e->sent += (size_t)n;
		}
		while (e->flood && !e->closed) {
			ssize_t n = hull_wire_write(p->wire, e->id, 0, bytes, e->flood < 32768 ? e->flood : 32768);
			if (n <= 0)
				break;
			e->flood -= (size_t)n;
			e->sent += (size_t)n;
		}
		if (e->finish && !e->out.len && !e->flood && !e->closed) {
			e->finish = false;
			if (p->guest && e->service == HULL_SVC_EXEC)
				say_exit(p, e->id, 3);
			hull_wire_eof(p->wire, e->id);
		}
	}
	const uint8_t *o;
	for (size_t n = hull_wire_output(p->wire, &o); n > 0; n = hull_wire_output(p->wire, &o)) {
		ssize_t s = send(p->fd, o, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (s <= 0)
			break;
		hull_wire_sent(p->wire, (size_t)s);
	}
	ssize_t n = read(p->fd, bytes, sizeof(bytes));
	struct hull_error err;
	if (n > 0 && hull_wire_feed(p->wire, bytes, (size_t)n, &err) < 0)
		fail_msg("%s: %s", p->guest ? "guest" : "client", err.msg);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		p->gone = true;
}

/* --- the world --- */

__attribute__((unused)) static void fake_kill(struct keeper *k)
{
	struct world *w = (struct world *)k->machine;
	w->killed = true;
}
__attribute__((unused)) static int fake_memory(struct keeper *k, uint64_t *bytes)
{
	*bytes = 4096;
	return 0;
}
__attribute__((unused)) static const char *fake_describe(struct keeper *k)
{
	return "fake 1.0";
}
__attribute__((unused)) static const char *fake_accel(struct keeper *k)
{
	return "none";
}
__attribute__((unused)) static pid_t fake_pid(struct keeper *k)
{
	return 1;
}
__attribute__((unused)) static void fake_close(struct keeper *k)
{
}
static const struct machine_ops FAKE = {
	.kill = fake_kill,
	.memory = fake_memory,
	.describe = fake_describe,
	.accel = fake_accel,
	.pid = fake_pid,
	.close = fake_close,
};

__attribute__((unused)) static void step(struct world *w)
{
	if (w->killed && !w->k->life.ended)
		w->k->events->machine_ended(w->k, -EIO, "the engine was killed");
	if (!w->over)
		w->over = uv_run(&w->k->loop.uv, UV_RUN_NOWAIT) == 0 || w->k->life.phase == PHASE_ENDED;
	peer_step(&w->guest);
	for (size_t i = 0; i < PEERS; i++)
		peer_step(&w->clients[i]);
}

/* Something is wrong when it is not so by then; it is so far sooner. (Counting steps would say how fast the machine is:
 * some conditions wait for a timer of the keeper's.) */
enum { UNTIL_S = 60 };
__attribute__((unused)) static time_t seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

#define until(w, condition)                                                      \
	do {                                                                     \
		bool so_ = false;                                                \
		for (time_t end_ = seconds() + UNTIL_S; !(so_ = (condition));) { \
			if (seconds() > end_)                                    \
				break;                                           \
			step(w);                                                 \
		}                                                                \
		if (!so_)                                                        \
			fail_msg("never so: %s", #condition);                    \
	} while (0)

__attribute__((unused)) static void settle(struct world *w)
{
	for (int i = 0; i < 200; i++)
		step(w);
}

__attribute__((unused)) static void env_in(const char *name, const char *dir, const char *sub)
{
	_cleanup_free_ char *v = hull_fmt("%s/%s", dir, sub);
	assert_int_equal(setenv(name, v, 1), 0);
}

static int setup_with(void **state, bool no_docker, bool remove)
{
	struct world *w = calloc(1, sizeof(*w));
	struct hull_error err = {0};
	strcpy(w->dir, "/tmp/hull-test-keeper.XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	env_in("HULL_HOME", w->dir, "home");
	env_in("XDG_RUNTIME_DIR", w->dir, "run");
	env_in("XDG_CONFIG_HOME", w->dir, "config");
	struct keeper *k = w->k = calloc(1, sizeof(*w->k));
	assert_int_equal(hull_paths_open(&k->paths, &err), 0);
	k->sb = (struct hull_sandbox){
		.name = strdup("box"),
		.agent = strdup("shell"),
		.image = strdup("abc"),
		.cpus = 1,
		.memory = 1 << 30,
		.disk = 16 << 20,
		.swap = 4 << 20,
		.engine = strdup("auto"),
		.env = hull_strv_copy((char *[]){(char *)"BOX=1", (char *)"TWICE=box", NULL}),
		.paths = hull_strv_copy(NULL),
		.no_docker = no_docker,
		.remove = remove,
		.state = strdup("created"),
	};
	_cleanup_free_ char *seed = hull_fmt("%s/seed", w->dir);
	_cleanup_close_ int fd = open(seed, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(hull_sandbox_create(&k->paths, &k->sb, fd, false, &err), 0);
	k->machine_ops = &FAKE;
	k->machine = (struct machine *)w;
	assert_int_equal(keeper_init(k, &err), 0);
	k->lock_fd = hull_sandbox_lock(&k->paths, "box", &err);
	assert_true(k->lock_fd >= 0);
	assert_int_equal(runtime_open(k, &err), 0);
	assert_int_equal(keeper_log_open(k, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, w->pair), 0);
	assert_int_equal(guest_open(k, w->pair[0], &err), 0);
	assert_int_equal(keeper_listen(k, &err), 0);
	peer_open(w, &w->guest, w->pair[1], true);
	*state = w;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, false, false);
}
__attribute__((unused)) static int setup_no_docker(void **state)
{
	return setup_with(state, true, false);
}
__attribute__((unused)) static int setup_remove(void **state)
{
	return setup_with(state, false, true);
}

__attribute__((unused)) static void close_handle(uv_handle_t *h, void *arg)
{
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static int teardown(void **state)
{
	struct world *w = *state;
	struct keeper *k = w->k;
	clients_close(k);
	docker_close(k);
	listener_close(&k->clients->listener);
	jobs_close(k);
	guest_close(k);
	clock_close(k);
	runtime_close(k, false);
	uv_walk(&k->loop.uv, close_handle, NULL);
	uv_run(&k->loop.uv, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&k->loop.uv), 0);
	/* Whatever happened, nothing is left on any list. */
	assert_int_equal(k->relays->count, 0);
	assert_int_equal(k->relays->pending_bytes, 0);
	assert_int_equal(k->service->waiter_count, 0);
	assert_int_equal(k->docker->count, 0);
	assert_int_equal(k->jobs->count, 0);
	assert_int_equal(jobs_and_commands(k), 0);
	assert_int_equal(k->clients->count, 0);
	hull_log_open(2, "test");
	logfile_close(&k->logs.keeper);
	logfile_close(&k->dockerlog->file);
	logfile_close(&k->logs.guest);
	if (k->lock_fd >= 0)
		close(k->lock_fd);
	hull_sandbox_free(&k->sb);
	keeper_free(k);
	peer_close(&w->guest);
	for (size_t i = 0; i < PEERS; i++)
		peer_close(&w->clients[i]);
	close(w->pair[0]);
	hull_buf_free(&w->configure);
	hull_remove_tree(AT_FDCWD, w->dir, NULL);
	hull_paths_free(&k->paths);
	free(k);
	free(w);
	return 0;
}

__attribute__((unused)) static int dial(struct world *w, const char *file)
{
	_cleanup_free_ char *path = hull_runtime_path(&w->k->paths, "box", file);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	assert_true(strlen(path) < sizeof(addr.sun_path));
	strcpy(addr.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return -1;
	}
	hull_set_nonblock(fd, true);
	return fd;
}

__attribute__((unused)) static struct peer *client(struct world *w, size_t i)
{
	int fd = dial(w, "control.sock");
	assert_true(fd >= 0);
	peer_open(w, &w->clients[i], fd, false);
	return &w->clients[i];
}

__attribute__((unused)) static struct end *exec(struct peer *c, const char *command)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint32_t id;
	hull_args_put_str(&b, HULL_TAG_ARGV, command);
	hull_args_put_str(&b, HULL_TAG_ENV, "TWICE=client");
	hull_args_put_u32(&b, HULL_TAG_KEEP, 1);
	hull_args_put_str(&b, 999, "from the future");
	assert_int_equal(hull_wire_open(c->wire, HULL_SVC_EXEC, hull_buf_bytes(&b), b.len, NULL, &id), 0);
	return end_of(c, id);
}

__attribute__((unused)) static struct end *request(struct peer *c, const char *json)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint32_t id;
	hull_args_put_str(&b, HULL_TAG_JSON, json);
	assert_int_equal(hull_wire_open(c->wire, HULL_SVC_KEEPER, hull_buf_bytes(&b), b.len, NULL, &id), 0);
	return end_of(c, id);
}

/* The answer to a request that has ended; borrowed until the end's memory goes. */
__attribute__((unused)) static const char *answer(struct end *e)
{
	hull_buf_add(&e->in, "", 1);
	e->in.len--;
	return (const char *)hull_buf_bytes(&e->in);
}

/* The guest's end of the n-th stream of this service. */
__attribute__((unused)) static struct end *at_guest(struct world *w, uint8_t service, const char *argv0)
{
	for (size_t i = 0; i < w->guest.count; i++) {
		struct end *e = &w->guest.ends[i];
		if (e->service == service && (!argv0 || field_is(&e->args, HULL_TAG_ARGV, 0, argv0)))
			return e;
	}
	return NULL;
}

__attribute__((unused)) static void saved_state(struct world *w, const char *state, const char *reason)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	struct hull_error err;
	assert_int_equal(hull_sandbox_load(&w->k->paths, "box", &s, &err), 0);
	assert_string_equal(s.state, state);
	if (reason)
		assert_non_null(strstr(s.last_error, reason));
	else
		assert_null(s.last_error);
	assert_false(hull_sandbox_running(&w->k->paths, "box"));
	_cleanup_free_ char *runtime = hull_runtime_path(&w->k->paths, "box", NULL);
	assert_int_equal(access(runtime, F_OK), -1);
}

#endif

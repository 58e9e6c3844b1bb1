/* SPDX-License-Identifier: Apache-2.0 */
/* A session against a keeper that is a thread of the test, with pipes for its descriptors: bytes
 * both ways, codes, the end of input, and that a reader that stalls holds up the stream and no memory fills. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/signals.h"
#include "lib/command/session.h"
#include "wire/args.h"
#include "wire/service.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

/* The far end: serves one exec. */
struct far {
	int fd;
	struct hull_wire *w;
	uint32_t stream;
	/* what to do */
	bool refuse, hang_up; /* before ACCEPT; after it */
	bool echo;            /* stdin back on stdout, exit 0 at its end */
	size_t flood;         /* this many bytes on stdout */
	const char *errors;   /* on stderr */
	int status;           /* exit code */
	int exit_errno;       /* instead: it could not be executed */
	bool wait_signal;     /* exit with the signal's number */
	/* what came */
	size_t sent;        /* of the flood, taken by the wire */
	size_t largest_gap; /* sent and not granted yet, at most */
	size_t granted;
	struct hull_buf args, in, held;
	bool done, reset;
};

static void far_exit(struct far *f)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_EXIT;
	hull_buf_add(&b, &kind, 1);
	if (f->exit_errno) {
		hull_args_put_u32(&b, HULL_TAG_ERRNO, (uint32_t)f->exit_errno);
		hull_args_put_str(&b, HULL_TAG_TEXT, "no such thing");
	} else {
		hull_args_put_u32(&b, HULL_TAG_STATUS, (uint32_t)f->status);
	}
	hull_wire_message(f->w, f->stream, hull_buf_bytes(&b), b.len);
	hull_wire_eof(f->w, f->stream);
}

static void far_push(struct far *f)
{
	static const uint8_t zeros[65536];
	bool flooding = f->sent < f->flood;
	while (f->sent < f->flood) {
		size_t n = f->flood - f->sent < sizeof zeros ? f->flood - f->sent : sizeof zeros;
		ssize_t w = hull_wire_write(f->w, f->stream, HULL_CHANNEL_MAIN, zeros, n);
		if (w <= 0)
			return;
		f->sent += (size_t)w;
		if (f->sent - f->granted > f->largest_gap)
			f->largest_gap = f->sent - f->granted;
	}
	if (flooding)
		far_exit(f);
	while (f->held.len) {
		ssize_t w = hull_wire_write(f->w, f->stream, HULL_CHANNEL_MAIN, hull_buf_bytes(&f->held), f->held.len);
		if (w <= 0)
			return;
		hull_wire_grant(f->w, f->stream, (size_t)w);
		hull_buf_drain(&f->held, (size_t)w);
	}
	if (f->done && f->echo) {
		f->echo = false;
		far_exit(f);
	}
}

static void on_open(void *ctx, uint32_t stream, uint8_t service, const uint8_t *args, size_t len)
{
	struct far *f = ctx;
	f->stream = stream;
	hull_buf_add(&f->args, args, len);
	if (service != HULL_SVC_EXEC || f->refuse) {
		hull_wire_refuse(f->w, stream, EAGAIN, "not today");
		return;
	}
	hull_wire_accept(f->w, stream, NULL, 0);
	if (f->errors)
		hull_wire_write(f->w, stream, HULL_CHANNEL_STDERR, f->errors, strlen(f->errors));
	if (f->flood)
		far_push(f);
	else if (!f->echo && !f->wait_signal && !f->hang_up)
		far_exit(f);
}
static void on_data(void *ctx, uint32_t stream, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct far *f = ctx;
	hull_buf_add(&f->in, p, n);
	if (f->echo) {
		hull_buf_add(&f->held, p, n);
		far_push(f);
	} else {
		hull_wire_grant(f->w, stream, n);
	}
}
static void on_message(void *ctx, uint32_t stream, void *user, const uint8_t *p, size_t n)
{
	struct far *f = ctx;
	if (n && p[0] == HULL_MSG_STDIN_EOF) {
		f->done = true;
		if (f->hang_up)
			shutdown(f->fd, SHUT_RDWR);
		far_push(f);
	}
	if (n && p[0] == HULL_MSG_SIGNAL && f->wait_signal) {
		struct hull_cur cur = hull_cur_make(p + 1, n - 1);
		struct hull_arg a;
		while (hull_args_next(&cur, &a))
			if (a.tag == HULL_TAG_SIGNAL)
				f->status = (int)hull_arg_u32(&a);
		far_exit(f);
	}
}
static void on_writable(void *ctx, uint32_t stream, void *user)
{
	far_push(ctx);
}
static void on_credit(void *ctx, uint32_t stream, void *user, uint32_t bytes)
{
	((struct far *)ctx)->granted += bytes;
}
static void on_closed(void *ctx, uint32_t stream, void *user, int code, const char *message)
{
	((struct far *)ctx)->reset = code != 0;
}

static void *far_main(void *arg)
{
	struct far *f = arg;
	struct hull_wire_config config = {.side = HULL_WIRE_GUEST, .max_inbound = 4};
	struct hull_wire_ops ops = {.open = on_open,
				    .data = on_data,
				    .message = on_message,
				    .writable = on_writable,
				    .credit = on_credit,
				    .closed = on_closed};
	f->w = hull_wire_new(&config, &ops, f);
	for (;;) {
		const uint8_t *p;
		size_t n = hull_wire_output(f->w, &p);
		struct pollfd pfd = {.fd = f->fd, .events = (short)(POLLIN | (n ? POLLOUT : 0))};
		poll(&pfd, 1, -1);
		if (n && (pfd.revents & POLLOUT)) {
			ssize_t s = send(f->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (s > 0)
				hull_wire_sent(f->w, (size_t)s);
		}
		if (pfd.revents & (POLLIN | POLLHUP)) {
			uint8_t bytes[16384];
			ssize_t got = recv(f->fd, bytes, sizeof bytes, MSG_DONTWAIT);
			if (got == 0 || (got < 0 && errno != EAGAIN) ||
			    (got > 0 && hull_wire_feed(f->w, bytes, (size_t)got, NULL) < 0))
				break;
		}
	}
	hull_wire_free(f->w);
	close(f->fd);
	return NULL;
}

/* --- the near end --- */

struct near {
	struct far far;
	pthread_t thread;
	bool joined;
	int in[2], out[2], errs[2];
	int fd;
	struct hull_error err;
};

static void begin(struct near *n)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	n->far.fd = pair[1];
	n->fd = pair[0];
	assert_int_equal(pipe2(n->in, O_CLOEXEC) | pipe2(n->out, O_CLOEXEC) | pipe2(n->errs, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&n->thread, NULL, far_main, &n->far), 0);
}
/* What the caller waits for beside the command: a signal, which it passes on. */
static int on_event(void *ctx, struct hull_process *p)
{
	int sig;
	while ((sig = cli_signals_read()) > 0)
		hull_process_signal(p, sig);
	return 0;
}
static int session(struct near *n, bool input)
{
	static const char *const argv[] = {"cmd", "arg", NULL}, *const env[] = {"K=V", NULL};
	const struct hull h = {.interrupt_fd = -1};
	const int fds[] = {input ? n->in[0] : -1, n->out[1], n->errs[1]};
	const struct hull_exec_spec spec = {
		.argv = argv, .env = env, .fds = fds, .event = on_event, .event_fd = cli_signals_fd()};
	int r = session_run(&h, n->fd, "test", NULL, &spec, NULL, &n->err);
	hull_closep(&n->out[1]), n->out[1] = -1;
	hull_closep(&n->errs[1]), n->errs[1] = -1;
	return r;
}
static void end(struct near *n)
{
	int *fds[] = {&n->in[0], &n->in[1], &n->out[0], &n->out[1], &n->errs[0], &n->errs[1]};
	if (!n->joined)
		pthread_join(n->thread, NULL);
	for (size_t i = 0; i < 6; i++)
		hull_closep(fds[i]);
	hull_buf_free(&n->far.args);
	hull_buf_free(&n->far.in);
	hull_buf_free(&n->far.held);
}

static void test_code_and_errors(void **state)
{
	struct near n = {.far = {.status = 42, .errors = "words\n", .echo = true}};
	begin(&n);
	assert_int_equal(session(&n, false), 42);
	char text[64];
	assert_int_equal(read(n.errs[0], text, sizeof text), 6);
	assert_int_equal(read(n.out[0], text, sizeof text), 0);
	end(&n);
	assert_true(n.far.done); /* without input the command finds it at its end */
}

static void test_arguments(void **state)
{
	struct near n = {0};
	begin(&n);
	assert_int_equal(session(&n, false), 0);
	pthread_join(n.thread, NULL);
	struct hull_cur cur = hull_cur_make(hull_buf_bytes(&n.far.args), n.far.args.len);
	struct hull_arg a;
	char all[256] = "";
	while (hull_args_next(&cur, &a)) {
		size_t at = strlen(all);
		snprintf(all + at, sizeof all - at, "%u=%.*s ", a.tag, (int)a.n, (const char *)a.p);
	}
	assert_false(cur.bad);
	assert_string_equal(all, "1=cmd 1=arg 2=K=V ");
	n.joined = true;
	end(&n);
}

static void test_cannot_execute(void **state)
{
	static const int codes[][2] = {{ENOENT, 127}, {EACCES, 126}, {ENOEXEC, 126}, {ESRCH, 126}, {ENOTDIR, 126}};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		struct near n = {.far = {.exit_errno = codes[i][0]}};
		begin(&n);
		assert_int_equal(session(&n, false), codes[i][1]);
		assert_int_equal(n.err.code, -codes[i][0]);
		end(&n);
	}
}

static void test_refused_and_lost(void **state)
{
	struct near n = {.far = {.refuse = true}};
	begin(&n);
	assert_true(session(&n, false) < 0);
	assert_non_null(strstr(n.err.msg, "not today"));
	end(&n);
	struct near m = {.far = {.hang_up = true}};
	begin(&m);
	assert_true(session(&m, false) < 0);
	assert_non_null(strstr(m.err.msg, "stopped while"));
	end(&m);
}

static void *feed(void *arg)
{
	struct near *n = arg;
	for (unsigned i = 0; i < 3000; i++) {
		char block[1000];
		memset(block, (int)('a' + i % 26), sizeof block);
		if (write(n->in[1], block, sizeof block) != sizeof block)
			break;
	}
	close(n->in[1]);
	n->in[1] = -1;
	return NULL;
}
static void *run_session(void *arg)
{
	return (void *)(intptr_t)session(arg, true);
}

static void test_echo(void **state)
{
	struct near n = {.far = {.echo = true}};
	pthread_t feeder, runner;
	begin(&n);
	pthread_create(&feeder, NULL, feed, &n);
	pthread_create(&runner, NULL, run_session, &n);
	size_t total = 0;
	char bytes[4096];
	ssize_t got;
	while ((got = read(n.out[0], bytes, sizeof bytes)) > 0) {
		for (ssize_t i = 0; i < got; i++)
			assert_int_equal(bytes[i], (char)('a' + (total + (size_t)i) / 1000 % 26));
		total += (size_t)got;
	}
	void *code;
	pthread_join(feeder, NULL);
	pthread_join(runner, &code);
	assert_int_equal((intptr_t)code, 0);
	assert_int_equal(total, 3000000);
	end(&n);
}

/* The reader takes nothing: the far end may send a window and what the pipe holds, and no more until it reads. */
static void test_stalled_reader(void **state)
{
	struct near n = {.far = {.flood = 8 << 20}};
	pthread_t runner;
	begin(&n);
	pthread_create(&runner, NULL, run_session, &n);
	/* Input still flows while output is stalled: 200 KiB are more than the pipe holds, so they have been read. */
	static char block[200 * 1024];
	assert_int_equal(write(n.in[1], block, sizeof block), sizeof block);
	size_t total = 0;
	static char bytes[65536];
	ssize_t got;
	while ((got = read(n.out[0], bytes, sizeof bytes)) > 0)
		total += (size_t)got;
	void *code;
	pthread_join(runner, &code);
	assert_int_equal((intptr_t)code, 0);
	assert_int_equal(total, 8 << 20);
	end(&n);
	assert_true(n.far.largest_gap <= HULL_WIRE_WINDOW);
}

static void test_reader_gone(void **state)
{
	struct near n = {.far = {.flood = 8 << 20}};
	begin(&n);
	close(n.out[0]);
	n.out[0] = -1;
	assert_int_equal(session(&n, false), 128 + SIGPIPE);
	end(&n);
	assert_true(n.far.reset);
}

static void test_signal(void **state)
{
	struct near n = {.far = {.wait_signal = true, .errors = "up"}};
	begin(&n);
	pid_t child = fork();
	if (!child) { /* once the command is up */
		char text[2];
		_exit(read(n.errs[0], text, 2) != 2 || kill(getppid(), SIGTERM));
	}
	assert_int_equal(session(&n, false), SIGTERM);
	end(&n);
}

/* Output in memory: both channels, and no more than was allowed. */
static int kept(struct near *n, size_t max, struct session_keep keep[2])
{
	const struct hull h = {.interrupt_fd = -1};
	const struct hull_exec_spec spec = {.size = sizeof(spec)};
	keep[0] = (struct session_keep){.max = max};
	keep[1] = (struct session_keep){.max = max};
	return session_run(&h, n->fd, "test", NULL, &spec, keep, &n->err);
}

static void test_kept(void **state)
{
	struct session_keep keep[2];
	struct near n = {.far = {.status = 3, .errors = "words", .flood = 100000}};
	begin(&n);
	assert_int_equal(kept(&n, 100000, keep), 3);
	assert_int_equal(keep[0].buf.len, 100000);
	assert_int_equal(keep[1].buf.len, 5);
	hull_buf_free(&keep[0].buf);
	hull_buf_free(&keep[1].buf);
	end(&n);
	struct near m = {.far = {.flood = 100001}};
	begin(&m);
	assert_int_equal(kept(&m, 100000, keep), -EFBIG);
	assert_true(keep[0].buf.len <= 100000);
	hull_buf_free(&keep[0].buf);
	hull_buf_free(&keep[1].buf);
	end(&m);
	assert_true(m.far.reset);
}

/* A descriptor that is readable ends the wait, and the command is hung up. */
static void test_given_up(void **state)
{
	struct near n = {.far = {.wait_signal = true}};
	int stop[2];
	begin(&n);
	assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
	assert_int_equal(write(stop[1], "x", 1), 1);
	const struct hull h = {.interrupt_fd = stop[0]};
	const struct hull_exec_spec spec = {.size = sizeof(spec)};
	assert_int_equal(session_run(&h, n.fd, "test", NULL, &spec, NULL, &n.err), -EINTR);
	close(stop[0]);
	close(stop[1]);
	end(&n);
}

static void test_descriptors_stay_blocking(void **state)
{
	struct near n = {.far = {.echo = true}};
	begin(&n);
	int in = dup(n.in[0]), out = dup(n.out[1]);
	close(n.in[1]);
	n.in[1] = -1;
	assert_int_equal(session(&n, true), 0);
	assert_int_equal(fcntl(in, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(out, F_GETFL) & O_NONBLOCK, 0);
	close(in);
	close(out);
	end(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_code_and_errors),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_cannot_execute),
		cmocka_unit_test(test_refused_and_lost),
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_stalled_reader),
		cmocka_unit_test(test_reader_gone),
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_descriptors_stay_blocking),
	};
	signal(SIGPIPE, SIG_IGN);
	alarm(60);
	if (cli_signals_catch() < 0) /* before there are threads */
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Connects to a keeper and sends it requests; see client.h. This end of the socket is non-blocking and not shared with
 * other processes. The size of an answer is limited (ANSWER_MAX): the keeper is not trusted. */
#include "lib/client.h"

#include "base/cleanup.h"
#include "base/debug.h"
#include "base/io.h"
#include "keeper/api.h"
#include "wire/args.h"
#include "wire/service.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

enum { ANSWER_MAX = 8 * 1024 * 1024, READ_SIZE = 64 * 1024 };

/* Connects to a socket whose path may be longer than sun_path, through a descriptor of its directory. If the keeper's
 * backlog is full, the kernel waits for at most wait_ms (-EAGAIN). */
static int dial(int dir, int wait_ms)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct timeval tv = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000 + 1}; /* 0 = for ever */
	snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d/%s", dir, HULL_CONTROL_SOCKET);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) < 0)
		return -errno;
	while (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		if (errno != EINTR)
			return -errno;
	int r = hull_set_nonblock(fd, true);
	return r < 0 ? r : hull_steal_fd(&fd);
}

/* Waits until the watched directory changes, the keeper ends or `ms` have passed. */
static void await_change(int watch, int keeper, int ms)
{
	struct pollfd fds[2] = {{.fd = watch, .events = POLLIN}, {.fd = keeper, .events = POLLIN}};
	char events[4096];
	if (poll(fds, 2, ms) > 0 && fds[0].revents && read(watch, events, sizeof events) < 0)
		return;
}

static int connect_keeper(const struct hull_paths *p, const char *name, int wait_ms)
{
	uint64_t until = lib_now_ms() + (uint64_t)(wait_ms > 0 ? wait_ms : 0);
	_cleanup_free_ char *lock = hull_sandbox_path(p, name, "lock");
	_cleanup_close_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (!lock || watch < 0)
		return -ENOMEM;
	inotify_add_watch(watch, lock, IN_MODIFY); /* the keeper records its runtime directory in it */
	for (;;) {
		_cleanup_free_ char *path = hull_sandbox_runtime_path(p, name, NULL);
		_cleanup_free_ char *parent = path ? strdup(path) : NULL;
		if (!parent)
			return -ENOMEM;
		*strrchr(parent, '/') = '\0';
		inotify_add_watch(watch, parent, IN_CREATE | IN_MOVED_TO);
		_cleanup_close_ int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		uint64_t now = lib_now_ms();
		/* The keeper renames the socket into place once it listens; that rename is the event. (Adding a watch
		 * again returns the first one.) */
		if (dir >= 0)
			inotify_add_watch(watch, path, IN_MOVED_TO);
		int r = dir >= 0 ? dial(dir, until > now ? (int)(until - now) : 0) : -errno;
		if (r >= 0 || (r != -ENOENT && r != -ECONNREFUSED))
			return r;
		_cleanup_close_ int keeper = hull_sandbox_keeper(p, name);
		if (!hull_sandbox_running(p, name))
			return -ENOTCONN;
		if (now >= until)
			return r;
		await_change(watch, keeper, (int)(until - now));
	}
}

int client_adopt(struct client *c, int fd, const struct hull_wire_ops *ops, void *ctx, struct hull_error *err)
{
	struct hull_wire_config config = {.side = HULL_WIRE_HOST, .name = "keeper", .max_inbound = 0};
	*c = (struct client){.fd = fd, .wire = hull_wire_new(&config, ops, ctx)};
	uint64_t epoch = 0;
	if (getrandom(&epoch, sizeof epoch, 0) != (ssize_t)sizeof epoch || !epoch)
		epoch = lib_now_ms() | 1;
	if (!c->wire || hull_wire_hello(c->wire, epoch) < 0) {
		client_close(c);
		return hull_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}

int client_connect(const struct hull_paths *p, const char *name, int wait_ms, struct hull_error *err)
{
	int fd = connect_keeper(p, name, wait_ms);
	if (fd == -ENOTCONN)
		return hull_fail(err, fd, "%s is not running: `hull start %s` starts it", name, name);
	if (fd == -ENOENT || fd == -ECONNREFUSED || fd == -EAGAIN)
		return hull_fail(
			err, -ETIMEDOUT,
			"%s is running and does not take a connection: `hull logs %s` may say why, `hull rm -f %s` "
			"removes it by force",
			name, name, name);
	return fd < 0 ? hull_fail(err, fd, "connecting to %s: %s", name, strerror(-fd)) : fd;
}

int client_open(struct client *c, const struct hull_paths *p, const char *name, int wait_ms,
		const struct hull_wire_ops *ops, void *ctx, struct hull_error *err)
{
	*c = (struct client){.fd = -1};
	int fd = client_connect(p, name, wait_ms, err);
	return fd < 0 ? fd : client_adopt(c, fd, ops, ctx, err);
}

void client_close(struct client *c)
{
	struct hull_wire *wire = hull_steal_ptr(c->wire);
	if (wire)
		hull_wire_free(wire);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

short client_events(const struct client *c)
{
	const uint8_t *p;
	return (short)(POLLIN | (c->wire && hull_wire_output(c->wire, &p) ? POLLOUT : 0));
}

static int send_some(struct client *c, struct hull_error *err)
{
	const uint8_t *p;
	size_t n;
	while ((n = hull_wire_output(c->wire, &p)) > 0) {
		ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN)
				return 0;
			/* The keeper's last message may still be unread: let the reading side find the end. */
			if (errno == EPIPE || errno == ECONNRESET)
				return 0;
			return hull_fail_errno(err, "writing to the keeper");
		}
		hull_wire_sent(c->wire, (size_t)sent);
	}
	return 0;
}

int client_io(struct client *c, short revents, struct hull_error *err)
{
	if (revents & (POLLIN | POLLHUP | POLLERR)) {
		uint8_t bytes[READ_SIZE];
		ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return hull_fail(err, -ECONNRESET, "the keeper closed the connection");
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return hull_fail_errno(err, "reading from the keeper");
		if (n > 0 && hull_wire_feed(c->wire, bytes, (size_t)n, err) < 0)
			return hull_wrap(err, "the keeper's answer");
	}
	return send_some(c, err);
}

int client_trace(struct hull_buf *args)
{
	uint32_t id = 0;
	if (!hull_debug_on(HULL_AREA_WIRE, HULL_LEVEL_TRACE))
		return 0;
	if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
		return -EIO;
	hull_trace(HULL_AREA_WIRE, "this request is [%08x] wherever it goes", id);
	return hull_args_put_u32(args, HULL_TAG_TRACE, id);
}

/* --- one request --- */

static void finish(struct ask *a, int code)
{
	if (!a->done)
		a->code = code;
	a->done = true;
}

static void on_data(void *ctx, uint32_t stream, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct ask *a = ctx;
	if (a->answer.len + n > ANSWER_MAX) {
		finish(a, hull_fail(&a->error, -EFBIG, "the keeper's answer is too long"));
		return;
	}
	if (hull_buf_add(&a->answer, p, n) < 0)
		finish(a, hull_fail(&a->error, -ENOMEM, "out of memory"));
	hull_wire_grant(a->client.wire, stream, n);
}

static void on_eof(void *ctx, uint32_t stream, void *user)
{
	struct ask *a = ctx;
	json_error_t je;
	if (a->done)
		return;
	a->result = json_loadb((const char *)hull_buf_bytes(&a->answer), a->answer.len, 0, &je);
	if (!json_is_object(a->result)) {
		finish(a, hull_fail(&a->error, -EPROTO, "the keeper's answer is not JSON: %s", je.text));
		return;
	}
	const char *text = json_string_value(json_object_get(a->result, "error"));
	json_int_t code = json_integer_value(json_object_get(a->result, "code"));
	if (text)
		finish(a, hull_fail(&a->error, code > 0 && code < 4096 ? -(int)code : -EIO, "%s", text));
	else
		finish(a, 0);
}

static void on_closed(void *ctx, uint32_t stream, void *user, int code, const char *message)
{
	struct ask *a = ctx;
	if (!a->done)
		finish(a, hull_fail(&a->error, code < 0 ? code : -code, "%s",
				    message && *message ? message : "the keeper hung up without an answer"));
}

static const struct hull_wire_ops ask_ops = {.data = on_data, .eof = on_eof, .closed = on_closed};

int ask_begin(struct ask *a, const struct hull_paths *p, const char *name, int wait_ms, json_t *request,
	      struct hull_error *err)
{
	*a = (struct ask){.client.fd = -1};
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	if (!text || hull_args_put_str(&args, HULL_TAG_JSON, text) < 0 || client_trace(&args) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = client_open(&a->client, p, name, wait_ms, &ask_ops, a, err);
	if (r < 0)
		return r;
	r = hull_wire_open(a->client.wire, HULL_SVC_KEEPER, hull_buf_bytes(&args), args.len, NULL, &a->stream);
	if (r >= 0)
		r = hull_wire_eof(a->client.wire, a->stream);
	if (r < 0) {
		ask_end(a);
		return hull_fail(err, r, "asking %s: %s", name, strerror(-r));
	}
	return 0;
}

void ask_io(struct ask *a, short revents)
{
	struct hull_error err = {0};
	if (!a->done && client_io(&a->client, revents, &err) < 0 && !a->done) {
		a->error = err;
		finish(a, err.code);
	}
}

void ask_end(struct ask *a)
{
	a->done = true;
	client_close(&a->client);
	hull_buf_free(&a->answer);
	json_decref(a->result);
	a->result = NULL;
}

void ask_all(struct ask *const *asks, size_t n, uint64_t until)
{
	for (;;) {
		struct pollfd fds[ASKS_MAX];
		bool open = false;
		for (size_t i = 0; i < n; i++) {
			bool waits = !asks[i]->done;
			fds[i] = (struct pollfd){.fd = waits ? asks[i]->client.fd : -1,
						 .events = waits ? client_events(&asks[i]->client) : 0};
			open = open || waits;
		}
		uint64_t now = lib_now_ms();
		if (!open || now >= until || (poll(fds, n, (int)(until - now)) < 0 && errno != EINTR))
			return;
		for (size_t i = 0; i < n; i++)
			if (fds[i].fd >= 0 && fds[i].revents)
				ask_io(asks[i], fds[i].revents);
	}
}

int client_ask(const struct hull *h, const char *name, json_t *request, int timeout_ms, json_t **answer,
	       struct hull_error *err)
{
	_cleanup_(ask_end) struct ask a = {.client.fd = -1};
	uint64_t until = timeout_ms >= 0 ? lib_now_ms() + (uint64_t)timeout_ms : UINT64_MAX;
	int r = ask_begin(&a, &h->paths, name, timeout_ms >= 0 && timeout_ms < 10000 ? timeout_ms : 10000, request,
			  err);
	if (r < 0)
		return r;
	while (!a.done) {
		uint64_t now = lib_now_ms();
		if (now >= until)
			return hull_fail(err, -ETIMEDOUT, "%s did not answer within %d s: `hull logs %s` may say why",
					 name, (timeout_ms + 999) / 1000, name);
		struct pollfd fd = {.fd = a.client.fd, .events = client_events(&a.client)};
		r = lib_poll(h, &fd, 1, until == UINT64_MAX ? -1 : (int)(until - now), err);
		if (r < 0)
			return r;
		if (fd.revents)
			ask_io(&a, fd.revents);
	}
	if (a.code < 0) {
		if (err)
			*err = a.error;
		return a.code;
	}
	if (answer)
		*answer = json_incref(a.result);
	return 0;
}

int client_await(const struct hull *h, const char *name, const char *what, struct hull_error *err)
{
	return client_ask(h, name, json_pack("{s:s, s:s}", "do", "wait", "for", what), -1, NULL, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One command in a sandbox, between the keeper's socket and three descriptors: a poll(2) loop.
 *
 *     opened      the guest may still be booting
 *     accepted    data flows
 *     over        the stream is closed; buffered output is still written
 *
 * Memory: one window of output and one read of input. Credit for output is granted only after it was written, so a slow
 * reader stalls the command in the guest and nothing else.
 *
 * The descriptors may be shared with other processes and are never made non-blocking. Input is read when poll(2)
 * reports it. Output is written in pieces that a writable descriptor accepts whole (a page into a pipe), or with
 * MSG_DONTWAIT into a socket. */
#include "lib/command/session.h"

#include "base/cleanup.h"
#include "wire/args.h"
#include "wire/service.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { PIECE = 4096, READ_SIZE = 32 * 1024 };
/* As in docker: Ctrl-P Ctrl-Q on a terminal detaches from a job. */
enum { DETACH_FIRST = 'P' & 0x1f, DETACH_THEN = 'Q' & 0x1f };

struct output {
	int fd;
	bool socket, gone;
	struct hull_buf buf;
	struct session_keep *keep; /* instead of fd; may be NULL */
};

struct hull_process {
	struct hull hull; /* the caller's handle; with spec->event, its extra descriptor is polled here */
	const char *name, *job;
	const struct hull_exec_spec *spec;
	int in_fd;
	struct client client;
	uint32_t stream;
	struct output out[2]; /* by channel */
	struct hull_buf in;   /* read, not yet accepted by the wire */
	bool in_open;
	bool accepted, over;
	bool detach_next; /* the first detach key was read and withheld */
	bool detached;
	bool broken_pipe; /* the reader of our stdout closed it */
	int status;       /* exit code, -1 = not received yet */
	int code;         /* other end of the stream: positive errno from the guest or keeper */
	char text[sizeof((struct hull_error *)0)->msg];
};

/* --- messages from the keeper --- */

static void send_message(struct hull_process *s, uint8_t kind, uint16_t tag1, uint32_t v1, uint16_t tag2, uint32_t v2)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	if (hull_buf_add(&b, &kind, 1) < 0 || (tag1 && hull_args_put_u32(&b, tag1, v1) < 0) ||
	    (tag2 && hull_args_put_u32(&b, tag2, v2) < 0))
		return;
	hull_wire_message(s->client.wire, s->stream, hull_buf_bytes(&b), b.len);
}

void hull_process_resize(struct hull_process *s, unsigned rows, unsigned cols)
{
	send_message(s, HULL_MSG_RESIZE, HULL_TAG_ROWS, rows, HULL_TAG_COLS, cols);
}

void hull_process_signal(struct hull_process *s, int signal)
{
	send_message(s, HULL_MSG_SIGNAL, HULL_TAG_SIGNAL, (uint32_t)signal, 0, 0);
}

static void on_accepted(void *ctx, uint32_t stream, void *user, const uint8_t *args, size_t len)
{
	struct hull_process *s = ctx;
	s->accepted = true;
}

static void on_data(void *ctx, uint32_t stream, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct hull_process *s = ctx;
	struct output *o = &s->out[channel == HULL_CHANNEL_STDERR];
	if (o->keep) {
		if (o->keep->buf.len + n > o->keep->max || hull_buf_add(&o->keep->buf, p, n) < 0) {
			o->keep->full = true;
			hull_wire_reset(s->client.wire, stream, ECANCELED, "too much output");
			return;
		}
	} else if (!o->gone && hull_buf_add(&o->buf, p, n) == 0) {
		return;
	}
	hull_wire_grant(s->client.wire, stream, n);
}

static void on_message(void *ctx, uint32_t stream, void *user, const uint8_t *p, size_t n)
{
	struct hull_process *s = ctx;
	struct hull_cur cur = hull_cur_make(p, n);
	if (hull_cur_u8(&cur) != HULL_MSG_EXIT || s->status >= 0)
		return;
	uint32_t status = 0, signal = 0;
	struct hull_arg a;
	bool told = false;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_STATUS) {
			status = hull_arg_u32(&a);
			told = true;
		} else if (a.tag == HULL_TAG_SIGNAL) {
			signal = hull_arg_u32(&a);
		} else if (a.tag == HULL_TAG_ERRNO) {
			s->code = (int)(hull_arg_u32(&a) & 0xfff);
		} else if (a.tag == HULL_TAG_TEXT) {
			_cleanup_free_ char *text = hull_arg_str(&a);
			snprintf(s->text, sizeof s->text, "%s", text ? text : "");
		}
	}
	if (!s->code)
		s->status = told ? (int)(status & 0xff) : 128 + (int)(signal & 0x7f);
	hull_wire_eof(s->client.wire, stream);
}

static void on_eof(void *ctx, uint32_t stream, void *user)
{
	struct hull_process *s = ctx;
	hull_wire_eof(s->client.wire, stream);
}

static void on_closed(void *ctx, uint32_t stream, void *user, int code, const char *message)
{
	struct hull_process *s = ctx;
	if (s->over)
		return;
	s->over = true;
	if (s->status < 0 && !s->code) {
		s->code = code > 0 ? code : code < 0 ? -code : ECONNRESET;
		snprintf(s->text, sizeof s->text, "%s", message ? message : "");
	}
}

static const struct hull_wire_ops ops = {
	.accepted = on_accepted, .data = on_data, .message = on_message, .eof = on_eof, .closed = on_closed};

/* --- input and output --- */

/* Pass on what was read. */
static void push_input(struct hull_process *s)
{
	if (s->over || !s->in.len)
		return;
	ssize_t n = hull_wire_write(s->client.wire, s->stream, HULL_CHANNEL_MAIN, hull_buf_bytes(&s->in), s->in.len);
	/* an error: the peer accepts no more input; its answer follows */
	hull_buf_drain(&s->in, n < 0 ? s->in.len : (size_t)n);
}

static void end_input(struct hull_process *s)
{
	s->in_open = false;
	if (!s->in.len && !s->over && !(s->spec->flags & HULL_EXEC_KEEP_INPUT))
		send_message(s, HULL_MSG_STDIN_EOF, 0, 0, 0, 0);
}

/* Removes the detach keys from terminal input. */
static void take_keys(struct hull_process *s, const uint8_t *p, size_t n)
{
	static const uint8_t first = DETACH_FIRST;
	for (size_t i = 0; i < n && !s->detached; i++) {
		if (s->detach_next && p[i] == DETACH_THEN) {
			s->detached = true;
			break;
		}
		if (s->detach_next)
			hull_buf_add(&s->in, &first, 1);
		s->detach_next = p[i] == DETACH_FIRST;
		if (!s->detach_next)
			hull_buf_add(&s->in, &p[i], 1);
	}
}

static void read_input(struct hull_process *s)
{
	size_t room = hull_wire_writable(s->client.wire, s->stream);
	uint8_t keys[256];
	bool typed = s->job && (s->spec->flags & HULL_EXEC_DETACH_KEYS);
	uint8_t *at = typed ? keys : hull_buf_room(&s->in, READ_SIZE);
	size_t most = typed ? sizeof keys : READ_SIZE;
	if (!room || !at)
		return;
	ssize_t n = read(s->in_fd, at, room < most ? room : most);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) { /* EIO: the terminal was closed, which also ends the input */
		end_input(s);
		return;
	}
	if (typed)
		take_keys(s, keys, (size_t)n);
	else
		hull_buf_added(&s->in, (size_t)n);
	push_input(s);
}

/* The reader of the output closed it, or the disk is full. */
static int output_failed(struct hull_process *s, struct output *o, struct hull_error *err)
{
	int code = errno;
	o->gone = true;
	hull_wire_grant(s->client.wire, s->stream, o->buf.len);
	hull_buf_drain(&o->buf, o->buf.len);
	if (o == &s->out[1])
		return 0; /* stderr has no reader; the command continues */
	hull_wire_reset(s->client.wire, s->stream, ECANCELED, "the client closed its output");
	s->broken_pipe = code == EPIPE || code == EIO;
	if (s->broken_pipe)
		return 0;
	return hull_fail(err, -code, "writing to standard output: %s", strerror(code));
}

/* Write as much as possible without blocking. */
static int write_output(struct hull_process *s, struct output *o, struct hull_error *err)
{
	while (o->buf.len) {
		struct pollfd pfd = {.fd = o->fd, .events = POLLOUT};
		if (poll(&pfd, 1, 0) <= 0)
			return 0;
		size_t n = o->buf.len < PIECE ? o->buf.len : PIECE;
		ssize_t w = o->socket ? send(o->fd, hull_buf_bytes(&o->buf), n, MSG_DONTWAIT | MSG_NOSIGNAL)
				      : write(o->fd, hull_buf_bytes(&o->buf), n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno == EAGAIN)
			return 0;
		if (w < 0)
			return output_failed(s, o, err);
		hull_buf_drain(&o->buf, (size_t)w);
		hull_wire_grant(s->client.wire, s->stream, (size_t)w);
	}
	return 0;
}

/* --- the loop --- */

static int open_stream(struct hull_process *s, struct hull_error *err)
{
	const struct hull_exec_spec *spec = s->spec;
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	int r = 0;
	if (s->job) {
		r = hull_args_put_str(&b, HULL_TAG_NAME, s->job);
		if (!r)
			r = hull_wire_open(s->client.wire, HULL_SVC_ATTACH, hull_buf_bytes(&b), b.len, NULL,
					   &s->stream);
		return r < 0 ? hull_fail(err, r, "attaching to the job: %s", strerror(-r)) : 0;
	}
	for (const char *const *v = spec->argv; v && *v && !r; v++)
		r = hull_args_put_str(&b, HULL_TAG_ARGV, *v);
	for (const char *const *v = spec->env; v && *v && !r; v++)
		r = hull_args_put_str(&b, HULL_TAG_ENV, *v);
	if (!r && (!spec->argv || !spec->argv[0]))
		r = hull_args_put_u32(&b, HULL_TAG_LOGIN, 1);
	if (!r && spec->cwd)
		r = hull_args_put_str(&b, HULL_TAG_CWD, spec->cwd);
	if (!r && spec->user)
		r = hull_args_put_str(&b, HULL_TAG_USER, spec->user);
	if (!r && (spec->flags & HULL_EXEC_TTY)) {
		r = hull_args_put_u32(&b, HULL_TAG_TTY, 1);
		if (!r)
			r = hull_args_put_u32(&b, HULL_TAG_ROWS, spec->rows ? spec->rows : 24);
		if (!r)
			r = hull_args_put_u32(&b, HULL_TAG_COLS, spec->cols ? spec->cols : 80);
	}
	if (!r)
		r = client_trace(&b);
	if (!r)
		r = hull_wire_open(s->client.wire, HULL_SVC_EXEC, hull_buf_bytes(&b), b.len, NULL, &s->stream);
	if (r == -EMSGSIZE)
		return hull_fail(err, r,
				 "the command and its environment are longer than %d bytes: pass the data on stdin",
				 HULL_WIRE_ARGS_MAX);
	return r < 0 ? hull_fail(err, r, "starting the command: %s", strerror(-r)) : 0;
}

static int wanted_input(struct hull_process *s)
{
	/* The terminal is switched to raw mode only when the command runs; input typed earlier stays in it. */
	return s->accepted && s->in_open && !s->over && !s->in.len && hull_wire_writable(s->client.wire, s->stream) > 0;
}

static int turn(struct hull_process *s, struct hull_error *err)
{
	struct pollfd fds[] = {
		{.fd = s->client.fd, .events = s->over ? 0 : client_events(&s->client)},
		{.fd = s->spec->event ? s->spec->event_fd : -1, .events = POLLIN},
		{.fd = wanted_input(s) ? s->in_fd : -1, .events = POLLIN},
		{.fd = s->out[0].buf.len ? s->out[0].fd : -1, .events = POLLOUT},
		{.fd = s->out[1].buf.len ? s->out[1].fd : -1, .events = POLLOUT},
	};
	if (s->over)
		fds[0].fd = -1;
	int r = lib_poll(&s->hull, fds, sizeof fds / sizeof *fds, -1, err);
	if (r < 0)
		return r;
	r = fds[1].revents && s->spec->event ? s->spec->event(s->spec->ctx, s) : 0;
	if (r)
		return r;
	for (int i = 0; i < 2 && !r; i++)
		if (fds[3 + i].revents)
			r = write_output(s, &s->out[i], err);
	if (r < 0)
		return r;
	if (fds[2].revents)
		read_input(s);
	bool was = s->accepted;
	struct hull_error lost = {0};
	if (!s->over && fds[0].fd >= 0 && client_io(&s->client, fds[0].revents, &lost) < 0 && !s->over) {
		s->over = true;
		if (s->status < 0 && !s->code) {
			s->code = -lost.code;
			snprintf(s->text, sizeof s->text, "%s", lost.msg);
		}
	}
	if (s->accepted && !was) {
		if (s->spec->started)
			s->spec->started(s->spec->ctx, s);
		if (!s->in_open)
			end_input(s);
	}
	/* Send input that the wire had no room for. */
	if (s->in.len) {
		push_input(s);
		if (!s->in.len && !s->in_open)
			end_input(s);
	}
	for (int i = 0; i < 2 && r >= 0; i++)
		r = write_output(s, &s->out[i], err);
	if (r >= 0 && !s->over && hull_wire_streams(s->client.wire))
		r = client_io(&s->client, 0, &lost) < 0 ? 0 : r;
	return r;
}

int session_cannot(int code)
{
	switch (code) {
	case ENOENT:
		return SESSION_ABSENT;
	case EACCES:
	case ENOEXEC:
	case EPERM:
	case EISDIR:
	case ELOOP:
	case E2BIG:
	case ENAMETOOLONG:
	case ETXTBSY:
	case ENOTDIR: /* ENOENT also means that the working directory does not exist */
	case ESRCH:   /* no such user */
		return SESSION_CANNOT;
	default:
		return 0;
	}
}

/* The exit code of a finished session. */
static int outcome(struct hull_process *s, struct hull_error *err)
{
	if (s->broken_pipe)
		return 128 + SIGPIPE;
	if (s->status >= 0)
		return s->status;
	const char *why = s->text[0] ? s->text : strerror(s->code);
	int code = session_cannot(s->code);
	if (code) { /* the guest's message names the command */
		hull_fail(err, -s->code, "%s", why);
		return code;
	}
	if (s->accepted)
		return hull_fail(err, -s->code, "%s stopped while the command ran: %s; `hull logs %s` has more",
				 s->name, why, s->name);
	return hull_fail(err, -s->code, "%s: %s", s->name, why);
}

static void output_init(struct output *o, int fd, struct session_keep *keep)
{
	struct stat st;
	*o = (struct output){.fd = fd,
			     .keep = keep,
			     .gone = fd < 0,
			     .socket = fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode)};
}

int session_run(const struct hull *h, int fd, const char *name, const char *job, const struct hull_exec_spec *spec,
		struct session_keep *keep, struct hull_error *err)
{
	struct hull_process s = {.hull = *h,
				 .name = name,
				 .job = job,
				 .spec = spec,
				 .client.fd = -1,
				 .status = -1,
				 .in_fd = spec->fds ? spec->fds[0] : -1};
	s.in_open = s.in_fd >= 0;
	if (spec->event)
		s.hull.interrupt_fd = -1;
	output_init(&s.out[0], spec->fds && !keep ? spec->fds[1] : -1, keep);
	output_init(&s.out[1], spec->fds && !keep ? spec->fds[2] : -1, keep ? keep + 1 : NULL);
	if (err)
		err->code = 0;
	int r = client_adopt(&s.client, fd, &ops, &s, err);
	if (r < 0)
		return r;
	r = open_stream(&s, err);
	while (r == 0 && !s.detached && !(s.over && !s.out[0].buf.len && !s.out[1].buf.len))
		r = turn(&s, err);
	if ((r != 0 || s.detached) && !s.over) { /* close the stream: the guest hangs up the command */
		hull_wire_reset(s.client.wire, s.stream, ECANCELED, "the client left");
		client_io(&s.client, 0, NULL);
	}
	if (r == 0 && keep && (keep[0].full || keep[1].full))
		r = hull_fail(err, -EFBIG, "the command in %s printed more than %zu bytes", name, keep->max);
	else if (r == 0)
		r = s.detached ? HULL_DETACHED : outcome(&s, err);
	s.over = true; /* errors of closing the wire are not relevant any more */
	client_close(&s.client);
	hull_buf_free(&s.in);
	hull_buf_free(&s.out[0].buf);
	hull_buf_free(&s.out[1].buf);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One tar stream from or to a sandbox, read and written by blocking calls: each runs a poll(2) loop on the connection
 * and on the descriptor that the caller waits for. Received data is granted when the caller asks for more, so at most
 * one window is buffered. Writes are limited by the stream's credit. */
#include "lib/files/transfer.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/client.h"
#include "wire/args.h"
#include "wire/service.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
	READ_SIZE = 64 * 1024,
	SHOW_MS = 200,       /* between two figures */
	TAIL_MAX = 64 << 10, /* data after the end of an archive: tar's padding */
};

struct transfer {
	const struct hull *hull; /* borrowed, as is the name */
	const char *name;
	struct client client;
	uint32_t stream;
	struct hull_buf got; /* received */
	size_t taken;        /* bytes returned to the caller; granted by the next call */
	uint64_t shown, bytes;
	bool in, sent_all, over, told, eof;
	int code; /* the outcome: 0, or -errno with a message */
	char text[1024];
};

/* Record the first failure, with its message on one line. */
static void fail(struct transfer *t, int code, const char *text)
{
	_cleanup_free_ char *line = strdup(text);
	for (char *c = line; c && (c = strchr(c, '\n'));)
		*c = ';';
	_cleanup_free_ char *shown = line ? hull_printable(line, strlen(line)) : NULL;
	if (t->code)
		return;
	t->code = code;
	snprintf(t->text, sizeof t->text, "%s", shown && *shown ? shown : strerror(-code));
}

static int failed(const struct transfer *t, struct hull_error *err)
{
	return t->code ? hull_fail(err, t->code, "%s", t->text) : 0;
}

static void on_data(void *ctx, uint32_t stream, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct transfer *t = ctx;
	if (!t->in && !t->code && hull_buf_add(&t->got, p, n) < 0)
		fail(t, -ENOMEM, "out of memory");
	if (t->in || t->code)
		hull_wire_grant(t->client.wire, stream, n);
}

static void on_message(void *ctx, uint32_t stream, void *user, const uint8_t *p, size_t n)
{
	struct transfer *t = ctx;
	struct hull_cur cur = hull_cur_make(p, n);
	struct hull_arg a;
	uint32_t status = 0;
	_cleanup_free_ char *text = NULL;
	if (hull_cur_u8(&cur) != HULL_MSG_EXIT)
		return;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_STATUS)
			status = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_TEXT && !text)
			text = hull_arg_str(&a);
	}
	t->told = true;
	if (status)
		fail(t, -EIO, text && *text ? text : "tar failed in the sandbox");
	if (!t->sent_all)
		hull_wire_eof(t->client.wire, stream);
	t->sent_all = true;
}

static void on_eof(void *ctx, uint32_t stream, void *user)
{
	struct transfer *t = ctx;
	t->eof = true;
}

static void on_closed(void *ctx, uint32_t stream, void *user, int code, const char *message)
{
	struct transfer *t = ctx;
	if (!t->over && !t->told)
		fail(t, code < 0 ? code : -ECONNRESET, message && *message ? message : "the sandbox has stopped");
	t->over = true;
}

static const struct hull_wire_ops ops = {.data = on_data, .message = on_message, .eof = on_eof, .closed = on_closed};

/* --- waiting --- */

static void show(struct transfer *t)
{
	uint64_t now = lib_now_ms();
	if (now - t->shown < SHOW_MS)
		return;
	t->shown = now;
	lib_moved(t->hull, t->name, t->bytes);
}

/* Wait for the next event, also on `fd` (-1 = none); returns the events on fd. */
static short turn(struct transfer *t, int fd)
{
	struct hull_error lost = {0};
	struct pollfd fds[2] = {{.fd = t->client.fd, .events = client_events(&t->client)},
				{.fd = fd, .events = POLLIN}};
	show(t);
	if (lib_poll(t->hull, fds, 2, -1, &lost) < 0) {
		fail(t, lost.code, lost.msg);
		t->over = true;
	}
	if (!t->over && client_io(&t->client, fds[0].revents, &lost) < 0) {
		fail(t, lost.code, lost.msg);
		t->over = true;
	}
	return fds[1].revents;
}

struct transfer *transfer_open(const struct hull *h, int socket, const char *name, uint8_t service, const char *path,
			       const char *entry, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	struct transfer *t = calloc(1, sizeof *t);
	if (!t) {
		close(socket);
		hull_fail(err, -ENOMEM, "out of memory");
		return NULL;
	}
	t->in = service == HULL_SVC_TAR_IN;
	t->client.fd = -1;
	t->hull = h;
	t->name = name;
	t->shown = lib_now_ms();
	int r = client_adopt(&t->client, socket, &ops, t, err);
	if (r < 0) {
		free(t);
		return NULL;
	}
	r = hull_args_put_str(&args, HULL_TAG_PATH, path);
	if (r == 0 && entry)
		r = hull_args_put_str(&args, HULL_TAG_NAME, entry);
	if (r == 0)
		r = client_trace(&args);
	if (r == 0)
		r = hull_wire_open(t->client.wire, service, hull_buf_bytes(&args), args.len, NULL, &t->stream);
	if (r == 0 && !t->in) {
		t->sent_all = true;
		r = hull_wire_eof(t->client.wire, t->stream);
	}
	if (r == 0)
		return t;
	transfer_close(t);
	hull_fail(err, r, "%s", strerror(-r));
	return NULL;
}

ssize_t transfer_read(struct transfer *t, const void **p, struct hull_error *err)
{
	if (t->taken) {
		hull_buf_drain(&t->got, t->taken);
		if (!t->over)
			hull_wire_grant(t->client.wire, t->stream, t->taken);
		t->taken = 0;
	}
	while (t->got.len == 0 && !t->over && !t->eof && !t->code)
		turn(t, -1);
	if (t->code == -EINTR || (t->got.len == 0 && !t->told && t->code))
		return failed(t, err);
	/* tar reports a failure when it ends: until then its archive is read. */
	*p = hull_buf_bytes(&t->got);
	t->taken = t->got.len;
	t->bytes += t->taken;
	return (ssize_t)t->taken;
}

int transfer_write(struct transfer *t, const void *p, size_t n, struct hull_error *err)
{
	for (const uint8_t *at = p; n > 0;) {
		if (t->code)
			return failed(t, err);
		if (t->over || t->told) /* it accepts no more: its tar stops at the archive's end */
			return 0;
		size_t room = hull_wire_writable(t->client.wire, t->stream);
		size_t now = room < n ? room : n;
		if (now == 0) {
			turn(t, -1);
			continue;
		}
		hull_wire_write(t->client.wire, t->stream, HULL_CHANNEL_MAIN, at, now);
		at += now;
		n -= now;
		t->bytes += now;
	}
	return 0;
}

int transfer_end(struct transfer *t, struct hull_error *err)
{
	size_t tail = 0;
	if (!t->sent_all && !t->over)
		hull_wire_eof(t->client.wire, t->stream);
	t->sent_all = true;
	while (!t->over && !t->code) {
		/* The stream closes only after all data was granted. */
		tail += t->got.len - t->taken;
		if (t->got.len)
			hull_wire_grant(t->client.wire, t->stream, t->got.len);
		hull_buf_drain(&t->got, t->got.len);
		t->taken = 0;
		if (tail > TAIL_MAX)
			return hull_fail(err, -EPROTO, "the sandbox goes on sending behind the end of the archive");
		turn(t, -1);
	}
	return failed(t, err);
}

void transfer_close(struct transfer *t)
{
	if (!t)
		return;
	t->over = true;
	client_close(&t->client);
	hull_buf_free(&t->got);
	free(t);
}

/* --- between the sandbox and a descriptor, which may block: nothing else is served meanwhile --- */

static int pour_out(struct transfer *t, int fd, struct hull_error *err)
{
	const void *p;
	ssize_t n;
	while ((n = transfer_read(t, &p, err)) > 0) {
		int r = hull_write_full(fd, p, (size_t)n);
		if (r < 0)
			return hull_fail(err, r, "%s", strerror(-r));
	}
	return n < 0 ? (int)n : transfer_end(t, err);
}

static int pour_in(struct transfer *t, int fd, struct hull_error *err)
{
	uint8_t bytes[READ_SIZE];
	while (!t->over && !t->told && !t->code) {
		bool room = hull_wire_writable(t->client.wire, t->stream) > 0;
		if (!turn(t, room ? fd : -1) || t->over || t->told || t->code)
			continue;
		ssize_t n = read(fd, bytes, sizeof bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return hull_fail_errno(err, "the archive cannot be read");
		if (n == 0)
			break;
		int r = transfer_write(t, bytes, (size_t)n, err);
		if (r < 0)
			return r;
	}
	return transfer_end(t, err);
}

int transfer_run(const struct hull *h, int socket, const char *name, uint8_t service, const char *path, int fd,
		 struct hull_error *err)
{
	struct transfer *t = transfer_open(h, socket, name, service, path, NULL, err);
	if (!t)
		return err->code ? err->code : -EIO;
	int r = t->in ? pour_in(t, fd, err) : pour_out(t, fd, err);
	transfer_close(t);
	return r;
}

/* One tar stream between a descriptor and a sandbox. A poll(2) loop; the descriptor may block, as there is nothing else
 * to do meanwhile. What is received is granted once it is written, what is read fits the stream's credit. */
#include "cli/transfer.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "cli/client.h"
#include "wire/args.h"
#include "wire/service.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024 };

struct transfer {
	struct client client;
	uint32_t stream;
	int fd;
	bool in, sent_all, over, told;
	int code; /* how it went: 0 or -errno with text */
	char text[1024];
};

/* The first failure counts. Its text may have lines: they become one. */
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

static void on_data(void *ctx, uint32_t stream, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct transfer *t = ctx;
	int r = t->in || t->code ? 0 : hull_write_full(t->fd, p, n);
	if (r < 0) {
		fail(t, r, strerror(-r));
		hull_wire_reset(t->client.wire, stream, ECANCELED, "the reader has gone");
		return;
	}
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

static void on_closed(void *ctx, uint32_t stream, void *user, int code, const char *message)
{
	struct transfer *t = ctx;
	if (!t->over && !t->told)
		fail(t, code < 0 ? code : -ECONNRESET, message && *message ? message : "the sandbox has stopped");
	t->over = true;
}

static const struct hull_wire_ops ops = {.data = on_data, .message = on_message, .closed = on_closed};

/* Read what the stream takes and send it. */
static void feed(struct transfer *t)
{
	uint8_t bytes[READ_SIZE];
	size_t room = hull_wire_writable(t->client.wire, t->stream);
	if (room == 0)
		return;
	ssize_t n = read(t->fd, bytes, room < sizeof bytes ? room : sizeof bytes);
	if (n < 0 && errno == EINTR)
		return;
	if (n < 0) {
		fail(t, -errno, strerror(errno));
		hull_wire_reset(t->client.wire, t->stream, ECANCELED, "the archive cannot be read");
	} else if (n == 0) {
		t->sent_all = true;
		hull_wire_eof(t->client.wire, t->stream);
	} else {
		hull_wire_write(t->client.wire, t->stream, HULL_CHANNEL_MAIN, bytes, (size_t)n);
	}
}

static void turn(struct transfer *t)
{
	struct hull_error lost = {0};
	bool reads = t->in && !t->sent_all && hull_wire_writable(t->client.wire, t->stream) > 0;
	struct pollfd fds[2] = {{.fd = t->client.fd, .events = client_events(&t->client)},
				{.fd = reads ? t->fd : -1, .events = POLLIN}};
	if (poll(fds, 2, -1) < 0)
		return;
	if (fds[1].revents)
		feed(t);
	if (!t->over && client_io(&t->client, fds[0].revents, &lost) < 0) {
		fail(t, lost.code, lost.msg);
		t->over = true;
	}
}

int transfer_run(int socket, uint8_t service, const char *path, const char *entry, int fd, struct hull_error *err)
{
	struct transfer t = {.fd = fd, .in = service == HULL_SVC_TAR_IN, .client.fd = -1};
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	int r = client_adopt(&t.client, socket, &ops, &t, err);
	if (r < 0)
		return r;
	r = hull_args_put_str(&args, HULL_TAG_PATH, path);
	if (r == 0 && entry)
		r = hull_args_put_str(&args, HULL_TAG_NAME, entry);
	if (r == 0)
		r = hull_wire_open(t.client.wire, service, hull_buf_bytes(&args), args.len, NULL, &t.stream);
	if (r == 0 && !t.in) {
		t.sent_all = true;
		r = hull_wire_eof(t.client.wire, t.stream);
	}
	if (r < 0)
		fail(&t, r, strerror(-r));
	while (r == 0 && !t.over)
		turn(&t);
	t.over = true;
	client_close(&t.client);
	return t.code ? hull_fail(err, t.code, "%s", t.text) : 0;
}

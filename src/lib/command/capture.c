/* SPDX-License-Identifier: Apache-2.0 */
/* See capture.h. A poll(2) loop on the keeper's socket. Output beyond `max` aborts the command. */
#include "lib/command/capture.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"
#include "wire/args.h"
#include "wire/service.h"

#include <poll.h>
#include <string.h>

enum { PATIENCE_MS = 60 * 1000 };

struct captured {
	struct client client;
	struct hull_buf *out;
	size_t max;
	uint32_t pid, status;
	char said[256]; /* on stderr */
	bool told, over, full;
	int code;
};

static void on_accepted(void *ctx, uint32_t stream, void *user, const uint8_t *args, size_t len)
{
	struct captured *c = ctx;
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	uint8_t eof = HULL_MSG_STDIN_EOF;
	while (hull_args_next(&cur, &a))
		if (a.tag == HULL_TAG_PID)
			c->pid = hull_arg_u32(&a);
	hull_wire_message(c->client.wire, stream, &eof, 1);
}

/* Of what it says on stderr. */
static void keep_end(struct captured *c, const uint8_t *p, size_t n)
{
	size_t most = sizeof c->said - 1, had = strlen(c->said);
	for (size_t i = n > most ? n - most : 0; i < n; i++) {
		if (had == most)
			memmove(c->said, c->said + 1, had--);
		c->said[had++] = p[i] ? (char)p[i] : ' ';
	}
	c->said[had] = '\0';
}

static void on_data(void *ctx, uint32_t stream, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct captured *c = ctx;
	hull_wire_grant(c->client.wire, stream, n);
	if (channel == HULL_CHANNEL_STDERR) {
		keep_end(c, p, n);
		return;
	}
	if (c->out->len + n > c->max || hull_buf_add(c->out, p, n) < 0) {
		c->full = true;
		hull_wire_reset(c->client.wire, stream, ECANCELED, "too much output");
	}
}

static void on_message(void *ctx, uint32_t stream, void *user, const uint8_t *p, size_t n)
{
	struct captured *c = ctx;
	struct hull_cur cur = hull_cur_make(p, n);
	struct hull_arg a;
	if (hull_cur_u8(&cur) != HULL_MSG_EXIT || c->told)
		return;
	c->told = true;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_STATUS || a.tag == HULL_TAG_ERRNO)
			c->status = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_TEXT)
			snprintf(c->said, sizeof c->said, "%.*s", (int)(a.n < 200 ? a.n : 200), (const char *)a.p);
	}
	hull_wire_eof(c->client.wire, stream);
}

static void on_closed(void *ctx, uint32_t stream, void *user, int code, const char *message)
{
	struct captured *c = ctx;
	c->over = true;
	c->code = code;
	if (!c->told && !c->said[0])
		snprintf(c->said, sizeof c->said, "%s", message ? message : "");
}

static const struct hull_wire_ops ops = {
	.accepted = on_accepted, .data = on_data, .message = on_message, .closed = on_closed};

static int outcome(struct captured *c, const char *name, const char *what, struct hull_error *err)
{
	size_t n = strlen(c->said);
	while (n && (c->said[n - 1] == '\n' || c->said[n - 1] == '\r'))
		c->said[--n] = '\0';
	const char *line = strrchr(c->said, '\n');
	line = line ? line + 1 : c->said;
	_cleanup_free_ char *said = hull_printable(line, strlen(line));
	if (c->full)
		return hull_fail(err, -EFBIG, "%s in %s says more than %zu bytes", what, name, c->max);
	if (!c->told || c->status)
		return hull_fail(err, -EIO, "%s in %s: %s", what, name,
				 said && *said ? said
				 : c->code     ? strerror(c->code < 0 ? -c->code : c->code)
					       : "it failed");
	return 0;
}

int capture(const struct hull_paths *p, const char *name, const char *const *argv, size_t max, struct hull_buf *out,
	    uint32_t *pid, struct hull_error *err)
{
	struct captured c = {.client.fd = -1, .out = out, .max = max};
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint32_t stream;
	int r = client_open(&c.client, p, name, 10000, &ops, &c, err);
	if (r < 0)
		return r;
	for (const char *const *v = argv; *v && !r; v++)
		r = hull_args_put_str(&b, HULL_TAG_ARGV, *v);
	/* The sandbox may have been given another PATH: set the default one. */
	if (!r)
		r = hull_args_put_str(&b, HULL_TAG_ENV,
				      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (!r)
		r = hull_args_put_str(&b, HULL_TAG_ENV, "LC_ALL=C.UTF-8");
	if (!r)
		r = hull_args_put_str(&b, HULL_TAG_USER, "root");
	if (!r)
		r = hull_args_put_str(&b, HULL_TAG_CWD, "/");
	if (!r)
		r = hull_wire_open(c.client.wire, HULL_SVC_EXEC, hull_buf_bytes(&b), b.len, NULL, &stream);
	if (r < 0)
		hull_fail(err, r, "asking %s: %s", name, strerror(-r));
	uint64_t end = lib_now_ms() + PATIENCE_MS;
	while (r >= 0 && !c.over) {
		struct pollfd fd = {.fd = c.client.fd, .events = client_events(&c.client)};
		uint64_t now = lib_now_ms();
		int n = now < end ? poll(&fd, 1, (int)(end - now)) : 0;
		if (n < 0 && errno != EINTR)
			r = hull_fail_errno(err, "waiting");
		else if (n == 0)
			r = hull_fail(err, -ETIMEDOUT, "%s does not answer: `hull logs %s` may say why", name, name);
		else if (n > 0)
			r = client_io(&c.client, fd.revents, err);
		if (r < 0 && c.over)
			r = 0;
	}
	if (r >= 0)
		r = outcome(&c, name, argv[0], err);
	*pid = c.pid;
	client_close(&c.client);
	return r;
}

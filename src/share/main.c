/* SPDX-License-Identifier: Apache-2.0 */
/* hull-share: one mount of a sandbox, served. Started by hull-keeper in a jail that holds nothing but what it serves.
 *
 *     hull-share --root PATH [--ro] [--guard PATH]... [--control FD] [--nodes FD] [--uid N] [--gid N]
 *                [--keep-free BYTES] [--log LEVELS]
 *
 * Its standard input is a socket that carries the FUSE messages both ways (share.h, the stream transport); it ends
 * when the socket does. In front of them come four bytes, little-endian: the process id of the guest's replayer.
 * FD is a socket of the keeper's (SOCK_SEQPACKET): each packet is one more path to guard, relative to the root; the
 * answer is a packet of four bytes, little-endian, 0 or an errno. A packet that is one zero byte asks for a sync
 * (hull_share_sync); the answer, when it is through, is the same. Two bytes, 0 and 'K': it is to write into the file
 * --nodes what the guest knows (keep.c), for the next server of this path; the answer is two bytes, the first 0 when it
 * has. The file is a length, u32, and so many bytes; what is in there at the start is what the server before wrote.
 * Before it reads a byte from it, it takes away from itself all system calls but those that serving takes (syscalls.c). It
 * is linked statically and executed by descriptor, so the jail need not show it any program or library. What it has to
 * say goes to standard error, the keeper's log. */
#include "share/syscalls.h"
#include "share/share.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { GUARDS_MAX = 64, THREADS = 8 };

struct arguments {
	const char *root;
	const char *guards[GUARDS_MAX];
	uint32_t control; /* 0 = none; and this */
	uint32_t nodes;
	struct hull_share_config config;
};

static int main_number(const char *text, uint32_t *out, struct hull_error *err)
{
	uint64_t v;
	if (hull_parse_u64(text, UINT32_MAX - 1, &v) < 0)
		return hull_fail(err, -EINVAL, "%s is not an id", text);
	*out = (uint32_t)v;
	return 0;
}

/* Bytes; 0 = the guest may fill the disk. */
static int keep_free(const char *text, struct hull_share_config *config, struct hull_error *err)
{
	if (hull_parse_u64(text, INT64_MAX, &config->keep_free) < 0)
		return hull_fail(err, -EINVAL, "%s is not a number of bytes", text);
	config->no_floor = config->keep_free == 0;
	return 0;
}

static int main_parse(char **argv, struct arguments *a, struct hull_error *err)
{
	for (char **p = argv + 1; *p; p++) {
		int r = 0;
		if (!strcmp(*p, "--ro")) {
			a->config.readonly = true;
			continue;
		}
		if (!p[1])
			return hull_fail(err, -EINVAL, "%s needs a value", *p);
		const char *value = p[1];
		if (!strcmp(*p, "--root"))
			a->root = value;
		else if (!strcmp(*p, "--guard") && a->config.guarded_count < GUARDS_MAX)
			a->guards[a->config.guarded_count++] = value;
		else if (!strcmp(*p, "--uid"))
			r = main_number(value, &a->config.guest_uid, err);
		else if (!strcmp(*p, "--control"))
			r = main_number(value, &a->control, err);
		else if (!strcmp(*p, "--nodes"))
			r = main_number(value, &a->nodes, err);
		else if (!strcmp(*p, "--log"))
			r = hull_debug_set(value, err);
		else if (!strcmp(*p, "--keep-free"))
			r = keep_free(value, &a->config, err);
		else if (!strcmp(*p, "--gid"))
			r = main_number(value, &a->config.guest_gid, err);
		else
			r = hull_fail(err, -EINVAL, "unknown argument %s", *p);
		if (r < 0)
			return r;
		p++;
	}
	return a->root ? 0 : hull_fail(err, -EINVAL, "usage: hull-share --root PATH [--ro] [--guard PATH]...");
}

struct serving {
	struct hull_share_transport t;
	int control;
};

static void main_synced(void *ctx)
{
	static const uint8_t answer = 0;
	const struct serving *s = ctx;
	if (write(s->control, &answer, 1) < 0)
		perror("hull-share: control");
}

/* A change on the host, for the guest's file watchers: in the stream, as a notification of our own. From the thread
 * that sends the notifications too. */
static void changed(void *ctx, const struct hull_share_change *change)
{
	const struct hull_share_transport *t = &((const struct serving *)ctx)->t;
	uint8_t head[2] = {(uint8_t)change->event, change->directory};
	size_t n = strlen(change->path);
	struct fuse_out_header h = {.len = (uint32_t)(sizeof h + sizeof head + n), .error = HULL_SHARE_CHANGED};
	struct iovec iov[3] = {
		{.iov_base = &h, .iov_len = sizeof h},
		{.iov_base = head, .iov_len = sizeof head},
		{.iov_base = (void *)(uintptr_t)change->path, .iov_len = n},
	};
	if (t->send)
		t->send(t->ctx, iov, n ? 3 : 2);
}

static int greet(struct hull_share *share, struct hull_error *err)
{
	uint8_t b[4];
	ssize_t n = hull_read_full(0, b, sizeof b);
	if (n != (ssize_t)sizeof b)
		return n < 0 ? hull_fail(err, (int)n, "reading: %s", strerror((int)-n)) : 1;
	struct hull_cur cur = hull_cur_make(b, sizeof b);
	hull_share_set_replayer(share, hull_cur_le32(&cur));
	return 0;
}

/* --- what the guest knows --- */

static int write_length(int fd, size_t n)
{
	const uint8_t raw[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)};
	return hull_pwrite_full(fd, raw, sizeof raw, 0);
}

static int keep(struct hull_share *share, int fd)
{
	_cleanup_(hull_buf_free) struct hull_buf all = {0};
	int r = fd > 0 ? hull_share_keep(share, &all) : -EBADF;
	if (r == 0)
		r = hull_pwrite_full(fd, hull_buf_bytes(&all), all.len, 4);
	return r < 0 ? r : write_length(fd, all.len);
}

/* What cannot be taken over the guest looks up again. */
static void adopt(struct hull_share *share, int fd)
{
	uint8_t raw[4] = {0};
	struct hull_error err = {0};
	if (fd <= 0 || hull_pread_full(fd, raw, sizeof raw, 0) != (ssize_t)sizeof raw)
		return;
	struct hull_cur cur = hull_cur_make(raw, sizeof raw);
	uint32_t n = hull_cur_le32(&cur);
	if (n == 0 || n > HULL_SHARE_NODES_MAX)
		return;
	_cleanup_free_ uint8_t *bytes = malloc(n);
	if (!bytes || hull_pread_full(fd, bytes, n, 4) != (ssize_t)n)
		return;
	if (hull_share_adopt(share, bytes, n, &err) < 0)
		fprintf(stderr, "hull-share: %s\n", err.msg);
	write_length(fd, 0);
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)n + 4);
}

/* --- what the keeper wants while it serves --- */

struct control {
	int fd, nodes;
	struct hull_share *share;
	pthread_t thread;
	bool running;
};

static void *follow_control(void *arg)
{
	const struct control *c = arg;
	char path[PATH_MAX];
	ssize_t n;
	while ((n = read(c->fd, path, sizeof path - 1)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		path[n] = '\0';
		if (n == 1 && !path[0]) {
			hull_share_sync(c->share);
			continue;
		}
		if (n == 2 && !path[0] && path[1] == 'K') {
			const uint8_t kept[2] = {keep(c->share, c->nodes) < 0, 0};
			if (write(c->fd, kept, sizeof kept) != (ssize_t)sizeof kept)
				break;
			continue;
		}
		struct hull_error err = {0};
		uint32_t code = (uint32_t)-hull_share_guard(c->share, path, &err);
		uint8_t answer[4];
		for (unsigned i = 0; i < sizeof answer; i++)
			answer[i] = (uint8_t)(code >> (8 * i));
		if (code)
			fprintf(stderr, "hull-share: %s\n", err.msg);
		if (write(c->fd, answer, sizeof answer) != (ssize_t)sizeof answer)
			break;
	}
	return NULL;
}

static int control_start(struct control *c, struct hull_error *err)
{
	int e = c->fd > 0 ? pthread_create(&c->thread, NULL, follow_control, c) : 0;
	c->running = c->fd > 0 && e == 0;
	return e ? hull_fail(err, -e, "cannot start a thread: %s", strerror(e)) : 0;
}

static void control_stop(struct control *c)
{
	if (!c->running)
		return;
	shutdown(c->fd, SHUT_RDWR);
	pthread_join(c->thread, NULL);
}

static int serve(char **argv, struct hull_error *err)
{
	static struct arguments a;
	int r = main_parse(argv, &a, err);
	if (r < 0)
		return r;
	_cleanup_close_ int root = open(a.root, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (root < 0)
		return hull_fail_errno(err, "cannot open %s", a.root);
	a.config.root_fd = root;
	a.config.guarded = a.guards;
	static struct serving serving;
	serving.control = (int)a.control;
	a.config.changed = changed;
	a.config.synced = a.control ? main_synced : NULL;
	a.config.ctx = &serving;
	struct hull_share *share = NULL;
	r = hull_share_new(&a.config, &share, err);
	struct hull_share_stream *stream = r < 0 ? NULL : hull_share_stream_new(0, 0);
	if (r == 0 && !stream)
		r = hull_fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = hull_share_confine(err);
	if (r == 0)
		adopt(share, (int)a.nodes);
	static struct control control;
	control.fd = (int)a.control;
	control.nodes = (int)a.nodes;
	control.share = share;
	if (r == 0)
		r = control_start(&control, err);
	if (r == 0)
		r = greet(share, err);
	if (r == 0) {
		serving.t = hull_share_stream_transport(stream);
		r = hull_share_serve(share, &serving.t, THREADS, err);
	}
	control_stop(&control);
	hull_share_free(share);
	hull_share_stream_free(stream);
	return r < 0 ? r : 0;
}

int main(int argc, char **argv)
{
	struct hull_error err = {0};
	signal(SIGPIPE, SIG_IGN);
	hull_log_open(2, "share");
	if (hull_debug_init(&argc, argv, &err) < 0)
		;
	else if (argc < 2)
		hull_fail(&err, -EINVAL, "hull-share is started by hull-keeper; see docs/internals/architecture.md");
	else if (serve(argv, &err) == 0)
		return 0;
	fprintf(stderr, "hull-share: %s\n", err.msg);
	return 1;
}

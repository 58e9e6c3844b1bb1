/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of the workspace, and the relay of their FUSE requests. The service share; MOUNT and UNMOUNT of control.
 *
 * hull-init does not serve the file systems itself. It relays requests from /dev/fuse to a SHARE stream of the wire,
 * and replies back (docs/internals/workspace.md):
 *
 *     /dev/fuse --request--> SHARE stream      one whole request, as far as there is credit; the rest waits in
 *                                              `request`, and no other request is read meanwhile
 *     SHARE stream --reply--> /dev/fuse        collected by the length in its header, then one write
 *     SHARE stream --notification--> notifier  a process, which writes it to /dev/fuse (helper.c)
 *     SHARE stream --change--> replayer        a process, which replays it for inotify (helper.c)
 *
 * hull-init must never wait for these file systems, since it would wait for itself. A path that may lead into a
 * workspace is resolved in a child: to mount and unmount (here, one at a time, in order), to enter a working directory
 * (exec.c), to sync (control.c). At the end the sessions are killed and the mounts removed before anything is synced or
 * unmounted (hull_shares_stop).
 *
 * When the stream ends because the server was killed:
 *   - each outstanding request is answered with EIO, and the mount stays; later requests wait,
 *   - the host starts another server and asks for the same mount: it gets a new stream and the INIT of the first one,
 *   - the kernel's cache is dropped. Ids of the old server are ESTALE to the new one, so the kernel looks paths up
 *     again. Files that were open stay broken.
 *   - A host that gives up unmounts by force: all who wait get ECONNABORTED.
 *
 * Memory for each mount: one request (1 MiB), one reply (1 MiB), ids of outstanding requests, queues of the helpers. */
#include "guest/workspace/workspace.h"

#include "base/cleanup.h"
#include "base/debug.h"
#include "base/text.h"
#include "guest/core/cgroup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"
#include "guest/workspace/helper.h"
#include "guest/workspace/kernel.h"
#include "guest/workspace/prefetch/prefetch.h"
#include "share/relay.h"
#include "wire/args.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <endian.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	MESSAGE_MAX = HULL_SHARE_REQUEST_MAX,
	READS_MAX = 64, /* per turn of the loop */
	SHARES_MAX = 64,
	STOP_MS = 3000,
	INIT_MAX = 512,
	REPLAYER_AGAIN_MS = 1000,
};

struct share {
	struct hull_stream stream; /* must be first; id 0 = there is no server at the moment */
	struct share *next;
	char *path;
	int device; /* -1 once the connection is given up */
	struct hull_watch watch;
	struct hull_buf request;        /* the rest of a request that the stream has not taken */
	struct hull_buf reply;          /* the part of a reply that has arrived */
	struct hull_prefetch *prefetch; /* owned: answers without a round trip */
	uint64_t *outstanding;          /* ids of requests without a reply */
	size_t outstanding_count, outstanding_cap;
	uint8_t init[INIT_MAX]; /* the kernel's first request */
	uint32_t init_len;
	bool init_again; /* the kernel has the reply to INIT already: drop the next one */
	struct hull_helper notifier, replayer;
	uint64_t replayer_since; /* when it was started */
	bool leaving;            /* it is being unmounted: a new replayer would keep it busy */
	uint32_t sync;           /* the number that the notifier is to send back; 0 = none */
	bool more;               /* the server waits until the notifier has written what it has */
};

/* The queue of mounts and unmounts. */
enum op_kind { OP_MOUNT, OP_UNMOUNT, OP_CLEAN };
struct op {
	enum op_kind kind;
	char *path;
	bool force;
	bool again; /* OP_MOUNT: it is mounted, and has another server now */
	uint32_t mode;
	struct share *share; /* OP_CLEAN: no longer in the list */
	struct share *made;  /* OP_MOUNT: in the list, unless it was lost meanwhile */
	struct op *next;
};

static struct share *shares;
static size_t share_count;
static struct op *ops, **ops_end = &ops;
static bool busy; /* the first of ops is being done by op_child */
static struct hull_child op_child;
static uint8_t scratch[MESSAGE_MAX] __attribute__((aligned(8)));
static uint8_t own[HULL_PREFETCH_REQUEST_MAX] __attribute__((aligned(8))); /* a request of ours for the server */

static void run_next(void);

static struct share *mount_find(const char *path)
{
	struct share *s = shares;
	while (s && strcmp(s->path, path) != 0)
		s = s->next;
	return s;
}

static void op_free(struct op *op)
{
	free(op->path);
	free(op);
}

static void enqueue(struct op *op)
{
	op->next = NULL;
	*ops_end = op;
	ops_end = &op->next;
	run_next();
}

/* --- giving a mount up --- */

/* Close /dev/fuse: whoever waits for the file system gets an error. The mount point is not free yet. */
static void disconnect(struct share *s)
{
	hull_watch_del(&s->watch);
	hull_helper_stop(&s->notifier);
	hull_helper_stop(&s->replayer);
	if (s->device >= 0)
		close(hull_steal_fd(&s->device));
	hull_buf_free(&s->request);
	hull_buf_free(&s->reply);
	free(s->outstanding);
	s->outstanding = NULL;
	s->outstanding_count = s->outstanding_cap = 0;
}

static void share_free(struct share *s)
{
	hull_prefetch_free(s->prefetch);
	free(s->path);
	free(s);
}

/* Remove s from the list, end its stream and its connection. The caller owns s then. */
static void detach(struct share *s)
{
	for (struct share **p = &shares; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			share_count--;
			break;
		}
	uint32_t id = s->stream.id;
	s->stream.id = 0;
	disconnect(s);
	if (id) {
		hull_wire_set_user(hull_wire, id, NULL);
		hull_wire_reset(hull_wire, id, ECANCELED, "unmounted");
	}
}

/* The kernel's side is gone or cannot be served: free the mount point. */
static void mount_lose(struct share *s)
{
	struct op *op = calloc(1, sizeof(*op));
	detach(s);
	if (!op) {
		share_free(s);
		return;
	}
	*op = (struct op){.kind = OP_CLEAN, .share = s};
	enqueue(op);
}

/* --- requests: /dev/fuse to the stream --- */

/* Note that the request awaits a reply. False when out of memory. */
static bool mount_remember(struct share *s, const uint8_t *p, size_t n)
{
	struct fuse_in_header h;
	if (n < sizeof(h))
		return true;
	memcpy(&h, p, sizeof(h));
	hull_trace(HULL_AREA_SHARE, "fuse %llu: asked, opcode %u, node %llu, %zu bytes", (unsigned long long)h.unique,
		   h.opcode, (unsigned long long)h.nodeid, n);
	if (h.unique == 0 || h.opcode == FUSE_FORGET || h.opcode == FUSE_BATCH_FORGET || h.opcode == FUSE_INTERRUPT)
		return true;
	if (h.opcode == FUSE_INIT && n <= INIT_MAX) {
		memcpy(s->init, p, n);
		s->init_len = (uint32_t)n;
	}
	if (s->outstanding_count == s->outstanding_cap) {
		size_t cap = s->outstanding_cap ? 2 * s->outstanding_cap : 64;
		uint64_t *more = reallocarray(s->outstanding, cap, sizeof(*more));
		if (!more)
			return false;
		s->outstanding = more;
		s->outstanding_cap = cap;
	}
	s->outstanding[s->outstanding_count++] = h.unique;
	return true;
}

static bool is_init(const struct share *s, uint64_t unique)
{
	return s->init_len && memcmp(s->init + offsetof(struct fuse_in_header, unique), &unique, sizeof(unique)) == 0;
}

/* Search from the end: the latest requests are answered first, mostly. */
static void mount_forget(struct share *s, uint64_t unique)
{
	for (size_t i = s->outstanding_count; i-- > 0;)
		if (s->outstanding[i] == unique) {
			s->outstanding[i] = s->outstanding[--s->outstanding_count];
			return;
		}
}

/* False when s is gone: after half a request the stream is of no use. */
static bool mount_take(struct share *s, const uint8_t *p, size_t n)
{
	ssize_t w = s->request.len ? 0 : hull_wire_write(hull_wire, s->stream.id, HULL_CHANNEL_MAIN, p, n);
	size_t done = w > 0 ? (size_t)w : 0;
	if (done == n)
		return true;
	if (hull_buf_add(&s->request, p + done, n - done) < 0) {
		hull_say("%s: out of memory", s->path);
		mount_lose(s);
		return false;
	}
	hull_watch_mod(&s->watch, 0);
	return true;
}

/* Send a request of the relay's own. */
static bool mount_send_own(struct share *s, uint32_t opcode, uint32_t value)
{
	struct {
		struct fuse_in_header h;
		uint32_t value;
	} message = {.h = {.len = sizeof(message.h) + 4, .opcode = opcode}, .value = htole32(value)};
	return !s->stream.id || mount_take(s, (const uint8_t *)&message, message.h.len);
}

/* The notifier has written all that came before this. */
static void notifier_heard(struct hull_helper *h, const uint8_t *p, size_t n)
{
	struct hull_cur cur = hull_cur_make(p, n);
	hull_cur_take(&cur, sizeof(struct fuse_out_header));
	uint32_t number = hull_cur_le32(&cur);
	struct share *s = container_of(h, struct share, notifier);
	if (number == s->sync)
		s->sync = 0;
	if (!cur.bad)
		mount_send_own(s, HULL_SHARE_RELAY_SYNCED, number);
}

/* False when s is gone. */
static bool sync_notifier(struct share *s, uint32_t number)
{
	struct {
		struct fuse_out_header h;
		uint32_t number;
	} message = {.h = {.len = sizeof(message.h) + 4, .error = HULL_SHARE_SYNC}, .number = htole32(number)};
	s->sync = s->notifier.fd < 0 ? 0 : number;
	if (!s->sync)
		return mount_send_own(s, HULL_SHARE_RELAY_SYNCED, number);
	hull_helper_send(&s->notifier, &message, message.h.len);
	return true;
}

/* The kernel missed notifications: have the server send all of them again. */
static void notifier_drained(struct hull_helper *h, bool lost)
{
	struct share *s = container_of(h, struct share, notifier);
	bool more = s->more;
	s->more = false;
	if (lost ? !mount_send_own(s, HULL_SHARE_RELAY_LOST, 0) : more && !mount_send_own(s, HULL_SHARE_RELAY_GO, 0))
		return;
	if (lost && s->sync)
		sync_notifier(s, s->sync);
}

static void replayer_drained(struct hull_helper *h, bool lost)
{
	struct share *s = container_of(h, struct share, replayer);
	if (h->fd < 0)
		mount_send_own(s, HULL_SHARE_RELAY_REPLAYER, 0);
}

static uint32_t replayer_start(struct share *s)
{
	s->replayer_since = hull_uptime_ms();
	if (hull_replayer_start(&s->replayer, s->path) < 0)
		return 0;
	s->replayer.drained = replayer_drained;
	return (uint32_t)s->replayer.child.pid;
}

/* Replace a replayer that has ended. Changes since then are not replayed. False when s is gone. */
static bool replayer_again(struct share *s)
{
	static const uint8_t go = 0, overflow[2] = {HULL_SHARE_OVERFLOW, 1};
	uint32_t pid = replayer_start(s);
	if (!pid)
		return true;
	if (!mount_send_own(s, HULL_SHARE_RELAY_REPLAYER, pid))
		return false;
	hull_helper_send(&s->replayer, &go, sizeof(go));
	hull_helper_send(&s->replayer, overflow, sizeof(overflow));
	return true;
}

/* Send what the prefetched answers owe the server. False when s is gone. */
static bool send_prefetch_output(struct share *s)
{
	for (size_t len; (len = hull_prefetch_output(s->prefetch, own)) > 0;)
		if (!mount_take(s, own, len))
			return false;
	return true;
}

/* Relay one request of the kernel, in `scratch`. False when s is gone. */
static bool mount_pass_on(struct share *s, size_t n)
{
	struct hull_prefetch_answer a; /* pages long: not to be cleared for every request */
	struct fuse_in_header h = {0};
	a.len = 0;
	a.forward = true;
	if (n >= sizeof(h)) {
		memcpy(&h, scratch, sizeof(h));
		if (hull_replayer_is(h.pid))
			hull_share_mark(scratch);
		hull_prefetch_request(s->prefetch, scratch, n, &a);
	}
	/* It fails when nobody waits any more. */
	while (a.len && write(s->device, a.bytes, a.len) < 0 && errno == EINTR)
		;
	if (!send_prefetch_output(s))
		return false;
	if (!a.forward)
		return true;
	if (!mount_remember(s, scratch, n)) {
		hull_say("%s: out of memory", s->path);
		mount_lose(s);
		return false;
	}
	if (h.opcode == FUSE_INIT && !mount_send_own(s, HULL_SHARE_RELAY_PREFETCH, 0))
		return false;
	return mount_take(s, scratch, n);
}

static void device_ready(struct hull_watch *w, uint32_t events)
{
	struct share *s = container_of(w, struct share, watch);
	for (int i = 0; i < READS_MAX && s->request.len == 0 && s->stream.id; i++) {
		ssize_t n = read(s->device, scratch, sizeof(scratch));
		if (n > 0) {
			if (!mount_pass_on(s, (size_t)n))
				return;
			continue;
		}
		if (n < 0 && (errno == EINTR || errno == ENOENT))
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		events |= EPOLLERR; /* ENODEV: unmounted, or aborted */
		break;
	}
	if (events & (EPOLLERR | EPOLLHUP))
		mount_lose(s);
}

static void mount_on_writable(void *user)
{
	struct share *s = user;
	if (s->request.len > 0) {
		ssize_t w = hull_wire_write(hull_wire, s->stream.id, HULL_CHANNEL_MAIN, hull_buf_bytes(&s->request),
					    s->request.len);
		if (w > 0)
			hull_buf_drain(&s->request, (size_t)w);
	}
	if (s->request.len == 0)
		hull_watch_mod(&s->watch, EPOLLIN);
}

/* A FUSE notification (unique == 0), or a message of relay.h. False when s is gone. */
static bool mount_notified(struct share *s, int code, const uint8_t *p, size_t n)
{
	const size_t head = sizeof(struct fuse_out_header);
	if (code == HULL_SHARE_CHANGED) {
		if (s->replayer.fd < 0 && !s->leaving && hull_uptime_ms() - s->replayer_since > REPLAYER_AGAIN_MS)
			return replayer_again(s);
		hull_helper_send(&s->replayer, p + head, n - head);
		return true;
	}
	if (code == HULL_SHARE_MORE) {
		s->more = s->notifier.waiting.len > 0;
		return s->more || mount_send_own(s, HULL_SHARE_RELAY_GO, 0);
	}
	if (code == HULL_SHARE_SYNC) {
		struct hull_cur cur = hull_cur_make(p + head, n - head);
		return sync_notifier(s, hull_cur_le32(&cur));
	}
	bool had_lost = s->notifier.lost;
	if (s->notifier.fd < 0 && hull_notifier_start(&s->notifier, s->device) == 0) {
		s->notifier.drained = notifier_drained;
		hull_helper_hear(&s->notifier, notifier_heard);
		if (had_lost && !mount_send_own(s, HULL_SHARE_RELAY_LOST, 0))
			return false;
		had_lost = false;
	}
	if (!hull_helper_send(&s->notifier, p, n) && !had_lost)
		hull_say("%s: too much changes on the host at once; some of it shows late", s->path);
	return true;
}

/* --- replies: the stream to /dev/fuse --- */

/* False when s is gone. */
static bool deliver(struct share *s, const uint8_t *p, size_t n)
{
	struct fuse_out_header h;
	memcpy(&h, p, sizeof(h));
	struct hull_prefetch_store store;
	bool ours = hull_prefetch_message(s->prefetch, p, n, &store);
	struct iovec pages[2] = {{.iov_base = store.head, .iov_len = sizeof(store.head)},
				 {.iov_base = (void *)(uintptr_t)store.data, .iov_len = store.len}};
	/* It fails where the file has been forgotten. */
	while (store.len && writev(s->device, pages, 2) < 0 && errno == EINTR)
		;
	if (!send_prefetch_output(s))
		return false;
	if (ours)
		return true;
	hull_trace(HULL_AREA_SHARE, "fuse %llu: answer came, error %d, %zu bytes", (unsigned long long)h.unique,
		   h.error, n);
	if (h.unique == 0)
		return mount_notified(s, h.error, p, n);
	mount_forget(s, h.unique);
	if (s->init_again && is_init(s, h.unique)) {
		s->init_again = false;
		return true;
	}
	while (write(s->device, p, n) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == ENODEV) {
			mount_lose(s);
			return false;
		}
		break; /* ENOENT: whoever asked was killed. Others: the kernel has answered with EIO. */
	}
	if (is_init(s, h.unique))
		hull_share_read_ahead(s->path);
	return true;
}

static void mount_on_data(void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct share *s = user;
	struct fuse_out_header h;
	hull_wire_grant(hull_wire, s->stream.id, n);
	while (n > 0) {
		/* Until the header is there it is what is wanted, then the whole message. */
		size_t have = s->reply.len, want = sizeof(h);
		if (have + n >= sizeof(h)) {
			size_t there = have < sizeof(h) ? have : sizeof(h);
			if (there)
				memcpy(&h, hull_buf_bytes(&s->reply), there);
			memcpy((uint8_t *)&h + there, p, sizeof(h) - there);
			want = h.len;
			if (want < sizeof(h) || want > MESSAGE_MAX) {
				hull_say("%s: the host's answer is malformed", s->path);
				mount_lose(s);
				return;
			}
		}
		if (have == 0 && n >= want && want >= sizeof(h) && n >= sizeof(h)) {
			if (!deliver(s, p, want))
				return;
			p += want;
			n -= want;
			continue;
		}
		size_t part = want - have < n ? want - have : n;
		if (hull_buf_add(&s->reply, p, part) < 0) {
			mount_lose(s);
			return;
		}
		p += part;
		n -= part;
		if (s->reply.len >= sizeof(h) && s->reply.len == want) {
			struct hull_buf whole = s->reply;
			s->reply = (struct hull_buf){0};
			bool there = deliver(s, hull_buf_bytes(&whole), whole.len);
			hull_buf_free(&whole);
			if (!there)
				return;
		}
	}
}

/* The server is gone. */
static void mount_cut(struct share *s)
{
	struct fuse_out_header h = {.len = sizeof(h), .error = -EIO};
	size_t left = 0;
	for (size_t i = 0; i < s->outstanding_count; i++) {
		h.unique = s->outstanding[i];
		if (is_init(s, h.unique))
			s->outstanding[left++] = h.unique; /* is asked again */
		else if (s->device >= 0 && write(s->device, &h, sizeof(h)) < 0)
			continue; /* whoever asked has gone */
	}
	s->outstanding_count = left;
	s->init_again = s->init_len && left == 0;
	hull_buf_free(&s->request);
	hull_buf_free(&s->reply);
	hull_helper_stop(&s->replayer);
	hull_prefetch_reset(s->prefetch);
	s->more = false;
	s->sync = 0;
	hull_watch_mod(&s->watch, 0);
}

static void mount_on_eof(void *user)
{
	struct share *s = user;
	hull_wire_reset(hull_wire, s->stream.id, ECONNRESET, "the server has ended"); /* on_closed follows */
}

static void mount_on_closed(void *user, int code, const char *message)
{
	struct share *s = user;
	s->stream.id = 0;
	mount_cut(s);
}

static const struct hull_stream_ops share_ops = {
	.data = mount_on_data,
	.writable = mount_on_writable,
	.eof = mount_on_eof,
	.closed = mount_on_closed,
};

/* --- mounting --- */

/* Open the stream to a server, and start a replayer, which the server has to know. */
static int connect_server(struct share *s)
{
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	uint32_t pid = replayer_start(s);
	int r = hull_args_put_str(&args, HULL_TAG_PATH, s->path);
	if (r == 0 && pid)
		r = hull_args_put_u32(&args, HULL_TAG_PID, pid);
	if (r == 0)
		r = hull_wire_open(hull_wire, HULL_SVC_SHARE, hull_buf_bytes(&args), args.len, s, &s->stream.id);
	return r;
}

/* Prepare all but the mount itself. */
static int share_make(const char *path, struct share **out)
{
	if (share_count >= SHARES_MAX)
		return -ENOSPC;
	struct share *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->stream.ops = &share_ops;
	s->watch.fd = s->notifier.fd = s->replayer.fd = -1;
	s->path = strdup(path);
	s->prefetch = hull_prefetch_new();
	s->device = hull_fuse_open();
	int r = s->device < 0 ? s->device : s->path && s->prefetch ? connect_server(s) : -ENOMEM;
	s->next = shares;
	shares = s;
	share_count++;
	if (r < 0) {
		detach(s);
		share_free(s);
		return r;
	}
	*out = s;
	return 0;
}

/* The file system is mounted and has a server: it may be used. */
static void mount_ready(struct share *s)
{
	static const uint8_t go = 0;
	if (!s->stream.id)
		return; /* lost already: the host asks again */
	hull_helper_send(&s->replayer, &go, 1);
	hull_watch_mod(&s->watch, EPOLLIN);
}

static int reconnect(struct share *s)
{
	int r = connect_server(s);
	if (r < 0)
		return r;
	if (s->init_len && (!mount_send_own(s, HULL_SHARE_RELAY_PREFETCH, 0) || !mount_take(s, s->init, s->init_len)))
		return -ENOMEM;
	if (s->request.len == 0)
		mount_ready(s);
	hull_share_drop_caches();
	return 0;
}

static void mount_answer(const struct op *op, int error, const char *text)
{
	if (op->kind != OP_CLEAN)
		hull_report_mounted(op->kind == OP_MOUNT, op->path, error, text);
}

/* The first operation of the queue is done or has failed. */
static void mount_finish(int error)
{
	struct op *op = ops;
	const char *text = error ? strerror(error) : NULL;
	struct share *s = op->share ? op->share : mount_find(op->path);
	ops = op->next;
	if (!ops)
		ops_end = &ops;
	busy = false;
	if (op->kind == OP_CLEAN) {
		share_free(s);
	} else if (op->kind == OP_MOUNT) {
		/* Its stream may have ended while the child mounted: then its cleaning is queued behind us. */
		if (s != op->made)
			s = NULL;
		if (!error && s)
			error = -hull_watch_add(&s->watch, s->device, 0, device_ready);
		else if (!error && !op->again)
			error = ECONNABORTED;
		if (!error && s)
			mount_ready(s);
		text = error ? strerror(error) : NULL;
		if (error && s) {
			detach(s);
			share_free(s);
		}
	} else if (!error && s) {
		detach(s);
		share_free(s);
	} else if (s) {
		s->leaving = false; /* it is used: it stays */
		if (s->stream.id && s->replayer.fd < 0)
			replayer_again(s);
	}
	mount_answer(op, error, text);
	op_free(op);
	run_next();
}

static void op_ended(struct hull_child *c, int status)
{
	int sig;
	int code = hull_exit_code(status, &sig);
	mount_finish(sig ? EIO : code);
}

static int mount_begin(struct op *op)
{
	struct hull_error err;
	_cleanup_close_ int replayer = -1;
	struct share *s = op->share;
	struct hull_mounting m = {.path = s ? s->path : op->path,
				  .mode = op->mode,
				  .umount = op->kind != OP_MOUNT,
				  .force = op->force || op->kind == OP_CLEAN,
				  .device = -1,
				  .replayer = -1};
	if (op->kind == OP_UNMOUNT) {
		s = mount_find(op->path);
		if (!s)
			return -ENOENT;
		s->leaving = true;
		m.replayer = replayer = hull_helper_pidfd(&s->replayer); /* it stands in the mount */
		hull_helper_stop(&s->replayer);
	}
	if (op->kind == OP_MOUNT) {
		s = mount_find(op->path);
		if (s && s->stream.id)
			return -EBUSY;
		if (s) {
			int r = reconnect(s);
			op->again = r == 0;
			if (r == 0)
				mount_finish(0);
			return r;
		}
		int r = share_make(op->path, &s);
		if (r < 0)
			return r;
		m.device = s->device;
		op->made = s;
	}
	/* The device is watched once it is mounted (finish); before, it only has errors to tell. */
	return hull_spawn(&op_child, -1, hull_mount_run, &m, NULL, op_ended, &err);
}

static void run_next(void)
{
	if (busy || !ops)
		return;
	busy = true;
	int r = mount_begin(ops);
	if (r < 0)
		mount_finish(-r);
}

static void request_op(enum op_kind kind, const char *path, bool force, uint32_t mode)
{
	struct op *op = calloc(1, sizeof(*op));
	if (op)
		*op = (struct op){.kind = kind, .force = force, .mode = mode, .path = strdup(path)};
	if (op && op->path) {
		enqueue(op);
		return;
	}
	free(op);
	hull_report_mounted(kind == OP_MOUNT, path, ENOMEM, "out of memory in the sandbox");
}

void hull_share_message(bool mount_it, const uint8_t *args, size_t len)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	_cleanup_free_ char *path = NULL;
	bool force = false;
	uint32_t mode = S_IFDIR | 0755;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_PATH && !path)
			path = hull_arg_str(&a);
		else if (a.tag == HULL_TAG_FORCE)
			force = hull_arg_u32(&a) != 0;
		else if (a.tag == HULL_TAG_MODE)
			mode = hull_arg_u32(&a);
	}
	if (!mount_it && !path) {
		for (struct share *s = shares, *next; s; s = next) {
			next = s->next;
			if (!s->stream.id)
				mount_lose(s);
		}
		return;
	}
	if (cur.bad || !path || path[0] != '/' || !path[1] || (!S_ISDIR(mode) && !S_ISREG(mode)))
		hull_report_mounted(mount_it, path ? path : "", EINVAL, "malformed request");
	else
		request_op(mount_it ? OP_MOUNT : OP_UNMOUNT, path, force, mode);
}

/* --- the end --- */

static bool anybody_left(void)
{
	char text[128] = "";
	_cleanup_close_ int fd = open(HULL_CG_ROOT "/work/cgroup.events", O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "populated 1");
}

void hull_shares_stop(void)
{
	if (!shares && !busy)
		return;
	uint64_t deadline = hull_uptime_ms() + STOP_MS;
	/* Who is killed still closes its files, and that takes answers from the host. */
	while (anybody_left() && hull_uptime_ms() < deadline)
		hull_loop_once(100);
	for (struct share *s = shares, *next; s; s = next) {
		next = s->next;
		mount_lose(s);
	}
	deadline = hull_uptime_ms() + STOP_MS;
	while (busy && hull_uptime_ms() < deadline)
		hull_loop_once(100);
}

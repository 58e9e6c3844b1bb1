/* The workspace: directories and files of the host, mounted at their own paths. The service share, and the messages
 * MOUNT and UNMOUNT of control.
 *
 * A mount is a FUSE file system whose requests hull-init does not answer itself: it passes them, as they come from
 * /dev/fuse, to a SHARE stream of the wire, and what comes back to /dev/fuse (docs/workspace.md).
 *
 *     /dev/fuse --read: one whole request--> SHARE stream, as far as there is credit; the rest waits in `request`,
 *                                            and nothing more is read meanwhile
 *     SHARE stream --reply--> collected by the length in its header, then one write to /dev/fuse
 *                  --notification--> the notifier: writing one may wait for a lock in the kernel whose holder waits
 *                                    for a reply, so a process of its own writes them, in order
 *
 * hull-init serves these file systems and so must never wait for one. Every path that may lead into a workspace is
 * resolved in a child: mounting and unmounting (here, one at a time, in the order asked for), programs' working
 * directories (exec.c), sync(2) (control.c). At the end the sessions are killed and the mounts taken away before
 * anything is synced or unmounted (hull_shares_stop).
 *
 * A stream that ends takes its mount with it: the connection is aborted, so that everybody who waits gets an error
 * (ECONNABORTED, then ENOTCONN), and the mount point is freed. The host then starts a new server and mounts again; what
 * was open stays broken, what is opened anew works.
 *
 * Memory, per mount: one request (1 MiB), one reply (1 MiB), NOTES_MAX of notifications that the notifier has not
 * taken. Beyond that they are dropped, and what the kernel has cached lives until its time is over. */
#include "guest/guest.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "guest/child.h"
#include "guest/loop.h"
#include "wire/args.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
	MESSAGE_MAX = 1024 * 1024 + 8192, /* as the server's HULL_SHARE_REQUEST_MAX */
	READS_MAX = 64,                   /* per turn of the loop */
	NOTE_MAX = 8192,
	NOTES_MAX = 16 * 1024 * 1024,
	SHARES_MAX = 64,
	STOP_MS = 3000,
	FUSE_MAGIC = 0x65735546,
};

struct share {
	struct hull_stream stream; /* first: what the port finds */
	struct share *next;
	char *path;
	int device; /* -1 once the connection is given up */
	struct hull_watch watch;
	struct hull_buf request; /* of a request, what the stream has not taken yet */
	struct hull_buf reply;   /* the part of a reply that is there */
	struct hull_child notifier;
	int notes_fd; /* to the notifier, -1 = none yet */
	struct hull_watch notes_watch;
	struct hull_buf notes;
	bool notes_lost;
};

/* What is to be done, one after the other. */
enum op_kind { OP_MOUNT, OP_UNMOUNT, OP_CLEAN };
struct op {
	enum op_kind kind;
	char *path;
	bool readonly, force;
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

static void run_next(void);

static struct share *find(const char *path)
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

/* The connection ends: nobody waits for it any more. The mount point is not free yet. */
static void disconnect(struct share *s)
{
	hull_watch_del(&s->watch);
	if (s->notifier.pid > 0)
		kill(s->notifier.pid, SIGKILL);
	hull_child_forget(&s->notifier);
	hull_watch_del(&s->notes_watch);
	if (s->notes_fd >= 0)
		close(hull_steal_fd(&s->notes_fd));
	if (s->device >= 0)
		close(hull_steal_fd(&s->device));
	hull_buf_free(&s->request);
	hull_buf_free(&s->reply);
	hull_buf_free(&s->notes);
}

static void share_free(struct share *s)
{
	free(s->path);
	free(s);
}

/* Take it out of the list, end its stream and its connection. The caller owns s then. */
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

/* The server or the kernel is gone: the mount point is to be freed. */
static void lose(struct share *s)
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

static void take(struct share *s, const uint8_t *p, size_t n)
{
	ssize_t w = hull_wire_write(hull_wire, s->stream.id, HULL_CHANNEL_MAIN, p, n);
	size_t done = w > 0 ? (size_t)w : 0;
	if (done < n && hull_buf_add(&s->request, p + done, n - done) == 0)
		hull_watch_mod(&s->watch, 0);
}

static void device_ready(struct hull_watch *w, uint32_t events)
{
	struct share *s = hull_container_of(w, struct share, watch);
	for (int i = 0; i < READS_MAX && s->request.len == 0; i++) {
		ssize_t n = read(s->device, scratch, sizeof(scratch));
		if (n > 0) {
			take(s, scratch, (size_t)n);
			continue;
		}
		if (n < 0 && (errno == EINTR || errno == ENOENT))
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		events |= EPOLLERR; /* ENODEV: unmounted, or aborted */
		break;
	}
	if (events & (EPOLLERR | EPOLLHUP))
		lose(s);
}

static void on_writable(void *user)
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

/* --- notifications --- */

/* A process of its own: message by message from the socket to the device. */
static void notify_run(void *ctx, int status_fd)
{
	static uint8_t message[NOTE_MAX];
	const int *fd = ctx;
	/* Of hull-init's descriptors it keeps these two: others would hold pipes and connections open. */
	if (dup2(fd[0], 0) < 0 || dup2(fd[1], 1) < 0)
		_exit(1);
	syscall(SYS_close_range, 2U, ~0U, 0U);
	prctl(PR_SET_NAME, "hull-notify");
	for (;;) {
		ssize_t n = recv(0, message, sizeof(message), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		/* Fails for what the kernel does not know, or has forgotten meanwhile: then nothing is cached. */
		if (write(1, message, (size_t)n) < 0 && errno == ENODEV)
			_exit(0);
	}
}

static void notifier_ended(struct hull_child *c, int status)
{
	struct share *s = hull_container_of(c, struct share, notifier);
	hull_watch_del(&s->notes_watch);
	if (s->notes_fd >= 0)
		close(hull_steal_fd(&s->notes_fd)); /* the next notification starts another */
	hull_buf_free(&s->notes);
}

static int start_notifier(struct share *s)
{
	struct hull_error err;
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	int fds[2] = {ends[1], s->device};
	int r = hull_spawn(&s->notifier, -1, notify_run, fds, NULL, notifier_ended, &err);
	close(ends[1]);
	if (r < 0)
		close(ends[0]);
	else
		s->notes_fd = ends[0];
	return r;
}

/* True when the notifier has taken it. */
static bool pass_note(struct share *s, const uint8_t *p, size_t n)
{
	return send(s->notes_fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != EAGAIN;
}

static void notes_ready(struct hull_watch *w, uint32_t events)
{
	struct share *s = hull_container_of(w, struct share, notes_watch);
	struct fuse_out_header h;
	while (s->notes.len >= sizeof(h)) {
		memcpy(&h, hull_buf_bytes(&s->notes), sizeof(h));
		if (h.len > s->notes.len || !pass_note(s, hull_buf_bytes(&s->notes), h.len))
			return;
		hull_buf_drain(&s->notes, h.len);
	}
	hull_watch_del(w);
}

static void note(struct share *s, const uint8_t *p, size_t n)
{
	if (n > NOTE_MAX || (s->notes_fd < 0 && start_notifier(s) < 0))
		return;
	if (s->notes.len == 0 && pass_note(s, p, n))
		return;
	if (s->notes.len + n > NOTES_MAX || hull_buf_add(&s->notes, p, n) < 0) {
		if (!s->notes_lost)
			hull_say("%s: too much has changed on the host at once; some of it shows late", s->path);
		s->notes_lost = true;
		return;
	}
	if (s->notes_watch.fd < 0)
		hull_watch_add(&s->notes_watch, s->notes_fd, EPOLLOUT, notes_ready);
}

/* --- replies: the stream to /dev/fuse --- */

/* False when s is gone. */
static bool deliver(struct share *s, const uint8_t *p, size_t n)
{
	struct fuse_out_header h;
	memcpy(&h, p, sizeof(h));
	if (h.unique == 0) {
		note(s, p, n);
		return true;
	}
	while (write(s->device, p, n) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == ENODEV) {
			lose(s);
			return false;
		}
		break; /* ENOENT: whoever asked was killed. Others: the kernel has answered with EIO. */
	}
	return true;
}

static void on_data(void *user, unsigned channel, const uint8_t *p, size_t n)
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
				lose(s);
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
			lose(s);
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

static void on_eof(void *user)
{
	struct share *s = user;
	lose(s);
}

static void on_closed(void *user, int code, const char *message)
{
	struct share *s = user;
	s->stream.id = 0;
	lose(s);
}

static const struct hull_stream_ops share_ops = {
	.data = on_data,
	.writable = on_writable,
	.eof = on_eof,
	.closed = on_closed,
};

/* --- mounting: in a child, that may wait for other mounts of ours --- */

struct mounting {
	const char *path;
	bool readonly, umount, force;
	uint32_t mode;
	int device;
};

/* Make what is missing on the way to the mount point, and let everybody pass: the way may lead through a home that is
 * closed. What is in a workspace already is the host's and left alone. */
static int make_way(const char *path, uint32_t mode)
{
	char copy[PATH_MAX];
	struct stat st;
	struct statfs fs;
	if (strlen(path) >= sizeof(copy))
		return ENAMETOOLONG;
	strcpy(copy, path);
	for (char *p = copy + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return errno;
		if (stat(copy, &st) < 0 || statfs(copy, &fs) < 0)
			return errno;
		if ((long)fs.f_type != FUSE_MAGIC && !(st.st_mode & 01))
			chmod(copy, (st.st_mode & 07777) | 01);
	}
	if (S_ISDIR(mode))
		return mkdir(path, 0755) < 0 && errno != EEXIST ? errno : 0;
	return mknod(path, S_IFREG | 0444, 0) < 0 && errno != EEXIST ? errno : 0;
}

static void mount_run(void *ctx, int status_fd)
{
	const struct mounting *m = ctx;
	char options[256];
	umask(022);
	if (m->umount) {
		int flags = UMOUNT_NOFOLLOW | (m->force ? MNT_FORCE | MNT_DETACH : 0);
		_exit(umount2(m->path, flags) < 0 ? errno : 0);
	}
	int error = make_way(m->path, m->mode);
	if (error)
		_exit(error);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other,max_read=%d", m->device,
		 m->mode & S_IFMT, 1024 * 1024);
	unsigned long flags = MS_NOSUID | MS_NODEV | (m->readonly ? MS_RDONLY : 0);
	_exit(mount("hull", m->path, "fuse.hull", flags, options) < 0 ? errno : 0);
}

static int open_device(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) { /* opening the node loads the module */
		mknod("/dev/fuse", S_IFCHR | 0666, makedev(10, 229));
		chmod("/dev/fuse", 0666);
		fd = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

/* The server's stream and the device, not mounted yet. */
static int connect_share(const char *path, struct share **out)
{
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	if (find(path))
		return -EBUSY;
	if (share_count >= SHARES_MAX)
		return -ENOSPC;
	struct share *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->stream.ops = &share_ops;
	s->notes_fd = s->watch.fd = s->notes_watch.fd = -1;
	s->path = strdup(path);
	s->device = open_device();
	int r = s->device < 0 ? s->device : s->path ? hull_args_put_str(&args, HULL_TAG_PATH, path) : -ENOMEM;
	if (r == 0)
		r = hull_wire_open(hull_wire, HULL_SVC_SHARE, hull_buf_bytes(&args), args.len, s, &s->stream.id);
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

static void answer(const struct op *op, int error, const char *text)
{
	if (op->kind != OP_CLEAN)
		hull_control_mounted(op->kind == OP_MOUNT, op->path, error, text);
}

/* The first of ops is done, or has failed. */
static void finish(int error)
{
	struct op *op = ops;
	const char *text = error ? strerror(error) : NULL;
	struct share *s = op->share ? op->share : find(op->path);
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
			error = -hull_watch_add(&s->watch, s->device, EPOLLIN, device_ready);
		else if (!error)
			error = ECONNABORTED;
		text = error ? strerror(error) : NULL;
		if (error && s) {
			detach(s);
			share_free(s);
		}
	} else if (!error && s) {
		detach(s);
		share_free(s);
	}
	answer(op, error, text);
	op_free(op);
	run_next();
}

static void op_ended(struct hull_child *c, int status)
{
	int sig;
	int code = hull_exit_code(status, &sig);
	finish(sig ? EIO : code);
}

static int begin(struct op *op)
{
	struct hull_error err;
	struct share *s = op->share;
	struct mounting m = {.path = s ? s->path : op->path,
			     .readonly = op->readonly,
			     .mode = op->mode,
			     .umount = op->kind != OP_MOUNT,
			     .force = op->force || op->kind == OP_CLEAN,
			     .device = -1};
	if (op->kind == OP_UNMOUNT && !find(op->path))
		return -ENOENT;
	if (op->kind == OP_MOUNT) {
		int r = connect_share(op->path, &s);
		if (r < 0)
			return r;
		m.device = s->device;
		op->made = s;
	}
	/* The device is watched once it is mounted (finish); before, it only has errors to tell. */
	return hull_spawn(&op_child, -1, mount_run, &m, NULL, op_ended, &err);
}

static void run_next(void)
{
	if (busy || !ops)
		return;
	busy = true;
	int r = begin(ops);
	if (r < 0)
		finish(-r);
}

static void request_op(enum op_kind kind, const char *path, bool readonly, bool force, uint32_t mode)
{
	struct op *op = calloc(1, sizeof(*op));
	if (op)
		*op = (struct op){
			.kind = kind, .readonly = readonly, .force = force, .mode = mode, .path = strdup(path)};
	if (op && op->path) {
		enqueue(op);
		return;
	}
	free(op);
	hull_control_mounted(kind == OP_MOUNT, path, ENOMEM, "out of memory in the sandbox");
}

void hull_share_message(bool mount_it, const uint8_t *args, size_t len)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	_cleanup_free_ char *path = NULL;
	bool readonly = false, force = false;
	uint32_t mode = S_IFDIR | 0755;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_PATH && !path)
			path = hull_arg_str(&a);
		else if (a.tag == HULL_TAG_READONLY)
			readonly = hull_arg_u32(&a) != 0;
		else if (a.tag == HULL_TAG_FORCE)
			force = hull_arg_u32(&a) != 0;
		else if (a.tag == HULL_TAG_MODE)
			mode = hull_arg_u32(&a);
	}
	if (cur.bad || !path || path[0] != '/' || !path[1] || (!S_ISDIR(mode) && !S_ISREG(mode)))
		hull_control_mounted(mount_it, path ? path : "", EINVAL, "malformed request");
	else
		request_op(mount_it ? OP_MOUNT : OP_UNMOUNT, path, readonly, force, mode);
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
		lose(s);
	}
	deadline = hull_uptime_ms() + STOP_MS;
	while (busy && hull_uptime_ms() < deadline)
		hull_loop_once(100);
}

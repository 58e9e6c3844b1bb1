/* SPDX-License-Identifier: Apache-2.0 */
/* Processes beside a mounted workspace, and the child that mounts and unmounts. The two that stay read messages from a
 * socket, one per packet, and hold no other descriptor of hull-init's.
 *
 * The notifier writes the server's notifications (FUSE_NOTIFY_*) to /dev/fuse. The kernel may block such a write until
 * a lock is free whose holder waits for a reply. Replies pass through hull-init, so hull-init must not be the one that
 * blocks.
 *
 * The replayer makes inotify fire in the guest for changes on the host: it repeats each change as an operation in the
 * mount.
 *   - hull-init marks its requests, and the server changes nothing on the host for a marked one (docs/internals/workspace.md,
 *     "Watchers").
 *   - A replayer that was told to end may still have a request in flight. Its process id stays known until the process
 *     is reaped; before that no other process can have the id.
 *   - It works with paths relative to the mount's own root, and enters no other mount. Whatever is mounted at the path
 *     later is out of its reach.
 *   - A program on the host that writes a large file in small pieces raises an event for each, and a replay takes round
 *     trips. So the replayer reads its whole queue first, and leaves out a change that is in the queue already. */
#include "guest/workspace/helper.h"

#include "base/cleanup.h"
#include "guest/core/core.h"
#include "guest/core/own.h"
#include "share/relay.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <poll.h>
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
	MESSAGE_MAX = 8192,
	NOTES_MAX = 16 * 1024 * 1024,
	CHANGES_MAX = 512 * 1024,
	OVERFLOW_TOUCH_S = 1,
	REPLAYER_END_MS = 5000,
	QUEUE_MAX = 128,
	FUSE_MAGIC = 0x65735546,
};

struct start {
	int in, device;
	const char *path;
};

/* Close all descriptors but these: any other would hold a pipe or a connection of hull-init's open. */
static void keep_only(int in, int device, const char *name)
{
	if (dup2(in, 0) < 0 || (device >= 0 && dup2(device, 1) < 0))
		_exit(1);
	syscall(SYS_close_range, device >= 0 ? 2U : 1U, ~0U, 0U);
	prctl(PR_SET_NAME, name);
}

/* Receive the next message: its length; 0 = with MSG_DONTWAIT, there is none. */
static size_t next_message(uint8_t *p, int flags)
{
	for (;;) {
		ssize_t n = recv(0, p, MESSAGE_MAX, flags);
		if (n > 0)
			return (size_t)n;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n == 0 || errno != EINTR)
			_exit(0);
	}
}

static void notifier_run(void *ctx, int status_fd)
{
	static uint8_t message[MESSAGE_MAX];
	const struct start *s = ctx;
	keep_only(s->in, s->device, "hull-notify");
	for (;;) {
		size_t n = next_message(message, 0);
		struct fuse_out_header h;
		memcpy(&h, message, sizeof(h));
		if (n >= sizeof(h) && h.error == HULL_SHARE_SYNC) {
			/* What came before it is written: back it goes. */
			if (send(0, message, n, MSG_NOSIGNAL) < 0)
				_exit(0);
			continue;
		}
		/* It fails for what the kernel has forgotten meanwhile: then nothing of it is cached. */
		if (write(1, message, n) < 0 && errno == ENODEV)
			_exit(0);
	}
}

/* Open a path in this mount and in no mount below it: there our operations would not be marked, and would be real. */
static int open_here(int dir, const char *path)
{
	return hull_own_openat(dir, path, O_PATH | O_NOFOLLOW, 0);
}

static bool is_here(int dir, const char *name)
{
	_cleanup_close_ int fd = open_here(dir, name);
	return fd >= 0;
}

static void announce_content(int dir, const char *path)
{
	const struct timespec touch[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = OVERFLOW_TOUCH_S}};
	struct stat st;
	if (!is_here(dir, path))
		return;
	utimensat(dir, path, touch, AT_SYMLINK_NOFOLLOW);
	/* While a file is open for writing it cannot be executed (ETXTBSY). The attributes are as fresh as the answer
	 * to the touch. */
	if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || (S_ISREG(st.st_mode) && st.st_mode & 0111))
		return;
	int fd = openat(dir, path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
}

static void helper_announce(enum hull_share_event event, bool directory, int dir, const char *path)
{
	struct stat st;
	int r = 0;
	switch (event) {
	case HULL_SHARE_CREATED:
		r = directory ? mkdirat(dir, path, 0700) : mknodat(dir, path, S_IFREG | 0600, 0);
		/* Somebody has seen the name before us: a change of what is there is the most that can be told. */
		if (r < 0 && errno == EEXIST && !directory)
			announce_content(dir, path);
		break;
	case HULL_SHARE_DELETED:
		unlinkat(dir, path, directory ? AT_REMOVEDIR : 0);
		break;
	case HULL_SHARE_MODIFIED:
		announce_content(dir, path);
		break;
	case HULL_SHARE_ATTRIB:
		if (is_here(dir, path) && fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(st.st_mode))
			fchmodat(dir, path, st.st_mode & 07777, 0);
		break;
	case HULL_SHARE_OVERFLOW:
		announce_content(AT_FDCWD, ".");
		break;
	}
}

/* Changes to replay, {u8 event, u8 directory, path}, the oldest first. */
static struct {
	uint8_t message[QUEUE_MAX][MESSAGE_MAX + 1];
	size_t len[QUEUE_MAX];
	unsigned first, count;
} queue;

/* Is the same change in the queue, as the last one of this path? */
static bool known(const uint8_t *p, size_t n)
{
	if (n < 2 || (p[0] != HULL_SHARE_MODIFIED && p[0] != HULL_SHARE_ATTRIB && p[0] != HULL_SHARE_OVERFLOW))
		return false;
	for (unsigned i = queue.count; i-- > 0;) {
		unsigned at = (queue.first + i) % QUEUE_MAX;
		if (queue.len[at] == n && memcmp(queue.message[at] + 2, p + 2, n - 2) == 0)
			return queue.message[at][0] == p[0];
	}
	return false;
}

/* The oldest change. Fill the queue first, as far as there is room. */
static uint8_t *next_change(size_t *n)
{
	int flags = queue.count ? MSG_DONTWAIT : 0;
	while (queue.count < QUEUE_MAX) {
		unsigned at = (queue.first + queue.count) % QUEUE_MAX;
		size_t len = next_message(queue.message[at], flags);
		if (len == 0)
			break;
		flags = MSG_DONTWAIT;
		if (known(queue.message[at], len))
			continue;
		queue.len[at] = len;
		queue.count++;
	}
	uint8_t *p = queue.message[queue.first];
	*n = queue.len[queue.first];
	p[*n] = '\0';
	queue.first = (queue.first + 1) % QUEUE_MAX;
	queue.count--;
	return p;
}

static void replayer_run(void *ctx, int status_fd)
{
	static char path[MESSAGE_MAX + 4];
	const struct start *s = ctx;
	bool there = false;
	keep_only(s->in, -1, "hull-replay");
	for (;;) {
		size_t n;
		const uint8_t *message = next_change(&n);
		if (!there && chdir(s->path) < 0)
			_exit(1);
		there = true;
		if (n < 2)
			continue; /* the first: the mount is there */
		snprintf(path, sizeof(path), "./%s", (const char *)message + 2);
		char *name = strrchr(path, '/');
		*name++ = '\0';
		_cleanup_close_ int dir = open_here(AT_FDCWD, path);
		if (dir >= 0)
			helper_announce((enum hull_share_event)message[0], message[1] != 0, dir, *name ? name : ".");
	}
}

/* A replayer that may have a request in flight. */
struct hull_replayer {
	struct hull_child leaving; /* once it was told to end */
	pid_t pid;
	struct hull_replayer *next;
};
static struct hull_replayer *replayers;

static void replayer_gone(struct hull_replayer *a)
{
	struct hull_replayer **p = &replayers;
	if (!a)
		return;
	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	free(a);
}

static void replayer_left(struct hull_child *c, int status)
{
	replayer_gone(container_of(c, struct hull_replayer, leaving));
}

bool hull_replayer_is(uint32_t pid)
{
	const struct hull_replayer *a = replayers;
	while (a && (uint32_t)a->pid != pid)
		a = a->next;
	return a;
}

static void helper_ended(struct hull_child *c, int status)
{
	struct hull_helper *h = container_of(c, struct hull_helper, child);
	replayer_gone(hull_steal_ptr(h->replayer));
	hull_helper_stop(h);
	if (h->drained)
		h->drained(h, true);
}

static int helper_start(struct hull_helper *h, void (*run)(void *, int), struct start *s, size_t limit)
{
	struct hull_error err;
	int ends[2];
	*h = (struct hull_helper){.fd = -1, .watch.fd = -1, .limit = limit};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	s->in = ends[1];
	int r = hull_spawn(&h->child, -1, run, s, NULL, helper_ended, &err);
	close(ends[1]);
	if (r < 0)
		close(ends[0]);
	else
		h->fd = ends[0];
	return r;
}

int hull_notifier_start(struct hull_helper *h, int device)
{
	struct start s = {.device = device};
	return helper_start(h, notifier_run, &s, NOTES_MAX);
}

int hull_replayer_start(struct hull_helper *h, const char *path)
{
	struct start s = {.device = -1, .path = path};
	struct hull_replayer *a = calloc(1, sizeof(*a));
	int r = a ? helper_start(h, replayer_run, &s, CHANGES_MAX) : -ENOMEM;
	if (r < 0) {
		free(a);
		return r;
	}
	a->pid = h->child.pid;
	a->next = replayers;
	replayers = h->replayer = a;
	return 0;
}

static void helper_ready(struct hull_watch *w, uint32_t events);
static void writable(struct hull_helper *h);

/* True when the message was sent, or never can be. */
static bool helper_pass(struct hull_helper *h, const void *p, size_t n)
{
	return send(h->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != EAGAIN;
}

/* Messages come back when there is somebody to hear them. */
static void watch_for(struct hull_helper *h, uint32_t events)
{
	events |= h->heard ? EPOLLIN : 0;
	if (!events)
		hull_watch_del(&h->watch);
	else if (h->watch.fd < 0)
		hull_watch_add(&h->watch, h->fd, events, helper_ready);
	else
		hull_watch_mod(&h->watch, events);
}

void hull_helper_hear(struct hull_helper *h, void (*heard)(struct hull_helper *h, const uint8_t *p, size_t n))
{
	h->heard = heard;
	watch_for(h, 0);
}

static void helper_ready(struct hull_watch *w, uint32_t events)
{
	struct hull_helper *h = container_of(w, struct hull_helper, watch);
	uint8_t message[64];
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t n = recv(h->fd, message, sizeof(message), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			hull_watch_del(w); /* it ends: helper_ended() follows */
		else if (n > 0 && h->heard)
			h->heard(h, message, (size_t)n);
		return; /* what else there is comes again */
	}
	writable(h);
}

static void writable(struct hull_helper *h)
{
	uint32_t n;
	while (h->waiting.len > sizeof(n)) {
		const uint8_t *p = hull_buf_bytes(&h->waiting);
		memcpy(&n, p, sizeof(n));
		if (!helper_pass(h, p + sizeof(n), n))
			return;
		hull_buf_drain(&h->waiting, sizeof(n) + n);
	}
	watch_for(h, 0);
	if (h->lost && h->limit == CHANGES_MAX) {
		static const uint8_t overflow[2] = {HULL_SHARE_OVERFLOW, 1};
		helper_pass(h, overflow, sizeof(overflow));
	}
	bool lost = h->lost;
	h->lost = false;
	if (h->drained)
		h->drained(h, lost);
}

bool hull_helper_send(struct hull_helper *h, const void *p, size_t n)
{
	uint32_t length = (uint32_t)n;
	if (h->fd < 0 || n > MESSAGE_MAX)
		return false;
	if (h->waiting.len == 0 && helper_pass(h, p, n))
		return true;
	if (h->waiting.len + n > h->limit || hull_buf_add(&h->waiting, &length, sizeof(length)) < 0 ||
	    hull_buf_add(&h->waiting, p, n) < 0) {
		h->lost = true;
		return false;
	}
	watch_for(h, EPOLLOUT);
	return true;
}

void hull_helper_stop(struct hull_helper *h)
{
	if (h->child.pid > 0)
		kill(h->child.pid, SIGKILL);
	struct hull_replayer *a = hull_steal_ptr(h->replayer);
	if (a && h->child.pid > 0)
		hull_child_move(&h->child, &a->leaving, replayer_left);
	hull_child_forget(&h->child);
	hull_watch_del(&h->watch);
	if (h->fd >= 0)
		close(hull_steal_fd(&h->fd));
	hull_buf_free(&h->waiting);
}

int hull_helper_pidfd(const struct hull_helper *h)
{
	return h->child.pid > 0 ? (int)syscall(SYS_pidfd_open, h->child.pid, 0) : -1;
}

/* --- mounting: in a child, that may wait for other mounts of ours --- */

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

void hull_mount_run(void *ctx, int status_fd)
{
	const struct hull_mounting *m = ctx;
	char options[256];
	/* Killed, it still waits for the server's answer. */
	struct pollfd gone = {.fd = m->replayer, .events = POLLIN};
	if (m->replayer >= 0 && !m->force)
		poll(&gone, 1, REPLAYER_END_MS);
	hull_child_keep(m->device, status_fd);
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
	/* Writable here even when it is not: the server refuses, and the replayer is not held up. */
	if (mount("hull", m->path, "fuse.hull", MS_NOSUID | MS_NODEV, options) < 0)
		_exit(errno);
	_exit(0);
}

int hull_fuse_open(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) { /* opening the node loads the module */
		mknod("/dev/fuse", S_IFCHR | 0666, makedev(10, 229));
		chmod("/dev/fuse", 0666);
		fd = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* share-mount: mount a share of a host directory by the host's own /dev/fuse, run a command, take it down again.
 *
 *     share-mount [--stream] [--ro] [--guard PATH]... [--uid N] [--threads N] [--no-watch] [--dirs N] [--writeback]
 *                 [--log FILE] [--announce] [--count FILE] SOURCE MOUNTPOINT COMMAND [ARG...]
 *
 * Needs root. The mount lives in a private mount namespace and is seen only by the command. With --stream the requests
 * take the way they take from a guest: a relay between /dev/fuse and a byte stream. --uid serves as that user. --log
 * writes the host's changes, one "event path" a line. --announce runs a replayer, as hull-init has one: it makes
 * the file watchers of the command's processes fire for changes on the host. --count writes how many messages there
 * were, one "OPERATION number" a line: requests by their name, notifications as NOTIFY. */
#include "base/cleanup.h"
#include "guest/workspace/prefetch/prefetch.h"
#include "share/share.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct options {
	bool stream, announce;
	const char *log, *count;
	uid_t uid;
	unsigned threads;
	struct hull_share_config config;
	const char *guards[64];
	const char *source, *target;
	char **command;
	int replayer; /* changes go to it, when there is one */
};

static void die(const char *what)
{
	fprintf(stderr, "share-mount: %s: %s\n", what, strerror(errno));
	exit(125);
}

/* --- the relay, as the guest's side has it: device to stream, stream to device, notifications apart --- */

enum { MESSAGE_MAX = HULL_SHARE_REQUEST_MAX };

struct relay {
	int device, stream;
	int notes[2];                 /* pipe of notifications: the device may make their writer wait for replies */
	pthread_mutex_t asking, lock; /* lock: prefetch */
	struct hull_prefetch *prefetch;
};

static bool full_io(int fd, char *p, size_t n, bool out)
{
	while (n > 0) {
		ssize_t r = out ? write(fd, p, n) : read(fd, p, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

static bool ask(struct relay *r, char *p, size_t n)
{
	pthread_mutex_lock(&r->asking);
	bool sent = full_io(r->stream, p, n, true);
	pthread_mutex_unlock(&r->asking);
	return sent;
}

static void tell_prefetch(struct relay *r)
{
	_Alignas(8) uint8_t own[HULL_PREFETCH_REQUEST_MAX];
	size_t len;
	do {
		pthread_mutex_lock(&r->lock);
		len = hull_prefetch_output(r->prefetch, own);
		pthread_mutex_unlock(&r->lock);
	} while (len && ask(r, (char *)own, len));
}

/* False when it is answered here. */
static bool to_ask(struct relay *r, char *p, size_t n)
{
	struct hull_prefetch_answer a;
	struct fuse_in_header init = {.len = sizeof init, .opcode = HULL_SHARE_RELAY_PREFETCH};
	if (((struct fuse_in_header *)p)->opcode == FUSE_INIT)
		ask(r, (char *)&init, sizeof init);
	pthread_mutex_lock(&r->lock);
	hull_prefetch_request(r->prefetch, (uint8_t *)p, n, &a);
	/* Under the lock, so that it is in front of what makes it invalid. */
	if (a.len && write(r->device, a.bytes, a.len) < 0 && getenv("SHARE_DEBUG"))
		fprintf(stderr, "relay: %m\n");
	pthread_mutex_unlock(&r->lock);
	tell_prefetch(r);
	return a.forward;
}

static bool to_pass(struct relay *r, const char *p, size_t n)
{
	struct hull_prefetch_store store;
	pthread_mutex_lock(&r->lock);
	bool ours = hull_prefetch_message(r->prefetch, (const uint8_t *)p, n, &store);
	pthread_mutex_unlock(&r->lock);
	struct iovec pages[2] = {{.iov_base = store.head, .iov_len = sizeof store.head},
				 {.iov_base = (void *)(uintptr_t)store.data, .iov_len = store.len}};
	if (store.len && writev(r->device, pages, 2) < 0 && getenv("SHARE_DEBUG"))
		fprintf(stderr, "relay: store: %m\n");
	tell_prefetch(r);
	return !ours;
}

static void *relay_requests(void *arg)
{
	struct relay *r = arg;
	char *buf = malloc(MESSAGE_MAX);
	for (;;) {
		ssize_t n = read(r->device, buf, MESSAGE_MAX);
		if (n < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
			continue;
		if (n > 0 && !to_ask(r, buf, (size_t)n))
			continue;
		if (n <= 0 || !ask(r, buf, (size_t)n))
			break;
	}
	shutdown(r->stream, SHUT_WR);
	free(buf);
	return NULL;
}

/* Whole messages from one descriptor to the device. */
static void *relay_out(struct relay *r, int from, bool notes)
{
	char *buf = malloc(MESSAGE_MAX);
	struct fuse_in_header go = {.len = sizeof go, .opcode = HULL_SHARE_RELAY_GO};
	struct fuse_out_header h;
	while (full_io(from, buf, sizeof h, false)) {
		memcpy(&h, buf, sizeof h);
		if (h.len < sizeof h || h.len > MESSAGE_MAX || !full_io(from, buf + sizeof h, h.len - sizeof h, false))
			break;
		if (!notes && !to_pass(r, buf, h.len))
			continue;
		if (h.unique == 0 && h.error == HULL_SHARE_MORE) /* the pipe holds the server up, if need be */
			ask(r, (char *)&go, sizeof go);
		else if (h.unique == 0 && !notes)
			full_io(r->notes[1], buf, h.len, true);
		else if (write(r->device, buf, h.len) < 0 && getenv("SHARE_DEBUG"))
			fprintf(stderr, "relay: %m\n");
	}
	free(buf);
	return NULL;
}

static void *relay_replies(void *arg)
{
	struct relay *r = arg;
	relay_out(r, r->stream, false);
	close(r->notes[1]);
	return NULL;
}

static void *relay_notes(void *arg)
{
	struct relay *r = arg;
	return relay_out(r, r->notes[0], true);
}

static int run_relay(int device, int stream)
{
	struct relay r = {.device = device,
			  .stream = stream,
			  .asking = PTHREAD_MUTEX_INITIALIZER,
			  .lock = PTHREAD_MUTEX_INITIALIZER,
			  .prefetch = hull_prefetch_new()};
	pthread_t t[3];
	if (pipe(r.notes) < 0)
		die("pipe");
	pthread_create(&t[0], NULL, relay_requests, &r);
	pthread_create(&t[1], NULL, relay_replies, &r);
	pthread_create(&t[2], NULL, relay_notes, &r);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	hull_prefetch_free(r.prefetch);
	return 0;
}

/* --- the server --- */

static void on_change(void *ctx, const struct hull_share_change *c)
{
	static const char *const names[] = {"?", "created", "deleted", "modified", "attrib", "overflow"};
	struct options *o = ctx;
	if (o->log) {
		FILE *f = fopen(o->log, "a");
		if (f) {
			fprintf(f, "%s %s\n", names[c->event], c->path);
			fclose(f);
		}
	}
	if (o->replayer >= 0) {
		char line[8192];
		int n = snprintf(line, sizeof line, "%c%c%s", names[c->event][0], c->directory ? 'd' : 'f', c->path);
		if (n > 0 && (size_t)n < sizeof line)
			send(o->replayer, line, (size_t)n + 1, MSG_DONTWAIT);
	}
}

/* --- counting messages --- */

enum { OPCODES = 64, NOTIFY = OPCODES, REPLY, COUNTERS };

struct counted {
	struct hull_share_transport under;
	uint32_t replayer; /* whose requests are marked, as a relay does it */
	atomic_ulong counts[COUNTERS];
};

static ssize_t count_receive(void *ctx, void *buf, size_t cap)
{
	struct counted *c = ctx;
	struct fuse_in_header h;
	ssize_t n = c->under.receive(c->under.ctx, buf, cap);
	if (n >= (ssize_t)sizeof h) {
		memcpy(&h, buf, sizeof h);
		atomic_fetch_add(&c->counts[h.opcode < OPCODES ? h.opcode : 0], 1);
		if (c->replayer && h.pid == c->replayer)
			hull_share_mark(buf);
	}
	return n;
}

static int count_send(void *ctx, const struct iovec *iov, int count)
{
	struct counted *c = ctx;
	struct fuse_out_header h;
	memcpy(&h, iov[0].iov_base, sizeof h);
	atomic_fetch_add(&c->counts[h.unique ? REPLY : NOTIFY], 1);
	return c->under.send(c->under.ctx, iov, count);
}

static void print_counts(const struct counted *c, FILE *f)
{
	static const char *const names[COUNTERS] = {
		[0] = "OTHER",
		[FUSE_LOOKUP] = "LOOKUP",
		[FUSE_FORGET] = "FORGET",
		[FUSE_GETATTR] = "GETATTR",
		[FUSE_SETATTR] = "SETATTR",
		[FUSE_READLINK] = "READLINK",
		[FUSE_SYMLINK] = "SYMLINK",
		[FUSE_MKNOD] = "MKNOD",
		[FUSE_MKDIR] = "MKDIR",
		[FUSE_UNLINK] = "UNLINK",
		[FUSE_RMDIR] = "RMDIR",
		[FUSE_RENAME] = "RENAME",
		[FUSE_LINK] = "LINK",
		[FUSE_OPEN] = "OPEN",
		[FUSE_READ] = "READ",
		[FUSE_WRITE] = "WRITE",
		[FUSE_STATFS] = "STATFS",
		[FUSE_RELEASE] = "RELEASE",
		[FUSE_FSYNC] = "FSYNC",
		[FUSE_SETXATTR] = "SETXATTR",
		[FUSE_GETXATTR] = "GETXATTR",
		[FUSE_LISTXATTR] = "LISTXATTR",
		[FUSE_REMOVEXATTR] = "REMOVEXATTR",
		[FUSE_FLUSH] = "FLUSH",
		[FUSE_INIT] = "INIT",
		[FUSE_OPENDIR] = "OPENDIR",
		[FUSE_READDIR] = "READDIR",
		[FUSE_RELEASEDIR] = "RELEASEDIR",
		[FUSE_CREATE] = "CREATE",
		[FUSE_BATCH_FORGET] = "BATCH_FORGET",
		[FUSE_READDIRPLUS] = "READDIRPLUS",
		[FUSE_RENAME2] = "RENAME2",
		[FUSE_DESTROY] = "DESTROY",
		[NOTIFY] = "NOTIFY",
		[REPLY] = "REPLY",
	};
	for (size_t i = 0; i < COUNTERS; i++)
		if (c->counts[i] && names[i])
			fprintf(f, "%s %lu\n", names[i], c->counts[i]);
		else if (c->counts[i])
			fprintf(f, "%zu %lu\n", i, c->counts[i]);
}

static int run_server(struct options *o, int device, int stream, pid_t replayer)
{
	struct hull_share *sh;
	struct hull_error err = {0};
	_cleanup_fclose_ FILE *count = o->count ? fopen(o->count, "we") : NULL;
	if (o->count && !count)
		die(o->count);
	if (o->uid && (setgroups(0, NULL) < 0 || setgid(o->uid) < 0 || setuid(o->uid) < 0))
		die("setuid");
	prctl(PR_SET_DUMPABLE, 1);
	o->config.root_fd = open(o->source, O_PATH | O_CLOEXEC);
	if (o->config.root_fd < 0)
		die(o->source);
	o->config.guarded = o->guards;
	o->config.changed = on_change;
	o->config.ctx = o;
	if (hull_share_new(&o->config, &sh, &err) < 0) {
		fprintf(stderr, "share-mount: %s\n", err.msg);
		return 125;
	}
	if (replayer)
		hull_share_set_replayer(sh, (uint32_t)replayer);
	struct hull_share_stream *s = NULL;
	struct hull_share_transport t = hull_share_device(&device);
	if (stream >= 0) {
		s = hull_share_stream_new(stream, stream);
		t = hull_share_stream_transport(s);
	}
	struct counted counted = {.under = t, .replayer = (uint32_t)replayer};
	if (count || replayer)
		t = (struct hull_share_transport){
			.receive = count_receive, .send = count_send, .ctx = &counted, .paced = t.paced};
	int e = hull_share_serve(sh, &t, o->threads, &err);
	if (count)
		print_counts(&counted, count);
	if (e < 0)
		fprintf(stderr, "share-mount: %s\n", err.msg);
	hull_share_free(sh);
	hull_share_stream_free(s);
	close(o->config.root_fd);
	return e < 0 ? 125 : 0;
}

/* --- the replayer: repeats the host's changes as operations that change nothing --- */

static int run_replayer(const char *target, int from)
{
	char line[8192], path[16384];
	ssize_t n;
	if (chdir(target) < 0)
		return 1;
	while ((n = recv(from, line, sizeof line - 1, 0)) > 2) {
		line[n] = '\0';
		snprintf(path, sizeof path, "./%s", line + 2);
		bool directory = line[1] == 'd';
		struct timespec touch[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
		struct stat st;
		int fd;
		switch (line[0]) {
		case 'c':
			/* EEXIST: somebody in the guest has seen it already. */
			if (directory)
				mkdir(path, 0700);
			else
				mknod(path, S_IFREG | 0600, 0);
			break;
		case 'd':
			if (directory)
				rmdir(path);
			else
				unlink(path);
			break;
		case 'm':
			utimensat(AT_FDCWD, path, touch, AT_SYMLINK_NOFOLLOW);
			fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
			if (fd >= 0)
				close(fd);
			break;
		case 'a':
			if (stat(path, &st) == 0)
				chmod(path, st.st_mode & 07777);
			break;
		default:
			break;
		}
	}
	return 0;
}

static void parse(struct options *o, int argc, char **argv)
{
	int i = 1;
	for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
		const char *a = argv[i] + 2;
		if (!strcmp(a, "stream"))
			o->stream = true;
		else if (!strcmp(a, "ro"))
			o->config.readonly = true;
		else if (!strcmp(a, "no-watch"))
			o->config.no_watch = true;
		else if (!strcmp(a, "writeback"))
			o->config.writeback = true;
		else if (!strcmp(a, "announce"))
			o->announce = true;
		else if (!strcmp(a, "guard") && i + 1 < argc && o->config.guarded_count < 64)
			o->guards[o->config.guarded_count++] = argv[++i];
		else if (!strcmp(a, "uid") && i + 1 < argc)
			o->uid = (uid_t)atoi(argv[++i]);
		else if (!strcmp(a, "threads") && i + 1 < argc)
			o->threads = (unsigned)atoi(argv[++i]);
		else if (!strcmp(a, "dirs") && i + 1 < argc)
			o->config.max_dirs = (uint32_t)atoi(argv[++i]);
		else if (!strcmp(a, "log") && i + 1 < argc)
			o->log = argv[++i];
		else if (!strcmp(a, "count") && i + 1 < argc)
			o->count = argv[++i];
		else
			break;
	}
	if (argc - i < 3) {
		fprintf(stderr, "usage: share-mount [OPTION]... SOURCE MOUNTPOINT COMMAND [ARG...]\n");
		exit(125);
	}
	o->source = argv[i];
	o->target = argv[i + 1];
	o->command = argv + i + 2;
}

int main(int argc, char **argv)
{
	struct options o = {.replayer = -1, .config = {.guest_uid = 1000, .guest_gid = 1000}};
	char data[128];
	struct stat st;
	int link[2] = {-1, -1}, changes[2] = {-1, -1};
	parse(&o, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		die("cannot make a private mount namespace");
	int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (device < 0)
		die("/dev/fuse");
	if (stat(o.source, &st) < 0)
		die(o.source);
	pid_t keep = getpid();
	/* The server keeps the namespace without the mount, so that its root is the host's tree. */
	if (o.stream && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) < 0)
		die("socketpair");
	if (o.announce && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, changes) < 0)
		die("socketpair");
	snprintf(data, sizeof data, "fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other", device,
		 st.st_mode & S_IFMT);
	int ready[2];
	if (pipe2(ready, O_CLOEXEC) < 0)
		die("pipe");
	pid_t replayer = 0;
	if (o.announce) {
		replayer = fork();
		if (replayer == 0) {
			char c;
			close(device);
			close(ready[1]);
			close(changes[1]);
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (read(ready[0], &c, 1) != 1)
				_exit(1);
			_exit(run_replayer(o.target, changes[0]));
		}
		close(changes[0]);
		o.replayer = changes[1];
	}
	if (mount("share", o.target, "fuse.hull", MS_NOSUID | MS_NODEV, data) < 0)
		die("mount");
	pid_t server = fork();
	if (server == 0) {
		close(ready[0]);
		close(ready[1]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != keep)
			_exit(1);
		/* No copy of the mount of its own: it would keep it alive. */
		if (unshare(CLONE_NEWNS) < 0 || umount2(o.target, MNT_DETACH) < 0)
			die("server");
		if (link[1] >= 0) {
			close(device);
			close(link[0]);
		}
		_exit(run_server(&o, device, link[1], replayer));
	}
	pid_t relay = 0;
	if (o.stream) {
		relay = fork();
		if (relay == 0) {
			close(link[1]);
			close(ready[0]);
			close(ready[1]);
			_exit(run_relay(device, link[0]));
		}
		close(link[0]);
		close(link[1]);
	}
	close(device);
	if (changes[1] >= 0)
		close(changes[1]);
	pid_t command = fork();
	if (command == 0) {
		if (o.announce && write(ready[1], "x", 1) != 1)
			_exit(125);
		execvp(o.command[0], o.command);
		fprintf(stderr, "share-mount: %s: %s\n", o.command[0], strerror(errno));
		_exit(127);
	}
	int status = 0, other = 0;
	waitpid(command, &status, 0);
	close(ready[0]);
	close(ready[1]);
	if (umount2(o.target, 0) < 0 && umount2(o.target, MNT_DETACH) < 0)
		fprintf(stderr, "share-mount: umount: %s\n", strerror(errno));
	if (replayer) {
		kill(replayer, SIGKILL);
		waitpid(replayer, NULL, 0);
	}
	if (relay)
		waitpid(relay, NULL, 0);
	waitpid(server, &other, 0);
	if (WIFSIGNALED(other) || (WIFEXITED(other) && WEXITSTATUS(other))) {
		fprintf(stderr, "share-mount: the server failed (status %#x)\n", other);
		return 125;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Supervises dockerd. States:
 *
 *   | state    | meaning                                                | left when                                  |
 *   |----------|--------------------------------------------------------|--------------------------------------------|
 *   | off      | hull.docker=0                                          | never                                      |
 *   | absent   | the image has no /usr/sbin/dockerd                     | never                                      |
 *   | starting | dockerd runs and has not sent READY=1 yet              | READY=1 -> ready; it exits -> failed       |
 *   | ready    | dockerd has sent READY=1 on its notify socket          | it exits -> failed; REST -> resting        |
 *   | resting  | dockerd's cgroup is frozen                             | a connection to its socket -> ready        |
 *   | failed   | dockerd exited; the pause doubles from 1 s to 30 s     | the pause is over -> starting              |
 *   | stopping | TERM was sent, for the shutdown                        | it exits -> stopped                        |
 *   | stopped  | dockerd exited during the shutdown                     | never                                      |
 *
 * A minute in ready resets the pause to 1 s.
 *
 * Rest: templates are saved with dockerd frozen, so that a restored copy spends next to nothing on it before it uses
 * Docker. containerd has a cgroup of its own and is never frozen, because other clients (ctr) use it. idle.c decides
 * whether dockerd may be frozen.
 *
 * Socket: hull-init creates it before it starts dockerd and passes it on (LISTEN_FDS, as systemd does). A client that
 * connects while dockerd starts waits in the socket's queue. If the name of the socket was removed or bound again
 * before a restart, hull-init creates a new socket and closes the old one.
 *
 * Log: dockerd writes through a pipe into dockerd.log, which is renamed to dockerd.log.1 at LOG_MAX. The file is on
 * ext4, with a symlink in /var/log: inotify works there and does not on the overlay of the root.
 *
 * Configuration: /etc/docker/daemon.json belongs to the user. dockerd refuses an option that is set in both places, so
 * with that file hull-init passes only -H, and with "hosts" in it not even that. */
#include "guest/docker/docker.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "guest/core/cgroup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"
#include "guest/core/own.h"
#include "guest/docker/idle.h"
#include "guest/session/users.h"
#include "wire/service.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define NOTIFY_PATH    "/run/hull/notify.sock"
#define CONTAINERD_DIR "/run/hull-bin/docker"

enum {
	LOG_MAX_BYTES = 8 * 1024 * 1024,
	BACKOFF_FIRST_MS = 1000,
	BACKOFF_MAX_MS = 30000,
	STABLE_MS = 60000,
	LINE = 512,
	BACKLOG = 4096, /* cut to net.core.somaxconn */
	LISTEN_FD = 3,  /* where the first descriptor handed over has to be */
};

enum state { OFF, STARTING, READY, FAILED, STOPPING, STOPPED, ABSENT };

static enum state state = OFF;
static char reason[LINE + 128]; /* why it failed */
static struct hull_child child;
static struct hull_timer again;
static struct hull_watch notify_watch, log_watch;
static int notify_fd = -1;
static int socket_fd = -1; /* HULL_GUEST_DOCKER_SOCKET, listening */
static ino_t socket_inode; /* its name's */
static dev_t socket_device;
static int log_pipe = -1; /* read end of dockerd's stdout and stderr */
static int log_fd = -1;
static uint64_t log_size;
static char last_line[LINE], line[LINE];
static size_t line_len;
static unsigned backoff_ms = BACKOFF_FIRST_MS;
static uint64_t ready_since;
static void (*when_stopped)(void);

static bool resting;
static bool own_config; /* there is a daemon.json */
static struct hull_docker_config config;
static struct hull_watch caller_watch;

static void launch(void);

void hull_docker_announce(void)
{
	static const char *const names[] = {
		[OFF] = "stopped",      [STARTING] = "starting", [READY] = "ready",  [FAILED] = "failed",
		[STOPPING] = "stopped", [STOPPED] = "stopped",   [ABSENT] = "absent"};
	hull_report_service("docker", resting ? "resting" : names[state], state == FAILED ? reason : NULL);
}

static void docker_enter(enum state s)
{
	state = s;
	hull_docker_announce();
}

/* --- its log --- */

static void make_log_dir(void)
{
	static const char link_name[] = "/var/log/dockerd.log";
	mkdir(HULL_GUEST_LOG_DIR, 0755);
	unlink(link_name);
	int r = symlink(HULL_GUEST_DOCKER_LOG, link_name);
	(void)r; /* for people only */
}

static void docker_open_log(void)
{
	struct stat st;
	log_fd = open(HULL_GUEST_DOCKER_LOG, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640);
	log_size = log_fd >= 0 && fstat(log_fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void write_log(const char *p, size_t n)
{
	if (log_size + n > LOG_MAX_BYTES) {
		if (log_fd >= 0)
			close(log_fd);
		rename(HULL_GUEST_DOCKER_LOG, HULL_GUEST_DOCKER_LOG ".1");
		docker_open_log();
	}
	/* A full disk loses lines of the log, nothing else. */
	ssize_t w = log_fd >= 0 ? write(log_fd, p, n) : -1;
	if (w > 0)
		log_size += (uint64_t)w;
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\n') {
			if (line_len < sizeof(line) - 1)
				line[line_len++] = p[i];
		} else if (line_len > 0) {
			line[line_len] = '\0';
			memcpy(last_line, line, line_len + 1);
			line_len = 0;
		}
	}
}

static bool read_log(void)
{
	char text[8192];
	ssize_t n = read(log_pipe, text, sizeof(text));
	if (n > 0)
		write_log(text, (size_t)n);
	return n > 0;
}

static void log_ready(struct hull_watch *w, uint32_t events)
{
	if (!read_log() && errno != EAGAIN)
		hull_watch_del(w);
}

static void close_log(void)
{
	hull_watch_del(&log_watch);
	if (log_pipe >= 0)
		close(log_pipe);
	log_pipe = -1;
}

/* --- its containerd --- */

/* dockerd starts its own containerd and writes the settings for it, which leave out one that matters here: looking
 * whether there is garbage to collect may take 2 % of the time, which is every 0.7 s under emulation, and was most of
 * what an idle sandbox did. What dockerd finds in its PATH under that name adds the setting. Deletions are collected at
 * once all the same. It also leaves dockerd's cgroup first, so that it goes on while dockerd rests. */
extern const char hull_containerd_script[]; /* containerd.sh, embedded */

static void make_containerd_script(void)
{
	struct hull_error err = {0};
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	mkdir(CONTAINERD_DIR, 0755);
	int r = hull_buf_addf(&text, "#!/bin/sh\ncgroup=%s dir=%s\n%s", HULL_CG_ROOT "/containerd", CONTAINERD_DIR,
			      hull_containerd_script);
	if (r < 0)
		hull_fail(&err, r, "out of memory");
	if (r < 0 || hull_write_file_atomic(AT_FDCWD, CONTAINERD_DIR "/containerd", hull_buf_bytes(&text), text.len,
					    0755, &err) < 0)
		hull_say("docker: %s", err.msg); /* then it is containerd itself that is found */
}

/* --- its socket --- */

static bool socket_is_there(void)
{
	struct stat st;
	return socket_fd >= 0 && lstat(HULL_GUEST_DOCKER_SOCKET, &st) == 0 && st.st_ino == socket_inode &&
	       st.st_dev == socket_device;
}

static void close_socket(void)
{
	if (socket_is_there())
		unlink(HULL_GUEST_DOCKER_SOCKET);
	if (socket_fd >= 0)
		close(hull_steal_fd(&socket_fd));
}

/* For root and the group docker, as dockerd itself would have it. */
static int docker_open_socket(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = HULL_GUEST_DOCKER_SOCKET};
	_cleanup_(hull_user_free) struct hull_user u = {0};
	struct hull_error err;
	struct stat st = {0};
	if (socket_is_there())
		return 0;
	close_socket();
	gid_t gid = hull_user_find_own("root:docker", &u, &err) < 0 ? 0 : u.gid;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(HULL_GUEST_DOCKER_SOCKET);
	mode_t old = umask(0117);
	int r = fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
				lchown(HULL_GUEST_DOCKER_SOCKET, 0, gid) < 0 || listen(fd, BACKLOG) < 0 ||
				lstat(HULL_GUEST_DOCKER_SOCKET, &st) < 0
			? -errno
			: 0;
	umask(old);
	if (r < 0)
		return r;
	socket_inode = st.st_ino;
	socket_device = st.st_dev;
	socket_fd = hull_steal_fd(&fd);
	return 0;
}

/* --- rest --- */

static void docker_wake(void)
{
	if (!resting)
		return;
	resting = false;
	hull_watch_del(&caller_watch);
	hull_put(HULL_CG_ROOT "/dockerd/cgroup.freeze", "0");
}

static void called(struct hull_watch *w, uint32_t events)
{
	docker_wake();
	hull_docker_announce();
}

/* As it is now, which need not be what dockerd was started with. */
static struct hull_docker_config docker_read_config(bool *there)
{
	_cleanup_close_ int fd = hull_own_open("/etc/docker/daemon.json", O_RDONLY | O_NONBLOCK, 0);
	*there = fd != -ENOENT;
	return hull_docker_config_read(fd);
}

/* Only a connection to its socket would wake it: is that the one way to need it? */
static bool may_rest(void)
{
	char path[32];
	bool there;
	snprintf(path, sizeof(path), "/proc/%d", (int)child.pid);
	_cleanup_close_ int proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int others = open(HULL_CG_ROOT "/containerd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return socket_is_there() && !config.more && !docker_read_config(&there).more && proc >= 0 &&
	       !hull_listens_on_tcp(proc) && others >= 0 && !hull_cgroup_has_more(others, 0) &&
	       !hull_cgroup_has_more(hull_cg_dockerd, child.pid);
}

void hull_docker_rest(void)
{
	if (resting || state != READY || !may_rest())
		return;
	/* First the watch: nobody who connects from now on waits in vain. */
	if (hull_watch_add(&caller_watch, socket_fd, EPOLLIN, called) < 0)
		return;
	resting = true;
	if (hull_put(HULL_CG_ROOT "/dockerd/cgroup.freeze", "1") < 0)
		docker_wake();
}

/* --- its life --- */

static void notify_ready(struct hull_watch *w, uint32_t events)
{
	char text[1024];
	char space[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec iov = {.iov_base = text, .iov_len = sizeof(text) - 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	ssize_t n = recvmsg(notify_fd, &m, MSG_DONTWAIT);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);
	struct ucred who = {0};
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
		memcpy(&who, CMSG_DATA(c), sizeof(who));
	if (n <= 0 || state != STARTING || who.pid != child.pid)
		return;
	text[n] = '\0';
	if (strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1")) {
		ready_since = hull_uptime_ms();
		docker_enter(READY);
	}
}

static int open_notify(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = NOTIFY_PATH};
	int one = 1;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(NOTIFY_PATH);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
		return -errno;
	int r = hull_watch_add(&notify_watch, fd, EPOLLIN, notify_ready);
	if (r < 0)
		return r;
	notify_fd = hull_steal_fd(&fd);
	return 0;
}

static void docker_run(void *ctx, int status_fd)
{
	static char pid[32];
	static char *env[] = {"PATH=" CONTAINERD_DIR ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			      "HOME=/root",
			      "LANG=C.UTF-8",
			      "NOTIFY_SOCKET=" NOTIFY_PATH,
			      "LISTEN_FDS=1",
			      pid,
			      NULL};
	static char *bare[] = {"dockerd", NULL};
	static char *plain[] = {"dockerd", "-H", "fd://", NULL};
	static char *full[] = {"dockerd",         "-H",           "fd://", "--storage-driver", "overlay2",
			       "--cgroup-parent", "/work/docker", NULL};
	const int *out = ctx;
	setsid();
	snprintf(pid, sizeof(pid), "LISTEN_PID=%d", (int)getpid());
	/* The log first: its pipe may be descriptor 3. dup2() onto itself would leave it close-on-exec. */
	if (dup2(*out, 1) < 0 || dup2(*out, 2) < 0 ||
	    (socket_fd == LISTEN_FD ? fcntl(LISTEN_FD, F_SETFD, 0) : dup2(socket_fd, LISTEN_FD)) < 0)
		hull_spawn_fail(status_fd, HULL_STAGE_SETUP);
	hull_put("/proc/self/oom_score_adj", "-900");
	umask(022);
	int r = chdir("/");
	(void)r;
	execve("/usr/sbin/dockerd", config.hosts ? bare : own_config ? plain : full, env);
	dprintf(2, "cannot execute /usr/sbin/dockerd: %s\n", strerror(errno));
	_exit(127);
}

static void again_fired(struct hull_timer *t)
{
	if (state == FAILED)
		launch();
}

static void docker_fail(const char *what)
{
	if (ready_since && hull_uptime_ms() - ready_since > STABLE_MS)
		backoff_ms = BACKOFF_FIRST_MS;
	ready_since = 0;
	snprintf(reason, sizeof(reason), "%s%s%s; starting it again in %u s", what, last_line[0] ? ": " : "", last_line,
		 backoff_ms / 1000);
	hull_say("docker: %s", reason);
	docker_enter(FAILED);
	hull_timer_start(&again, backoff_ms, again_fired);
	backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void docker_ended(struct hull_child *c, int status)
{
	int sig, code = hull_exit_code(status, &sig);
	char what[64];
	while (log_pipe >= 0 && read_log())
		;
	close_log();
	docker_wake(); /* killed while it was frozen: the next one must not be */
	if (state == STOPPING) {
		close_socket(); /* nobody will answer those who wait */
		docker_enter(STOPPED);
		if (when_stopped)
			when_stopped();
		return;
	}
	snprintf(what, sizeof(what), sig ? "dockerd was killed by signal %d" : "dockerd ended with status %d",
		 sig ? sig : code);
	docker_fail(what);
}

static void launch(void)
{
	struct hull_error err = {0};
	int fds[2];
	last_line[0] = '\0';
	line_len = 0;
	/* A containerd that outlived a killed dockerd is found by its pid file and used again; a stale pid file of
	 * dockerd itself would only be in the way. */
	unlink("/run/docker.pid");
	config = docker_read_config(&own_config);
	char what[128];
	int made = notify_fd < 0 ? open_notify() : 0;
	if (made < 0) {
		snprintf(what, sizeof(what), "cannot hear when it is ready: %s", strerror(-made));
		docker_fail(what);
		return;
	}
	made = docker_open_socket();
	if (made < 0) {
		snprintf(what, sizeof(what), "cannot listen on " HULL_GUEST_DOCKER_SOCKET ": %s", strerror(-made));
		docker_fail(what);
		return;
	}
	if (pipe2(fds, O_CLOEXEC) < 0) {
		docker_fail("no pipe for its log");
		return;
	}
	log_pipe = fds[0];
	fcntl(log_pipe, F_SETFL, O_NONBLOCK);
	int r = hull_spawn(&child, hull_cg_dockerd, docker_run, &fds[1], NULL, docker_ended, &err);
	close(fds[1]);
	if (r < 0) {
		close_log();
		docker_fail(err.msg);
		return;
	}
	hull_watch_add(&log_watch, log_pipe, EPOLLIN, log_ready);
	docker_enter(STARTING);
}

void hull_docker_start(void)
{
	if (access("/usr/sbin/dockerd", X_OK) < 0) {
		hull_say("docker: the image has no /usr/sbin/dockerd");
		docker_enter(ABSENT); /* there is nothing that anybody could wait for */
		return;
	}
	make_containerd_script();
	make_log_dir();
	docker_open_log();
	launch();
}

void hull_docker_stop(void (*stopped)(void))
{
	when_stopped = stopped;
	hull_timer_stop(&again);
	if (child.pid > 0) {
		state = STOPPING;
		kill(child.pid, SIGTERM);
		docker_wake();
		return;
	}
	close_socket();
	if (state != OFF && state != ABSENT)
		docker_enter(STOPPED);
	stopped();
}

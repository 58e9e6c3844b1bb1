/* dockerd, supervised.
 *
 *     off          hull.docker=0, or the image has none
 *     starting     running, has not said READY=1 on its notify socket yet
 *     ready        it has
 *     failed       it ended; started again after a pause that doubles from 1 s to 30 s, and is forgotten once it has
 *                  been ready for a minute
 *     stopping     TERM was sent, for the shutdown; its end is the answer
 *     stopped
 *
 * Its output goes through a pipe into /var/log/dockerd.log, which is moved to dockerd.log.1 when it reaches LOG_MAX.
 * /etc/docker/daemon.json is the user's: when there is one, nothing is given on the command line that it could say
 * differently, because dockerd refuses to start on a conflict. */
#include "guest/guest.h"

#include "base/cleanup.h"
#include "guest/child.h"
#include "guest/loop.h"
#include "wire/service.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define NOTIFY_PATH "/run/hull/notify.sock"

enum {
	LOG_MAX_BYTES = 8 * 1024 * 1024,
	BACKOFF_FIRST_MS = 1000,
	BACKOFF_MAX_MS = 30000,
	STABLE_MS = 60000,
	LINE = 512
};

enum state { OFF, STARTING, READY, FAILED, STOPPING, STOPPED };

static enum state state = OFF;
static char reason[LINE + 128]; /* why it failed */
static struct hull_child child;
static struct hull_timer again;
static struct hull_watch notify_watch, log_watch;
static int notify_fd = -1;
static int log_pipe = -1; /* read end of dockerd's stdout and stderr */
static int log_fd = -1;
static uint64_t log_size;
static char last_line[LINE], line[LINE];
static size_t line_len;
static unsigned backoff_ms = BACKOFF_FIRST_MS;
static uint64_t ready_since;
static void (*when_stopped)(void);

static void launch(void);

void hull_docker_announce(void)
{
	static const char *const names[] = {[OFF] = "stopped",   [STARTING] = "starting", [READY] = "ready",
					    [FAILED] = "failed", [STOPPING] = "stopped",  [STOPPED] = "stopped"};
	hull_control_service("docker", names[state], state == FAILED ? reason : NULL);
}

static void enter(enum state s)
{
	state = s;
	hull_docker_announce();
}

/* --- its log --- */

static void open_log(void)
{
	struct stat st;
	log_fd = open(HULL_GUEST_DOCKER_LOG, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	log_size = log_fd >= 0 && fstat(log_fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void write_log(const char *p, size_t n)
{
	if (log_size + n > LOG_MAX_BYTES) {
		close(log_fd);
		rename(HULL_GUEST_DOCKER_LOG, HULL_GUEST_DOCKER_LOG ".1");
		open_log();
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
		enter(READY);
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

static void run(void *ctx, int status_fd)
{
	static char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
			      "LANG=C.UTF-8", "NOTIFY_SOCKET=" NOTIFY_PATH, NULL};
	static char *plain[] = {"dockerd", "-H", "unix://" HULL_GUEST_DOCKER_SOCKET, NULL};
	static char *full[] = {"dockerd",
			       "-H",
			       "unix://" HULL_GUEST_DOCKER_SOCKET,
			       "--group",
			       "docker",
			       "--storage-driver",
			       "overlay2",
			       "--cgroup-parent",
			       "/work/docker",
			       NULL};
	const int *out = ctx;
	setsid();
	if (dup2(*out, 1) < 0 || dup2(*out, 2) < 0)
		hull_spawn_fail(status_fd, HULL_STAGE_SETUP);
	hull_put("/proc/self/oom_score_adj", "-900");
	umask(022);
	int r = chdir("/");
	(void)r;
	execve("/usr/sbin/dockerd", access("/etc/docker/daemon.json", F_OK) == 0 ? plain : full, env);
	dprintf(2, "cannot execute /usr/sbin/dockerd: %s\n", strerror(errno));
	_exit(127);
}

static void again_fired(struct hull_timer *t)
{
	if (state == FAILED)
		launch();
}

static void fail(const char *what)
{
	if (ready_since && hull_uptime_ms() - ready_since > STABLE_MS)
		backoff_ms = BACKOFF_FIRST_MS;
	ready_since = 0;
	snprintf(reason, sizeof(reason), "%s%s%s; starting it again in %u s", what, last_line[0] ? ": " : "", last_line,
		 backoff_ms / 1000);
	hull_say("docker: %s", reason);
	enter(FAILED);
	hull_timer_start(&again, backoff_ms, again_fired);
	backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void ended(struct hull_child *c, int status)
{
	int sig, code = hull_exit_code(status, &sig);
	char what[64];
	while (log_pipe >= 0 && read_log())
		;
	close_log();
	if (state == STOPPING) {
		enter(STOPPED);
		if (when_stopped)
			when_stopped();
		return;
	}
	snprintf(what, sizeof(what), sig ? "dockerd was killed by signal %d" : "dockerd ended with status %d",
		 sig ? sig : code);
	fail(what);
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
	if (pipe2(fds, O_CLOEXEC) < 0) {
		fail("no pipe for its log");
		return;
	}
	log_pipe = fds[0];
	fcntl(log_pipe, F_SETFL, O_NONBLOCK);
	int r = hull_spawn(&child, hull_cg_dockerd, run, &fds[1], NULL, ended, &err);
	close(fds[1]);
	if (r < 0) {
		close_log();
		fail(err.msg);
		return;
	}
	hull_watch_add(&log_watch, log_pipe, EPOLLIN, log_ready);
	enter(STARTING);
}

void hull_docker_start(void)
{
	if (access("/usr/sbin/dockerd", X_OK) < 0) {
		hull_say("docker: the image has no /usr/sbin/dockerd");
		return;
	}
	open_log();
	int r = open_notify();
	if (r < 0) {
		hull_say("docker: cannot hear when it is ready: %s", strerror(-r));
		return;
	}
	launch();
}

void hull_docker_stop(void (*stopped)(void))
{
	when_stopped = stopped;
	hull_timer_stop(&again);
	if (child.pid > 0) {
		state = STOPPING;
		kill(child.pid, SIGTERM);
		return;
	}
	if (state != OFF)
		enter(STOPPED);
	stopped();
}

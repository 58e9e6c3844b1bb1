/* SPDX-License-Identifier: Apache-2.0 */
/* See child.h. */
#include "guest/core/child.h"

#include "base/cleanup.h"
#include "guest/core/loop.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/sched.h>

enum { BUCKETS = 4096, SESSION_NOFILE = 1024, SESSION_NOFILE_MAX = 524288 };

static struct hull_child *table[BUCKETS];
static struct hull_watch signal_watch;
static void (*power_off)(void);

static struct hull_child **slot(pid_t pid)
{
	return &table[(unsigned)pid % BUCKETS];
}

static void unlink_child(struct hull_child *c)
{
	for (struct hull_child **p = slot(c->pid); *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
}

void hull_child_forget(struct hull_child *c)
{
	if (c->pid > 0)
		unlink_child(c);
	c->pid = 0;
}

static void add_child(struct hull_child *c, pid_t pid, void (*ended)(struct hull_child *c, int status))
{
	c->pid = pid;
	c->ended = ended;
	c->next = *slot(pid);
	*slot(pid) = c;
}

void hull_child_move(struct hull_child *from, struct hull_child *to, void (*ended)(struct hull_child *c, int status))
{
	pid_t pid = from->pid;
	hull_child_forget(from);
	add_child(to, pid, ended);
}

static void child_reap(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct hull_child *c = *slot(pid);
		while (c && c->pid != pid)
			c = c->next;
		if (!c)
			continue;
		unlink_child(c);
		c->pid = 0;
		c->ended(c, status);
	}
}

static void signal_ready(struct hull_watch *w, uint32_t events)
{
	struct signalfd_siginfo si;
	while (read(w->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			child_reap();
		else if (si.ssi_signo != SIGHUP)
			power_off();
	}
}

int hull_children_init(void (*on_power_off)(void), struct hull_error *err)
{
	static const int handled[] = {SIGCHLD, SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGPWR, SIGHUP};
	sigset_t set;
	power_off = on_power_off;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
		sigaddset(&set, handled[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return hull_fail_errno(err, "cannot receive signals");
	int r = hull_watch_add(&signal_watch, fd, EPOLLIN, signal_ready);
	return r < 0 ? hull_fail(err, r, "cannot watch for signals: %s", strerror(-r)) : 0;
}

/* Signals as a program expects to find them: nothing blocked, nothing ignored. In the child only. */
static void default_signals(void)
{
	sigset_t none;
	for (int s = 1; s < NSIG; s++)
		if (s != SIGKILL && s != SIGSTOP)
			signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void hull_child_keep(int a, int b)
{
	if (a < 0)
		a = b;
	unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);
	if (low > 0)
		syscall(SYS_close_range, 0U, low - 1, 0U);
	if (high > low + 1)
		syscall(SYS_close_range, low + 1, high - 1, 0U);
	syscall(SYS_close_range, high + 1, ~0U, 0U);
}

void hull_spawn_fail(int status_fd, int stage)
{
	struct hull_spawn_failure f = {.stage = stage, .error = errno};
	ssize_t n = write(status_fd, &f, sizeof(f));
	(void)n;
	_exit(127);
}

/* Born in its cgroup, which costs less than moving there (a move waits for a grace period of the kernel). */
static pid_t fork_into(int cgroup)
{
	struct clone_args args = {
		.flags = cgroup >= 0 ? CLONE_INTO_CGROUP : 0,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)(cgroup >= 0 ? cgroup : 0),
	};
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

int hull_spawn(struct hull_child *c, int cgroup, void (*run)(void *ctx, int status_fd), void *ctx, int *status_fd,
	       void (*ended)(struct hull_child *c, int status), struct hull_error *err)
{
	_cleanup_close_ int status_read = -1;
	_cleanup_close_ int status_write = -1;
	int pipe_fds[2];
	bool moved = true;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "cannot start a process: pipe");
	status_read = pipe_fds[0];
	status_write = pipe_fds[1];

	pid_t pid = fork_into(cgroup);
	if (pid < 0 && errno == EAGAIN && cgroup >= 0) {
		/* The cgroup is full (a fork bomb): moving in is allowed where being born is not, so that there is
		 * always a way to get a process in to clean up. It will not be able to fork. */
		moved = false;
		pid = fork_into(-1);
	}
	if (pid < 0)
		return hull_fail_errno(err, "cannot start a process: fork: too many processes in the sandbox, or no "
					    "memory left");
	if (pid == 0) {
		cpu_set_t all; /* we ourselves stay on one (port.c) */
		memset(&all, 0xff, sizeof(all));
		sched_setaffinity(0, sizeof(all), &all);
		default_signals();
		if (!moved) {
			_cleanup_close_ int procs = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
			ssize_t n = procs < 0 ? 0 : write(procs, "0", 1);
			(void)n;
		}
		struct rlimit files = {SESSION_NOFILE, SESSION_NOFILE_MAX};
		setrlimit(RLIMIT_NOFILE, &files);
		struct rlimit core = {0, RLIM_INFINITY};
		setrlimit(RLIMIT_CORE, &core);
		run(ctx, status_write);
		_exit(127);
	}
	add_child(c, pid, ended);
	if (status_fd)
		*status_fd = hull_steal_fd(&status_read);
	return 0;
}

int hull_exit_code(int status, int *sig)
{
	*sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return *sig ? 128 + *sig : WEXITSTATUS(status);
}

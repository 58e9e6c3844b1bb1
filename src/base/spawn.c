/* SPDX-License-Identifier: Apache-2.0 */
/* See spawn.h. One poll(2) over three descriptors: the output pipe, a pidfd for the child's exit, and the caller's
 * cancel descriptor. The only timeout is the grace period between SIGTERM and SIGKILL.
 *
 * A failure between fork and exec is reported as an errno through a close-on-exec pipe. Lines longer than LINE_MAX_ are
 * passed on in pieces. After the child's exit only output that is already in the pipe is read: a grandchild that keeps
 * the pipe open cannot delay us. */
#include "base/spawn.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

enum { LINE_MAX_ = 4096, GRACE_MS = 15000 };

struct run {
	const struct hull_spawn *s;
	char line[LINE_MAX_ + 1];
	size_t len;
};

static void flush_line(struct run *run)
{
	run->line[run->len] = '\0';
	if (run->len > 0 && run->s->line)
		run->s->line(run->s->ctx, run->line);
	run->len = 0;
}

/* One read; false at the end of the output. */
static bool take_output(struct run *run, int fd)
{
	char chunk[8192];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	if (run->s->log_fd >= 0)
		(void)hull_write_full(run->s->log_fd, chunk, (size_t)n);
	for (ssize_t i = 0; i < n; i++) {
		if (chunk[i] == '\n' || chunk[i] == '\r') {
			flush_line(run);
			continue;
		}
		if (run->len == LINE_MAX_)
			flush_line(run);
		run->line[run->len++] = chunk[i] ? chunk[i] : ' ';
	}
	return true;
}

/* Runs in the child, with async-signal-safe calls only. Sends the errno of a failure through report_fd. */
__attribute__((noreturn)) static void become(const struct hull_spawn *s, char *const *envp, int out_fd, int report_fd,
					     pid_t parent)
{
	setpgid(0, 0);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
		goto failed;
	if (getppid() != parent)
		_exit(127);
	int null = open("/dev/null", O_RDONLY);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out_fd, 1) < 0 || dup2(out_fd, 2) < 0)
		goto failed;
	/* Also descriptors that were opened without O_CLOEXEC. */
	(void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	for (size_t i = 0; i < s->fd_count; i++)
		if (dup2(s->fds[i].from, s->fds[i].to) < 0)
			goto failed;
	if (s->cwd && chdir(s->cwd) != 0)
		goto failed;
	execvpe(s->argv[0], s->argv, envp);
failed:;
	int code = errno;
	(void)!write(report_fd, &code, sizeof(code));
	_exit(127);
}

/* Our environment with the additions first, where getenv(3) finds them first; the strings are borrowed. */
static char **environment(const char *const *add)
{
	size_t ours = 0;
	size_t more = 0;
	while (environ && environ[ours])
		ours++;
	while (add && add[more])
		more++;
	char **envp = calloc(ours + more + 1, sizeof(*envp));
	if (!envp)
		return NULL;
	size_t n = 0;
	for (size_t i = 0; i < more; i++)
		envp[n++] = (char *)add[i];
	for (size_t i = 0; i < ours; i++) {
		bool replaced = false;
		for (size_t j = 0; j < more && !replaced; j++) {
			size_t name = strcspn(add[j], "=") + 1;
			replaced = strncmp(add[j], environ[i], name) == 0;
		}
		if (!replaced)
			envp[n++] = environ[i];
	}
	return envp;
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Polls until the child exits; true when it was cancelled. */
static bool watch(struct run *run, pid_t pid, int pidfd, int out)
{
	bool cancelled = false;
	bool open = true;
	int64_t deadline = -1;
	for (;;) {
		struct pollfd p[3] = {{.fd = pidfd, .events = POLLIN},
				      {.fd = open ? out : -1, .events = POLLIN},
				      {.fd = cancelled ? -1 : run->s->cancel_fd, .events = POLLIN}};
		int timeout = -1;
		if (deadline >= 0) {
			int64_t left = deadline - now_ms();
			timeout = left > 0 ? (int)left : 0;
		}
		int n = poll(p, 3, timeout);
		if (n < 0 && errno != EINTR)
			return cancelled;
		if (n == 0) {
			kill(-pid, SIGKILL);
			deadline = -1;
		}
		if (n <= 0)
			continue;
		if (p[2].revents) {
			cancelled = true;
			deadline = now_ms() + GRACE_MS;
			kill(-pid, SIGTERM);
		}
		if (p[1].revents && open)
			open = take_output(run, out);
		else if (p[0].revents)
			return cancelled;
	}
}

int hull_spawn_run(const struct hull_spawn *s, int *status, struct hull_error *err)
{
	_cleanup_free_ char **envp = environment(s->setenv);
	if (!envp)
		return hull_fail(err, -ENOMEM, "cannot run %s: out of memory", s->argv[0]);
	int out[2];
	int report[2];
	if (pipe2(out, O_CLOEXEC) != 0)
		return hull_fail_errno(err, "cannot run %s", s->argv[0]);
	_cleanup_close_ int out_read = out[0];
	_cleanup_close_ int out_write = out[1];
	if (pipe2(report, O_CLOEXEC) != 0)
		return hull_fail_errno(err, "cannot run %s", s->argv[0]);
	_cleanup_close_ int report_read = report[0];
	_cleanup_close_ int report_write = report[1];
	hull_set_nonblock(out_read, true);

	/* Signals stay blocked until the child has reset the handlers. */
	sigset_t all;
	sigset_t old;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid == 0)
		become(s, envp, out_write, report_write, parent);
	int saved = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0) {
		errno = saved;
		return hull_fail_errno(err, "cannot run %s", s->argv[0]);
	}
	setpgid(pid, pid); /* called in the child too: one of both calls comes first */
	close(hull_steal_fd(&out_write));
	close(hull_steal_fd(&report_write));

	int failed = 0;
	if (hull_read_full(report_read, &failed, sizeof(failed)) == (ssize_t)sizeof(failed)) {
		waitpid(pid, NULL, 0);
		if (failed == ENOENT && !s->cwd)
			return hull_fail(err, -ENOENT, "cannot run %s: there is no such program", s->argv[0]);
		return hull_fail(err, -failed, "cannot run %s: %s", s->argv[0], strerror(failed));
	}
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		saved = errno;
		kill(-pid, SIGKILL);
		waitpid(pid, NULL, 0);
		errno = saved;
		return hull_fail_errno(err, "cannot watch %s", s->argv[0]);
	}
	struct run run = {.s = s};
	bool cancelled = watch(&run, pid, pidfd, out_read);
	/* The child has not been reaped yet, so its process group id cannot have been reused. */
	kill(-pid, SIGKILL);
	flush_line(&run);
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	if (cancelled)
		return hull_fail(err, -ECANCELED, "interrupted");
	return 0;
}

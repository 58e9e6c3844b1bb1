/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes, watched by their pidfd; see loop.h. */
#include "loop/loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* For a child that was started a moment ago and cannot be watched: it holds nothing that could keep the kernel. */
enum { UNWATCHED_MS = 1000 };

static void on_closed(uv_handle_t *handle)
{
	struct loop_child *c = handle->data;
	if (c->freed)
		c->freed(c);
}

static void let_go(struct loop_child *c)
{
	c->pid = 0;
	uv_close((uv_handle_t *)&c->poll, on_closed);
	close(c->pidfd);
	c->pidfd = -1;
}

/* True when it has exited, or is none of ours: nothing more will be heard of it. */
static bool reap(const struct loop_child *c, int *status)
{
	pid_t r;
	*status = 0;
	do
		r = waitpid(c->pid, status, WNOHANG);
	while (r < 0 && errno == EINTR);
	return r != 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct loop_child *c = poll->data;
	int how;
	if (!reap(c, &how))
		return;
	let_go(c);
	c->exited(c, how);
}

static void kill_and_wait(const struct loop_child *c, int ms)
{
	struct pollfd exited = {.fd = c->pidfd, .events = POLLIN};
	int status;
	kill(c->pid, SIGKILL);
	while (poll(&exited, 1, ms) < 0 && errno == EINTR)
		;
	reap(c, &status);
}

int loop_child_watch(struct loop *loop, struct loop_child *c, pid_t pid, int pidfd, struct hull_error *err)
{
	c->pid = pid;
	c->pidfd = pidfd;
	int r = uv_poll_init(&loop->uv, &c->poll, pidfd);
	if (r < 0) {
		kill_and_wait(c, UNWATCHED_MS);
		close(pidfd);
		c->pid = 0;
		c->pidfd = -1;
		return hull_fail(err, r, "cannot watch a child process: %s", uv_strerror(r));
	}
	c->poll.data = c;
	uv_poll_start(&c->poll, UV_READABLE, on_poll);
	return 0;
}

void loop_child_kill(struct loop_child *c)
{
	if (c->pid > 0)
		kill(c->pid, SIGKILL);
}

void loop_child_end(struct loop_child *c, int ms)
{
	if (c->pid <= 0)
		return;
	kill_and_wait(c, ms);
	let_go(c);
}

/* --- when to start another one --- */

void loop_restarts_started(struct loop_restarts *r, uint64_t now_ms)
{
	r->started_ms = now_ms;
}

int64_t loop_restarts_failed(struct loop_restarts *r, uint64_t now_ms)
{
	if (now_ms - r->started_ms > r->calm_ms)
		r->failures = 0;
	r->failures++;
	if (r->most && r->failures > r->most)
		return -1;
	if (r->failures == 1)
		return 0;
	uint64_t delay = r->delay_ms;
	for (unsigned i = 2; i < r->failures && delay < r->delay_max; i++)
		delay *= 2;
	return (int64_t)(delay < r->delay_max ? delay : r->delay_max);
}

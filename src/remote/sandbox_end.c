/* SPDX-License-Identifier: Apache-2.0 */
/* The program at the far end: git's service in a sandbox, reached by running this program again (serve.c). Its standard
 * output is read packet by packet. Of its standard error the first 64 KiB are kept. It has its own process group and is
 * killed at the end, so that nothing waits for the guest. */
#include "remote/remote.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

__attribute__((noreturn)) static void become(char *const *argv, const int fds[3])
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setpgid(0, 0);
	int above[3];
	for (int i = 0; i < 3; i++) /* above the descriptor numbers that they are copied to */
		above[i] = fcntl(fds[i], F_DUPFD, 10);
	for (int i = 0; i < 3; i++)
		if (dup2(above[i], i) < 0)
			_exit(126);
	close_range(3, ~0U, 0);
	execvp(argv[0], argv);
	_exit(127);
}

int remote_far_start(struct remote_far *f, char *const *argv, struct hull_error *err)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1}, words[2] = {-1, -1}, r = 0;
	*f = (struct remote_far)REMOTE_FAR_NONE;
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(words, O_CLOEXEC) < 0)
		r = hull_fail_errno(err, "reaching the sandbox");
	fflush(NULL);
	f->pid = r == 0 ? fork() : -1;
	if (r == 0 && f->pid < 0)
		r = hull_fail_errno(err, "reaching the sandbox");
	if (f->pid == 0)
		become(argv, (const int[]){in[0], out[1], words[1]});
	hull_closep(&in[0]);
	hull_closep(&out[1]);
	hull_closep(&words[1]);
	f->in = in[1];
	f->out = out[0];
	f->words = words[0];
	if (r < 0)
		remote_far_end(f);
	return r;
}

void remote_far_said(struct remote_far *f, const uint8_t *p, size_t n)
{
	size_t room = HULL_GIT_WORDS_MAX - f->said.len;
	f->cut = f->cut || n > room;
	if (hull_buf_add(&f->said, p, n < room ? n : room) < 0)
		f->cut = true;
}

static void take_words(struct remote_far *f)
{
	uint8_t chunk[4096];
	ssize_t n = read(f->words, chunk, sizeof(chunk));
	if (n > 0)
		remote_far_said(f, chunk, (size_t)n);
	else if (n == 0 || errno != EINTR)
		close(hull_steal_fd(&f->words));
}

/* Waits until its output is readable or its input writable; 0 or -errno. */
static int wait_for(struct remote_far *f, int fd, short events, struct hull_error *err)
{
	for (;;) {
		struct pollfd p[4] = {{.fd = fd, .events = events},
				      {.fd = f->words, .events = POLLIN},
				      {.fd = f->stop_fd, .events = POLLIN},
				      {.fd = f->peer_fd}};
		if (poll(p, 4, -1) < 0) {
			if (errno == EINTR)
				continue;
			return hull_fail_errno(err, "waiting for the sandbox");
		}
		if (p[2].revents || p[3].revents)
			return hull_fail(err, -ECANCELED, "interrupted");
		if (p[1].revents)
			take_words(f);
		if (p[0].revents)
			return 0;
	}
}

/* It ended before its answer was complete. */
static int gone(struct remote_far *f, struct hull_error *err)
{
	if (f->in >= 0)
		close(hull_steal_fd(&f->in)); /* it may wait for more of us */
	while (f->words >= 0)
		if (wait_for(f, f->words, POLLIN, err) < 0)
			return -ECANCELED;
	hull_git_complain(&f->said, f->cut, 1, err);
	if (f->said.len <= 1) /* the end of the text */
		hull_fail(err, -ENODATA, "git in it ended in the middle of its answer");
	return -ENODATA;
}

int remote_far_read(struct remote_far *f, const uint8_t **p, size_t *n, struct hull_error *err)
{
	hull_buf_drain(&f->got, f->used);
	f->used = 0;
	for (;;) {
		size_t size = 0;
		int r = remote_pkt(hull_buf_bytes(&f->got), f->got.len, &size);
		if (r < 0)
			return hull_fail(err, r, "its answer does not follow git's protocol");
		if (r != REMOTE_PKT_MORE) {
			f->used = size;
			*p = hull_buf_bytes(&f->got) + REMOTE_HEAD;
			*n = size - REMOTE_HEAD;
			return r;
		}
		if (f->out < 0)
			return gone(f, err);
		uint8_t *at = hull_buf_room(&f->got, CHUNK);
		if (!at)
			return hull_fail(err, -ENOMEM, "out of memory");
		r = wait_for(f, f->out, POLLIN, err);
		if (r < 0)
			return r;
		ssize_t got = read(f->out, at, CHUNK);
		if (got > 0)
			hull_buf_added(&f->got, (size_t)got);
		else if (got == 0)
			close(hull_steal_fd(&f->out));
		else if (errno != EINTR)
			return hull_fail_errno(err, "reading from the sandbox");
	}
}

int remote_far_write(struct remote_far *f, const struct hull_buf *b, struct hull_error *err)
{
	hull_set_nonblock(f->in, true);
	int r = 0;
	for (size_t at = 0; r == 0 && at < b->len;) {
		r = wait_for(f, f->in, POLLOUT, err);
		ssize_t n = r == 0 ? write(f->in, hull_buf_bytes(b) + at, b->len - at) : 0;
		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && errno == EPIPE)
			r = gone(f, err);
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			r = hull_fail_errno(err, "writing to the sandbox");
	}
	if (f->in >= 0)
		hull_set_nonblock(f->in, false);
	return r;
}

void remote_far_end(struct remote_far *f)
{
	hull_closep(&f->in);
	hull_closep(&f->out);
	hull_closep(&f->words);
	f->in = f->out = f->words = -1;
	if (f->pid > 0) {
		kill(f->pid, SIGKILL);
		while (waitpid(f->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	f->pid = -1;
	hull_buf_free(&f->got);
	hull_buf_free(&f->said);
}

int remote_far_adv(struct remote_far *f, struct remote_adv *a, struct hull_error *err)
{
	const uint8_t *p;
	size_t n;
	int r;
	while ((r = remote_far_read(f, &p, &n, err)) == REMOTE_PKT_LINE) {
		r = remote_adv_line(a, (const char *)p, n, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : 0;
}

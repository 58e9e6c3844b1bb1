/* SPDX-License-Identifier: Apache-2.0 */
/* Runs git in its jail (jail.c) and reads its output up to a limit. Of its messages (which may contain a guest's bytes)
 * the first 64 KiB are kept, and the rest is discarded. */
#include "git/internal.h"

#include "base/cleanup.h"
#include "base/proc.h"
#include "base/text.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Read once; closes the descriptor at its end. 0 or -errno. */
static int take(struct hull_git_taken *t)
{
	uint8_t lost[4096];
	size_t room = t->into && t->into->len < t->most ? t->most - t->into->len : 0;
	size_t want = room ? (room < 64 * 1024 ? room : 64 * 1024) : sizeof(lost);
	uint8_t *at = room ? hull_buf_room(t->into, want) : lost;
	ssize_t n = at ? read(t->fd, at, want) : -1;
	if (n < 0)
		return !at ? -ENOMEM : errno == EINTR || errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		close(hull_steal_fd(&t->fd));
	else if (room)
		hull_buf_added(t->into, (size_t)n);
	else
		t->cut = true;
	return 0;
}

int hull_git_stall_ms = 30000;

/* One look at a git for which nothing could be done for hull_git_stall_ms: has it used no processor time since the last
 * one, and does not wait for a disk? It has then opened a file of the repository's that never opens: a FIFO. While
 * nobody takes what it writes to a descriptor of the caller's, it is not judged. */
static bool stalled(struct hull_git_child *c)
{
	struct hull_proc now = {0};
	struct pollfd reader = {.fd = c->out_fd, .events = POLLOUT};
	bool held = c->out_fd >= 0 && poll(&reader, 1, 0) == 0;
	if (!held && hull_proc_look(c->pid, &now) && now.state == 'S' && now.used == c->used)
		return true;
	c->used = now.used;
	return false;
}

/* Wait until *first or git's output (c->out, c->words) is ready, which is read. The number of ready descriptors; 0 after
 * timeout_ms; -ECANCELED on an interrupt. */
static int await(struct hull_git_child *c, struct pollfd *first, int timeout_ms)
{
	struct pollfd p[5] = {*first,
			      {.fd = c->out.fd, .events = POLLIN},
			      {.fd = c->words.fd, .events = POLLIN},
			      {.fd = c->stop_fd, .events = POLLIN},
			      {.fd = c->peer_fd}};
	int n = poll(p, 5, timeout_ms), r = 0;
	if (n < 0)
		return -errno;
	if (p[3].revents || p[4].revents)
		return -ECANCELED;
	first->revents = p[0].revents;
	if (p[1].revents)
		r = take(&c->out);
	if (r == 0 && p[2].revents)
		r = take(&c->words);
	return r < 0 ? r : n;
}

/* Until git has ended and what it wrote is read; output that only a stray child of it could write is not waited for. An
 * output of more than may be taken ends it (-EFBIG). So does a stall (-EDEADLK), and an interrupt (-ECANCELED). */
static int watch(struct hull_git_child *c)
{
	int r = 0;
	bool ended = false;
	while (r == 0 && !c->out.cut && (!ended || c->out.fd >= 0 || c->words.fd >= 0)) {
		struct pollfd end = {.fd = ended ? -1 : c->pidfd, .events = POLLIN};
		int n = await(c, &end, ended ? 0 : hull_git_stall_ms);
		if (n == -EINTR)
			continue;
		if (n == 0 && ended)
			break;
		if (n == 0 && stalled(c))
			return -EDEADLK;
		r = n < 0 ? n : 0;
		ended = ended || end.revents;
	}
	return r == 0 && c->out.cut ? -EFBIG : r;
}

/* git's message: its first "fatal:" or "error:", otherwise its last line; made printable. */
int hull_git_complain(struct hull_buf *words, bool cut, int code, struct hull_error *err)
{
	const char *line = NULL;
	char *text = hull_buf_add(words, "", 1) == 0 ? (char *)hull_buf_bytes(words) : NULL;
	bool memory = text && strcasestr(text, "out of memory");
	for (char *save = NULL, *l = text ? strtok_r(text, "\n", &save) : NULL; l; l = strtok_r(NULL, "\n", &save)) {
		line = l;
		if (hull_starts(l, "fatal: ") || hull_starts(l, "error: ")) {
			line += strlen("fatal: ");
			break;
		}
	}
	_cleanup_free_ char *shown = line ? hull_printable(line, strlen(line)) : NULL;
	hull_fail(err, -EIO, "%s%.700s%s", memory ? "it is more than git may have memory for: " : "",
		  shown && *shown ? shown : "git failed", cut ? " (it went on saying more than is kept)" : "");
	return code;
}

static int failed(int r, struct hull_error *err)
{
	if (r == -EFBIG)
		return hull_fail(err, r, "git's output exceeds the limit of %d MiB", HULL_GIT_OUT_MAX >> 20);
	if (r == -EDEADLK)
		return hull_fail(err, r,
				 "git hangs in this repository: is one of its files a FIFO? `find .git -type p` lists "
				 "them");
	return r == -ECANCELED ? hull_fail(err, r, "interrupted") : hull_fail(err, r, "git: %s", strerror(-r));
}

int hull_git_child_end(struct hull_git_child *c, bool kill_it, struct hull_error *err)
{
	int status, r = kill_it ? 0 : watch(c);
	bool cut = c->words.cut;
	hull_closep(&c->out.fd);
	hull_closep(&c->words.fd);
	close(c->pidfd);
	if (r < 0 || kill_it)
		kill(c->pid, SIGKILL); /* init of its pid namespace, which no other signal reaches */
	while (waitpid(c->pid, &status, 0) < 0)
		if (errno != EINTR) {
			r = hull_fail_errno(err, "waiting for git");
			goto out;
		}
	if (r < 0)
		failed(r, err);
	else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		r = hull_git_complain(&c->said, cut, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
				      err);
out:
	hull_buf_free(&c->said);
	return r;
}

struct pipes {
	int out[2], words[2];
};

static void pipes_close(struct pipes *p)
{
	for (int i = 0; i < 2; i++) {
		hull_closep(&p->out[i]);
		hull_closep(&p->words[i]);
	}
}

static int pipes_open(struct pipes *p, struct hull_error *err)
{
	if (pipe2(p->out, O_CLOEXEC) < 0 || pipe2(p->words, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "running git");
	fcntl(p->out[0], F_SETFL, O_NONBLOCK);
	fcntl(p->words[0], F_SETFL, O_NONBLOCK);
	return 0;
}

int hull_git_child_start(struct hull_git_child *c, const struct hull_git_at *at, const char *const *args, int in_fd,
			 struct hull_buf *out, int out_fd, struct hull_error *err)
{
	_cleanup_(pipes_close) struct pipes p = {{-1, -1}, {-1, -1}};
	*c = (struct hull_git_child){.pidfd = -1};
	int r = pipes_open(&p, err);
	if (r == 0)
		r = hull_git_start(at, args, in_fd, out_fd < 0 ? p.out[1] : out_fd, p.words[1], &c->pid, &c->pidfd,
				   err);
	if (r < 0)
		return r;
	c->out_fd = out_fd;
	c->stop_fd = at->own ? at->own->stop_fd : -1;
	c->peer_fd = at->own ? at->own->peer_fd : -1;
	c->out = (struct hull_git_taken){.fd = hull_steal_fd(&p.out[0]), .into = out, .most = HULL_GIT_OUT_MAX};
	c->words = (struct hull_git_taken){
		.fd = hull_steal_fd(&p.words[0]), .into = &c->said, .most = HULL_GIT_WORDS_MAX};
	return 0;
}

int hull_git_child_feed(struct hull_git_child *c, int fd, const void *p, size_t n, struct hull_error *err)
{
	for (const uint8_t *at = p; n > 0;) {
		ssize_t done = write(fd, at, n);
		if (done > 0) {
			at += done;
			n -= (size_t)done;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		struct pollfd room = {.fd = fd, .events = POLLOUT};
		int r = await(c, &room, hull_git_stall_ms);
		if (r == 0 && stalled(c))
			r = -EDEADLK;
		if (r < 0 && r != -EINTR)
			return failed(r, err);
	}
	return 0;
}

static int run(const struct hull_git_at *at, const char *const *args, int in_fd, struct hull_buf *out, int out_fd,
	       struct hull_error *err)
{
	struct hull_git_child c;
	struct hull_buf none = {0};
	int r = hull_git_child_start(&c, at, args, in_fd, out ? out : &none, out ? -1 : out_fd, err);
	if (r == 0)
		r = hull_git_child_end(&c, false, err);
	hull_buf_free(&none);
	return r;
}

int hull_git_run(const char *dir, const char *const *args, int in_fd, struct hull_buf *out, int out_fd,
		 struct hull_error *err)
{
	const struct hull_git_at at = {.dir = dir};
	return run(&at, args, in_fd, out, out_fd, err);
}

int hull_git_change(const char *dir, const char *const *args, int in_fd, struct hull_error *err)
{
	const struct hull_git_at at = {.dir = dir, .writes = true};
	return run(&at, args, in_fd, NULL, -1, err);
}

int hull_git_own_run(const struct hull_git_own *o, const char *const *args, int in_fd, struct hull_buf *out, int out_fd,
		     struct hull_error *err)
{
	const struct hull_git_at at = {.own = o};
	return run(&at, args, in_fd, out, out_fd, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The private clone of a sandbox made with --clone; see share.h and git/git.h.
 *
 * Made once, at the first start, after the mounts and before any command: the guest counts as configured when it is
 * there. hull-clone, a process of the user's, writes the repository as a stream; a shell in the guest (clone.sh, as
 * root, git in it as agent) makes a repository of it. Bytes go one way, from the pipe only as much as the stream takes.
 *
 * What makes an interrupted clone safe to repeat:
 * 1. The script works in a scratch directory beside the target and renames it when it is complete and on disk.
 * 2. `cloned` is in sandbox.json, with fsync, before the first command is let in. So a clone that is found at a start
 *    without `cloned` has never been worked in, and the script begins again.
 * 3. What is at the target and does not have the marker of our clones is not touched; the start fails. */
#include "keeper/keeper.h"
#include "keeper/workspace/share.h"
#include "keeper/guest/guest.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MAX = 8192 };

extern const char hull_clone_script[]; /* clone.sh, embedded */

struct clone {
	struct keeper *k; /* NULL once it is no longer wanted */
	struct loop_stream stream;
	struct loop_child process; /* hull-clone */
	bool watched;              /* the loop holds on to it */
	struct loop_socket *pipe;  /* the stream that it writes; NULL = ended */
	int words_fd;              /* its stderr */
	int host_status;           /* how it ended, as waitpid(2) has it */
	bool answered;             /* the guest has reported its end */
	uint32_t guest_status;
	struct hull_buf words; /* what the guest printed */
};

static void half_ended(struct clone *c);

/* --- memory and handles --- */

static void clone_free(struct clone *c)
{
	if (c->watched || c->stream.id || c->k)
		return;
	if (c->words_fd >= 0)
		close(c->words_fd);
	hull_buf_free(&c->words);
	free(c);
}

static void on_process_freed(struct loop_child *p)
{
	struct clone *c = container_of(p, struct clone, process);
	c->watched = false;
	clone_free(c);
}

static void close_pipe(struct clone *c)
{
	loop_socket_close(hull_steal_ptr(c->pipe));
}

/* Nothing of it is wanted any more. c may be gone when this returns. */
static void drop(struct clone *c)
{
	if (!c->k)
		return;
	c->k->workspace->clone = NULL;
	c->k = NULL;
	close_pipe(c);
	loop_child_kill(&c->process);
	if (c->stream.id)
		loop_stream_reset(&c->stream, ECANCELED, "the clone was cancelled"); /* on_closed() frees it */
	else
		clone_free(c);
}

/* --- the bytes --- */

static void rewatch(struct clone *c)
{
	loop_socket_watch(c->pipe, loop_stream_room(&c->stream) > 0 ? UV_READABLE : 0);
}

static void on_pipe(struct loop_socket *s, int events)
{
	struct clone *c = s->owner;
	ssize_t n = loop_stream_fill(&c->k->loop, &c->stream, s->fd);
	if (n > 0 || (n == -EAGAIN && !s->failed)) {
		rewatch(c);
		return;
	}
	uint8_t end = HULL_MSG_STDIN_EOF;
	loop_stream_message(&c->stream, &end, 1);
	close_pipe(c);
}

static void on_exited(struct loop_child *p, int status)
{
	struct clone *c = container_of(p, struct clone, process);
	c->host_status = status;
	half_ended(c);
}

/* --- the guest's end --- */

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct clone *c = container_of(s, struct clone, stream);
	if (c->words.len + n <= WORDS_MAX)
		hull_buf_add(&c->words, p, n);
	loop_stream_grant(s, n);
}

static void on_message(struct loop_stream *s, const uint8_t *p, size_t n)
{
	struct clone *c = container_of(s, struct clone, stream);
	struct hull_cur cur = hull_cur_make(p, n);
	struct hull_arg a;
	if (hull_cur_u8(&cur) != HULL_MSG_EXIT || c->answered)
		return;
	c->answered = true;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_STATUS)
			c->guest_status = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_ERRNO)
			c->guest_status = 127;
		else if (a.tag == HULL_TAG_TEXT && a.n < WORDS_MAX)
			hull_buf_add(&c->words, a.p, a.n);
	}
	loop_stream_eof(s);
}

static void on_writable(struct loop_stream *s)
{
	rewatch(container_of(s, struct clone, stream));
}

static void on_eof(struct loop_stream *s)
{
	loop_stream_eof(s);
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct clone *c = container_of(s, struct clone, stream);
	if (!c->k) {
		clone_free(c);
		return;
	}
	if (!c->answered) {
		c->guest_status = 1;
		hull_buf_addstr(&c->words, message);
		c->answered = true;
	}
	half_ended(c);
}

static const struct loop_stream_ops OPS = {
	.data = on_data, .message = on_message, .writable = on_writable, .eof = on_eof, .closed = on_closed};

/* --- the end --- */

static char *last_line(const char *text, size_t n)
{
	while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	const char *end = n ? memrchr(text, '\n', n) : NULL;
	const char *from = end ? end + 1 : text;
	return hull_printable(from, n - (size_t)(from - text));
}

/* One of the two has ended; when both have, it is known how it went. */
static void half_ended(struct clone *c)
{
	struct keeper *k = c->k;
	if (!k || !c->answered || c->stream.id)
		return;
	close_pipe(c); /* a guest that wants no more: hull-clone ends by that */
	if (c->process.pid > 0)
		return;
	bool sent = WIFEXITED(c->host_status) && WEXITSTATUS(c->host_status) == 0;
	if (sent && c->guest_status == 0) {
		drop(c);
		hull_log("%s was cloned", k->sb.clone);
		k->sb.cloned = true;
		keeper_save(k, "starting", NULL);
		guest_ready(k);
		return;
	}
	char words[WORDS_MAX];
	ssize_t n = sent ? 0 : pread(c->words_fd, words, sizeof(words), 0);
	/* When the guest gave up, hull-clone had to, and says nothing. */
	_cleanup_free_ char *why = n > 0 ? last_line(words, (size_t)n)
					 : last_line((const char *)hull_buf_bytes(&c->words), c->words.len);
	drop(c);
	keeper_fault(k, "%s cannot be cloned into the sandbox: %.600s", k->sb.clone,
		     why && *why ? why : "git failed in the sandbox");
}

void clone_close(struct keeper *k)
{
	if (k->workspace->clone)
		drop(k->workspace->clone);
}

/* --- the beginning --- */

static int spawn(struct clone *c, struct hull_error *err)
{
	int ends[2];
	_cleanup_free_ char *program = hull_beside("hull-clone", X_OK, err);
	if (!program)
		return err->code;
	c->words_fd = memfd_create("hull-clone", MFD_CLOEXEC);
	if (c->words_fd < 0)
		return hull_fail_errno(err, "cannot start hull-clone");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "cannot make a pipe");
	_cleanup_close_ int theirs = ends[1];
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	c->pipe = loop_socket_new(&c->k->loop, ends[0], c, on_pipe);
	if (!c->pipe)
		return hull_fail(err, -ENOMEM, "out of memory");
	char *argv[] = {(char *)"hull-clone", c->k->sb.clone, NULL};
	pid_t pid = fork();
	if (pid < 0)
		return hull_fail_errno(err, "cannot start hull-clone");
	if (pid == 0) {
		static const int defaults[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM};
		for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++)
			signal(defaults[i], SIG_DFL);
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (dup2(theirs, 1) >= 0 && dup2(c->words_fd, 2) >= 0 && close_range(3, ~0U, 0) == 0)
			execv(program, argv);
		_exit(127);
	}
	int pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		hull_fail_errno(err, "cannot watch hull-clone");
		kill(pid, SIGKILL); /* reaped by init, when this process ends */
		return err->code;
	}
	int r = loop_child_watch(&c->k->loop, &c->process, pid, pidfd, err);
	c->watched = r == 0;
	return r;
}

static int begin(struct clone *c, struct hull_error *err)
{
	struct keeper *k = c->k;
	const char *const argv[] = {"sh", "-c", hull_clone_script, "hull-clone", k->sb.clone, k->sb.workdir};
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	int r = guest_root_command(argv, sizeof(argv) / sizeof(*argv), &args);
	if (r < 0)
		return hull_fail(err, r, "out of memory");
	r = spawn(c, err);
	if (r < 0)
		return r;
	r = loop_stream_open(&c->stream, &k->guest->link, HULL_SVC_EXEC, &args);
	if (r < 0)
		return hull_fail(err, r, "%s", strerror(-r));
	rewatch(c); /* asks for `writable` */
	return 0;
}

void clone_begin(struct keeper *k)
{
	if (k->workspace->clone)
		return;
	if (!k->sb.clone || k->sb.cloned) {
		guest_ready(k);
		return;
	}
	struct hull_error err = {0};
	struct clone *c = calloc(1, sizeof(*c));
	if (!c) {
		keeper_fault(k, "out of memory");
		return;
	}
	*c = (struct clone){.k = k,
			    .stream.ops = &OPS,
			    .process = {.exited = on_exited, .freed = on_process_freed},
			    .words_fd = -1};
	k->workspace->clone = c;
	uv_timer_stop(&k->life.timer); /* the guest is up: how long this takes is the repository's matter */
	if (begin(c, &err) == 0)
		return;
	drop(c);
	keeper_fault(k, "%s cannot be cloned into the sandbox: %s", k->sb.clone, err.msg);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The service exec: one process, or one terminal session, per stream.
 *
 * Start.  OPEN is read (request.c), the user looked up, the process forked into the cgroup of sessions. It sets itself
 *         up and execs; what fails on the way comes back through a pipe. A working directory or user that is wrong
 *         REFUSEs the stream; when the program itself cannot be executed the stream is ACCEPTed without a PID and ends
 *         with EXIT {ERRNO, TEXT}, from which the client makes 126 or 127. An ACCEPT with PID means: it runs.
 * Run.    stdin, and stdout and stderr or the terminal, flow through pumps (pump.c). RESIZE, SIGNAL and STDIN_EOF act
 *         at once. Nothing is buffered but what the stream's window allows.
 * End.    When the process has ended, its output is read to its end. If something it left in the background still
 *         holds the output open, what comes within GRACE_MS is still passed on, then what is in the pipe, and then
 *         EXIT is sent all the same. A pipe that is still open is from then on read and thrown away, so that a server
 *         started with `&` does not die of a closed pipe; a terminal is hung up.
 * Gone.   A stream that the host ends first hangs the session up: SIGHUP and SIGCONT to its process group, its
 *         descriptors closed. With KEEP it runs on, its output thrown away.
 * Suspended. When all streams end because the epoch changed (this machine was paused, or is a copy), a session with an
 *         ID goes on without a stream: its stdin stays open, its output and its exit code wait. hull-init reports each
 *         such session to the new host (SESSION). An OPEN with ATTACH and the ID gives it a new stream, which goes on
 *         where the old one ended. */
#include "guest/session/session.h"

#include "base/cleanup.h"
#include "guest/core/cgroup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/core/pump.h"
#include "guest/machine/machine.h"
#include "guest/session/exec.h"
#include "guest/session/oom.h"
#include "guest/session/pty.h"
#include "guest/session/request.h"
#include "guest/session/users.h"
#include "wire/args.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	GRACE_MS = 250,
	DRAIN_MAX = 256 * 1024,
	PIPE_BYTES = 256 * 1024,   /* of its output: so much can be written while we pass on what was */
	ARGV_MAX = 2048,           /* of a command, in SESSION: a message has 4 KiB */
	TTY_BUFFERED = 128 * 1024, /* more than the kernel keeps between the two ends of a terminal */
};

struct session {
	struct hull_stream stream; /* must be first */
	struct hull_child child;
	struct hull_watch status; /* the pipe that tells whether exec worked */
	int status_fd;
	struct hull_in in;
	struct hull_out out[2]; /* stdout or the terminal, stderr */
	struct hull_timer grace;
	uint32_t cgroup; /* its number; see hull_cgroup_make() */
	pid_t pid;       /* what it was, also once it has been reaped */
	pid_t group;     /* the process group, while the process has not been reaped */
	bool tty, keep;
	bool started;  /* accepted or refused */
	bool ended;    /* the process has */
	bool draining; /* inside exec_child_ended(): an output that ends now is no event */
	bool late;     /* GRACE_MS are over: report once these many bytes have been passed on */
	size_t target[2];
	bool reported; /* EXIT has been sent, or there is no stream to send it on */
	int wait_status;
	struct hull_spawn_failure failure;
	char id[HULL_SESSION_ID + 1]; /* "": it ends with its stream */
	bool suspended;               /* its stream ended with the epoch; it waits for an ATTACH */
	struct hull_buf argv;         /* for SESSION: ARGV fields, ARGV_MAX bytes at most */
	char *program;                /* for messages */
	char *cwd;
	struct session *next, *prev;
};

static struct session *all;
static unsigned sessions;
static unsigned running; /* processes of sessions that have not been reaped */
static bool authorities; /* see hull_exec_authorities() */
static void (*on_end)(void);

unsigned hull_exec_sessions(void)
{
	return sessions;
}

unsigned hull_exec_running(void)
{
	return running;
}

static void session_free(struct session *s)
{
	if (s->child.pid > 0)
		running--;
	hull_child_forget(&s->child);
	hull_watch_del(&s->status);
	if (s->status_fd >= 0)
		close(s->status_fd);
	hull_in_close(&s->in);
	hull_out_close(&s->out[0]);
	hull_out_close(&s->out[1]);
	hull_timer_stop(&s->grace);
	hull_cgroup_drop(s->cgroup);
	hull_buf_free(&s->argv);
	free(s->program);
	free(s->cwd);
	if (s->next)
		s->next->prev = s->prev;
	*(s->prev ? &s->prev->next : &all) = s->next;
	free(s);
	sessions--;
}

/* Nothing left to do for it? */
static void session_settle(struct session *s)
{
	if (s->stream.id == 0 && !s->suspended && s->ended && !s->out[0].open && !s->out[1].open)
		session_free(s);
}

/* --- the end --- */

static const char *failure_text(const struct session *s, char *text, size_t cap)
{
	int e = s->failure.error;
	if (s->failure.stage == HULL_STAGE_EXEC && e == ENOENT)
		snprintf(text, cap, "%s: not found in the sandbox%s", s->program,
			 strchr(s->program, '/') ? "" : " (looked in PATH)");
	else if (s->failure.stage == HULL_STAGE_EXEC)
		snprintf(text, cap, "%s: cannot execute: %s", s->program, strerror(e));
	else if (s->failure.stage == HULL_STAGE_CWD)
		snprintf(text, cap, "cannot execute: directory %s: %s", s->cwd ? s->cwd : "/",
			 e == ENOENT ? "not found in the sandbox" : strerror(e));
	else if (s->failure.stage == HULL_STAGE_USER)
		snprintf(text, cap, "cannot become the user asked for: %s", strerror(e));
	else
		snprintf(text, cap, "cannot set up the session: %s", strerror(e));
	return text;
}

static void send_exit(struct session *s)
{
	_cleanup_(hull_buf_free) struct hull_buf m = {0};
	char text[512];
	uint8_t kind = HULL_MSG_EXIT;
	hull_buf_add(&m, &kind, 1);
	if (s->failure.stage) {
		hull_args_put_u32(&m, HULL_TAG_ERRNO, (uint32_t)s->failure.error);
		hull_args_put_str(&m, HULL_TAG_TEXT, failure_text(s, text, sizeof(text)));
	} else {
		int sig;
		hull_args_put_u32(&m, HULL_TAG_STATUS, (uint32_t)hull_exit_code(s->wait_status, &sig));
		if (sig)
			hull_args_put_u32(&m, HULL_TAG_SIGNAL, (uint32_t)sig);
	}
	hull_wire_message(hull_wire, s->stream.id, hull_buf_bytes(&m), m.len);
	hull_wire_eof(hull_wire, s->stream.id);
}

/* Report the end if it is time: the process is gone and its output has been passed on. */
static void session_finish(struct session *s)
{
	if (!s->ended || !s->started || s->reported || s->suspended || ((s->out[0].open || s->out[1].open) && !s->late))
		return;
	s->draining = true;
	for (int i = 0; i < 2; i++) {
		struct hull_out *o = &s->out[i];
		if (o->open && o->passed < s->target[i] && !hull_out_drain(o, s->target[i] - o->passed)) {
			s->draining = false;
			return; /* the client is slow; `writable` brings us back */
		}
	}
	s->draining = false;
	s->reported = true;
	hull_timer_stop(&s->grace);
	hull_in_close(&s->in);
	for (int i = 0; i < 2; i++) {
		if (s->tty)
			hull_out_close(&s->out[i]);
		else
			hull_out_discard(&s->out[i]);
	}
	if (s->stream.id)
		send_exit(s); /* may free s: if the host has sent its EOF, this calls `closed` */
	else
		session_settle(s);
}

static void exec_grace_over(struct hull_timer *t)
{
	struct session *s = container_of(t, struct session, grace);
	/* What is there now is passed on; what is still being written is not waited for. */
	for (int i = 0; i < 2; i++) {
		int there = 0;
		if (s->out[i].open && !s->tty)
			ioctl(s->out[i].fd, FIONREAD, &there);
		s->target[i] = s->out[i].passed + (s->tty ? TTY_BUFFERED : (size_t)there);
	}
	s->late = true;
	session_finish(s);
}

static void exec_out_ended(struct session *s)
{
	if (!s->ended || s->draining)
		return;
	if (s->reported)
		session_settle(s);
	else if (!s->out[0].open && !s->out[1].open)
		session_finish(s);
}

static void out0_ended(struct hull_out *o, int error)
{
	exec_out_ended(container_of(o, struct session, out[0]));
}

static void out1_ended(struct hull_out *o, int error)
{
	exec_out_ended(container_of(o, struct session, out[1]));
}

static void take_status(struct session *s);

/* Its process has ended: pass on what there is of its output, and its end. */
static void report_end(struct session *s)
{
	if (s->suspended)
		return; /* for whoever attaches to it */
	if (s->stream.id == 0) {
		s->reported = true;
		session_settle(s);
		return;
	}
	/* Usually the output's end is there already. */
	s->draining = true;
	for (int i = 0; i < 2; i++)
		if (s->out[i].open)
			hull_out_drain(&s->out[i], DRAIN_MAX);
	s->draining = false;
	if (s->out[0].open || s->out[1].open)
		hull_timer_start(&s->grace, GRACE_MS, exec_grace_over);
	session_finish(s);
}

void hull_exec_tell(pid_t pid, unsigned session, const char *text)
{
	char line[320];
	struct session *s = all;
	while (s && s->pid != pid && (session == 0 || s->cgroup != session))
		s = s->next;
	if (!s || s->stream.id == 0 || !s->started || s->reported)
		return;
	int n = snprintf(line, sizeof(line), "hull: %s%s", text, s->tty ? "\r\n" : "\n");
	/* What does not fit now is not said: nobody reads there. */
	if (n > 0 && (size_t)n < sizeof(line))
		hull_wire_write(hull_wire, s->stream.id, s->tty ? HULL_CHANNEL_MAIN : HULL_CHANNEL_STDERR, line,
				(size_t)n);
}

void hull_exec_on_end(void (*ended)(void))
{
	on_end = ended;
}

static void tell_end(void)
{
	if (on_end)
		on_end();
}

static void exec_child_ended(struct hull_child *c, int status)
{
	struct session *s = container_of(c, struct session, child);
	running--;
	if ((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
	    (WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGKILL))
		hull_oom_look();
	hull_reclaim_touch();
	s->ended = true;
	s->group = 0;
	s->wait_status = status;
	take_status(s); /* its end of the pipe is closed now, whichever event came first */
	report_end(s);
	tell_end();
}

static void signal_session(struct session *s, int sig)
{
	pid_t group = s->group;
	pid_t foreground;
	if (group <= 0)
		return;
	if (s->tty && s->out[0].open && ioctl(s->out[0].fd, TIOCGPGRP, &foreground) == 0 && foreground > 1)
		group = foreground;
	/* Just forked, it may not lead its group yet. */
	if (kill(-group, sig) < 0 && errno == ESRCH)
		kill(s->child.pid, sig);
}

/* --- the beginning --- */

static void exec_refuse(struct session *s)
{
	char text[512];
	/* ENOENT is for a missing program alone: clients make 127 of it. */
	bool absent = s->failure.stage == HULL_STAGE_CWD && s->failure.error == ENOENT;
	s->reported = true;
	hull_wire_refuse(hull_wire, s->stream.id, absent ? ENOTDIR : s->failure.error,
			 failure_text(s, text, sizeof(text)));
}

static void exec_answer(struct session *s);

/* The status pipe has spoken, or ended: the program runs, or does not. */
static void take_status(struct session *s)
{
	if (s->started)
		return;
	ssize_t n = read(s->status_fd, &s->failure, sizeof(s->failure));
	if (n < 0 && errno == EAGAIN)
		return;
	s->started = true;
	if (n != (ssize_t)sizeof(s->failure))
		s->failure = (struct hull_spawn_failure){0};
	hull_watch_del(&s->status);
	close(s->status_fd);
	s->status_fd = -1;
	if (s->stream.id == 0)
		return;
	exec_answer(s);
}

/* Say whether it runs: `closed` may follow. */
static void exec_answer(struct session *s)
{
	if (s->failure.stage && s->failure.stage != HULL_STAGE_EXEC) {
		exec_refuse(s); /* `closed` follows */
		return;
	}
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	if (!s->failure.stage)
		hull_args_put_u32(&b, HULL_TAG_PID, (uint32_t)s->pid);
	if (!s->failure.stage && s->cgroup)
		hull_args_put_u32(&b, HULL_TAG_SESSION, s->cgroup);
	hull_wire_accept(hull_wire, s->stream.id, hull_buf_bytes(&b), b.len);
	hull_out_resume(&s->out[0]);
	hull_out_resume(&s->out[1]);
}

static void status_ready(struct hull_watch *w, uint32_t events)
{
	take_status(container_of(w, struct session, status));
}

/* Everything the child needs, made before the fork. */
struct launch {
	const struct hull_request *request;
	const struct hull_user *user;
	int fd[3]; /* the child's ends; fd[0] is the terminal with tty */
};

extern char **environ;

/* The same directory by another name, if it is that. */
static void enter_link(const char *link)
{
	struct stat here, other;
	if (stat(".", &here) == 0 && stat(link, &other) == 0 && here.st_dev == other.st_dev &&
	    here.st_ino == other.st_ino && chdir(link) < 0)
		return; /* we stay where we are */
}

static void exec_run(void *ctx, int status_fd)
{
	const struct launch *l = ctx;
	const struct hull_request *r = l->request;
	const struct hull_user *u = l->user;
	setsid();
	if (r->tty) {
		if (hull_pty_adopt(l->fd[0]) < 0)
			hull_spawn_fail(status_fd, HULL_STAGE_SETUP);
	} else {
		for (int i = 0; i < 3; i++)
			if (dup2(l->fd[i], i) < 0)
				hull_spawn_fail(status_fd, HULL_STAGE_SETUP);
	}
	hull_put("/proc/self/oom_score_adj", "0");
	if (setgroups(u->group_count, u->groups) < 0 || setgid(u->gid) < 0 || setuid(u->uid) < 0)
		hull_spawn_fail(status_fd, HULL_STAGE_USER);
	/* A home that is missing is no reason to fail; a directory that was asked for is. */
	bool there = !r->cwd && r->workdir && chdir(r->workdir) == 0;
	if (there && r->linkdir)
		enter_link(r->linkdir);
	if (r->cwd ? chdir(r->cwd) < 0 : !there && chdir(u->home) < 0 && chdir("/") < 0)
		hull_spawn_fail(status_fd, HULL_STAGE_CWD);
	umask(022);
	environ = r->env; /* execvp looks PATH up in it */
	execvp(r->program, r->argv);
	hull_spawn_fail(status_fd, HULL_STAGE_EXEC);
}

/* A pipe whose one end is ours (non-blocking) and whose other end the user may open again through /dev/stdout. */
static int make_pipe(const struct hull_user *u, bool ours_reads, int *ours, int *theirs, struct hull_error *err)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "cannot make a pipe for the session");
	*ours = ours_reads ? fds[0] : fds[1];
	*theirs = ours_reads ? fds[1] : fds[0];
	if (fchown(*theirs, u->uid, u->gid) < 0 || fcntl(*ours, F_SETFL, O_NONBLOCK) < 0)
		return hull_fail_errno(err, "cannot set up a pipe for the session");
	if (ours_reads)
		fcntl(*ours, F_SETPIPE_SZ, PIPE_BYTES); /* the usual 64 KiB do as well */
	return 0;
}

static int session_start(struct session *s, const struct hull_request *r, const struct hull_user *u,
			 struct hull_error *err)
{
	_cleanup_close_ int in = -1;
	_cleanup_close_ int out = -1;
	_cleanup_close_ int errs = -1;
	_cleanup_close_ int c0 = -1;
	_cleanup_close_ int c1 = -1;
	_cleanup_close_ int c2 = -1;
	int e;
	if (r->tty) {
		e = hull_pty_open(u->uid, r->rows, r->cols, &out, &c0, err);
		if (e == 0 && (in = fcntl(out, F_DUPFD_CLOEXEC, 3)) < 0)
			e = hull_fail_errno(err, "cannot set up a terminal");
	} else {
		e = make_pipe(u, false, &in, &c0, err);
		if (e == 0)
			e = make_pipe(u, true, &out, &c1, err);
		if (e == 0)
			e = make_pipe(u, true, &errs, &c2, err);
	}
	if (e < 0)
		return e;
	struct launch l = {.request = r, .user = u, .fd = {c0, c1, c2}};
	_cleanup_close_ int cgroup = hull_cgroup_make(&s->cgroup);
	e = hull_spawn(&s->child, cgroup, exec_run, &l, &s->status_fd, exec_child_ended, err);
	if (e < 0)
		return e;
	running++;
	s->pid = s->group = s->child.pid;
	/* From here on it is the loop's; a failure to watch is out of memory in the kernel, and ends the session. */
	fcntl(s->status_fd, F_SETFL, O_NONBLOCK);
	e = hull_watch_add(&s->status, s->status_fd, EPOLLIN, status_ready);
	hull_in_start(&s->in, hull_steal_fd(&in), s->stream.id);
	if (e == 0)
		e = hull_out_start(&s->out[0], hull_steal_fd(&out), s->stream.id, HULL_CHANNEL_MAIN, out0_ended);
	if (e == 0 && !r->tty)
		e = hull_out_start(&s->out[1], hull_steal_fd(&errs), s->stream.id, HULL_CHANNEL_STDERR, out1_ended);
	if (e < 0) {
		kill(s->child.pid, SIGKILL);
		return hull_fail(err, e, "cannot watch the session: %s", strerror(-e));
	}
	/* No output before ACCEPT: watched from there on. */
	hull_watch_del(&s->out[0].watch);
	hull_watch_del(&s->out[1].watch);
	return 0;
}

/* --- the stream's events --- */

static void exec_on_data(void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct session *s = user;
	hull_in_data(&s->in, p, n);
}

static void stdin_eof(struct session *s)
{
	/* On a terminal the end of input is a character. */
	if (s->tty && !s->in.eof && !s->ended)
		hull_in_data(&s->in, (const uint8_t *)"\004", 1);
	s->in.eof = true;
	if (!s->tty)
		hull_in_eof(&s->in);
}

static void exec_on_message(void *user, const uint8_t *p, size_t n)
{
	struct session *s = user;
	struct hull_cur cur = hull_cur_make(p, n);
	struct hull_arg a;
	unsigned kind = hull_cur_u8(&cur);
	unsigned rows = 0, cols = 0, sig = 0;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_ROWS)
			rows = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_COLS)
			cols = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_SIGNAL)
			sig = hull_arg_u32(&a);
	}
	if (kind == HULL_MSG_RESIZE && s->tty && s->out[0].open)
		hull_pty_resize(s->out[0].fd, rows, cols);
	else if (kind == HULL_MSG_SIGNAL && sig > 0 && sig < (unsigned)NSIG)
		signal_session(s, (int)sig);
	else if (kind == HULL_MSG_STDIN_EOF)
		stdin_eof(s);
}

static void exec_on_writable(void *user)
{
	struct session *s = user;
	if (!s->started)
		return;
	hull_out_resume(&s->out[0]);
	hull_out_resume(&s->out[1]);
	session_finish(s);
}

static void exec_on_eof(void *user)
{
	stdin_eof(user);
}

/* The host is another now. */
static void suspend(struct session *s)
{
	s->suspended = s->keep = true;
	s->late = false;
	hull_timer_stop(&s->grace);
	hull_out_attach(&s->out[0], 0);
	hull_out_attach(&s->out[1], 0);
}

static void exec_on_closed(void *user, int code, const char *message)
{
	struct session *s = user;
	s->stream.id = 0;
	s->in.stream = 0;
	if (s->id[0] && !s->reported && hull_wire_ending(hull_wire)) {
		suspend(s);
		return;
	}
	if (!s->ended && !s->keep) {
		signal_session(s, SIGHUP);
		if (s->tty)
			kill(-s->group, SIGHUP); /* the shell itself, when something else was in the foreground */
		kill(-s->group, SIGCONT);
		session_free(s);
		tell_end();
		return;
	}
	s->reported = true;
	hull_in_close(&s->in);
	hull_out_discard(&s->out[0]);
	hull_out_discard(&s->out[1]);
	session_settle(s);
}

static const struct hull_stream_ops exec_ops = {
	.data = exec_on_data,
	.message = exec_on_message,
	.writable = exec_on_writable,
	.eof = exec_on_eof,
	.closed = exec_on_closed,
};

void hull_exec_authorities(bool there)
{
	authorities = there;
}

void hull_exec_announce(void)
{
	for (struct session *s = all; s; s = s->next) {
		_cleanup_(hull_buf_free) struct hull_buf b = {0};
		if (!s->suspended)
			continue;
		hull_args_put_str(&b, HULL_TAG_ID, s->id);
		hull_args_put_u32(&b, HULL_TAG_TTY, s->tty);
		if (hull_buf_add(&b, hull_buf_bytes(&s->argv), s->argv.len) == 0)
			hull_report(HULL_MSG_SESSION, &b);
	}
}

/* Go on with a suspended session on this stream. */
static void exec_attach(uint32_t stream, const char *id)
{
	struct session *s = all;
	while (s && (!s->suspended || strcmp(s->id, id) != 0))
		s = s->next;
	if (!s) {
		hull_wire_refuse(hull_wire, stream, ESRCH, "there is no such session");
		return;
	}
	s->suspended = false;
	s->stream.id = s->in.stream = stream;
	hull_out_attach(&s->out[0], stream);
	hull_out_attach(&s->out[1], stream);
	hull_wire_set_user(hull_wire, stream, s);
	if (s->started)
		exec_answer(s);
	if (s->stream.id && s->ended)
		report_end(s);
}

/* What tells a person which session it is, whole words of it. */
static void exec_remember(struct session *s, const struct hull_request *r)
{
	memcpy(s->id, r->id, sizeof(s->id));
	for (size_t i = 0; i < r->argc && s->argv.len + strlen(r->argv[i]) < ARGV_MAX; i++)
		hull_args_put_str(&s->argv, HULL_TAG_ARGV, r->argv[i]);
}

void hull_exec_open(uint32_t stream, const uint8_t *args, size_t len)
{
	struct hull_error err = {0};
	_cleanup_(hull_request_free) struct hull_request r = {0};
	_cleanup_(hull_user_free) struct hull_user u = {0};
	int e = hull_request_read(args, len, &r, &err);
	if (e == 0 && r.attach) {
		exec_attach(stream, r.id);
		return;
	}
	if (e == 0)
		e = hull_user_find_own(r.user ? r.user : "agent", &u, &err);
	r.authorities = authorities;
	if (e == 0)
		e = hull_request_complete(&r, &u, &err);
	struct session *s = e == 0 ? calloc(1, sizeof(*s)) : NULL;
	if (e == 0 && !s)
		e = hull_fail(&err, -ENOMEM, "out of memory");
	if (!s) {
		hull_wire_refuse(hull_wire, stream, -e, err.msg);
		return;
	}
	hull_reclaim_touch();
	sessions++;
	s->next = all;
	if (all)
		all->prev = s;
	all = s;
	s->stream = (struct hull_stream){.ops = &exec_ops, .id = stream};
	s->status_fd = -1;
	s->tty = r.tty;
	s->keep = r.keep;
	if (r.id[0])
		exec_remember(s, &r);
	s->program = strdup(r.program);
	s->cwd = r.cwd ? strdup(r.cwd) : NULL;
	e = s->program ? session_start(s, &r, &u, &err) : hull_fail(&err, -ENOMEM, "out of memory");
	if (e < 0) {
		hull_wire_refuse(hull_wire, stream, -e, err.msg);
		session_free(s);
		return;
	}
	hull_wire_set_user(hull_wire, stream, s);
}

/* --- warm-up exec: a session that no client asked for (warmup.c) --- */

struct warmup {
	struct launch launch;
	void (*wait)(void);
};

static void warmup_run(void *ctx, int status_fd)
{
	const struct warmup *r = ctx;
	r->wait();
	exec_run((void *)(uintptr_t)&r->launch, status_fd);
}

int hull_exec_warmup(void (*wait)(void), struct hull_error *err)
{
	static char *argv[] = {"true", NULL}, *env[] = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", NULL};
	struct hull_request request = {.program = argv[0], .argv = argv, .env = env};
	_cleanup_(hull_user_free) struct hull_user user = {0};
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct warmup r = {.launch = {.request = &request, .user = &user, .fd = {null, null, null}}, .wait = wait};
	struct hull_child child = {0};
	int e = hull_user_find_own("agent", &user, err);
	if (e == 0)
		e = hull_spawn(&child, -1, warmup_run, &r, NULL, NULL, err);
	if (e < 0)
		return e;
	int status = 0;
	while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
		;
	hull_child_forget(&child);
	return status == 0 ? 0 : hull_fail(err, -ECANCELED, "it did not come to its end");
}

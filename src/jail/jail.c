/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a jailed child: the parent's side, and the order of the steps on the child's.
 *
 * Two processes are made. The first, by fork(), enters the new namespaces; a pid namespace only holds for children,
 * so it clones once more, with CLONE_PARENT, and exits: the second process is pid 1 of its pid namespace and still a
 * direct child of the caller, who can wait for it. (One clone() with all the flags would do in a program without
 * threads; fork() is what puts malloc's locks in order in the child of one that has some.) Without namespaces the
 * first process is the child.
 *
 * What happens on the way is told over a pipe, one record per write: the second process's pid, "ready" just before
 * exec, or the failure with its message. The pipe is close-on-exec, so its end means: exec'd, or died. No "ready"
 * means it died.
 *
 * A failure that says "namespaces are not to be had here" makes the caller try again with Landlock; the attempt that
 * failed may be stuck halfway into a user namespace, so each attempt has a process of its own.
 *
 * Death of the parent: PR_SET_PDEATHSIG is cleared whenever ids change, so it is set after that, and then the
 * parent's pidfd, opened before the fork, tells whether it died in between. The kernel sends the signal when the
 * *thread* that forked ends: start children from a thread that lives as long as the process (the main one). */
#include "jail/jail_internal.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum record_kind { RECORD_PID = 1, RECORD_READY, RECORD_FAILED, RECORD_UNSUPPORTED };

/* Smaller than PIPE_BUF, so that a write is all or nothing. */
struct record {
	int32_t kind;
	int32_t value; /* the pid, or -errno */
	char msg[1024];
};

/* What the child knows. */
struct entering {
	const struct hull_jail *jail;
	bool namespaces;
	bool root; /* of the host: may make device nodes and change ids */
	int report_fd;
	int parent_pidfd;
};

static void report(int fd, enum record_kind kind, int value, const char *msg)
{
	struct record r = {.kind = kind, .value = value};
	if (msg)
		snprintf(r.msg, sizeof(r.msg), "%s", msg);
	ssize_t n;
	do
		n = write(fd, &r, sizeof(r));
	while (n < 0 && errno == EINTR);
	/* If nobody listens any more there is nobody to tell; the exit code follows. */
}

__attribute__((noreturn)) static void give_up(const struct entering *in, enum record_kind kind,
					      const struct hull_error *err)
{
	report(in->report_fd, kind, err->code, err->msg);
	_exit(127);
}

/* --- the child's side --- */

/* The caller's handlers must not run here (libuv's writes to a pipe it shares with us). Signals have been blocked
 * since before the fork. */
static void reset_signals(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	for (int s = 1; s < NSIG; s++)
		if (s != SIGKILL && s != SIGSTOP)
			sigaction(s, &dfl, NULL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int die_with_parent(const struct entering *in, struct hull_error *err)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return hull_fail_errno(err, "jail: prctl(PR_SET_PDEATHSIG)");
	struct pollfd p = {.fd = in->parent_pidfd, .events = POLLIN};
	if (poll(&p, 1, 0) != 0)
		_exit(127); /* it died before the call above: nobody is left to report to */
	return 0;
}

/* From here on in the final process. */
__attribute__((noreturn)) static void enter(const struct entering *in)
{
	const struct hull_jail *jail = in->jail;
	struct hull_error err = {0};
	_cleanup_close_ int rules = -1;

	setsid();
	if (in->namespaces ? hull_jail_make_root(jail, in->root, &err) < 0
			   : hull_jail_landlock_rules(jail, &rules, &err) < 0)
		give_up(in, RECORD_FAILED, &err);
	if (hull_jail_set_limits(jail, in->root, in->namespaces, &err) < 0 ||
	    hull_jail_drop(jail, in->root, in->namespaces, &err) < 0)
		give_up(in, RECORD_FAILED, &err);
	if (rules >= 0 && hull_jail_landlock_enforce(rules, &err) < 0)
		give_up(in, RECORD_FAILED, &err);
	if (die_with_parent(in, &err) < 0 || hull_jail_set_fds(jail, in->report_fd, in->parent_pidfd, &err) < 0)
		give_up(in, RECORD_FAILED, &err);
	rules = -1; /* closed with the rest */
	if (hull_jail_base_filter(jail, in->namespaces, &err) < 0)
		give_up(in, RECORD_FAILED, &err);
	reset_signals();
	if (!jail->keep_umask)
		umask(077);
	if (chdir("/") < 0) { /* with Landlock it is still where the caller stands */
		hull_fail_errno(&err, "jail: chdir /");
		give_up(in, RECORD_FAILED, &err);
	}
	/* Said before the caller's filter is in place: that one need not allow the write. */
	report(in->report_fd, RECORD_READY, 0, NULL);
	if (jail->seccomp && jail->seccomp(jail->arg, &err) < 0) {
		hull_wrap(&err, "jail: system call filter");
		give_up(in, RECORD_FAILED, &err);
	}
	if (!jail->argv) {
		close(in->report_fd);
		_exit(jail->entry(jail->arg));
	}
	static char *const no_env[] = {NULL};
	char *const *env = jail->envp ? jail->envp : no_env;
	if (jail->program_fd > 0)
		syscall(SYS_execveat, jail->program_fd, "", jail->argv, env, AT_EMPTY_PATH);
	else
		execve(jail->argv[0], jail->argv, env);
	hull_fail_errno(&err, "cannot run %s in its jail", jail->argv[0]);
	give_up(in, RECORD_FAILED, &err);
}

static int write_proc(const char *path, const char *text, struct hull_error *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return hull_fail_errno(err, "user namespace: writing %s", path);
	return 0;
}

static int enter_namespaces(const struct entering *in, struct hull_error *err)
{
	if (!in->root) {
		uid_t uid = geteuid();
		gid_t gid = getegid();
		char map[64];
		if (unshare(CLONE_NEWUSER) < 0)
			return hull_fail_errno(err, "cannot make a user namespace");
		/* Without "deny" a member of a group that is refused something could drop that group. */
		if (write_proc("/proc/self/setgroups", "deny", err) < 0)
			return err->code;
		snprintf(map, sizeof(map), "%u %u 1", uid, uid);
		if (write_proc("/proc/self/uid_map", map, err) < 0)
			return err->code;
		snprintf(map, sizeof(map), "%u %u 1", gid, gid);
		if (write_proc("/proc/self/gid_map", map, err) < 0)
			return err->code;
	}
	int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	if (!in->jail->need_net)
		flags |= CLONE_NEWNET;
	if (unshare(flags) < 0)
		return hull_fail_errno(err, "cannot make namespaces");
	return 0;
}

/* The first process in namespace mode: into the namespaces, then one more clone. */
__attribute__((noreturn)) static void enter_by_clone(const struct entering *in)
{
	struct hull_error err = {0};
	if (enter_namespaces(in, &err) < 0)
		give_up(in, RECORD_UNSUPPORTED, &err);
	struct clone_args args = {.flags = CLONE_PARENT};
#ifdef PR_GET_TID_ADDRESS
	/* libc remembers its thread id at this address; fork() would renew it, and so does this. A kernel that does
	 * not tell the address leaves it stale, which only pthread_kill() on the main thread would notice. */
	int *tid = NULL;
	if (prctl(PR_GET_TID_ADDRESS, &tid) == 0 && tid) {
		args.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
		args.child_tid = (uint64_t)(uintptr_t)tid;
	}
#endif
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		enter(in);
	if (pid < 0) {
		hull_fail_errno(&err, "cannot clone into the pid namespace");
		give_up(in, RECORD_UNSUPPORTED, &err);
	}
	report(in->report_fd, RECORD_PID, (int)pid, NULL);
	_exit(0);
}

/* --- the parent's side --- */

struct outcome {
	pid_t pid; /* of the final process, 0 = there is none */
	bool ready;
	bool unsupported;
};

/* Read records until the pipe ends. */
static int listen_to(int fd, struct outcome *o, struct hull_error *err)
{
	int code = 0;
	for (;;) {
		struct record r;
		ssize_t n = read(fd, &r, sizeof(r));
		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)sizeof(r))
			break;
		if (r.kind == RECORD_PID)
			o->pid = r.value;
		else if (r.kind == RECORD_READY)
			o->ready = true;
		else {
			o->unsupported = r.kind == RECORD_UNSUPPORTED;
			code = hull_fail(err, r.value, "%.*s", (int)sizeof(r.msg), r.msg);
		}
	}
	if (!code && !o->ready)
		code = hull_fail(err, -ECHILD,
				 "the jailed process died while it set itself up (killed, or out of memory?)");
	return code;
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int attempt(const struct hull_jail *jail, bool namespaces, struct hull_jailed *out, bool *unsupported,
		   struct hull_error *err)
{
	int ends[2];
	*unsupported = false;
	_cleanup_close_ int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (self < 0)
		return hull_fail_errno(err, "jail: pidfd_open (Linux 5.3 or later is needed)");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "jail: pipe");
	_cleanup_close_ int hear = ends[0];
	_cleanup_close_ int tell = ends[1];

	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t first = fork();
	if (first == 0) {
		struct entering in = {.jail = jail,
				      .namespaces = namespaces,
				      .root = geteuid() == 0,
				      .report_fd = tell,
				      .parent_pidfd = self};
		if (namespaces)
			enter_by_clone(&in);
		enter(&in);
	}
	int saved = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = saved;
	if (first < 0)
		return hull_fail_errno(err, "jail: fork");
	close(hull_steal_fd(&tell));

	struct outcome o = {.pid = namespaces ? 0 : first};
	int r = listen_to(hear, &o, err);
	*unsupported = o.unsupported;
	if (namespaces || r < 0)
		reap(first);
	if (r < 0) {
		if (namespaces && o.pid > 0)
			reap(o.pid);
		return r;
	}
	out->pid = o.pid;
	out->pidfd = (int)syscall(SYS_pidfd_open, o.pid, 0);
	if (out->pidfd < 0) {
		r = hull_fail_errno(err, "jail: pidfd_open of the child");
		kill(o.pid, SIGKILL);
		reap(o.pid);
		return r;
	}
	fcntl(out->pidfd, F_SETFD, FD_CLOEXEC);
	return 0;
}

static int check(const struct hull_jail *jail, struct hull_error *err)
{
	if (!jail->argv == !jail->entry)
		return hull_fail(err, -EINVAL, "jail: expected either a program or a function");
	if (jail->argv && (!jail->argv[0] || (jail->argv[0][0] != '/' && jail->program_fd <= 0)))
		return hull_fail(err, -EINVAL, "jail: the program's path must be absolute");
	if (geteuid() == 0 && !jail->drop_to_root && (jail->drop_uid == 0 || jail->drop_gid == 0))
		return hull_fail(err, -EINVAL,
				 "jail: started as root it needs an unprivileged user and group to run as");
	for (size_t i = 0; i < jail->bind_count; i++) {
		const char *t = jail->binds[i].target;
		if (!t || t[0] != '/' || strstr(t, "/../") || !jail->binds[i].source)
			return hull_fail(err, -EINVAL, "jail: bind %zu needs a source and an absolute target", i);
	}
	return 0;
}

int hull_jail_start_mode(const struct hull_jail *jail, enum hull_jail_mode mode, struct hull_jailed *out,
			 struct hull_error *err)
{
	struct hull_error first = {0}, second = {0};
	bool unsupported;
	int r = check(jail, err);
	if (r < 0)
		return r;
	*out = (struct hull_jailed){.pid = -1, .pidfd = -1};
	if (mode != HULL_JAIL_LANDLOCK) {
		r = attempt(jail, true, out, &unsupported, &first);
		if (r >= 0)
			return 0;
		if (mode == HULL_JAIL_NAMESPACES || !unsupported)
			return hull_fail(err, r, "%s", first.msg);
	}
	r = attempt(jail, false, out, &unsupported, &second);
	if (r < 0 && first.code)
		return hull_fail(err, r, "%s; without namespaces: %s", first.msg, second.msg);
	return r < 0 ? hull_fail(err, r, "%s", second.msg) : 0;
}

int hull_jail_start(const struct hull_jail *jail, struct hull_jailed *out, struct hull_error *err)
{
	return hull_jail_start_mode(jail, HULL_JAIL_AUTO, out, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and stops sandboxes.
 *
 * A start runs hull-keeper with a pipe on descriptor 3, on which it reports its stages and its result (keeper/api.h).
 * Its stderr is an unnamed file, which holds the reason if it fails early. A stop is requested on control.sock and
 * complete when the keeper's process has ended (pidfd). A keeper that does not respond is killed, which ends all of the
 * sandbox. */
#include "lib/sandbox/life.h"

#include "base/beside.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"
#include "git/git.h"
#include "keeper/api.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

enum {
	STATUS_MAX = 64 * 1024, /* largest unread status of a starting keeper */
	SOCKET_WAIT_MS = 10000, /* for the socket of a sandbox that another process is starting */
	KILL_ANSWER_MS = 5000,  /* after that the keeper itself is killed */
	STOP_SLACK_MS = 25000,  /* beyond the grace period, for the keeper to kill the machine */
	GONE_MS = 10000,        /* for a killed process to end */
};

int life_load(const struct hull *h, const char *name, struct hull_sandbox *out, struct hull_error *err)
{
	int r = hull_name_check(name, err);
	if (r >= 0)
		r = hull_sandbox_load(&h->paths, name, out, err);
	if (r != -ENOENT)
		return r;
	char **names = NULL;
	const char *near = NULL;
	if (hull_sandbox_list(&h->paths, &names, NULL) >= 0 && names)
		near = hull_closest(name, (const char *const *)names, hull_strv_count(names));
	if (near)
		hull_fail(err, r, "no sandbox is called %s: did you mean %s? `hull ls` lists them", name, near);
	else
		hull_fail(err, r, "no sandbox is called %s: `hull ls` lists them, `hull create` makes one", name);
	hull_strv_free(names);
	return r;
}

/* Wait until the process has ended; -ETIMEDOUT. */
static int await_end(int pidfd, int ms)
{
	struct pollfd fd = {.fd = pidfd, .events = POLLIN};
	int r;
	while ((r = poll(&fd, 1, ms)) < 0 && errno == EINTR)
		;
	return r > 0 ? 0 : -ETIMEDOUT;
}

/* --- starting --- */

struct starting {
	pid_t pid;
	int status_fd, stderr_fd;
};

static int spawn_keeper(const struct hull *h, const char *program, const char *name, char *const *envp,
			struct starting *out, struct hull_error *err)
{
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "pipe");
	_cleanup_close_ int status = pipe_fds[0], theirs = pipe_fds[1];
	_cleanup_close_ int words = memfd_create("keeper-stderr", MFD_CLOEXEC);
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (words < 0 || null < 0)
		return hull_fail_errno(err, "starting the keeper");
	pid_t pid = fork();
	if (pid < 0)
		return hull_fail_errno(err, "starting the keeper");
	if (!pid) {
		lib_child(h);
		/* Above the target numbers, so that no dup2 overwrites another source. */
		int s = fcntl(theirs, F_DUPFD, 10), w = fcntl(words, F_DUPFD, 10), z = fcntl(null, F_DUPFD, 10);
		if (s < 0 || w < 0 || z < 0 || dup2(z, 0) < 0 || dup2(z, 1) < 0 || dup2(w, 2) < 0 ||
		    dup2(s, HULL_KEEPER_STATUS_FD) < 0)
			_exit(126);
		syscall(SYS_close_range, 4U, ~0U, 0U);
		char *argv[] = {(char *)"hull-keeper", (char *)(uintptr_t)name, NULL};
		execve(program, argv, envp ? envp : environ);
		const char *why = strerrordesc_np(errno);
		_exit(why && write(2, why, strlen(why)) < 0 ? 126 : 127);
	}
	*out = (struct starting){.pid = pid, .status_fd = hull_steal_fd(&status), .stderr_fd = hull_steal_fd(&words)};
	return 0;
}

/* Handle one line of the status pipe: 1 = ready, 0 = continue, -errno = the start failed. */
static int status_line(const struct hull *h, const char *name, const char *line, size_t n, struct hull_error *err)
{
	json_t *o = json_loadb(line, n, 0, NULL);
	const char *stage = json_string_value(json_object_get(o, "stage"));
	const char *error = json_string_value(json_object_get(o, "error"));
	const char *note = json_string_value(json_object_get(o, "note"));
	json_int_t code = json_integer_value(json_object_get(o, "code"));
	int r = 0;
	if (error)
		r = hull_fail(err, code > 0 && code < 4096 ? -(int)code : -EIO, "%s", error);
	else if (json_is_true(json_object_get(o, "ready")))
		r = 1;
	else if (stage)
		lib_stage(h, name, "%s", stage);
	if (note)
		lib_note(h, HULL_NOTE_INFO, "%s: %s", name, note);
	json_decref(o);
	return r;
}

/* The pipe ended without "ready" or an error. */
static int silent_end(const char *name, struct starting *s, struct hull_error *err)
{
	char words[512];
	ssize_t n = pread(s->stderr_fd, words, sizeof words - 1, 0);
	n = n < 0 ? 0 : n;
	while (n && (words[n - 1] == '\n' || words[n - 1] == ' '))
		n--;
	words[n] = 0;
	return hull_fail(err, -EIO,
			 "starting %s: hull-keeper ended before it was ready%s%s; `hull logs %s` may have more", name,
			 n ? ": " : "", words, name);
}

/* Cancelled. The keeper reported its stage while holding the lock, so the holder of the lock is ours. A keeper that is
 * restoring memory is not stopped, because the memory might be lost. */
static int call_off(const struct hull *h, const char *name, bool restores, struct hull_error *err)
{
	const struct hull_paths *p = &h->paths;
	_cleanup_close_ int keeper = restores ? -1 : hull_sandbox_keeper(p, name);
	if (!restores)
		lib_stage(h, name, "interrupted: stopping");
	if (keeper >= 0) {
		syscall(SYS_pidfd_send_signal, keeper, SIGTERM, NULL, 0);
		await_end(keeper, GONE_MS);
	}
	if (hull_sandbox_running(p, name))
		return hull_fail(err, -EINTR, "interrupted; %s continues to start: `hull stop %s` stops it", name,
				 name);
	return hull_fail(err, -EINTR, "starting %s: interrupted", name);
}

static int await_ready(const struct hull *h, const char *name, struct starting *s, bool restores,
		       struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	bool heard = false, interrupted = false;
	for (;;) {
		if (heard && interrupted)
			return call_off(h, name, restores, err);
		struct pollfd fd = {.fd = s->status_fd, .events = POLLIN};
		/* The cancel descriptor may stay readable: it is not polled again. */
		int w = interrupted ? poll(&fd, 1, -1) : lib_poll(h, &fd, 1, -1, err);
		if (w == -EINTR && !interrupted)
			interrupted = true;
		else if (w < 0 && !interrupted)
			return w;
		if (!fd.revents)
			continue;
		uint8_t *at = hull_buf_room(&text, 4096);
		ssize_t n = at ? read(s->status_fd, at, 4096) : -1;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || text.len > STATUS_MAX)
			return silent_end(name, s, err);
		hull_buf_added(&text, (size_t)n);
		uint8_t *end;
		while ((end = memchr(hull_buf_bytes(&text), '\n', text.len)) != NULL) {
			size_t len = (size_t)(end - hull_buf_bytes(&text));
			int r = status_line(h, name, (const char *)hull_buf_bytes(&text), len, err);
			if (r > 0 && interrupted)
				return call_off(h, name, restores, err);
			if (r)
				return r;
			heard = true;
			hull_buf_drain(&text, len + 1);
		}
	}
}

/* Will its memory be restored? Suspended memory may exist and not be used: if the keeper was killed while resuming, the
 * disk may have changed since. */
static bool look_at_memory(const struct hull *h, const char *name)
{
	const struct hull_paths *p = &h->paths;
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	_cleanup_free_ char *frozen = hull_sandbox_path(p, name, "frozen");
	if (hull_sandbox_load(p, name, &s, NULL) < 0)
		return false;
	if (frozen && access(frozen, F_OK) == 0 && !s.restore && !strcmp(hull_sandbox_truth(&s, false), "crashed"))
		lib_note(h, HULL_NOTE_WARNING,
			 "%s was killed while it was being resumed: its processes are lost, and it boots from its disk",
			 name);
	return s.restore != NULL;
}

int life_start_leased(const struct hull *h, const char *name, char *const *envp, int *lease, struct hull_error *err)
{
	const struct hull_paths *p = &h->paths;
	if (hull_sandbox_running(p, name))
		return 1;
	bool restores = look_at_memory(h, name);
	_cleanup_free_ char *program = hull_beside("hull-keeper", X_OK, err);
	if (!program)
		return err->code;
	struct starting s = {.status_fd = -1, .stderr_fd = -1};
	int r = spawn_keeper(h, program, name, envp, &s, err);
	if (r < 0)
		return r;
	lib_stage(h, name, "starting");
	r = await_ready(h, name, &s, restores, err);
	if (lease && r >= 0)
		*lease = hull_steal_fd(&s.status_fd);
	else
		close(s.status_fd);
	close(s.stderr_fd);
	/* The keeper has daemonized: its first process has ended. */
	while (waitpid(s.pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (r == -EBUSY && hull_sandbox_running(p, name))
		return 1; /* somebody else was quicker */
	return r < 0 ? r : 0;
}

int life_start(const struct hull *h, const char *name, char *const *envp, struct hull_error *err)
{
	return life_start_leased(h, name, envp, NULL, err);
}

int life_connect(const struct hull *h, const char *name, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = life_load(h, name, &sb, err);
	if (r < 0)
		return r;
	/* It may have stopped between the check and the connect: try once more. */
	for (int attempt = 0;; attempt++) {
		r = life_start(h, name, NULL, err);
		if (r < 0)
			return r;
		int fd = client_connect(&h->paths, name, SOCKET_WAIT_MS, err);
		if (fd == -ENOTCONN && attempt < 2)
			continue;
		if (fd < 0)
			return fd;
		lib_stage(h, name, "waiting for the guest");
		return fd;
	}
}

/* --- ending --- */

int life_stop(const struct hull *h, const char *name, int grace_ms, struct hull_error *err)
{
	const struct hull_paths *p = &h->paths;
	_cleanup_close_ int pidfd = hull_sandbox_keeper(p, name);
	lib_stage(h, name, "%s", grace_ms < 0 ? "killing" : "stopping");
	json_t *request = grace_ms < 0 ? json_pack("{s:s}", "do", "kill")
				       : json_pack("{s:s, s:i}", "do", "stop", "grace_ms", grace_ms);
	int timeout = grace_ms < 0                         ? KILL_ANSWER_MS
		      : grace_ms < INT_MAX - STOP_SLACK_MS ? grace_ms + STOP_SLACK_MS
							   : -1;
	int r = client_ask(h, name, request, timeout, NULL, err);
	/* The keeper has ended or is ending: it may have been killed. If it does not end, the stop request had no
	 * effect. */
	bool refused = r == -ECONNRESET;
	if (r == -ENOTCONN || r == -ECONNRESET)
		r = 0;
	if (r < 0)
		return r == -ETIMEDOUT
			       ? hull_fail(err, r,
					   "%s does not stop: `hull rm -f %s` removes it, `hull stop -t 0 %s` pulls "
					   "the plug",
					   name, name, name)
			       : r;
	/* The answer precedes the keeper's end; the lock is free after that. */
	if (pidfd >= 0)
		await_end(pidfd, GONE_MS);
	if (refused && hull_sandbox_running(p, name))
		return hull_fail(err, -EBUSY,
				 "%s was not stopped: its keeper closed the connection and goes on; try again, or "
				 "`hull rm -f %s` removes it by force",
				 name, name);
	if (pidfd >= 0 && hull_sandbox_running(p, name))
		return hull_fail(err, -ETIMEDOUT,
				 "%s has stopped, but its keeper does not end: `hull rm -f %s` removes it", name, name);
	return 0;
}

/* Remove the sandbox's remote from the repository. */
static void forget_remote(const struct hull *h, const char *clone, const char *name)
{
	struct hull_error err = {0};
	bool kept = false;
	if (hull_git_remote_remove(clone, name, &kept, &err) < 0)
		lib_note(h, HULL_NOTE_WARNING, "%s still has the remote hull-%s: %s", clone, name, err.msg);
	else if (kept)
		lib_note(h, HULL_NOTE_WARNING,
			 "commits fetched from %s that no branch has stay in %s as refs/remotes/hull-%s/", name, clone,
			 name);
}

int life_remove(const struct hull *h, const char *name, struct hull_error *err)
{
	const struct hull_paths *p = &h->paths;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	bool known = hull_sandbox_load(p, name, &sb, NULL) >= 0;
	if (hull_sandbox_running(p, name)) {
		struct hull_error why = {0};
		struct hull silent = *h;
		silent.callbacks.stage = NULL;
		if (life_stop(&silent, name, -1, &why) < 0 || hull_sandbox_running(p, name)) {
			_cleanup_close_ int pidfd = hull_sandbox_keeper(p, name);
			if (pidfd < 0 && hull_sandbox_running(p, name))
				return hull_fail(err, -EBUSY, "%s does not stop, and its process was not found: %s",
						 name, why.msg);
			if (pidfd >= 0) {
				syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
				if (await_end(pidfd, GONE_MS) < 0)
					return hull_fail(err, -EBUSY, "%s: its keeper did not end after SIGKILL", name);
			}
		}
	}
	int r = hull_sandbox_remove(p, name, err);
	/* A sandbox made with --rm is removed by its keeper. */
	r = r == -ENOENT ? 0 : r;
	if (r >= 0 && known && sb.clone)
		forget_remote(h, sb.clone, name);
	return r;
}

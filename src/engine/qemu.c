/* SPDX-License-Identifier: Apache-2.0 */
/* A running QEMU: its events, its requests and its end. It is started in qemu_start.c.
 *
 * States: STARTING until QMP is negotiated and, for a restore, everything is loaded (then PAUSED); afterwards RUNNING
 * and PAUSED according to QEMU's STOP and RESUME events; STOPPED once the process has been reaped. All descriptors are
 * in one epoll instance, which the owner watches. A descriptor that QEMU closes early is removed from it, so that the
 * owner does not spin.
 *
 * QEMU is not fully trusted. Its output is limited (QMP lines, logs, number of reported problems). A violation of QMP
 * kills it. Reads per dispatch are limited, so that a flood on one descriptor cannot starve the owner.
 *
 * Disk errors: when a write fails because the host's disk is full, the machine is paused (werror=enospc); nothing is
 * lost, and resuming retries the write. Every other error is passed to the guest. Both are reported as trouble. */
#include "engine/qemu_internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

enum { READ_AT_ONCE = 64 * 1024, DRAIN_MAX = 64, TROUBLES_MAX = 20 };

static void set_state(struct hull_engine *e, enum hull_engine_state state)
{
	if (e->state == state)
		return;
	e->state = state;
	if (e->events.state)
		e->events.state(e->ctx, state);
}

static void trouble(struct hull_engine *e, const char *text)
{
	if (e->troubles >= TROUBLES_MAX)
		return;
	e->troubles++;
	if (e->events.trouble)
		e->events.trouble(e->ctx, text);
}

static void send_kill(struct hull_engine *e)
{
	if (e->pid && !e->reaped)
		syscall(SYS_pidfd_send_signal, e->pidfd, SIGKILL, NULL, 0);
}

/* Kill it for misbehaving, and record the reason for the outcome. */
static void condemn(struct hull_engine *e, const struct hull_error *why)
{
	if (!e->failure.code)
		e->failure = *why;
	send_kill(e);
}

/* --- watching --- */

int hull_engine_watch(struct hull_engine *e, int fd, enum hull_engine_watch what)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = what};
	return epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static void unwatch(struct hull_engine *e, int *fd)
{
	epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
	hull_closep(fd);
	*fd = -1;
}

/* Send QMP's queued output; wait for room when there is none. */
void hull_qemu_flush(struct hull_engine *e)
{
	const uint8_t *p;
	size_t n;
	if (e->qmp_fd < 0)
		return;
	while ((n = hull_qmp_output(e->qmp, &p)) > 0) {
		ssize_t sent = send(e->qmp_fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			break; /* EAGAIN, or closed, which the reading side notices */
		hull_qmp_sent(e->qmp, (size_t)sent);
	}
	struct epoll_event ev = {.events = EPOLLIN | (n > 0 ? EPOLLOUT : 0), .data.u32 = WATCH_QMP};
	epoll_ctl(e->epoll_fd, EPOLL_CTL_MOD, e->qmp_fd, &ev);
}

/* --- QMP --- */

static void on_greeting(void *ctx, int major, int minor, int micro)
{
	struct hull_engine *e = ctx;
	struct hull_error err;
	snprintf(e->describe, sizeof(e->describe), "qemu %d.%d.%d (%s)", major, minor, micro, hull_engine_accel(e));
	if (hull_qemu_check_version(major, minor, &err) < 0)
		condemn(e, &err);
}

static void answers(struct hull_engine *e, enum hull_engine_state state)
{
	static const struct itimerspec never = {0};
	timerfd_settime(e->timer_fd, 0, &never, NULL);
	e->restoring = false;
	if (e->state == HULL_ENGINE_STARTING)
		set_state(e, state);
}

static void on_ready(void *ctx)
{
	struct hull_engine *e = ctx;
	/* Loading may have finished already, and its event came before we expected it. */
	if (e->restoring)
		hull_qmp_command(e->qmp, "query-status", NULL, &e->load_id);
	else
		answers(e, HULL_ENGINE_RUNNING);
}

static const char *text_of(const json_t *data, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(data, key));
	return s ? s : otherwise;
}

static void on_disk_error(struct hull_engine *e, const json_t *data)
{
	char text[320];
	const char *reason = text_of(data, "reason", "unknown reason");
	_cleanup_free_ char *why = hull_printable(reason, strnlen(reason, 120));
	if (json_is_true(json_object_get(data, "nospace")) && hull_streq(text_of(data, "action", ""), "stop"))
		snprintf(
			text, sizeof(text),
			"the host's disk is full, so the sandbox's disk cannot grow: the machine is paused, nothing is "
			"lost; free some space and resume it");
	else
		snprintf(text, sizeof(text), "disk error on %s: %s; the guest was told",
			 hull_streq(text_of(data, "operation", ""), "read") ? "reading" : "writing", why ? why : "?");
	trouble(e, text);
}

static void on_event(void *ctx, const char *name, const json_t *data)
{
	struct hull_engine *e = ctx;
	hull_qemu_keep_event(e, name, data);
	if (hull_streq(name, "MIGRATION") && e->restoring && hull_streq(text_of(data, "status", ""), "completed")) {
		answers(e, HULL_ENGINE_PAUSED);
	} else if (hull_streq(name, "STOP") && e->state == HULL_ENGINE_RUNNING) {
		set_state(e, HULL_ENGINE_PAUSED);
	} else if (hull_streq(name, "RESUME") && e->state == HULL_ENGINE_PAUSED) {
		e->troubles = 0;
		set_state(e, HULL_ENGINE_RUNNING);
	} else if (hull_streq(name, "SHUTDOWN")) {
		snprintf(e->shutdown_reason, sizeof(e->shutdown_reason), "%s", text_of(data, "reason", "unknown"));
	} else if (hull_streq(name, "BLOCK_IO_ERROR")) {
		on_disk_error(e, data);
	} else if (hull_streq(name, "GUEST_PANICKED")) {
		trouble(e, "the guest's kernel panicked; see the serial log");
	}
}

static void on_reply(void *ctx, uint64_t id, const json_t *result, const char *error)
{
	struct hull_engine *e = ctx;
	_cleanup_free_ char *why = error ? hull_printable(error, strnlen(error, 200)) : NULL;
	if (id == e->save_id) {
		e->save_id = 0;
		if (e->events.saved)
			e->events.saved(e->ctx, error ? why ? why : "?" : NULL);
		return;
	}
	if (hull_qemu_keep_reply(e, id, error ? why ? why : "?" : NULL))
		return;
	if (id == e->grow_id) {
		e->grow_id = 0;
		if (e->events.grown)
			e->events.grown(e->ctx, error ? why ? why : "?" : NULL);
		return;
	}
	if (id == e->load_id && !error) {
		if (e->restoring && !hull_streq(text_of(result, "status", "inmigrate"), "inmigrate"))
			answers(e, HULL_ENGINE_PAUSED);
		return;
	}
	if (!error)
		return;
	char text[320];
	snprintf(text, sizeof(text), "QEMU refused a command: %s", why ? why : "?");
	trouble(e, text);
}

int hull_qemu_new_session(struct hull_engine *e, struct hull_error *err)
{
	static const struct hull_qmp_ops ops = {
		.greeting = on_greeting, .ready = on_ready, .event = on_event, .reply = on_reply};
	snprintf(e->describe, sizeof(e->describe), "qemu (%s)", hull_engine_accel(e));
	e->qmp = hull_qmp_new(&ops, e);
	return e->qmp ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

/* --- reading --- */

/* Look for the console line that explains why a guest ended early. */
static void scan_serial(struct hull_engine *e, const char *p, size_t n)
{
	static const char sign[] = "Kernel panic - not syncing: ";
	for (size_t i = 0; i < n && !e->panic[0]; i++) {
		if (p[i] != '\n' && e->line_len < sizeof(e->line) - 1) {
			e->line[e->line_len++] = p[i];
			continue;
		}
		if (p[i] != '\n')
			continue;
		while (e->line_len > 0 && e->line[e->line_len - 1] == '\r')
			e->line_len--;
		e->line[e->line_len] = '\0';
		const char *at = strstr(e->line, sign);
		e->line_len = 0;
		if (!at)
			continue;
		_cleanup_free_ char *what = hull_printable(at + sizeof(sign) - 1, strlen(at + sizeof(sign) - 1));
		snprintf(e->panic, sizeof(e->panic), "%.150s", what ? what : "?");
		char text[256];
		snprintf(text, sizeof(text), "the guest's kernel panicked: %s", e->panic);
		trouble(e, text);
	}
}

/* One read from fd and its consequences; false when there is no more data for now, or at all. */
static bool read_one(struct hull_engine *e, int *fd, enum hull_engine_watch what)
{
	char buf[READ_AT_ONCE];
	if (*fd < 0)
		return false;
	ssize_t n = read(*fd, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (n <= 0) {
		unwatch(e, fd);
		return false;
	}
	if (what == WATCH_SERIAL) {
		hull_capped_log_write(&e->serial, buf, (size_t)n);
		scan_serial(e, buf, (size_t)n);
	} else if (what == WATCH_STDERR) {
		hull_capped_log_write(&e->words, buf, (size_t)n);
	} else {
		struct hull_error err;
		if (hull_qmp_feed(e->qmp, buf, (size_t)n, &err) < 0) {
			unwatch(e, fd);
			condemn(e, &err);
			return false;
		}
		hull_qemu_flush(e);
	}
	return true;
}

static void on_timer(struct hull_engine *e)
{
	uint64_t count;
	struct hull_error err;
	if (read(e->timer_fd, &count, sizeof(count)) != sizeof(count) || e->state != HULL_ENGINE_STARTING)
		return;
	hull_fail(&err, -ETIMEDOUT, "QEMU runs but does not respond on its control socket");
	condemn(e, &err);
}

/* The process has ended: read its remaining output, reap it, notify the owner, who may free us in that call. */
static void on_exit_of_process(struct hull_engine *e)
{
	for (int i = 0; i < DRAIN_MAX && read_one(e, &e->qmp_fd, WATCH_QMP); i++)
		;
	for (int i = 0; i < DRAIN_MAX && read_one(e, &e->serial_fd, WATCH_SERIAL); i++)
		;
	for (int i = 0; i < DRAIN_MAX && read_one(e, &e->stderr_fd, WATCH_STDERR); i++)
		;
	/* Does not block: the pidfd has reported that it exited. */
	while (waitpid(e->pid, &e->wait_status, 0) < 0) {
		if (errno != EINTR) {
			e->wait_status = -1; /* it was reaped elsewhere; the outcome says so */
			break;
		}
	}
	e->reaped = true;
	unwatch(e, &e->pidfd);
	unwatch(e, &e->timer_fd);
	set_state(e, HULL_ENGINE_STOPPED);
}

void hull_engine_dispatch(struct hull_engine *e)
{
	struct epoll_event ev[8];
	bool ended = false;
	int n = epoll_wait(e->epoll_fd, ev, 8, 0);
	for (int i = 0; i < n; i++) {
		switch (ev[i].data.u32) {
		case WATCH_QMP:
			read_one(e, &e->qmp_fd, WATCH_QMP);
			hull_qemu_flush(e);
			break;
		case WATCH_SERIAL:
			read_one(e, &e->serial_fd, WATCH_SERIAL);
			break;
		case WATCH_STDERR:
			read_one(e, &e->stderr_fd, WATCH_STDERR);
			break;
		case WATCH_TIMER:
			on_timer(e);
			break;
		default:
			ended = true;
		}
	}
	if (ended && !e->reaped)
		on_exit_of_process(e);
}

/* --- asking --- */

int hull_engine_wire_fd(const struct hull_engine *e)
{
	return e->wire;
}

pid_t hull_engine_pid(const struct hull_engine *e)
{
	return e->pid;
}

const char *hull_engine_describe(const struct hull_engine *e)
{
	return e->describe;
}

const char *hull_engine_accel(const struct hull_engine *e)
{
	return e->kvm ? "kvm" : "tcg";
}

size_t hull_engine_fds(const struct hull_engine *e, int *fds, size_t max)
{
	if (max < 1)
		return 0;
	fds[0] = e->epoll_fd;
	return 1;
}

static int command(struct hull_engine *e, const char *name, struct hull_error *err)
{
	if (e->state == HULL_ENGINE_STOPPED || e->qmp_fd < 0)
		return hull_fail(err, -ESRCH, "the machine is not running");
	if (hull_qmp_command(e->qmp, name, NULL, NULL) < 0)
		return hull_fail(err, -EPIPE, "QEMU's control socket is broken");
	hull_qemu_flush(e);
	return 0;
}

int hull_engine_pause(struct hull_engine *e, struct hull_error *err)
{
	return command(e, "stop", err);
}

int hull_engine_resume(struct hull_engine *e, struct hull_error *err)
{
	return command(e, "cont", err);
}

int hull_engine_disk_grow(struct hull_engine *e, size_t disk, uint64_t bytes, struct hull_error *err)
{
	char args[96];
	if (e->state == HULL_ENGINE_STOPPED || e->qmp_fd < 0)
		return hull_fail(err, -ESRCH, "the machine is not running");
	if (e->grow_id)
		return hull_fail(err, -EBUSY, "the disk is already being enlarged");
	if (!bytes || bytes % 512 || bytes > INT64_MAX)
		return hull_fail(err, -EINVAL, "a disk's size is a multiple of 512 bytes");
	snprintf(args, sizeof(args), "{\"node-name\": \"disk%zu\", \"size\": %llu}", disk, (unsigned long long)bytes);
	if (hull_qmp_command(e->qmp, "block_resize", args, &e->grow_id) < 0)
		return hull_fail(err, -EPIPE, "QEMU's control socket is broken");
	hull_qemu_flush(e);
	return 0;
}

/* QEMU keeps a received descriptor until a command takes it. */
int hull_qemu_send_fd(struct hull_engine *e, int fd)
{
	const uint8_t *p;
	size_t n = hull_qmp_output(e->qmp, &p);
	char space[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	ssize_t sent = sendmsg(e->qmp_fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return -errno;
	hull_qmp_sent(e->qmp, (size_t)sent);
	return 0;
}

int hull_engine_save_device(struct hull_engine *e, int fd, struct hull_error *err)
{
	if (e->state != HULL_ENGINE_PAUSED || e->save_id)
		return hull_fail(err, -EBUSY, "the machine is not paused, or is already being saved");
	if (hull_qmp_command(e->qmp, "add-fd", "{\"fdset-id\": 100}", NULL) < 0)
		return hull_fail(err, -EPIPE, "QEMU's control socket is broken");
	int r = hull_qemu_send_fd(e, fd);
	if (r < 0)
		return hull_fail(err, r, "cannot give QEMU the file for its state: %s", strerror(-r));
	/* Meant for another hypervisor, this command writes the device state and nothing else. It also stops the
	 * machine, which is stopped already. */
	if (hull_qmp_command(e->qmp, "xen-save-devices-state", "{\"filename\": \"/dev/fdset/100\", \"live\": false}",
			     &e->save_id) < 0 ||
	    hull_qmp_command(e->qmp, "remove-fd", "{\"fdset-id\": 100}", NULL) < 0)
		return hull_fail(err, -EPIPE, "QEMU's control socket is broken");
	hull_qemu_flush(e);
	return 0;
}

void hull_engine_kill(struct hull_engine *e)
{
	e->killed = true;
	send_kill(e);
}

void hull_qemu_set_patience(struct hull_engine *e, unsigned milliseconds)
{
	struct itimerspec t = {.it_value = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L}};
	timerfd_settime(e->timer_fd, 0, &t, NULL);
}

/* QEMU ended without a message from the guest. An old version may have rejected an option before its greeting. */
static int explain_exit(const struct hull_engine *e, struct hull_error *err)
{
	char words[600], version[32] = "";
	struct hull_error old;
	if (e->state == HULL_ENGINE_STOPPED && !hull_qmp_ready(e->qmp) &&
	    hull_engine_qemu_version(version, sizeof(version), &old) == -ENOTSUP)
		return hull_fail(err, old.code, "%s", old.msg);
	hull_capped_log_last_words(&e->words, words, sizeof(words));
	return hull_fail(err, -EIO, "QEMU exited with code %d: %s", WEXITSTATUS(e->wait_status),
			 words[0] ? words : "it said nothing");
}

int hull_engine_outcome(const struct hull_engine *e, struct hull_error *err)
{
	int status = e->wait_status;
	if (e->state != HULL_ENGINE_STOPPED)
		return hull_fail(err, -EBUSY, "the machine is still running");
	if (e->failure.code)
		return hull_fail(err, e->failure.code, "%s", e->failure.msg);
	if (status == -1)
		return hull_fail(err, -ECHILD, "the machine's process ended; its exit code is unknown");
	if (WIFSIGNALED(status)) {
		char words[400];
		if (e->killed)
			return hull_fail(err, -ECANCELED, "killed");
		if (WTERMSIG(status) == SIGKILL)
			return hull_fail(err, -EIO,
					 "QEMU was killed (by hand, or the host ran out of memory: see dmesg)");
		hull_capped_log_last_words(&e->words, words, sizeof(words));
		return hull_fail(err, -EIO, "QEMU crashed with signal %d (%s): %s", WTERMSIG(status),
				 strsignal(WTERMSIG(status)), words[0] ? words : "it said nothing");
	}
	if (e->panic[0])
		return hull_fail(err, -EIO, "the guest's kernel panicked: %s", e->panic);
	if (WEXITSTATUS(status) == 0 && hull_streq(e->shutdown_reason, "guest-shutdown"))
		return 0;
	if (WEXITSTATUS(status) == 0 && hull_streq(e->shutdown_reason, "guest-reset"))
		return hull_fail(err, -EIO, "the guest reset itself; see the serial log");
	return explain_exit(e, err);
}

static int pss_of(const char *text, uint64_t *bytes)
{
	unsigned long long kib;
	const char *at = strstr(text, "\nPss:");
	if (!at || sscanf(at, "\nPss: %llu kB", &kib) != 1)
		return -EIO;
	*bytes = kib * 1024;
	return 0;
}

int hull_engine_memory(const struct hull_engine *e, uint64_t *bytes)
{
	char text[2048];
	if (!e->pid || e->reaped)
		return -ESRCH;
	_cleanup_free_ char *path = hull_fmt("/proc/%d/smaps_rollup", e->pid);
	_cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return -errno;
	ssize_t n = hull_read_full(fd, text, sizeof(text) - 1);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	return pss_of(text, bytes);
}

void hull_engine_free(struct hull_engine *e)
{
	if (!e)
		return;
	/* Only when a start has failed: the process that holds this engine ends after it, and nothing else waits. It has to
	 * wait however long the kernel takes, because the disk is in use until QEMU has exited. */
	if (e->pid && !e->reaped) {
		send_kill(e);
		while (waitpid(e->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	int *fds[] = {&e->pidfd, &e->timer_fd, &e->wire, &e->qmp_fd, &e->serial_fd, &e->stderr_fd, &e->epoll_fd};
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		hull_closep(fds[i]);
	hull_capped_log_close(&e->serial);
	hull_capped_log_close(&e->words);
	hull_qmp_free(e->qmp);
	free(e);
}

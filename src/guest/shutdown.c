/* SPDX-License-Identifier: Apache-2.0 */
/* Shuts the sandbox down, for the host (SHUTDOWN on control), for a signal to PID 1, or for poweroff in the sandbox.
 *
 *   1. Report STOPPING and refuse new streams. Send TERM to the sessions (HUP to what ignores TERM, as interactive
 *      shells do) and stop dockerd, which stops its containers.
 *   2. Wait for all of these, or until the grace is over:
 *        - dockerd has exited,
 *        - the cgroup of sessions is empty,
 *        - the exit of each session has been reported (the cgroup is empty before PID 1 can report).
 *   3. Kill everything that is left.
 *   4. Unmount the workspaces, switch swap off, sync, unmount, power off.
 *
 * The waits are events: SIGCHLD, and cgroup.events of the sessions. */
#include "guest/guest.h"

#include "base/cleanup.h"
#include "guest/boot/boot.h"
#include "guest/core/cgroup.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"
#include "guest/docker/docker.h"
#include "guest/machine/machine.h"
#include "guest/session/session.h"
#include "guest/workspace/workspace.h"
#include "wire/service.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>

enum { FLUSH_MS = 500, KILL_WAIT_S = 5 };

static bool docker_gone, sessions_gone;
static struct hull_timer grace;
static struct hull_watch events_watch;
static int events_fd = -1;

static _Noreturn void shutdown_power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_HALT_SYSTEM);
	for (;;)
		pause();
}

_Noreturn void hull_give_up(const struct hull_error *err)
{
	hull_say("the sandbox cannot start: %s", err->msg);
	hull_port_flush(FLUSH_MS);
	shutdown_power_off();
}

/* Kill what is left, whatever it is, and wait until it has gone. */
static void kill_all(void)
{
	sigset_t chld;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	struct timespec wait = {.tv_sec = KILL_WAIT_S};
	hull_put(HULL_CG_ROOT "/work/cgroup.kill", "1");
	kill(-1, SIGKILL);
	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);
		if (pid < 0)
			return;
		if (pid == 0 && sigtimedwait(&chld, NULL, &wait) < 0 && errno == EAGAIN)
			return; /* stuck in the kernel; the unmounts will do what they can */
	}
}

/* Comes here once, also when the loop turns on in hull_shares_stop(). */
static void shutdown_finish(void)
{
	static bool going;
	if (going)
		return;
	going = true;
	hull_put(HULL_CG_ROOT "/work/cgroup.kill", "1");
	hull_shares_stop();
	hull_port_flush(FLUSH_MS);
	kill_all();
	hull_swap_stop();
	sync();
	hull_leave_root();
	shutdown_power_off();
}

static void shutdown_grace_over(struct hull_timer *t)
{
	shutdown_finish();
}

static bool settled(void)
{
	return docker_gone && sessions_gone && hull_exec_running() == 0;
}

/* The end comes from the loop: whoever calls this may be inside the wire, which shutdown_finish() uses. */
static void shutdown_settle(void)
{
	if (settled())
		hull_timer_start(&grace, 0, shutdown_grace_over);
}

static void docker_stopped(void)
{
	docker_gone = true;
	shutdown_settle();
}

/* Whether the cgroup of sessions is empty; reading it also arms the next event. */
static void look_at_sessions(void)
{
	char text[128] = "";
	ssize_t n = events_fd < 0 ? -1 : pread(events_fd, text, sizeof(text) - 1, 0);
	sessions_gone = n <= 0 || strstr(text, "populated 0") != NULL;
}

static void sessions_changed(struct hull_watch *w, uint32_t events)
{
	look_at_sessions();
	shutdown_settle();
}

void hull_shutdown(const char *why, uint32_t grace_ms)
{
	if (settled())
		return;
	if (hull_shutting_down()) { /* asked again: with less patience, perhaps */
		hull_timer_start(&grace, grace_ms < HULL_GRACE_MAX_MS ? grace_ms : HULL_GRACE_MAX_MS,
				 shutdown_grace_over);
		return;
	}
	hull_say("stopping: %s", why);
	hull_report_stopping();
	hull_exec_on_end(shutdown_settle);
	hull_timer_start(&grace, grace_ms < HULL_GRACE_MAX_MS ? grace_ms : HULL_GRACE_MAX_MS, shutdown_grace_over);
	events_fd = open(HULL_CG_ROOT "/work/sessions/cgroup.events", O_RDONLY | O_CLOEXEC);
	if (events_fd >= 0)
		hull_watch_add(&events_watch, events_fd, EPOLLPRI, sessions_changed);
	hull_cgroup_end_sessions();
	look_at_sessions();
	hull_docker_stop(docker_stopped);
}

int hull_ask_poweroff(void)
{
	if (kill(1, SIGTERM) == 0)
		return 0;
	fprintf(stderr, "cannot power off: %s; try with sudo\n", strerror(errno));
	return 1;
}

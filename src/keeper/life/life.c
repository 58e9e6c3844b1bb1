/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a sandbox: starting, running, stopping, ended; see life.h.
 *
 * The stages are in keeper.h. An event only records what is to be done; on_idle(), which runs when the loop is about to
 * sleep, does what must not happen inside an event of a wire.
 *
 * The end, in this order (finish()):
 * 1. the listening sockets: no new client
 * 2. the wire to the guest: every stream ends, with the reason
 * 3. servers, gateway, engine
 * 4. sandbox.json, the runtime directory, the lock
 * 5. the answer to clients that asked for the end. Their connection is closed by the exit of this process: when it
 *    closes, nothing of the sandbox is left. */
#include "keeper/life/life.h"
#include "keeper/api.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "git/git.h"
#include "wire/service.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	BOOT_TIMEOUT_MS = 300 * 1000, /* the guest kernel did not come up: emulation on a busy host takes 30 s */
	STOP_MARGIN_MS = 10 * 1000,   /* after the grace the guest was given */
	EXIT_TIMEOUT_MS = 20 * 1000,  /* for an engine that closed the wire: it may be flushing the disk */
	DRAIN_TIMEOUT_MS = 2 * 1000,  /* at the end, for clients to take their last answers */
};

static void finish(struct keeper *k);
static void stop(struct keeper *k, uint32_t grace_ms);
static void kill_machine(struct keeper *k);

static void on_idle(struct loop *loop)
{
	struct keeper *k = loop->owner;
	if (k->life.save_due) {
		k->life.save_due = false;
		keeper_save_later(k, NULL);
	}
	if (k->life.ended && k->life.phase != PHASE_ENDED)
		finish(k);
	if (k->life.phase == PHASE_ENDED && clients_drained(k))
		uv_stop(&k->loop.uv);
}

static void deadline(struct keeper *k, uv_timer_cb cb, uint64_t ms)
{
	uv_update_time(&k->loop.uv);
	uv_timer_start(&k->life.timer, cb, ms, 0);
}

static void on_boot_timeout(uv_timer_t *timer)
{
	struct keeper *k = timer->data;
	keeper_fault(k, "the guest did not start within %d s; see `hull logs --serial %s`", BOOT_TIMEOUT_MS / 1000,
		     k->sb.name);
}

static void on_sigterm(uv_signal_t *handle, int signum)
{
	hull_log("asked to end by a signal");
	stop(handle->data, 10 * 1000);
}

/* The memory of a pause is used up once the guest runs again: its disk goes on from there. */
static void drop_frozen(struct keeper *k)
{
	_cleanup_free_ char *home = keeper_is_pause(k->origin.restore) ? hull_sandbox_path(&k->paths, k->sb.name, NULL)
								       : NULL;
	_cleanup_close_ int dir = home ? open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir >= 0)
		hull_remove_tree(dir, "frozen", NULL);
}

/* --- what happens --- */

static void report(struct keeper *k, const struct hull_error *err)
{
	void (*to)(struct keeper *, const struct hull_error *) = k->life.report;
	k->life.report = NULL;
	if (to)
		to(k, err);
}

static void on_machine_runs(struct keeper *k)
{
	if (!k->origin.runs_ns)
		k->origin.runs_ns = uv_hrtime();
	clock_send(k);
	report(k, NULL);
}

static void on_guest_configured(struct keeper *k)
{
	hull_log("the guest is up after %llu ms", (unsigned long long)k->guest->configured_ms);
	if (k->life.phase != PHASE_STARTING)
		return;
	k->life.phase = PHASE_RUNNING;
	k->sb.fresh = false;
	k->life.save_due = true; /* after the first commands have gone out */
	uv_timer_stop(&k->life.timer);
	relay_start_pending(k);
	drop_frozen(k);
	service_changed(k);
	docker_changed(k);
}

static void on_docker_changed(struct keeper *k)
{
	docker_changed(k);
	service_changed(k);
}

static void going_down(struct keeper *k, const char *why)
{
	if (k->life.phase >= PHASE_STOPPING)
		return;
	k->life.phase = PHASE_STOPPING;
	relay_refuse_pending(k, why);
	docker_changed(k);
	service_changed(k);
}

static void on_guest_stopping(struct keeper *k)
{
	going_down(k, "the sandbox is shutting down");
}

static void on_stop_timeout(uv_timer_t *timer)
{
	struct keeper *k = timer->data;
	hull_log("the guest did not shut down in time: killing the machine");
	kill_machine(k);
}

static void on_exit_timeout(uv_timer_t *timer)
{
	keeper_fault(timer->data, "the engine closed the wire and did not end");
}

/* An engine that ends closes the wire, and how it ended it tells itself: it is not to be disturbed. One that goes on
 * without its wire is of no use. */
static void on_wire_closed(struct keeper *k)
{
	if (!uv_is_active((uv_handle_t *)&k->life.timer) || uv_timer_get_due_in(&k->life.timer) > EXIT_TIMEOUT_MS)
		deadline(k, on_exit_timeout, EXIT_TIMEOUT_MS);
}

static void stop(struct keeper *k, uint32_t grace_ms)
{
	if (k->life.phase == PHASE_ENDED || k->life.killed)
		return;
	/* Asked again with less patience counts; with more does not. */
	uint64_t ms = (uint64_t)grace_ms + STOP_MARGIN_MS;
	if (k->life.stop_asked && ms >= uv_timer_get_due_in(&k->life.timer))
		return;
	bool up = k->guest->configured && k->guest->control.id;
	k->life.stop_asked = true;
	going_down(k, "the sandbox is shutting down");
	if (!up) {
		kill_machine(k); /* nothing runs in it yet that could be asked */
		return;
	}
	hull_log("stopping, %u ms of grace", grace_ms);
	guest_shutdown(k, grace_ms);
	deadline(k, on_stop_timeout, ms);
}

static void kill_machine(struct keeper *k)
{
	if (k->life.phase == PHASE_ENDED || k->life.killed)
		return;
	k->life.killed = true;
	uv_timer_stop(&k->life.timer);
	going_down(k, "the sandbox is being stopped");
	if (k->machine_ops) /* else it waits for its ports */
		k->machine_ops->kill(k);
}

static void fault(struct keeper *k, const char *why)
{
	if (k->life.phase == PHASE_ENDED || k->life.ended)
		return;
	if (!k->life.end_reason[0] && !k->life.killed) {
		snprintf(k->life.end_reason, sizeof(k->life.end_reason), "%s", why);
		keeper_log_guest(k, "%s: killing the machine", k->life.end_reason);
	}
	uv_timer_stop(&k->life.timer);
	going_down(k, k->life.end_reason);
	if (k->machine_ops)
		k->machine_ops->kill(k);
}

static void on_machine_ended(struct keeper *k, int code, const char *reason)
{
	if (k->life.ended)
		return;
	service_saved(k, -ESHUTDOWN, "the machine ended while it was being saved", NULL);
	k->life.ended = true;
	/* What we decided ourselves stands; otherwise only a guest that said goodbye, and whose machine then went off
	 * in good order, has stopped cleanly. */
	bool goodbye = k->guest->stopping || k->life.stop_asked;
	if (k->life.killed || (code == 0 && goodbye && !k->life.end_reason[0])) {
		k->life.end_reason[0] = '\0';
		hull_log("the machine is off");
		return;
	}
	k->life.end_code = code < 0 ? code : -EIO;
	if (!k->life.end_reason[0]) {
		const char *why = code < 0 && reason ? reason : "the guest went down without a shutdown";
		const char *sep = k->trouble[0] ? ": " : "";
		if (k->sb.restore)
			snprintf(k->life.end_reason, sizeof(k->life.end_reason),
				 "what it was saved with cannot be loaded (%.400s%s%.200s); nothing of it is lost; "
				 "`hull start --cold %s` discards its memory and boots its disk",
				 why, sep, k->trouble, k->sb.name);
		else
			snprintf(k->life.end_reason, sizeof(k->life.end_reason), "%.400s%s%s", why, sep, k->trouble);
	}
	hull_log("the machine crashed: %s", k->life.end_reason);
}

/* --- the end --- */

static void on_drain_timeout(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void finish(struct keeper *k)
{
	going_down(k, k->life.end_reason[0] ? k->life.end_reason : "the sandbox has stopped");
	k->life.phase = PHASE_ENDED;
	k->loop.corked = false;
	listener_close(&k->clients->listener);
	clock_close(k);
	docker_close(k);
	jobs_close(k);
	guest_close(k);
	shares_close(k);
	clone_close(k);
	gateway_close(k);
	k->machine_ops->close(k);
	logfile_close(&k->dockerlog->file);
	logfile_close(&k->logs.guest);
	/* The machine has not run: a template is given up for a boot, which does as well. */
	bool again = k->life.boot_instead && k->life.report && k->life.end_code && !k->life.killed && k->sb.restore &&
		     hull_starts(k->sb.restore, "templates/");
	if (again) {
		free(k->sb.restore);
		k->sb.restore = NULL;
	}
	/* Paused, or still so because it could not be resumed. */
	bool paused = k->life.suspended || keeper_is_pause(k->sb.restore);
	keeper_save(k,
		    paused             ? "paused"
		    : k->life.end_code ? "crashed"
				       : "stopped",
		    k->life.suspended ? NULL : k->life.end_reason);
	runtime_close(k, true);
	if (k->sb.remove && !paused && !again) {
		struct hull_error err;
		k->life.removed = hull_sandbox_remove_held(&k->paths, k->sb.name, &err) == 0;
		bool kept;
		if (!k->life.removed ||
		    (k->sb.clone && hull_git_remote_remove(k->sb.clone, k->sb.name, &kept, &err) < 0))
			hull_log("%s", err.msg);
	}
	if (k->lock_fd >= 0)
		close(k->lock_fd);
	k->lock_fd = -1;
	if (again)
		k->life.boot_instead(k, k->trouble[0] ? k->trouble : k->life.end_reason);
	struct hull_error why = {0};
	hull_fail(&why, k->life.end_code ? k->life.end_code : -ECANCELED, "%s",
		  k->life.end_reason[0] ? k->life.end_reason : "the sandbox was stopped before it had started");
	report(k, &why);
	service_ended(k);
	deadline(k, on_drain_timeout, DRAIN_TIMEOUT_MS);
}

/* --- the parts, put together --- */

static void on_guest_answered(struct keeper *k)
{
	jobs_adopted(k);
	shares_configured(k);
}

static void on_guest_opened(struct loop_link *l, uint32_t stream, uint8_t service, const uint8_t *args, size_t len)
{
	if (service == HULL_SVC_SHARE)
		share_opened(l->owner, l, stream, args, len);
	else
		gateway_guest_open(l, stream, service, args, len);
}

static const struct keeper_events EVENTS = {
	.guest_answered = on_guest_answered,
	.guest_configured = on_guest_configured,
	.guest_stopping = on_guest_stopping,
	.guest_stats = service_stats,
	.guest_session = job_adopt,
	.guest_mounted = shares_answered,
	.guest_grown = grow_answered,
	.guest_opened = on_guest_opened,
	.docker_changed = on_docker_changed,
	.machine_runs = on_machine_runs,
	.wire_closed = on_wire_closed,
	.machine_ended = on_machine_ended,
	.saved = service_saved,
	.grown = service_grown,
	.mounted = service_mounted,
	.job = service_job,
	.port = service_port,
	.policy = service_policy,
	.stop = stop,
	.kill = kill_machine,
	.fault = fault,
};

struct parts {
	struct guest guest;
	struct clock clock;
	struct dockerlog dockerlog;
	struct workspace workspace;
	struct relays relays;
	struct jobs jobs;
	struct network network;
	struct grow grow;
	struct runtime runtime;
	struct clients clients;
	struct docker_socket docker;
	struct service service;
};

static int make_parts(struct keeper *k)
{
	struct parts *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	k->guest = &p->guest; /* the first: keeper_free() frees them all by it */
	k->clock = &p->clock;
	k->dockerlog = &p->dockerlog;
	k->workspace = &p->workspace;
	k->relays = &p->relays;
	k->jobs = &p->jobs;
	k->network = &p->network;
	k->grow = &p->grow;
	k->runtime = &p->runtime;
	k->clients = &p->clients;
	k->docker = &p->docker;
	k->service = &p->service;
	k->dockerlog->k = k;
	return 0;
}

void keeper_free(struct keeper *k)
{
	free(container_of(k->guest, struct parts, guest));
	record_free(k);
}

int keeper_init(struct keeper *k, struct hull_error *err)
{
	if (make_parts(k) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	k->events = &EVENTS;
	k->lock_fd = k->runtime_fd = k->clock->fd = k->runtime->fd = -1;
	k->logs.keeper.fd = k->dockerlog->file.fd = k->logs.guest.fd = -1;
	k->life.started_ms = uv_hrtime() / 1000000;
	k->loop.owner = k;
	k->loop.idle = on_idle;
	k->loop.scratch = k->scratch;
	k->loop.scratch_size = sizeof(k->scratch);
	int r = loop_init(&k->loop, err);
	if (r < 0)
		return r;
	r = uv_mutex_init(&k->record.lock);
	if (r < 0)
		return hull_fail(err, r, "cannot set up the event loop: %s", uv_strerror(r));
	clients_init(k);
	service_init(k);
	docker_init(k);
	relays_init(k);
	jobs_init(k);
	shares_init(k);
	grow_init(k);
	uv_timer_init(&k->loop.uv, &k->life.timer);
	uv_signal_init(&k->loop.uv, &k->life.sigterm);
	k->life.timer.data = k->life.sigterm.data = k;
	uv_signal_start(&k->life.sigterm, on_sigterm, SIGTERM);
	deadline(k, on_boot_timeout, BOOT_TIMEOUT_MS);
	clock_open(k);
	return 0;
}

int keeper_listen(struct keeper *k, struct hull_error *err)
{
	k->clients->listener.accepted = client_accepted;
	k->docker->listener.accepted = docker_accepted;
	int r = listener_open(k, &k->clients->listener, HULL_CONTROL_SOCKET, err);
	if (r == 0 && !k->sb.no_docker)
		r = listener_open(k, &k->docker->listener, HULL_DOCKER_SOCKET, err);
	if (r == 0)
		runtime_watch(k);
	return r;
}

void keeper_run(struct keeper *k)
{
	uv_run(&k->loop.uv, UV_RUN_DEFAULT);
}

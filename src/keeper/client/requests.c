/* SPDX-License-Identifier: Apache-2.0 */
/* What each request of the KEEPER service does; see keeper/api.h for what they take and answer, and request.h.
 *
 * Those that wait for something are looked at again whenever it may have come (service_*). */
#include "keeper/client/request.h"
#include "keeper/client/status.h"
#include "keeper/guest/guest.h"
#include "keeper/keeper.h"
#include "keeper/machine/grow.h"
#include "keeper/network/gateway.h"
#include "keeper/session/jobs.h"
#include "keeper/workspace/share.h"
#include "store/json.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "wire/service.h"

#include <string.h>

/* --- status --- */

static void on_stats_timeout(uv_timer_t *timer)
{
	service_stats(timer->data);
}

static void do_status(struct request *q, const json_t *j)
{
	struct keeper *k = q->k;
	if (!k->guest->configured || k->life.phase != PHASE_RUNNING || !k->guest->control.id) {
		request_answer(q, status_json(k));
		return;
	}
	if (!request_wait(q, FOR_STATS))
		return;
	if (uv_is_active((uv_handle_t *)&k->service->stats_timer))
		return; /* asked already */
	uv_timer_start(&k->service->stats_timer, on_stats_timeout, STATS_TIMEOUT_MS, 0);
	guest_ask_stats(k);
}

void service_stats(struct keeper *k)
{
	uv_timer_stop(&k->service->stats_timer);
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits == FOR_STATS)
			request_answer(q, status_json(k));
	}
}

/* --- waiting --- */

static void check_port(struct request *q);
static void check_policy(struct request *q);

/* Answer q if what it waits for is so, or can not come to be. */
static void check(struct request *q)
{
	struct keeper *k = q->k;
	const struct guest *g = k->guest;
	if (q->waits == FOR_PORT && k->life.phase >= PHASE_STOPPING) {
		check_port(q);
		return;
	}
	if (q->waits == FOR_GROWN && k->life.phase >= PHASE_STOPPING) {
		request_fail(q, ESHUTDOWN, "the sandbox is shutting down; its disk is grown when it starts again");
		return;
	}
	if (q->waits == FOR_POLICY) {
		check_policy(q);
		return;
	}
	if (q->waits == FOR_MOUNT && k->life.phase >= PHASE_STOPPING) {
		request_fail(q, ESHUTDOWN, "the sandbox is shutting down");
		return;
	}
	if (q->waits != FOR_EXEC && q->waits != FOR_DOCKER)
		return;
	char text[1400];
	if (k->life.phase >= PHASE_STOPPING) {
		snprintf(text, sizeof(text), "the sandbox has stopped%s%s", k->life.end_reason[0] ? ": " : "",
			 k->life.end_reason);
		request_fail(q, ESHUTDOWN, text);
	} else if (q->waits == FOR_EXEC) {
		if (g->configured)
			request_answer(q, json_pack("{s:b}", "ready", 1));
	} else if (k->sb.no_docker) {
		request_fail(q, ENOTSUP, "this sandbox has no Docker (it was made with --no-docker)");
	} else if (g->configured && strcmp(g->docker, "ready") == 0) {
		request_answer(q, json_pack("{s:b}", "ready", 1));
	} else if (strcmp(g->docker, "absent") == 0) {
		snprintf(text, sizeof(text),
			 "%s has no Docker (no /usr/sbin/dockerd): use an image whose recipe has docker.io, or install "
			 "docker.io in it and start it again",
			 k->sb.name);
		request_fail(q, ENOTSUP, text);
	} else if (guest_docker_hopeless(k)) {
		snprintf(text, sizeof(text), "dockerd failed %u times%s%s; see `hull logs --docker %s`",
			 g->docker_failures, g->docker_text[0] ? ": " : "", g->docker_text, k->sb.name);
		request_fail(q, EIO, text);
	}
}

void service_changed(struct keeper *k)
{
	list_each(n, &k->service->waiters) check(container_of(n, struct request, in_list));
}

/* --- requests --- */

static void do_wait(struct request *q, const json_t *j)
{
	const char *what = json_string_value(json_object_get(j, "for"));
	if (!hull_streq(what, "exec") && !hull_streq(what, "docker")) {
		request_fail(q, EINVAL, "wait: \"for\" must be \"exec\" or \"docker\"");
		return;
	}
	if (request_wait(q, what[0] == 'e' ? FOR_EXEC : FOR_DOCKER))
		check(q);
}

static void answer_ended(struct request *q)
{
	request_answer(q, json_pack("{s:b,s:b}", "stopped", 1, "removed", q->k->life.removed));
}

/* False when the end is there already. */
static bool wait_for_end(struct request *q)
{
	if (q->k->life.phase != PHASE_ENDED)
		return request_wait(q, FOR_END);
	answer_ended(q);
	return false;
}

void service_ended(struct keeper *k)
{
	service_stats(k);
	service_changed(k);
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits == FOR_END)
			answer_ended(q);
	}
}

static void do_stop(struct request *q, const json_t *j)
{
	const json_t *grace = json_object_get(j, "grace_ms");
	json_int_t ms = json_is_integer(grace) ? json_integer_value(grace) : 10 * 1000;
	if (ms < 0 || ms > HULL_GRACE_MAX_MS) {
		request_fail(q, EINVAL, "stop: \"grace_ms\" is out of range");
		return;
	}
	struct keeper *k = q->k;
	if (wait_for_end(q))
		k->events->stop(k, (uint32_t)ms);
}

static void do_save(struct request *q, const json_t *j)
{
	struct keeper *k = q->k;
	const char *dir = json_string_value(json_object_get(j, "dir"));
	bool pause = hull_streq(json_string_value(json_object_get(j, "do")), "pause");
	struct hull_error err = {0};
	if (!pause && (!dir || dir[0] != '/')) {
		request_fail(q, EINVAL, "save: \"dir\" is missing");
		return;
	}
	if (k->life.phase != PHASE_RUNNING || !k->machine_ops->save) {
		request_fail(q, EAGAIN, "only a sandbox that is up can be saved");
		return;
	}
	int r = k->machine_ops->save(k, pause ? NULL : dir, !pause, pause || json_is_true(json_object_get(j, "end")),
				     &err);
	if (r < 0)
		request_fail(q, r, err.msg);
	else
		request_wait(q, FOR_SAVE);
}

/* Of a machine that stands still because the host's disk was full. */
static void do_resume(struct request *q, const json_t *j)
{
	struct hull_error err = {0};
	int r = q->k->machine_ops->resume ? q->k->machine_ops->resume(q->k, &err) : 0;
	if (r < 0)
		request_fail(q, r, err.msg);
	else
		request_answer(q, json_object());
}

void service_saved(struct keeper *k, int code, const char *error, json_t *figures)
{
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits != FOR_SAVE)
			continue;
		if (error)
			request_fail(q, code, error);
		else if (k->life.suspended || k->life.killed)
			q->waits = FOR_END; /* it was to end then: answered when it has */
		else
			request_answer(q, figures ? json_incref(figures) : json_object());
	}
}

static void check_port(struct request *q)
{
	struct keeper *k = q->k;
	_cleanup_(json_decrefp) json_t *port = gateway_port(k, q->port);
	const char *error = json_string_value(json_object_get(port, "error"));
	if (!port && k->life.phase < PHASE_STOPPING)
		return;
	if (!port)
		request_fail(q, ESHUTDOWN, "the sandbox has stopped");
	else if (error)
		request_fail(q, EADDRINUSE, error);
	else
		request_answer(q, json_incref(port));
}

void service_port(struct keeper *k, json_int_t id)
{
	bool asked = false;
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits != FOR_PORT || q->port != id)
			continue;
		asked = true;
		check_port(q);
	}
	if (asked)
		gateway_published(k, id);
}

static void publish(struct request *q, const json_t *j, bool publish_it)
{
	const char *spec = json_string_value(json_object_get(j, "port"));
	struct hull_error err = {0};
	if (!spec) {
		request_fail(q, EINVAL, "\"port\" is missing");
		return;
	}
	json_int_t r = publish_it ? gateway_publish(q->k, spec, &err) : gateway_unpublish(q->k, spec, &err);
	if (r < 0) {
		request_fail(q, (int)r, err.msg);
	} else if (!publish_it) {
		request_answer(q, json_object());
	} else {
		q->port = r;
		request_wait(q, FOR_PORT);
	}
}

static void check_policy(struct request *q)
{
	if (q->k->life.phase >= PHASE_STOPPING)
		request_fail(q, ESHUTDOWN, "the sandbox has stopped");
	else if (gateway_policy_settled(q->k))
		request_answer(q, gateway_policy(q->k, false));
}

/* Until hull-egress has taken it, or says why not. */
static void do_policy(struct request *q, const json_t *j)
{
	const char *changed = json_string_value(json_object_get(j, "changed"));
	if (!changed) {
		request_answer(q, gateway_policy(q->k, json_is_true(json_object_get(j, "texts"))));
		return;
	}
	gateway_policy_read(q->k, changed);
	if (request_wait(q, FOR_POLICY))
		check_policy(q);
}

void service_policy(struct keeper *k)
{
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits == FOR_POLICY)
			check_policy(q);
	}
}

static void do_job(struct request *q, const json_t *j)
{
	struct hull_error err = {0};
	if (!request_wait(q, FOR_JOB))
		return;
	int r = job_start(q->k, j, q->job, &err);
	if (r < 0)
		request_fail(q, r, err.msg);
}

void service_job(struct keeper *k, const char *id, int code, const char *error)
{
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits != FOR_JOB || strcmp(q->job, id) != 0)
			continue;
		if (error)
			request_fail(q, code, error);
		else
			request_answer(q, json_pack("{s:s}", "id", id));
		return;
	}
}

static void do_signal(struct request *q, const json_t *j)
{
	struct hull_error err = {0};
	const char *id = json_string_value(json_object_get(j, "job")), *state = NULL;
	json_int_t sig = json_integer_value(json_object_get(j, "signal"));
	if (!id || sig < 1 || sig > 64) {
		request_fail(q, EINVAL, "signal: \"job\" or \"signal\" is missing");
		return;
	}
	bool reached = false;
	int r = job_signal(q->k, id, (uint32_t)sig, &state, &reached, &err);
	if (r < 0)
		request_fail(q, r, err.msg);
	else
		request_answer(q, json_pack("{s:s,s:b}", "state", state, "reached", reached));
}

void service_mounted(struct keeper *k, const char *path, int code, const char *error)
{
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits != FOR_MOUNT || strcmp(q->path, path) != 0)
			continue;
		if (error)
			request_fail(q, code, error);
		else
			request_answer(q, json_pack("{s:s+}", "path", path, ""));
	}
}

static void mount(struct request *q, const json_t *j, bool mount_it)
{
	struct hull_error err = {0};
	struct keeper *k = q->k;
	const char *path = json_string_value(json_object_get(j, "path"));
	if (!path || path[0] != '/' || !path[1] || strlen(path) > 3000) {
		request_fail(q, EINVAL, "\"path\" has to be an absolute path of at most 3000 bytes");
		return;
	}
	q->path = strdup(path);
	if (!q->path) {
		request_fail(q, ENOMEM, "out of memory");
		return;
	}
	if (!request_wait(q, FOR_MOUNT))
		return;
	enum hull_path_mode mode = json_is_true(json_object_get(j, "readonly")) ? HULL_PATH_READONLY
				   : json_is_true(json_object_get(j, "git"))    ? HULL_PATH_GIT
										: HULL_PATH_WRITABLE;
	int r = mount_it ? share_mount(k, path, mode, &err)
			 : share_unmount(k, path, json_is_true(json_object_get(j, "force")), &err);
	if (r < 0)
		request_fail(q, r, err.msg);
}

static void do_grow(struct request *q, const json_t *j)
{
	struct hull_error err = {0};
	json_int_t bytes = json_integer_value(json_object_get(j, "bytes"));
	int r = grow_begin(q->k, bytes > 0 ? (uint64_t)bytes : 0, &err);
	if (r < 0)
		request_fail(q, r, err.msg);
	else
		request_wait(q, FOR_GROWN);
}

void service_grown(struct keeper *k, int code, const char *error)
{
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits != FOR_GROWN)
			continue;
		if (error)
			request_fail(q, code, error);
		else
			request_answer(q, json_object());
	}
}

/* --- the rest --- */

static void do_kill(struct request *q, const json_t *j)
{
	struct keeper *k = q->k;
	if (wait_for_end(q))
		k->events->kill(k);
}

static void do_publish(struct request *q, const json_t *j)
{
	publish(q, j, true);
}

static void do_unpublish(struct request *q, const json_t *j)
{
	publish(q, j, false);
}

static void do_ports(struct request *q, const json_t *j)
{
	request_answer(q, json_pack("{s:o}", "ports", gateway_ports(q->k)));
}

static void do_mount(struct request *q, const json_t *j)
{
	mount(q, j, true);
}

static void do_unmount(struct request *q, const json_t *j)
{
	mount(q, j, false);
}

static void do_lease(struct request *q, const json_t *j)
{
	request_wait(q, FOR_LEASE);
}

static void do_jobs(struct request *q, const json_t *j)
{
	request_answer(q, json_pack("{s:o}", "jobs", jobs_list(q->k)));
}

static const struct {
	const char *name;
	void (*handle)(struct request *q, const json_t *j);
	bool reserved; /* also for clients that came when there were CLIENTS_MAX */
} REQUESTS[] = {
	{"status", do_status, true},    {"wait", do_wait, false},           {"stop", do_stop, true},
	{"kill", do_kill, true},        {"save", do_save, false},           {"pause", do_save, false},
	{"resume", do_resume, false},   {"grow", do_grow, false},           {"lease", do_lease, false},
	{"job", do_job, false},         {"jobs", do_jobs, false},           {"signal", do_signal, false},
	{"mount", do_mount, false},     {"unmount", do_unmount, false},     {"ports", do_ports, false},
	{"publish", do_publish, false}, {"unpublish", do_unpublish, false}, {"policy", do_policy, false},
};

void request_handle(struct request *q, const char *text, size_t n, bool reserved)
{
	_cleanup_(json_decrefp) json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	const char *what = json_string_value(json_object_get(j, "do"));
	size_t i = 0;
	while (what && i < sizeof(REQUESTS) / sizeof(*REQUESTS) && strcmp(what, REQUESTS[i].name) != 0)
		i++;
	if (!what)
		request_fail(q, EINVAL, "a request is a JSON object with \"do\"");
	else if (reserved && (i == sizeof(REQUESTS) / sizeof(*REQUESTS) || !REQUESTS[i].reserved))
		request_fail(q, EAGAIN, "too many clients are connected already: end some of them, or stop it");
	else if (i == sizeof(REQUESTS) / sizeof(*REQUESTS))
		request_fail(q, EINVAL, "unknown request");
	else
		REQUESTS[i].handle(q, j);
}

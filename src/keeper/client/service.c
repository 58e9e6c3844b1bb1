/* The KEEPER service: status, wait, stop, kill, job, jobs; see keeper/api.h for what they take and answer.
 *
 * A request is one OPEN with JSON in it. Most are answered at once; those that wait stand on k->service->waiters until the
 * event they wait for, and are looked at again whenever something changed (service_changed). The answer is written as
 * the client takes it. A client that goes away takes its requests with it. */
#include "keeper/keeper.h"
#include "keeper/client/service.h"
#include "keeper/guest/guest.h"
#include "keeper/machine/grow.h"
#include "keeper/network/gateway.h"
#include "keeper/session/jobs.h"
#include "keeper/session/relay.h"
#include "keeper/workspace/share.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <stdlib.h>
#include <string.h>

enum wait_for {
	FOR_NOTHING,
	FOR_EXEC,
	FOR_DOCKER,
	FOR_STATS,
	FOR_SAVE,
	FOR_LEASE,
	FOR_PORT,
	FOR_MOUNT,
	FOR_JOB,
	FOR_GROWN,
	FOR_POLICY,
	FOR_END
};

struct request {
	struct keeper *k;
	struct loop_stream stream;
	struct list_node in_list;
	enum wait_for waits;
	char *path;      /* FOR_MOUNT */
	json_int_t port; /* FOR_PORT */
	char job[9];     /* FOR_JOB: its id */
	struct hull_buf answer;
	bool answered, finished;
};

/* --- answering --- */

static void pump(struct request *q)
{
	while (q->answer.len > 0) {
		ssize_t n = hull_wire_write(q->stream.wire, q->stream.id, 0, hull_buf_bytes(&q->answer), q->answer.len);
		if (n <= 0)
			return;
		hull_buf_drain(&q->answer, (size_t)n);
	}
	q->finished = true;
	loop_stream_eof(&q->stream);
}

/* Takes the reference to j. The request may be gone when this returns. */
static void answer(struct request *q, json_t *j)
{
	_cleanup_(json_decrefp) json_t *own = j;
	_cleanup_free_ char *text = own ? json_dumps(own, JSON_COMPACT) : NULL;
	if (q->waits) {
		list_del(&q->in_list);
		q->k->service->waiter_count--;
		q->waits = FOR_NOTHING;
	}
	q->answered = true;
	if (!text || hull_buf_addstr(&q->answer, text) < 0)
		loop_stream_reset(&q->stream, ENOMEM, "out of memory");
	else
		pump(q);
}

static void answer_error(struct request *q, int code, const char *text)
{
	answer(q, json_pack("{s:s+,s:i}", "error", text, "", "code", code < 0 ? -code : code));
}

/* False when it was answered instead, and may be gone. */
static bool wait_until(struct request *q, enum wait_for what)
{
	/* However many wait for something: it can be looked at and stopped. */
	size_t most = what == FOR_END || what == FOR_STATS ? 2 * WAITERS_MAX : WAITERS_MAX;
	if (q->k->service->waiter_count >= most) {
		answer_error(q, EAGAIN, "too many requests wait already");
		return false;
	}
	q->waits = what;
	q->k->service->waiter_count++;
	list_add(&q->k->service->waiters, &q->in_list);
	return true;
}

/* --- status --- */

static void set(json_t *j, const char *key, json_t *value)
{
	json_object_set_new(j, key, value ? value : json_null());
}

static json_t *status(struct keeper *k)
{
	static const char *const phases[] = {"starting", "running", "stopping", "stopped"};
	const struct guest *g = k->guest;
	json_t *j = json_object();
	if (!j)
		return NULL;
	set(j, "name", json_string(k->sb.name));
	set(j, "state", json_string(phases[k->life.phase]));
	set(j, "engine", json_string(k->machine_ops->describe(k)));
	set(j, "accel", json_string(k->machine_ops->accel(k)));
	set(j, "pid", json_integer(getpid()));
	set(j, "engine_pid", json_integer(k->machine_ops->pid(k)));
	set(j, "cpus", json_integer((json_int_t)k->sb.cpus));
	set(j, "memory_limit", json_integer((json_int_t)k->sb.memory));
	uint64_t bytes;
	set(j, "memory", k->machine_ops->memory(k, &bytes) == 0 ? json_integer((json_int_t)bytes) : json_null());
	set(j, "guest", g->stats ? json_incref(g->stats) : json_object());
	set(j, "docker", json_string(g->docker));
	if (g->docker_text[0] && g->docker_failures)
		set(j, "docker_error", json_string(g->docker_text));
	set(j, "mounts", shares_list(k));
	set(j, "started", json_integer((json_int_t)k->sb.started));
	set(j, "sessions", json_integer((json_int_t)(k->relays->exec_count + k->jobs->count)));
	json_t *boot = json_object();
	if (boot && g->configured_ms)
		set(boot, "exec_ms", json_integer((json_int_t)g->configured_ms));
	if (boot && g->docker_ms)
		set(boot, "docker_ms", json_integer((json_int_t)g->docker_ms));
	set(boot, "restored", json_boolean(k->origin.restore != NULL));
	if (boot && g->configured_ns && k->origin.machine_ns && k->origin.runs_ns) {
		/* From the start of hull-keeper on: each stage's own time. */
		set(boot, "spawn_ms", json_real((double)(k->origin.machine_ns - k->origin.begin_ns) / 1e6));
		set(boot, "load_ms", json_real((double)(k->origin.runs_ns - k->origin.machine_ns) / 1e6));
		set(boot, "wire_ms", json_real((double)(g->hello_ns - k->origin.runs_ns) / 1e6));
		if (g->configured_ns < k->origin.first_exec_ns)
			set(boot, "first_exec_ms",
			    json_real((double)(k->origin.first_exec_ns - g->configured_ns) / 1e6));
		set(boot, "identity_ms", json_real((double)(g->configured_ns - g->hello_ns) / 1e6));
	}
	set(j, "boot", boot);
	return j;
}

static void on_stats_timeout(uv_timer_t *timer)
{
	service_stats(timer->data);
}

static void do_status(struct request *q)
{
	struct keeper *k = q->k;
	if (!k->guest->configured || k->life.phase != PHASE_RUNNING || !k->guest->control.id) {
		answer(q, status(k));
		return;
	}
	if (!wait_until(q, FOR_STATS))
		return;
	if (uv_is_active((uv_handle_t *)&k->service->stats_timer))
		return; /* asked already */
	k->service->stats_timer.data = k;
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
			answer(q, status(k));
	}
}

/* --- waiting --- */

static void look_port(struct request *q);
static void look_policy(struct request *q);

/* Answer q if what it waits for is so, or can not come to be. */
static void look(struct request *q)
{
	struct keeper *k = q->k;
	const struct guest *g = k->guest;
	if (q->waits == FOR_PORT && k->life.phase >= PHASE_STOPPING) {
		look_port(q);
		return;
	}
	if (q->waits == FOR_GROWN && k->life.phase >= PHASE_STOPPING) {
		answer_error(q, ESHUTDOWN, "the sandbox is shutting down; its disk is grown when it starts again");
		return;
	}
	if (q->waits == FOR_POLICY) {
		look_policy(q);
		return;
	}
	if (q->waits == FOR_MOUNT && k->life.phase >= PHASE_STOPPING) {
		answer_error(q, ESHUTDOWN, "the sandbox is shutting down");
		return;
	}
	if (q->waits != FOR_EXEC && q->waits != FOR_DOCKER)
		return;
	char text[1400];
	if (k->life.phase >= PHASE_STOPPING) {
		snprintf(text, sizeof(text), "the sandbox has stopped%s%s", k->life.end_reason[0] ? ": " : "",
			 k->life.end_reason);
		answer_error(q, ESHUTDOWN, text);
	} else if (q->waits == FOR_EXEC) {
		if (g->configured)
			answer(q, json_pack("{s:b}", "ready", 1));
	} else if (k->sb.no_docker) {
		answer_error(q, ENOTSUP, "this sandbox has no Docker (it was made with --no-docker)");
	} else if (g->configured && strcmp(g->docker, "ready") == 0) {
		answer(q, json_pack("{s:b}", "ready", 1));
	} else if (strcmp(g->docker, "absent") == 0) {
		snprintf(text, sizeof(text),
			 "%s has no Docker (no /usr/sbin/dockerd): use an image whose recipe has docker.io, or install "
			 "docker.io in it and start it again",
			 k->sb.name);
		answer_error(q, ENOTSUP, text);
	} else if (guest_docker_hopeless(k)) {
		snprintf(text, sizeof(text), "dockerd failed %u times%s%s; see `hull logs --docker %s`",
			 g->docker_failures, g->docker_text[0] ? ": " : "", g->docker_text, k->sb.name);
		answer_error(q, EIO, text);
	}
}

void service_changed(struct keeper *k)
{
	list_each(n, &k->service->waiters) look(container_of(n, struct request, in_list));
}

/* --- requests --- */

static void do_wait(struct request *q, const json_t *j)
{
	const char *what = json_string_value(json_object_get(j, "for"));
	if (!hull_streq(what, "exec") && !hull_streq(what, "docker")) {
		answer_error(q, EINVAL, "wait: \"for\" must be \"exec\" or \"docker\"");
		return;
	}
	if (wait_until(q, what[0] == 'e' ? FOR_EXEC : FOR_DOCKER))
		look(q);
}

static void answer_ended(struct request *q)
{
	answer(q, json_pack("{s:b,s:b}", "stopped", 1, "removed", q->k->life.removed));
}

/* False when the end is there already. */
static bool wait_for_end(struct request *q)
{
	if (q->k->life.phase != PHASE_ENDED)
		return wait_until(q, FOR_END);
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
		answer_error(q, EINVAL, "stop: \"grace_ms\" is out of range");
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
		answer_error(q, EINVAL, "save: \"dir\" is missing");
		return;
	}
	if (k->life.phase != PHASE_RUNNING || !k->machine_ops->save) {
		answer_error(q, EAGAIN, "only a sandbox that is up can be saved");
		return;
	}
	int r = k->machine_ops->save(k, pause ? NULL : dir, !pause, pause || json_is_true(json_object_get(j, "end")),
				     &err);
	if (r < 0)
		answer_error(q, r, err.msg);
	else
		wait_until(q, FOR_SAVE);
}

/* Of a machine that stands still because the host's disk was full. */
static void do_resume(struct request *q)
{
	struct hull_error err = {0};
	int r = q->k->machine_ops->resume ? q->k->machine_ops->resume(q->k, &err) : 0;
	if (r < 0)
		answer_error(q, r, err.msg);
	else
		answer(q, json_object());
}

void service_saved(struct keeper *k, int code, const char *error, json_t *figures)
{
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits != FOR_SAVE)
			continue;
		if (error)
			answer_error(q, code, error);
		else if (k->life.suspended || k->life.killed)
			q->waits = FOR_END; /* it was to end then: answered when it has */
		else
			answer(q, figures ? json_incref(figures) : json_object());
	}
}

static void look_port(struct request *q)
{
	struct keeper *k = q->k;
	_cleanup_(json_decrefp) json_t *port = gateway_port(k, q->port);
	const char *error = json_string_value(json_object_get(port, "error"));
	if (!port && k->life.phase < PHASE_STOPPING)
		return;
	if (!port)
		answer_error(q, ESHUTDOWN, "the sandbox has stopped");
	else if (error)
		answer_error(q, EADDRINUSE, error);
	else
		answer(q, json_incref(port));
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
		look_port(q);
	}
	if (asked)
		gateway_published(k, id);
}

static void do_publish(struct request *q, const json_t *j, bool publish)
{
	const char *spec = json_string_value(json_object_get(j, "port"));
	struct hull_error err = {0};
	if (!spec) {
		answer_error(q, EINVAL, "\"port\" is missing");
		return;
	}
	json_int_t r = publish ? gateway_publish(q->k, spec, &err) : gateway_unpublish(q->k, spec, &err);
	if (r < 0) {
		answer_error(q, (int)r, err.msg);
	} else if (!publish) {
		answer(q, json_object());
	} else {
		q->port = r;
		wait_until(q, FOR_PORT);
	}
}

static void look_policy(struct request *q)
{
	if (q->k->life.phase >= PHASE_STOPPING)
		answer_error(q, ESHUTDOWN, "the sandbox has stopped");
	else if (gateway_policy_settled(q->k))
		answer(q, gateway_policy(q->k, NULL, false));
}

/* Until hull-egress has taken it, or says why not. */
static void do_policy(struct request *q, const json_t *j)
{
	const char *changed = json_string_value(json_object_get(j, "changed"));
	bool texts = json_is_true(json_object_get(j, "texts"));
	_cleanup_(json_decrefp) json_t *now = gateway_policy(q->k, changed, texts);
	if (!changed)
		answer(q, json_incref(now));
	else if (wait_until(q, FOR_POLICY))
		look_policy(q);
}

void service_policy(struct keeper *k)
{
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits == FOR_POLICY)
			look_policy(q);
	}
}

static void do_job(struct request *q, const json_t *j)
{
	struct hull_error err = {0};
	if (!wait_until(q, FOR_JOB))
		return;
	int r = job_start(q->k, j, q->job, &err);
	if (r < 0)
		answer_error(q, r, err.msg);
}

void service_job(struct keeper *k, const char *id, int code, const char *error)
{
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits != FOR_JOB || strcmp(q->job, id) != 0)
			continue;
		if (error)
			answer_error(q, code, error);
		else
			answer(q, json_pack("{s:s}", "id", id));
		return;
	}
}

static void do_signal(struct request *q, const json_t *j)
{
	struct hull_error err = {0};
	const char *id = json_string_value(json_object_get(j, "job")), *state = NULL;
	json_int_t sig = json_integer_value(json_object_get(j, "signal"));
	if (!id || sig < 1 || sig > 64) {
		answer_error(q, EINVAL, "signal: \"job\" or \"signal\" is missing");
		return;
	}
	bool reached = false;
	int r = job_signal(q->k, id, (uint32_t)sig, &state, &reached, &err);
	if (r < 0)
		answer_error(q, r, err.msg);
	else
		answer(q, json_pack("{s:s,s:b}", "state", state, "reached", reached));
}

void service_mounted(struct keeper *k, const char *path, int code, const char *error)
{
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits != FOR_MOUNT || strcmp(q->path, path) != 0)
			continue;
		if (error)
			answer_error(q, code, error);
		else
			answer(q, json_pack("{s:s+}", "path", path, ""));
	}
}

static void do_mount(struct request *q, const json_t *j, bool mount_it)
{
	struct hull_error err = {0};
	struct keeper *k = q->k;
	const char *path = json_string_value(json_object_get(j, "path"));
	if (!path || path[0] != '/' || !path[1] || strlen(path) > 3000) {
		answer_error(q, EINVAL, "\"path\" has to be an absolute path of at most 3000 bytes");
		return;
	}
	q->path = strdup(path);
	if (!q->path) {
		answer_error(q, ENOMEM, "out of memory");
		return;
	}
	if (!wait_until(q, FOR_MOUNT))
		return;
	enum hull_path_mode mode = json_is_true(json_object_get(j, "readonly")) ? HULL_PATH_READONLY
				   : json_is_true(json_object_get(j, "git"))    ? HULL_PATH_GIT
										: HULL_PATH_WRITABLE;
	int r = mount_it ? share_mount(k, path, mode, &err)
			 : share_unmount(k, path, json_is_true(json_object_get(j, "force")), &err);
	if (r < 0)
		answer_error(q, r, err.msg);
	else if (r > 0)
		answer(q, json_pack("{s:s+}", "path", path, ""));
}

static void do_grow(struct request *q, const json_t *j)
{
	struct hull_error err = {0};
	json_int_t bytes = json_integer_value(json_object_get(j, "bytes"));
	int r = grow_begin(q->k, bytes > 0 ? (uint64_t)bytes : 0, &err);
	if (r < 0)
		answer_error(q, r, err.msg);
	else
		wait_until(q, FOR_GROWN);
}

void service_grown(struct keeper *k, int code, const char *error)
{
	list_each(n, &k->service->waiters)
	{
		struct request *q = container_of(n, struct request, in_list);
		if (q->waits != FOR_GROWN)
			continue;
		if (error)
			answer_error(q, code, error);
		else
			answer(q, json_object());
	}
}

static bool is_one_of(const char *what, const char *const *list)
{
	while (*list && strcmp(*list, what) != 0)
		list++;
	return *list != NULL;
}

static void handle(struct request *q, const char *text, size_t n, bool spare)
{
	static const char *const always[] = {"status", "stop", "kill", NULL};
	_cleanup_(json_decrefp) json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	const char *what = json_string_value(json_object_get(j, "do"));
	struct keeper *k = q->k;
	if (!what)
		answer_error(q, EINVAL, "a request is a JSON object with \"do\"");
	else if (spare && !is_one_of(what, always))
		answer_error(q, EAGAIN, "too many clients are connected already: end some of them, or stop it");
	else if (strcmp(what, "status") == 0)
		do_status(q);
	else if (strcmp(what, "wait") == 0)
		do_wait(q, j);
	else if (strcmp(what, "stop") == 0)
		do_stop(q, j);
	else if (strcmp(what, "kill") == 0) {
		if (wait_for_end(q))
			k->events->kill(k);
	} else if (strcmp(what, "save") == 0 || strcmp(what, "pause") == 0)
		do_save(q, j);
	else if (strcmp(what, "resume") == 0)
		do_resume(q);
	else if (strcmp(what, "job") == 0)
		do_job(q, j);
	else if (strcmp(what, "signal") == 0)
		do_signal(q, j);
	else if (strcmp(what, "mount") == 0 || strcmp(what, "unmount") == 0)
		do_mount(q, j, what[0] == 'm');
	else if (strcmp(what, "ports") == 0)
		answer(q, json_pack("{s:o}", "ports", gateway_ports(k)));
	else if (strcmp(what, "publish") == 0 || strcmp(what, "unpublish") == 0)
		do_publish(q, j, what[0] == 'p');
	else if (strcmp(what, "grow") == 0)
		do_grow(q, j);
	else if (strcmp(what, "policy") == 0)
		do_policy(q, j);
	else if (strcmp(what, "lease") == 0)
		wait_until(q, FOR_LEASE);
	else if (strcmp(what, "jobs") == 0)
		answer(q, json_pack("{s:o}", "jobs", jobs_list(k)));
	else
		answer_error(q, EINVAL, "unknown request");
}

static void on_writable(struct loop_stream *s)
{
	struct request *q = container_of(s, struct request, stream);
	if (q->answered && !q->finished)
		pump(q);
}

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	loop_stream_grant(s, n); /* a request has no body; ignored */
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct request *q = container_of(s, struct request, stream);
	if (q->waits) {
		list_del(&q->in_list);
		q->k->service->waiter_count--;
	}
	if (q->waits == FOR_LEASE && q->k->life.phase != PHASE_ENDED) {
		hull_log("whoever started this has gone");
		q->k->events->kill(q->k);
	}
	hull_buf_free(&q->answer);
	free(q->path);
	free(q);
}

static const struct loop_stream_ops OPS = {.data = on_data, .writable = on_writable, .closed = on_closed};

void service_init(struct keeper *k)
{
	list_init(&k->service->waiters);
	uv_timer_init(&k->loop.uv, &k->service->stats_timer);
	k->service->stats_timer.data = k;
}

void service_open(struct keeper *k, struct loop_link *client, uint32_t stream, const uint8_t *args, size_t len,
		  bool spare)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a, json = {0};
	while (hull_args_next(&cur, &a))
		if (a.tag == HULL_TAG_JSON)
			json = a;
	struct request *q = cur.bad || !json.p ? NULL : calloc(1, sizeof(*q));
	if (!q) {
		hull_wire_refuse(client->wire, stream, EINVAL, "malformed request");
		return;
	}
	q->k = k;
	q->stream.ops = &OPS;
	loop_stream_adopt(&q->stream, client, stream);
	hull_wire_accept(client->wire, stream, NULL, 0);
	handle(q, (const char *)json.p, json.n, spare);
}

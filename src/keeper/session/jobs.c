/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: commands that outlive the client that started them; see jobs.h.
 *
 * A job is there once the guest says that its command runs (ACCEPT with its PID), or ran and ended; then the request
 * for it is answered (service_job). One whose command could not be executed leaves nothing but that answer. A client
 * that goes away meanwhile changes neither.
 *
 * A job is an exec stream of the keeper's own. Its output goes to jobs/ID.log (capped), what it is and how it ended to
 * jobs/ID.json (job_files.h), whose states are:
 *     running   its command runs
 *     exited    by itself, with its code
 *     failed    the guest broke it off
 *     stopped   the machine went off first, or its shutdown ended the job
 *     paused    it is part of the sandbox's saved memory
 * The files are all there is of a job that has ended, so `jobs` and `logs --job` work on a stopped sandbox as well.
 * Finished jobs are kept up to JOBS_MAX, the oldest go first.
 *
 * Adoption: in a machine that was paused or copied, sessions still run: jobs, and commands that clients waited for. The
 * guest announces each of them (SESSION) before it sends CONFIGURED. From then on each is a job of this keeper, under
 * the id it had, and its log goes on; in a copy the log begins there. The guest is not trusted with more: an id is
 * accepted only when a record here says that the job ran, or when the keeper that saved the machine recorded it beside
 * the memory (ids are the keeper's own). No finished job is removed for an adopted one. A session that is not adopted
 * runs on, and its output is discarded. */
#include "keeper/keeper.h"
#include "keeper/session/jobs.h"
#include "keeper/session/job_files.h"
#include "keeper/guest/guest.h"
#include "keeper/session/attach.h"
#include "keeper/session/relay.h"
#include "keeper/workspace/share.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

struct job {
	struct keeper *k;
	struct list_node in_list;
	struct loop_stream stream;
	char id[JOB_ID + 1];
	json_t *about; /* what jobs/ID.json says */
	struct logfile log;
	struct audience audience; /* the clients attached to it */
	struct sync_wait sync;
	struct hull_buf args; /* of its stream, which is opened when that has passed */
	bool running;         /* or has been: whoever asked for it has been announced */
	bool exited;          /* EXIT came */
	int error;            /* it could not be executed: a positive errno, and why */
	char why[1024];
};

static void set_end(json_t *about, const char *state)
{
	json_object_set_new(about, "state", json_string(state));
	json_object_set_new(about, "ended", json_integer((json_int_t)time(NULL)));
}

/* --- the stream --- */

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct job *j = container_of(s, struct job, stream);
	logfile_write(&j->log, p, n);
	audience_data(&j->audience, channel, p, n);
}

/* Its command runs, or ran. */
static void job_runs(struct job *j)
{
	if (j->running)
		return;
	j->running = true;
	j->k->events->job(j->k, j->id, 0, NULL);
}

static void on_accepted(struct loop_stream *s, const uint8_t *args, size_t len)
{
	struct job *j = container_of(s, struct job, stream);
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	bool runs = false;
	while (hull_args_next(&cur, &a)) {
		runs = runs || a.tag == HULL_TAG_PID;
		if (a.tag == HULL_TAG_SESSION)
			json_object_set_new(j->about, "session", json_integer(hull_arg_u32(&a)));
	}
	if (runs)
		job_runs(j);
}

static void on_writable(struct loop_stream *s)
{
	audience_writable(&container_of(s, struct job, stream)->audience);
}

/* Did the shutdown end it? A command that takes TERM as a reason to finish, and does, has exited by itself. */
static bool ended_by_shutdown(const struct job *j, uint32_t status)
{
	return j->k->life.phase >= PHASE_STOPPING &&
	       (status == 128 + SIGTERM || status == 128 + SIGHUP || status == 128 + SIGKILL);
}

static void on_message(struct loop_stream *s, const uint8_t *p, size_t n)
{
	struct job *j = container_of(s, struct job, stream);
	struct hull_cur cur = hull_cur_make(p, n);
	struct hull_arg a;
	uint32_t status = 0, error = 0;
	_cleanup_free_ char *text = NULL;
	if (hull_cur_u8(&cur) != HULL_MSG_EXIT || j->exited)
		return;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_STATUS)
			status = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_ERRNO)
			error = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_TEXT && !text)
			text = hull_printable((const char *)a.p, a.n);
	}
	j->exited = true;
	audience_message(&j->audience, p, n);
	if (error) {
		j->error = error <= 4095 ? (int)error : EIO;
		snprintf(j->why, sizeof(j->why), "%s", text && *text ? text : strerror(j->error));
		set_end(j->about, "failed");
		json_object_set_new(j->about, "error", json_string(j->why));
		return;
	}
	job_runs(j);
	if (ended_by_shutdown(j, status)) {
		set_end(j->about, "stopped");
		return;
	}
	set_end(j->about, "exited");
	json_object_set_new(j->about, "exit", json_integer(status));
}

static void on_eof(struct loop_stream *s)
{
	loop_stream_eof(s);
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct job *j = container_of(s, struct job, stream);
	struct keeper *k = j->k;
	if (!j->exited) {
		_cleanup_free_ char *text = hull_printable(message, strlen(message));
		/* Reset by us, or cut off with the wire: the machine has gone off. */
		bool off = code == -ECANCELED || code == -ECONNRESET;
		if (off && k->life.suspended)
			json_object_set_new(j->about, "state", json_string("paused"));
		else
			set_end(j->about, off ? "stopped" : "failed");
		if (!off)
			json_object_set_new(j->about, "error", json_string(text ? text : ""));
		j->error = off ? ESHUTDOWN : code < 0 ? -code : EIO;
		snprintf(j->why, sizeof(j->why), "%s",
			 off             ? "the sandbox has stopped"
			 : text && *text ? text
					 : strerror(j->error));
	}
	audience_close(&j->audience, j->exited ? 0 : j->error, j->why);
	share_sync_cancel(&j->sync);
	hull_buf_free(&j->args);
	list_del(&j->in_list);
	k->jobs->count--;
	logfile_close(&j->log);
	if (j->running) {
		job_record_write(k, j->id, j->about);
	} else {
		job_files_remove(k, j->id);
		k->events->job(k, j->id, j->error, j->why);
	}
	json_decref(j->about);
	free(j);
}

static const struct loop_stream_ops OPS = {
	.accepted = on_accepted,
	.data = on_data,
	.message = on_message,
	.writable = on_writable,
	.eof = on_eof,
	.closed = on_closed,
};

static void unadopted_closed(struct loop_stream *s, int code, const char *message)
{
}

static const struct loop_stream_ops UNADOPTED = {.closed = unadopted_closed};

/* --- starting --- */

static int put_strings(struct hull_buf *b, uint16_t tag, const json_t *list, const char *what, struct hull_error *err)
{
	if (list && !json_is_array(list))
		return hull_fail(err, -EINVAL, "job: \"%s\" must be a list of strings", what);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		if (!s)
			return hull_fail(err, -EINVAL, "job: \"%s\" must be a list of strings", what);
		if (hull_args_put_str(b, tag, s) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static int arguments(const struct keeper *k, const json_t *request, struct hull_buf *out, struct hull_error *err)
{
	const json_t *argv = json_object_get(request, "argv");
	if (!json_is_array(argv) || json_array_size(argv) == 0)
		return hull_fail(err, -EINVAL, "job: \"argv\" is missing or empty");
	int r = relay_arguments(k, HULL_SVC_EXEC, NULL, 0, out);
	if (r < 0)
		return hull_fail(err, r, "out of memory");
	r = put_strings(out, HULL_TAG_ARGV, argv, "argv", err);
	if (r == 0)
		r = put_strings(out, HULL_TAG_ENV, json_object_get(request, "env"), "env", err);
	if (r < 0)
		return r;
	const char *cwd = json_string_value(json_object_get(request, "cwd"));
	const char *user = json_string_value(json_object_get(request, "user"));
	if ((cwd && hull_args_put_str(out, HULL_TAG_CWD, cwd) < 0) ||
	    (user && hull_args_put_str(out, HULL_TAG_USER, user) < 0) ||
	    (json_is_true(json_object_get(request, "tty")) && hull_args_put_u32(out, HULL_TAG_TTY, 1) < 0) ||
	    hull_args_put_u32(out, HULL_TAG_KEEP, 1) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return 0;
}

static struct job *running(const struct keeper *k, const char *id)
{
	list_each(n, (struct list_node *)&k->jobs->list)
	{
		struct job *j = container_of(n, struct job, in_list);
		if (strcmp(j->id, id) == 0)
			return j;
	}
	return NULL;
}

static void prune(struct keeper *k)
{
	_cleanup_free_ struct job_record *all = NULL;
	size_t n = job_records(k, &all);
	for (size_t i = 0, left = n; i < n && left >= JOBS_MAX; i++) {
		if (running(k, all[i].id))
			continue;
		job_files_remove(k, all[i].id);
		left--;
	}
}

void job_id(char out[JOB_ID + 1])
{
	uint32_t id;
	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
		id = (uint32_t)(uv_hrtime() >> 10);
	snprintf(out, JOB_ID + 1, "%08x", id);
}

static bool is_id(const char *s)
{
	return strlen(s) == JOB_ID && strspn(s, "0123456789abcdef") == JOB_ID;
}

/* Without -i it finds stdin empty. A terminal has no end of its own: whoever reads it waits. */
static int open_stream(struct job *j)
{
	static const uint8_t no_input = HULL_MSG_STDIN_EOF;
	int r = loop_stream_open(&j->stream, &j->k->guest->link, HULL_SVC_EXEC, &j->args);
	hull_buf_free(&j->args);
	if (r == 0 && !json_is_true(json_object_get(j->about, "stdin")) &&
	    !json_is_true(json_object_get(j->about, "tty")))
		loop_stream_message(&j->stream, &no_input, 1);
	return r;
}

static const char *why_not(int r)
{
	return r == -EMSGSIZE ? "its arguments and environment are too large" : strerror(-r);
}

static void passed(struct sync_wait *w)
{
	struct job *j = container_of(w, struct job, sync);
	int r = open_stream(j);
	if (r < 0)
		on_closed(&j->stream, r, why_not(r));
}

void jobs_init(struct keeper *k)
{
	list_init(&k->jobs->list);
}

int job_start(struct keeper *k, const json_t *request, char out[JOB_ID + 1], struct hull_error *err)
{
	if (!k->guest->configured || k->life.phase >= PHASE_STOPPING)
		return hull_fail(err, -EAGAIN, "the sandbox does not take commands now; wait for it to be up");
	if (k->jobs->count >= JOBS_MAX || k->relays->count + k->jobs->count >= STREAMS_MAX)
		return hull_fail(
			err, -EAGAIN,
			"too many jobs run in this sandbox: end some of them (`hull logs %s --jobs` lists them)",
			k->sb.name);
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	int r = arguments(k, request, &args, err);
	if (r < 0)
		return r;
	prune(k);
	struct job *j = calloc(1, sizeof(*j));
	if (!j)
		return hull_fail(err, -ENOMEM, "out of memory");
	j->k = k;
	j->log.fd = -1;
	j->stream.ops = &OPS;
	bool tty = json_is_true(json_object_get(request, "tty")),
	     input = json_is_true(json_object_get(request, "stdin"));
	audience_init(&j->audience, &j->stream, input);
	_cleanup_free_ char *dir = hull_sandbox_path(&k->paths, k->sb.name, "jobs");
	_cleanup_free_ char *log = NULL;
	do {
		job_id(j->id);
		free(log);
		log = job_file_path(k, j->id, ".log");
	} while (log && access(log, F_OK) == 0);
	j->about = json_pack("{s:s,s:O,s:b,s:b,s:s,s:n,s:I,s:n}", "id", j->id, "argv", json_object_get(request, "argv"),
			     "tty", tty, "stdin", input, "state", "running", "exit", "started", (json_int_t)time(NULL),
			     "ended");
	if (!dir || !log || !j->about)
		r = hull_fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = hull_mkdir_all(dir, 0700, err);
	if (r == 0)
		r = logfile_open(&j->log, log, JOB_LOG_CAP, false, err);
	if (r == 0 && hull_args_put_str(&args, HULL_TAG_ID, j->id) < 0)
		r = hull_fail(err, -ENOMEM, "out of memory");
	if (r == 0) {
		j->args = args;
		args = (struct hull_buf){0};
		if (share_sync(k, &j->sync, passed))
			r = open_stream(j);
		if (r < 0)
			hull_fail(err, r, "cannot start the job: %s", why_not(r));
	}
	if (r < 0) {
		if (log && j->log.fd >= 0)
			unlink(log);
		logfile_close(&j->log);
		json_decref(j->about);
		free(j);
		return r;
	}
	job_record_write(k, j->id, j->about);
	list_add(&k->jobs->list, &j->in_list);
	k->jobs->count++;
	memcpy(out, j->id, sizeof(j->id));
	return 0;
}

/* --- by its id --- */

int job_signal(struct keeper *k, const char *id, uint32_t sig, const char **state, bool *reached,
	       struct hull_error *err)
{
	struct job *j = is_id(id) ? running(k, id) : NULL;
	_cleanup_(json_decrefp) json_t *about = j ? json_incref(j->about) : is_id(id) ? job_record_read(k, id) : NULL;
	if (!about)
		return hull_fail(err, -ENOENT, "%s has no such job: `hull logs %s --jobs` lists them", k->sb.name,
				 k->sb.name);
	static const char *const states[] = {"running", "exited", "failed", "stopped", "paused"};
	*state = "ended";
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (hull_streq(json_string_value(json_object_get(about, "state")), states[i]))
			*state = states[i];
	/* The numbers of sessions are those of one boot of the guest. */
	json_int_t session = json_integer_value(json_object_get(about, "session"));
	if (!j && json_integer_value(json_object_get(about, "started")) < (json_int_t)k->sb.started)
		session = 0;
	*reached = session > 0 && session <= UINT32_MAX;
	int r = *reached ? guest_kill_session(k, (uint32_t)session, sig) : 0;
	return r < 0 ? hull_fail(err, r, "the signal cannot be sent to the guest: %s", strerror(-r)) : 0;
}

void job_attach(struct keeper *k, struct loop_link *client, uint32_t stream, const uint8_t *args, size_t len)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	_cleanup_free_ char *id = NULL;
	while (hull_args_next(&cur, &a))
		if (a.tag == HULL_TAG_NAME && !id)
			id = hull_arg_str(&a);
	struct job *j = id ? running(k, id) : NULL;
	if (!j || !j->running || j->exited)
		hull_wire_refuse(client->wire, stream, ECHILD, "no such job runs");
	else
		audience_add(&j->audience, client, stream);
}

/* --- adopting --- */

/* {id, argv, tty}, as a guest tells it; NULL when it is malformed. */
static json_t *read_session(struct hull_cur *cur)
{
	_cleanup_free_ char *id = NULL;
	_cleanup_(json_decrefp) json_t *argv = json_array();
	struct hull_arg a;
	bool tty = false;
	while (argv && hull_args_next(cur, &a)) {
		if (a.tag == HULL_TAG_ID && !id) {
			id = hull_arg_str(&a);
		} else if (a.tag == HULL_TAG_TTY) {
			tty = hull_arg_u32(&a) != 0;
		} else if (a.tag == HULL_TAG_ARGV) {
			_cleanup_free_ char *word = hull_printable((const char *)a.p, a.n);
			json_array_append_new(argv, json_string(word ? word : ""));
		}
	}
	if (cur->bad || !id || !is_id(id))
		return NULL;
	return json_pack("{s:s,s:O,s:b}", "id", id, "argv", argv, "tty", tty);
}

/* Did the keeper that saved the machine run it? */
static bool was_saved(const struct keeper *k, const char *id)
{
	size_t i;
	json_t *saved;
	json_array_foreach(k->jobs->saved, i, saved) if (hull_streq(json_string_value(saved), id)) return true;
	return false;
}

void jobs_saved(struct keeper *k, json_t *ids)
{
	json_decref(k->jobs->saved);
	k->jobs->saved = ids;
}

json_t *jobs_sessions(struct keeper *k)
{
	json_t *ids = json_array();
	if (ids)
		relay_sessions(k, ids);
	list_each(n, &k->jobs->list) if (ids)
		json_array_append_new(ids, json_string(container_of(n, struct job, in_list)->id));
	return ids;
}

/* May it be a job of this keeper? A record that ended is what happened; one that cannot be read is not replaced. */
static bool adoptable(struct keeper *k, const char *id)
{
	_cleanup_(json_decrefp) json_t *about = job_record_read(k, id);
	_cleanup_free_ struct job_record *all = NULL;
	if (k->jobs->count >= JOBS_MAX)
		return false;
	if (about) {
		const char *state = json_string_value(json_object_get(about, "state"));
		/* "stopped" is what the end of the machine made of it: a snapshot may be of the time before. */
		return hull_streq(state, "running") || hull_streq(state, "paused") ||
		       (hull_streq(state, "stopped") && !keeper_is_pause(k->origin.restore));
	}
	return was_saved(k, id) && !job_files_exist(k, id) && job_records(k, &all) < JOBS_MAX;
}

/* What is known of it, or what the guest says of one that is new here. */
static json_t *adopted(const struct keeper *k, const char *id, const json_t *announced)
{
	json_t *about = job_record_read(k, id);
	if (!about)
		about = json_pack("{s:s,s:O,s:O,s:b,s:I}", "id", id, "argv", json_object_get(announced, "argv"), "tty",
				  json_object_get(announced, "tty"), "stdin", 1, "started", (json_int_t)time(NULL));
	if (about) {
		json_object_set_new(about, "state", json_string("running"));
		json_object_set_new(about, "exit", json_null());
		json_object_set_new(about, "ended", json_null());
		json_object_del(about, "error");
	}
	return about;
}

void job_adopt(struct keeper *k, struct hull_cur *session)
{
	_cleanup_(json_decrefp) json_t *announced = k->origin.restore && !k->guest->answered ? read_session(session)
											     : NULL;
	const char *id = json_string_value(json_object_get(announced, "id"));
	if (!id || running(k, id) || ++k->jobs->announced > STREAMS_MAX)
		return;
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	_cleanup_free_ char *dir = hull_sandbox_path(&k->paths, k->sb.name, "jobs");
	_cleanup_free_ char *log = job_file_path(k, id, ".log");
	struct hull_error err = {0};
	struct job *j = calloc(1, sizeof(*j));
	if (!j)
		return;
	j->k = k;
	j->stream.ops = &OPS;
	j->running = true; /* nobody waits to be announced */
	j->log.fd = -1;
	memcpy(j->id, id, JOB_ID);
	j->about = adopted(k, id, announced);
	audience_init(&j->audience, &j->stream, json_is_true(json_object_get(j->about, "stdin")));
	int r = dir && log && j->about ? hull_mkdir_all(dir, 0700, &err) : -ENOMEM;
	bool keep = r == 0 && adoptable(k, id);
	if (keep)
		r = logfile_open(&j->log, log, JOB_LOG_CAP, false, &err);
	if (r == 0)
		r = hull_args_put_str(&args, HULL_TAG_ID, id) | hull_args_put_u32(&args, HULL_TAG_ATTACH, 1);
	if (r == 0)
		r = loop_stream_open(&j->stream, &k->guest->link, HULL_SVC_EXEC, &args);
	if (r < 0 || !keep) {
		if (r < 0)
			hull_log("job %s: %s", id, err.msg[0] ? err.msg : strerror(-r));
		j->stream.ops = &UNADOPTED;
		if (j->stream.id)
			loop_stream_reset(&j->stream, ECANCELED, "not adopted as a job");
		logfile_close(&j->log);
		json_decref(j->about);
		free(j);
		return;
	}
	job_record_write(k, j->id, j->about);
	list_add(&k->jobs->list, &j->in_list);
	k->jobs->count++;
}

/* --- listing, recovering --- */

json_t *jobs_list(struct keeper *k)
{
	_cleanup_free_ struct job_record *all = NULL;
	size_t n = job_records(k, &all);
	json_t *list = json_array();
	for (size_t i = 0; list && i < n; i++) {
		const struct job *j = running(k, all[i].id);
		json_t *about = j ? json_incref(j->about) : job_record_read(k, all[i].id);
		if (about)
			json_array_append_new(list, about);
	}
	return list;
}

static void set_stopped(struct keeper *k, bool paused)
{
	_cleanup_free_ struct job_record *all = NULL;
	size_t n = job_records(k, &all);
	for (size_t i = 0; i < n; i++) {
		_cleanup_(json_decrefp) json_t *about = running(k, all[i].id) ? NULL : job_record_read(k, all[i].id);
		const char *state = json_string_value(json_object_get(about, "state"));
		if (!hull_streq(state, "running") && !(paused && hull_streq(state, "paused")))
			continue;
		set_end(about, "stopped");
		job_record_write(k, all[i].id, about);
	}
}

void jobs_recover(struct keeper *k)
{
	set_stopped(k, !keeper_is_pause(k->sb.restore));
}

void jobs_adopted(struct keeper *k)
{
	if (k->origin.restore)
		set_stopped(k, true);
}

void jobs_close(struct keeper *k)
{
	list_each(n, &k->jobs->list)
	{
		struct job *j = container_of(n, struct job, in_list);
		if (j->stream.id)
			loop_stream_reset(&j->stream, ECONNRESET, "the sandbox has stopped");
		else
			on_closed(&j->stream, -ECONNRESET, "");
	}
}

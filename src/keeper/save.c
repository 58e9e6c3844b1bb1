/* Saving the running machine: for a snapshot, a fork, a template, a pause; see machine.h and snapshot/snapshot.h.
 *
 *     BASE     a worker copies the memory file that the machine was restored from (cheap, or by reflink free); the
 *              guest runs. Nothing to do for one that was booted
 *     QUIET    the guest writes its disk (sync) and confirms that it has read all that was sent to it; nothing more is
 *              sent. Whoever restores it says HELLO between two frames
 *     PAUSE    the machine is told to stand still
 *     COPY     the engine writes its devices' state while a worker copies the pages that are the machine's own, and
 *              the disk
 *     FINISH   the machine runs on (or stands still for good), a worker makes the files durable and hashes them
 *
 * A failure anywhere lets the machine run on as if nothing had been. Workers touch only what is in struct save; the
 * loop does not end before they have. What a worker wrote when the machine dies meanwhile is the scratch directory of
 * whoever asked, who removes it. */
#include "keeper/machine.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "keeper/gateway_child.h"
#include "snapshot/snapshot.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum stage { BASE, QUIET, PAUSE, COPY, FINISH };
enum { QUIET_TIMEOUT_MS = 60 * 1000 };

struct save {
	struct keeper *k;
	uv_work_t work;
	uv_timer_t timer;
	enum stage stage;
	bool with_disk, end;
	char *dir;
	struct hull_scratch scratch; /* of a pause; fd -1 otherwise */
	int memory;                  /* the new memory file */
	int device;
	int base; /* borrowed */
	int disk; /* the sandbox's, open for reading */
	pid_t pid;
	uint64_t size, copied;
	uint64_t paused_ns, resumed_ns;
	bool copying, devicing; /* COPY waits for both to be false */
	bool failed;            /* err says how */
	bool worker_failed;
	struct hull_error err, worker_err;
	struct hull_snapshot about;
};

static void on_freed(uv_handle_t *handle)
{
	free(handle->data);
}

static void end_save(struct save *s, json_t *figures)
{
	struct keeper *k = s->k;
	k->machine->save = NULL;
	hull_closep(&s->memory);
	hull_closep(&s->device);
	hull_closep(&s->disk);
	hull_scratch_drop(&s->scratch);
	hull_snapshot_free(&s->about);
	free(s->dir);
	if (s->failed)
		hull_log("saving failed: %s", s->err.msg);
	service_saved(k, s->err.code, s->failed ? s->err.msg : NULL, figures);
	s->timer.data = s;
	uv_close((uv_handle_t *)&s->timer, on_freed);
}

/* What the worker found, now that it has ended. */
static void take_verdict(struct save *s)
{
	if (s->worker_failed && !s->failed) {
		s->failed = true;
		s->err = s->worker_err;
	}
}

/* Give up; the machine runs on. */
static void fail(struct save *s)
{
	s->failed = true;
	guest_thaw(s->k);
	if (s->paused_ns && !s->resumed_ns && s->k->machine->engine)
		hull_engine_resume(s->k->machine->engine, NULL);
	end_save(s, NULL);
}

static int open_new(const char *dir, const char *name, int flags, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", dir, name);
	int fd = path ? open(path, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
	return fd < 0 ? hull_fail_errno(err, "cannot make %s/%s", dir, name) : fd;
}

/* --- workers --- */

static void copy_base(uv_work_t *work)
{
	struct save *s = work->data;
	if (s->base >= 0 && hull_clone_file(s->base, s->memory, &s->worker_err) < 0)
		s->worker_failed = true;
}

static int copy_disk(struct save *s)
{
	_cleanup_close_ int to = open_new(s->dir, HULL_SNAPSHOT_DISK, O_RDWR, &s->worker_err);
	return to < 0 ? to : hull_clone_file(s->disk, to, &s->worker_err);
}

static void copy_own(uv_work_t *work)
{
	struct save *s = work->data;
	int r = hull_memory_save(s->pid, s->size, s->base, s->memory, &s->copied, &s->worker_err);
	if (r == 0 && s->with_disk)
		r = copy_disk(s);
	s->worker_failed = r < 0;
}

static void finish_files(uv_work_t *work)
{
	struct save *s = work->data;
	s->worker_failed = hull_snapshot_finish(s->dir, &s->about, &s->worker_err) < 0;
}

/* --- stages --- */

static void finished(uv_work_t *work, int status)
{
	struct save *s = work->data;
	struct keeper *k = s->k;
	take_verdict(s);
	if (s->failed || k->ended) {
		if (!s->failed)
			hull_fail(&s->err, -ESHUTDOWN, "the machine ended while it was being saved");
		fail(s);
		return;
	}
	if (s->scratch.fd >= 0) {
		_cleanup_free_ char *home = hull_sandbox_path(&k->paths, k->sb.name, NULL);
		_cleanup_free_ char *restore = hull_fmt("sandboxes/%s/frozen", k->sb.name);
		if (!home || !restore || hull_scratch_commit(&s->scratch, home, "frozen", true, &s->err) < 0) {
			fail(s);
			return;
		}
		free(k->sb.restore);
		k->sb.restore = hull_steal_ptr(restore);
		k->sb.fresh = false;
		k->parked = true;
		keeper_save(k, "paused", NULL);
	}
	hull_log("saved: %llu MiB of memory copied, stood still for %.1f ms", (unsigned long long)(s->copied >> 20),
		 s->resumed_ns ? (double)(s->resumed_ns - s->paused_ns) / 1e6 : 0.0);
	json_t *figures = json_pack("{s:f, s:I}", "paused_ms",
				    s->resumed_ns ? (double)(s->resumed_ns - s->paused_ns) / 1e6 : 0.0, "memory_bytes",
				    (json_int_t)s->copied);
	if (s->end)
		keeper_kill(k);
	end_save(s, figures);
	json_decref(figures);
}

static void copied(struct save *s)
{
	if (s->copying || s->devicing)
		return;
	if (s->failed || s->k->ended) {
		if (!s->failed)
			hull_fail(&s->err, -ESHUTDOWN, "the machine ended while it was being saved");
		fail(s);
		return;
	}
	if (!s->end) {
		if (hull_engine_resume(s->k->machine->engine, &s->err) < 0) {
			fail(s);
			return;
		}
		s->resumed_ns = uv_hrtime();
		guest_thaw(s->k);
	}
	s->stage = FINISH;
	s->work.data = s;
	uv_queue_work(&s->k->loop, &s->work, finish_files, finished);
}

static void own_copied(uv_work_t *work, int status)
{
	struct save *s = work->data;
	s->copying = false;
	take_verdict(s);
	copied(s);
}

void save_device_saved(struct keeper *k, const char *error)
{
	struct save *s = k->machine->save;
	if (!s || s->stage != COPY || !s->devicing)
		return;
	if (error && !s->failed) {
		s->failed = true;
		hull_fail(&s->err, -EIO, "the engine cannot save its state: %s", error);
	}
	s->devicing = false;
	copied(s);
}

void save_state(struct keeper *k, enum hull_engine_state state)
{
	struct save *s = k->machine->save;
	if (!s || s->stage != PAUSE || state != HULL_ENGINE_PAUSED)
		return;
	s->stage = COPY;
	/* All it was ever answered has been told to us before. */
	s->about.names = gateway_names(k);
	s->pid = hull_engine_pid(k->machine->engine);
	int r = hull_engine_save_device(k->machine->engine, s->device, &s->err);
	if (r < 0) {
		fail(s);
		return;
	}
	s->copying = s->devicing = true;
	s->work.data = s;
	uv_queue_work(&k->loop, &s->work, copy_own, own_copied);
}

static void on_quiet_timeout(uv_timer_t *timer)
{
	struct save *s = timer->data;
	if (s->stage != QUIET)
		return;
	hull_fail(&s->err, -ETIMEDOUT, "the guest does not answer: it cannot be saved at a quiet moment");
	fail(s);
}

void save_synced(struct keeper *k)
{
	struct save *s = k->machine->save;
	if (!s || s->stage != QUIET)
		return;
	uv_timer_stop(&s->timer);
	s->stage = PAUSE;
	s->paused_ns = uv_hrtime();
	if (hull_engine_pause(k->machine->engine, &s->err) < 0)
		fail(s);
}

static void base_copied(uv_work_t *work, int status)
{
	struct save *s = work->data;
	take_verdict(s);
	int r = s->failed ? s->err.code : guest_freeze(s->k);
	if (r < 0) {
		if (!s->failed)
			hull_fail(&s->err, r, "the guest is not up");
		fail(s);
		return;
	}
	s->stage = QUIET;
	uv_timer_start(&s->timer, on_quiet_timeout, QUIET_TIMEOUT_MS, 0);
}

/* --- the beginning --- */

static int describe(struct save *s, struct hull_error *err)
{
	struct keeper *k = s->k;
	const struct hull_sandbox *sb = &k->sb;
	struct machine *m = k->machine;
	s->about = (struct hull_snapshot){.image = strdup(sb->image),
					  .identity = m->identity ? strdup(m->identity) : NULL,
					  .engine = strdup(hull_engine_describe(m->engine)),
					  .accel = strdup(hull_engine_accel(m->engine)),
					  .source = strdup(sb->name),
					  .cpus = sb->cpus,
					  .memory = m->memory,
					  .disk = sb->disk,
					  .no_docker = sb->no_docker};
	if (s->about.image && s->about.identity && s->about.engine && s->about.accel && s->about.source)
		return 0;
	return hull_fail(err, -ENOMEM, "cannot tell which engine this is");
}

static int prepare(struct save *s, const char *dir, struct hull_error *err)
{
	struct keeper *k = s->k;
	_cleanup_free_ char *home = hull_sandbox_path(&k->paths, k->sb.name, NULL);
	_cleanup_free_ char *disk = hull_sandbox_path(&k->paths, k->sb.name, "disk.img");
	int r = home && disk ? 0 : hull_fail(err, -ENOMEM, "out of memory");
	if (r == 0 && !dir)
		r = hull_scratch_make(home, &s->scratch, err);
	if (r == 0)
		s->dir = strdup(dir ? dir : s->scratch.path);
	if (r == 0)
		r = s->dir ? describe(s, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r == 0 && (s->memory = open_new(s->dir, HULL_SNAPSHOT_MEMORY, O_RDWR, err)) < 0)
		r = s->memory;
	if (r == 0 && (s->device = open_new(s->dir, HULL_SNAPSHOT_DEVICE, O_WRONLY, err)) < 0)
		r = s->device;
	if (r == 0 && (s->disk = open(disk, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		r = hull_fail_errno(err, "cannot open %s", disk);
	return r;
}

int save_begin(struct keeper *k, const char *dir, bool disk, bool end, struct hull_error *err)
{
	struct machine *m = k->machine;
	if (m->save)
		return hull_fail(err, -EBUSY, "it is being saved already");
	struct save *s = calloc(1, sizeof(*s));
	if (!s)
		return hull_fail(err, -ENOMEM, "out of memory");
	s->k = k;
	s->with_disk = disk;
	s->end = end;
	s->memory = s->device = s->disk = s->scratch.fd = -1;
	s->base = m->memory_fd;
	s->size = m->memory;
	int r = prepare(s, dir, err);
	if (r < 0) {
		hull_closep(&s->memory);
		hull_closep(&s->device);
		hull_closep(&s->disk);
		hull_scratch_drop(&s->scratch);
		hull_snapshot_free(&s->about);
		free(s->dir);
		free(s);
		return r;
	}
	m->save = s;
	uv_timer_init(&k->loop, &s->timer);
	s->timer.data = s->work.data = s;
	uv_queue_work(&k->loop, &s->work, copy_base, base_copied);
	return 0;
}

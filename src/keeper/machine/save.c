/* SPDX-License-Identifier: Apache-2.0 */
/* Saving the running machine: for a snapshot, a fork, a template, a pause; see machine.h and snapshot/snapshot.h.
 *
 *     BASE     a worker copies the memory file that the machine was restored from (cheap, or by reflink free); the
 *              guest runs. Nothing to do for one that was booted
 *     QUIET    the guest writes its disk (sync) and confirms that it has read all that was sent to it; nothing more is
 *              sent. Whoever restores it says HELLO between two frames
 *     PAUSE    the engine stops the machine's CPUs
 *     COPY     the engine writes its devices' state while a worker copies the pages that are the machine's own. The
 *              disk: by reflink; without those the worker only looks where there is data, and the engine begins to
 *              keep what the machine overwrites (hull_engine_keep_begin)
 *     DISK     the machine runs on (or stands still for good). Without reflinks a worker copies the disk
 *     KEPT     the engine ends copy-before-write
 *     FINISH   a worker puts what was kept over the copy of the disk, makes the files durable and hashes them
 *     GIVE_UP  it failed, and the engine has still to let go of the file for what it kept
 *
 * A failure anywhere lets the machine run on as if nothing had been, also that of the host's disk being full, which
 * stops the machine for as long as it takes to give up. Workers touch only what is in struct save; the
 * loop does not end before they have. What a worker wrote when the machine dies meanwhile is the scratch directory of
 * whoever asked, who removes it. */
#include "keeper/machine/machine.h"
#include "keeper/guest/guest.h"
#include "keeper/machine/grow.h"
#include "keeper/session/jobs.h"
#include "keeper/workspace/share.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "keeper/network/gateway_child.h"
#include "snapshot/snapshot.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum stage { BASE, QUIET, PAUSE, COPY, DISK, KEPT, FINISH, GIVE_UP };
enum { QUIET_TIMEOUT_MS = 60 * 1000, NODES_MS = 5000, DISK_INDEX = 1 /* of the sandbox's in machine.c */ };

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
	int base;     /* borrowed */
	int disk;     /* the sandbox's, open for reading */
	int new_disk; /* its copy */
	int kept;     /* what the machine overwrites; has no name */
	bool reflink;
	bool keep;          /* the engine keeps: it has to be told to stop */
	volatile bool stop; /* the worker that copies the disk */
	struct hull_disk_map map;
	pid_t pid;
	uint64_t size, copied, merged;
	uint64_t paused_ns, resumed_ns;
	bool copying, devicing, beginning, asking; /* COPY waits for all to be false */
	struct share_nodes *nodes;                 /* of the workspace's servers */
	size_t node_count;
	bool stopped; /* the machine stands still, because of us or of a full disk */
	bool failed;  /* err says how */
	bool worker_failed;
	struct hull_error err, worker_err;
	struct hull_snapshot about;
};

static void on_freed(uv_handle_t *handle)
{
	free(handle->data);
}

/* All but s itself. */
static void release(struct save *s)
{
	hull_closep(&s->memory);
	hull_closep(&s->device);
	hull_closep(&s->disk);
	hull_closep(&s->new_disk);
	hull_closep(&s->kept);
	hull_disk_map_free(&s->map);
	share_nodes_free(s->nodes, s->node_count);
	s->nodes = NULL;
	s->node_count = 0;
	hull_scratch_drop(&s->scratch);
	hull_snapshot_free(&s->about);
	free(s->dir);
	s->dir = NULL;
}

static void end_save(struct save *s, json_t *figures)
{
	struct keeper *k = s->k;
	k->machine->save = NULL;
	release(s);
	if (s->failed)
		hull_log("saving failed: %s", s->err.msg);
	k->events->saved(k, s->err.code, s->failed ? s->err.msg : NULL, figures);
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
	struct hull_engine *e = s->k->life.ended ? NULL : s->k->machine->engine;
	s->failed = true;
	guest_release(s->k);
	if (s->keep && e) {
		s->keep = false;
		s->stage = GIVE_UP;
		if (hull_engine_keep_end(e, NULL) == 0)
			return;
	}
	if (s->stopped && e)
		hull_engine_resume(e, NULL);
	end_save(s, NULL);
}

/* The worker's part is over, or the engine's: has it failed meanwhile? */
static bool failed(struct save *s)
{
	if (!s->failed && s->k->life.ended) {
		s->failed = true;
		hull_fail(&s->err, -ESHUTDOWN, "the machine ended while it was being saved");
	}
	return s->failed;
}

static int open_new(const char *dir, const char *name, int flags, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", dir, name);
	int fd = path ? open(path, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
	return fd < 0 ? hull_fail_errno(err, "cannot make %s/%s", dir, name) : fd;
}

/* For what the machine overwrites: as long as its disk, empty, and gone when it is closed. */
static int open_kept(struct save *s, struct hull_error *err)
{
	static const char name[] = "kept";
	_cleanup_free_ char *path = hull_fmt("%s/%s", s->dir, name);
	s->kept = path ? open_new(s->dir, name, O_RDWR, err) : -1;
	if (s->kept < 0)
		return path ? s->kept : hull_fail(err, -ENOMEM, "out of memory");
	unlink(path);
	return ftruncate(s->kept, (off_t)s->k->sb.disk) < 0 ? hull_fail_errno(err, "cannot make a file in %s", s->dir)
							    : 0;
}

/* --- workers --- */

static void copy_base(uv_work_t *work)
{
	struct save *s = work->data;
	/* Can it be done? And what the disk has in memory only is written now, not while the machine stands still. */
	s->reflink = s->with_disk && ioctl(s->new_disk, FICLONE, s->disk) == 0;
	if (s->base >= 0 && hull_clone_file(s->base, s->memory, &s->worker_err) < 0)
		s->worker_failed = true;
}

static int look_at_disk(struct save *s)
{
	if (!s->reflink)
		return hull_disk_map(s->disk, &s->map, &s->worker_err);
	return ioctl(s->new_disk, FICLONE, s->disk) < 0 ? hull_fail_errno(&s->worker_err, "cannot copy the disk") : 0;
}

static void copy_own(uv_work_t *work)
{
	struct save *s = work->data;
	int r = hull_memory_save(s->pid, s->size, s->base, s->memory, &s->copied, &s->worker_err);
	if (r == 0 && s->with_disk)
		r = look_at_disk(s);
	s->worker_failed = r < 0;
}

static void copy_disk(uv_work_t *work)
{
	struct save *s = work->data;
	s->worker_failed = hull_disk_copy(s->disk, &s->map, s->new_disk, &s->stop, &s->worker_err) < 0;
}

static int write_nodes(struct save *s)
{
	_cleanup_free_ char *path = hull_fmt("%s/" HULL_SNAPSHOT_NODES, s->dir);
	if (!path)
		return hull_fail(&s->worker_err, -ENOMEM, "out of memory");
	if (s->node_count == 0)
		return 0;
	_cleanup_close_ int fd = open_new(s->dir, HULL_SNAPSHOT_NODES, O_WRONLY, &s->worker_err);
	int r = fd < 0 ? fd : share_nodes_write(s->nodes, s->node_count, fd, &s->worker_err);
	if (r == 0)
		unlink(path);
	return r < 0 ? r : 0;
}

static void finish_files(uv_work_t *work)
{
	struct save *s = work->data;
	int r = s->kept >= 0 ? hull_disk_merge(s->kept, &s->map, s->new_disk, &s->merged, &s->worker_err) : 0;
	/* A pause has no copy of the disk: the sandbox's own is of this moment, and its memory fits no other. */
	if (r == 0 && !s->with_disk && fsync(s->disk) < 0)
		r = hull_fail_errno(&s->worker_err, "cannot write the disk");
	if (r == 0)
		r = write_nodes(s);
	if (r == 0)
		r = hull_snapshot_finish(s->dir, &s->about, &s->worker_err);
	s->worker_failed = r < 0;
}

/* --- stages --- */

/* From now on it is a paused sandbox: unless that can be written down it is none. */
static int park(struct keeper *k, const char *restore, const char *id, struct hull_error *err)
{
	_cleanup_free_ char *path = strdup(restore);
	_cleanup_free_ char *copy = strdup(id);
	if (!path || !copy)
		return hull_fail(err, -ENOMEM, "out of memory");
	free(k->sb.restore);
	free(k->sb.restore_id);
	k->sb.restore = hull_steal_ptr(path);
	k->sb.restore_id = hull_steal_ptr(copy);
	k->sb.fresh = false;
	int r = keeper_save(k, "paused", NULL);
	if (r < 0) {
		free(k->sb.restore);
		k->sb.restore = NULL;
		keeper_save(k, "running", NULL);
		return hull_fail(err, r, "cannot record in sandbox.json that it is paused: %s", strerror(-r));
	}
	k->life.suspended = true;
	return 0;
}

static void finished(uv_work_t *work, int status)
{
	struct save *s = work->data;
	struct keeper *k = s->k;
	take_verdict(s);
	if (failed(s)) {
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
		if (park(k, restore, s->about.digest, &s->err) < 0) {
			/* It runs on: what was saved is of no use any more. */
			_cleanup_close_ int dir = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (dir >= 0)
				hull_remove_tree(dir, "frozen", NULL);
			fail(s);
			return;
		}
	}
	double ms = s->resumed_ns ? (double)(s->resumed_ns - s->paused_ns) / 1e6 : 0.0;
	hull_log("saved: %llu MiB of memory copied, stood still for %.1f ms; %llu KiB of the disk changed meanwhile",
		 (unsigned long long)(s->copied >> 20), ms, (unsigned long long)(s->merged >> 10));
	json_t *figures = json_pack("{s:f, s:I}", "paused_ms", ms, "memory_bytes", (json_int_t)s->copied);
	if (s->end)
		k->events->kill(k);
	end_save(s, figures);
	json_decref(figures);
}

static void finish(struct save *s)
{
	s->stage = FINISH;
	s->work.data = s;
	uv_queue_work(&s->k->loop.uv, &s->work, finish_files, finished);
}

static void disk_copied(uv_work_t *work, int status)
{
	struct save *s = work->data;
	take_verdict(s);
	if (failed(s)) {
		fail(s);
		return;
	}
	if (!s->keep) {
		finish(s);
		return;
	}
	s->stage = KEPT;
	s->keep = false;
	if (hull_engine_keep_end(s->k->machine->engine, &s->err) < 0)
		fail(s);
}

static void copied(struct save *s)
{
	if (s->copying || s->devicing || s->beginning || s->asking)
		return;
	if (failed(s)) {
		fail(s);
		return;
	}
	if (!s->end) {
		if (hull_engine_resume(s->k->machine->engine, &s->err) < 0) {
			fail(s);
			return;
		}
		s->resumed_ns = uv_hrtime();
		s->stopped = false;
		guest_release(s->k);
	}
	if (!s->with_disk || s->reflink) {
		finish(s);
		return;
	}
	s->stage = DISK;
	s->work.data = s;
	uv_queue_work(&s->k->loop.uv, &s->work, copy_disk, disk_copied);
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

void save_kept(struct keeper *k, const char *error)
{
	struct save *s = k->machine->save;
	if (!s)
		return;
	if (error && !s->failed) {
		s->failed = true;
		hull_fail(&s->err, -EIO, "the engine cannot keep what is changed on the disk: %s", error);
	}
	if (s->stage == COPY && s->beginning) {
		s->beginning = false;
		s->keep = !error;
		copied(s);
	} else if (s->stage == KEPT && !s->failed) {
		finish(s);
	} else if (s->stage == KEPT || s->stage == GIVE_UP) {
		fail(s);
	} else {
		s->keep = false; /* it broke by itself: found out when the worker has ended */
	}
}

static void nodes_there(struct keeper *k)
{
	struct save *s = k->machine ? k->machine->save : NULL;
	if (!s || !s->asking)
		return;
	s->asking = false;
	uv_timer_stop(&s->timer);
	s->node_count = share_nodes_collect(k, &s->nodes);
	copied(s);
}

static void on_nodes_late(uv_timer_t *timer)
{
	struct save *s = timer->data;
	share_nodes_late(s->k);
	nodes_there(s->k);
}

/* A template holds no workspace: who starts from it has another one, or none. */
static bool is_template(const struct save *s)
{
	_cleanup_free_ char *templates = hull_fmt("%s/templates/", s->k->paths.home);
	return !templates || hull_starts(s->dir, templates);
}

/* The machine stands still. */
static void begin_copy(struct save *s)
{
	struct hull_engine *e = s->k->machine->engine;
	s->stage = COPY;
	s->stopped = true;
	s->pid = hull_engine_pid(e);
	/* All that the guest was ever answered has been told to us before. */
	s->about.names = gateway_names(s->k);
	s->about.sessions = jobs_sessions(s->k);
	int r = hull_engine_save_device(e, s->device, &s->err);
	bool keep = s->with_disk && !s->reflink && !s->end;
	if (r == 0 && keep)
		r = hull_engine_keep_begin(e, DISK_INDEX, s->kept, &s->err);
	if (r < 0) {
		fail(s);
		return;
	}
	s->copying = s->devicing = true;
	s->beginning = keep;
	s->asking = !is_template(s) && share_nodes_ask(s->k, nodes_there) > 0;
	if (s->asking)
		uv_timer_start(&s->timer, on_nodes_late, NODES_MS, 0);
	s->work.data = s;
	uv_queue_work(&s->k->loop.uv, &s->work, copy_own, own_copied);
}

void save_state(struct keeper *k, enum hull_engine_state state)
{
	struct save *s = k->machine->save;
	if (!s || state != HULL_ENGINE_PAUSED)
		return;
	if (s->stage == PAUSE) {
		begin_copy(s);
		return;
	}
	/* Not because of us: the host's disk is full, of our copy perhaps. When that is away it may go on. Should it be
	 * complete nevertheless it is kept. */
	s->stopped = s->stop = true;
	if (s->stage == FINISH || s->stage == COPY || s->failed)
		return;
	s->failed = true;
	hull_fail(&s->err, -ENOSPC, "the host's disk is full: remove sandboxes, snapshots or templates");
	if (s->stage == QUIET)
		fail(s); /* it cannot say that it is quiet; in the other stages somebody is still at work */
}

static void on_quiet_timeout(uv_timer_t *timer)
{
	struct save *s = timer->data;
	if (s->stage != QUIET)
		return;
	hull_fail(&s->err, -ETIMEDOUT, "the guest does not answer: it cannot be saved in a consistent state");
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
	int r = failed(s) ? s->err.code : guest_quiesce(s->k, s->end && s->with_disk);
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
					  .cpu = hull_snapshot_cpu(hull_engine_accel(m->engine)),
					  .initramfs = m->initramfs ? strdup(m->initramfs) : NULL,
					  .hull = strdup(HULL_VERSION),
					  .source = strdup(sb->name),
					  .cpus = sb->cpus,
					  .memory = m->memory,
					  .disk = sb->disk,
					  .swap = sb->swap,
					  .no_docker = sb->no_docker};
	if (s->about.image && s->about.identity && s->about.engine && s->about.accel && s->about.cpu &&
	    s->about.initramfs && s->about.hull && s->about.source)
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
		r = hull_saved_scratch(home, &s->scratch, err);
	if (r == 0)
		s->dir = strdup(dir ? dir : s->scratch.path);
	if (r == 0)
		r = s->dir ? describe(s, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r == 0 && (s->memory = open_new(s->dir, HULL_SNAPSHOT_MEMORY, O_RDWR, err)) < 0)
		r = s->memory;
	if (r == 0 && (s->device = open_new(s->dir, HULL_SNAPSHOT_DEVICE, O_WRONLY, err)) < 0)
		r = s->device;
	if (r == 0 && s->with_disk && (s->new_disk = open_new(s->dir, HULL_SNAPSHOT_DISK, O_RDWR, err)) < 0)
		r = s->new_disk;
	if (r == 0 && s->with_disk && !s->end)
		r = open_kept(s, err);
	if (r == 0 && (s->disk = open(disk, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		r = hull_fail_errno(err, "cannot open %s", disk);
	return r;
}

int save_begin(struct keeper *k, const char *dir, bool disk, bool end, struct hull_error *err)
{
	struct machine *m = k->machine;
	/* The copy of the disk and the size that is written down would not belong together. */
	if (k->grow->bytes)
		return hull_fail(err, -EBUSY, "its disk is being grown: try again in a moment");
	if (m->save)
		return hull_fail(err, -EBUSY, "it is being saved already");
	struct save *s = calloc(1, sizeof(*s));
	if (!s)
		return hull_fail(err, -ENOMEM, "out of memory");
	s->k = k;
	s->with_disk = disk;
	s->end = end;
	s->memory = s->device = s->disk = s->new_disk = s->kept = s->scratch.fd = -1;
	s->base = m->memory_fd;
	s->size = m->memory;
	int r = prepare(s, dir, err);
	if (r < 0) {
		release(s);
		free(s);
		return r;
	}
	m->save = s;
	uv_timer_init(&k->loop.uv, &s->timer);
	s->timer.data = s->work.data = s;
	uv_queue_work(&k->loop.uv, &s->work, copy_base, base_copied);
	return 0;
}

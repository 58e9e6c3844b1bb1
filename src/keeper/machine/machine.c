/* SPDX-License-Identifier: Apache-2.0 */
/* The engine and what it starts from; see machine.h.
 *
 * The engine's descriptors are watched in the loop and handed to it; its events only record (events.machine_ended,
 * trouble), so that it is never freed from inside its own dispatch. */
#include "keeper/machine/machine.h"
#include "keeper/machine/grow.h"
#include "keeper/guest/guest.h"
#include "keeper/session/jobs.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/machine.h"
#include "image/image.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- events --- */

static void stop_polls(struct machine *m)
{
	for (size_t i = 0; i < m->poll_count; i++)
		uv_close((uv_handle_t *)&m->polls[i], NULL);
	m->poll_count = 0;
}

/* All is in memory, nothing has run. */
static void loaded(struct machine *m)
{
	struct hull_error err = {0};
	m->loaded = true;
	if (m->copy)
		return; /* disk_made() comes back */
	int r = keeper_claim_saved(m->k, &err);
	if (r == 0)
		r = hull_engine_resume(m->engine, &err);
	if (r < 0)
		keeper_fault(m->k, "%s", err.msg);
}

static void disk_made(struct keeper *k, const struct hull_error *err)
{
	struct machine *m = k->machine;
	m->copy = NULL;
	if (!m->engine || k->life.ended)
		return;
	if (err)
		keeper_fault(k, "%s", err->msg);
	else if (m->loaded)
		loaded(m);
}

static void on_state(void *ctx, enum hull_engine_state state)
{
	struct machine *m = ctx;
	if (state == HULL_ENGINE_RUNNING)
		m->k->events->machine_runs(m->k);
	if (state == HULL_ENGINE_PAUSED && m->k->sb.restore && !m->save)
		loaded(m);
	save_state(m->k, state);
	if (state != HULL_ENGINE_STOPPED || !m->engine)
		return;
	struct hull_error err = {0};
	int code = hull_engine_outcome(m->engine, &err);
	_cleanup_free_ char *text = hull_printable(err.msg, strlen(err.msg));
	m->k->events->machine_ended(m->k, code, text);
}

static void on_trouble(void *ctx, const char *text)
{
	struct machine *m = ctx;
	_cleanup_free_ char *shown = hull_printable(text, strlen(text));
	snprintf(m->k->trouble, sizeof(m->k->trouble), "%s", shown ? shown : "");
	keeper_log_guest(m->k, "engine: %s", m->k->trouble);
}

static void on_saved(void *ctx, const char *error)
{
	struct machine *m = ctx;
	save_device_saved(m->k, error);
}

static void on_kept(void *ctx, const char *error)
{
	struct machine *m = ctx;
	save_kept(m->k, error);
}

static void on_grown(void *ctx, const char *error)
{
	struct machine *m = ctx;
	grow_resized(m->k, error);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct machine *m = poll->data;
	if (m->engine)
		hull_engine_dispatch(m->engine);
	/* An exited engine's descriptors stay readable for ever. */
	if (m->k->life.ended)
		stop_polls(m);
}

/* --- operations --- */

static void machine_kill(struct keeper *k)
{
	if (k->machine && k->machine->engine)
		hull_engine_kill(k->machine->engine);
}

static int machine_memory(struct keeper *k, uint64_t *bytes)
{
	return k->machine && k->machine->engine && !k->life.ended ? hull_engine_memory(k->machine->engine, bytes)
								  : -ESRCH;
}

static const char *machine_describe(struct keeper *k)
{
	return k->machine && k->machine->engine ? hull_engine_describe(k->machine->engine) : "none";
}

static const char *machine_accel(struct keeper *k)
{
	return k->machine && k->machine->engine ? hull_engine_accel(k->machine->engine) : "none";
}

static pid_t machine_pid(struct keeper *k)
{
	return k->machine && k->machine->engine ? hull_engine_pid(k->machine->engine) : 0;
}

static void machine_close(struct keeper *k)
{
	struct machine *m = k->machine;
	if (!m || !m->engine)
		return;
	struct hull_engine *e = m->engine;
	stop_polls(m);
	m->engine = NULL;
	hull_engine_free(e);
}

static int machine_resume(struct keeper *k, struct hull_error *err)
{
	struct machine *m = k->machine;
	if (!m || !m->engine || k->life.ended)
		return hull_fail(err, -ESRCH, "the machine is off");
	/* One that is being saved goes on when that is over; one that runs is not disturbed. */
	return m->save || k->sb.restore ? 0 : hull_engine_resume(m->engine, err);
}

static int machine_grow(struct keeper *k, uint64_t bytes, struct hull_error *err)
{
	enum { SANDBOX_DISK = 1 };
	struct machine *m = k->machine;
	if (!m || !m->engine || k->life.ended)
		return hull_fail(err, -ESRCH, "the machine is off");
	if (m->save || m->copy || k->sb.restore)
		return hull_fail(err, -EBUSY, "the machine is being saved or restored: try again when that is over");
	return hull_engine_disk_grow(m->engine, SANDBOX_DISK, bytes, err);
}

static const struct machine_ops OPS = {
	.kill = machine_kill,
	.memory = machine_memory,
	.describe = machine_describe,
	.accel = machine_accel,
	.pid = machine_pid,
	.close = machine_close,
	.synced = save_synced,
	.save = save_begin,
	.resume = machine_resume,
	.grow = machine_grow,
};

int machine_wire_fd(const struct keeper *k)
{
	return hull_engine_wire_fd(k->machine->engine);
}

/* --- starting --- */

static int kind_of(const char *engine)
{
	return strcmp(engine, "kvm") == 0    ? HULL_ENGINE_KVM
	       : strcmp(engine, "qemu") == 0 ? HULL_ENGINE_QEMU
					     : HULL_ENGINE_AUTO;
}

static int watch(struct keeper *k, struct machine *m, struct hull_error *err)
{
	int fds[FDS_MAX];
	size_t n = hull_engine_fds(m->engine, fds, FDS_MAX);
	for (size_t i = 0; i < n; i++) {
		int r = uv_poll_init(&k->loop.uv, &m->polls[i], fds[i]);
		if (r < 0)
			return hull_fail(err, r, "cannot watch the engine: %s", uv_strerror(r));
		m->polls[i].data = m;
		m->poll_count++;
		uv_poll_start(&m->polls[i], UV_READABLE, on_poll);
	}
	return 0;
}

/* A log that the engine writes and keeps small; that of the last run is kept as NAME.1. */
static int open_log(const struct keeper *k, const char *file, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_sandbox_path(&k->paths, k->sb.name, file);
	_cleanup_free_ char *old = path ? hull_fmt("%s.1", path) : NULL;
	if (!old)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (rename(path, old) < 0 && errno != ENOENT)
		return hull_fail_errno(err, "cannot put the old %s aside", path);
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? hull_fail_errno(err, "cannot open %s", path) : fd;
}

int machine_start(struct keeper *k, void (*stage)(const char *text), struct hull_error *err)
{
	static const struct hull_engine_events events = {
		.state = on_state, .trouble = on_trouble, .saved = on_saved, .kept = on_kept, .grown = on_grown};
	_cleanup_(hull_image_free) struct hull_image image = {0};
	_cleanup_(restore_close) struct restore restore = {.memory_fd = -1, .device_fd = -1, .disk_fd = -1};
	_cleanup_free_ char *init = NULL;
	_cleanup_free_ char *initrd = NULL;
	_cleanup_free_ char *jail = hull_fmt("%s/jail", k->runtime_dir);
	_cleanup_free_ char *disk_path = hull_sandbox_path(&k->paths, k->sb.name, "disk.img");

	k->machine_ops = &OPS;
	k->machine = calloc(1, sizeof(*k->machine));
	if (!k->machine || !jail || !disk_path)
		return hull_fail(err, -ENOMEM, "out of memory");
	struct machine *m = k->machine;
	m->k = k;
	m->memory_fd = -1;
	struct hull_probe probe;
	hull_engine_probe_cached(k->paths.runtime, &probe);
	m->identity = hull_engine_identity(NULL);
	int r = k->origin.restore ? restore_open(k, m->identity ? m->identity : "", probe.kvm_usable ? "kvm" : "tcg",
						 stage, &restore, err)
				  : 1;
	if (r < 0)
		return r;
	bool restoring = r == 0;
	if (!restoring) {
		free(k->origin.restore);
		k->origin.restore = NULL;
		r = disk_make(k, stage, err);
		if (r < 0)
			return r;
		r = k->sb.restore ? keeper_claim_saved(k, err) : 0;
		if (r < 0)
			return r;
	}
	stage(restoring ? "restoring" : "preparing the image");
	r = hull_image_find(&k->paths, k->sb.image, &image, err);
	if (r == 0 && !restoring)
		r = (init = hull_beside("hull-init", R_OK, err)) ? 0 : err->code;
	if (r == 0 && !restoring)
		r = hull_image_initramfs(&image, init, &initrd, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *kernel = hull_fmt("%s/vmlinux", image.dir);
	_cleanup_close_ int base = hull_image_open(&image, "base.erofs", err);
	if (!kernel || base < 0)
		return kernel ? base : hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int disk = -1;
	if (restore.disk_fd >= 0) {
		r = disk_copy_open(k, restore.disk_fd, &m->copy, err);
		disk = r < 0 ? -1 : fcntl(disk_copy_fd(m->copy), F_DUPFD_CLOEXEC, 3);
	} else {
		disk = open(disk_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	}
	if (r < 0) {
		disk_copy_free(hull_steal_ptr(m->copy));
		return r;
	}
	if (disk < 0)
		return hull_fail_errno(err, "cannot open the sandbox's disk %s", disk_path);
	if (mkdir(jail, 0700) < 0 && errno != EEXIST)
		return hull_fail_errno(err, "cannot make %s", jail);
	_cleanup_close_ int serial = open_log(k, "serial.log", err);
	if (serial < 0)
		return serial;
	_cleanup_close_ int complaints = open_log(k, "engine.log", err);
	if (complaints < 0)
		return complaints;
	struct hull_engine_restore from = {
		.memory_fd = restore.memory_fd, .device_fd = restore.device_fd, .shim = restore.shim};
	uid_t drop = hull_sandbox_uid(&k->paths, k->sb.name);
	struct hull_engine_config config = {
		.kind = kind_of(k->sb.engine),
		.probe = &probe,
		.name = k->sb.name,
		.kernel = kernel,
		.initrd = initrd,
		.serial_log_fd = serial,
		.stderr_log_fd = complaints,
		.jail_dir = jail,
		.restore = restoring ? &from : NULL,
		.drop_uid = drop,
		.drop_gid = drop,
	};
	const struct hull_machine shape = {.cpus = k->sb.cpus,
					   .memory = k->sb.memory,
					   .no_docker = k->sb.no_docker,
					   .base_fd = base,
					   .disk_fd = disk};
	hull_machine_config(&shape, &config);
	if (!restoring)
		stage("starting the machine");
	r = hull_engine_start(&config, &events, m, &m->engine, err);
	if (r < 0) {
		disk_copy_free(hull_steal_ptr(m->copy));
		return r;
	}
	k->origin.machine_ns = uv_hrtime();
	r = m->copy ? disk_copy_start(m->copy, disk_made, err) : 0;
	if (r < 0)
		return r;
	m->memory = config.memory;
	m->memory_fd = restoring ? hull_steal_fd(&restore.memory_fd) : -1;
	const char *slash = initrd ? strrchr(initrd, '/') : NULL;
	m->initramfs = restoring ? hull_steal_ptr(restore.initramfs) : slash ? strdup(slash + 1) : NULL;
	jobs_saved(k, restoring ? hull_steal_ptr(restore.sessions) : NULL);
	m->names = restoring ? hull_steal_ptr(restore.names) : NULL;
	hull_log("started %s, pid %d", hull_engine_describe(m->engine), (int)hull_engine_pid(m->engine));
	return watch(k, m, err);
}

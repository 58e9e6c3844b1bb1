/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a QEMU: its sockets, its disks, its jail. Everything later is in qemu.c.
 *
 * QEMU receives its resources as descriptors: the wire, QMP and the serial console as one end of a socket pair each,
 * stderr as a pipe, the disks as open files. Only QEMU itself, its libraries and firmware, the kernel and the initrd
 * are opened by path. These paths are the same inside and outside the jail, so that it also works without namespaces.
 */
#include "engine/qemu_internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "jail/jail.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

enum { PATIENCE_S = 60, BINDS_MAX = 24, DEVICE_STATE_MAX = 1024 * 1024 };

/* QEMU's ends, closed in this process once it runs. */
static void close_fds(struct hull_qemu_fds *f)
{
	hull_closep(&f->wire);
	hull_closep(&f->qmp);
	hull_closep(&f->serial);
	for (size_t i = 0; i < HULL_ENGINE_DISKS_MAX; i++)
		hull_closep(&f->disks[i]);
	hull_closep(&f->memory);
	hull_closep(&f->device);
}

static int make_pair(int *ours, int *theirs, const char *what, struct hull_error *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return hull_fail_errno(err, "cannot make a socket for %s", what);
	*ours = pair[0];
	*theirs = pair[1];
	return hull_set_nonblock(*ours, true) < 0 ? hull_fail_errno(err, "cannot set up the socket for %s", what) : 0;
}

/* QEMU looks up a descriptor in its set by access mode, so a read-only disk needs a read-only descriptor. This also
 * guarantees that QEMU cannot write to it. */
static int open_disk(const struct hull_disk *disk, int *out, struct hull_error *err)
{
	int mode = fcntl(disk->fd, F_GETFL);
	if (mode < 0)
		return hull_fail_errno(err, "disk %s", disk->serial);
	mode &= O_ACCMODE;
	if (mode == (disk->readonly ? O_RDONLY : O_RDWR)) {
		*out = fcntl(disk->fd, F_DUPFD_CLOEXEC, 3);
	} else if (disk->readonly) {
		_cleanup_free_ char *path = hull_fmt("/proc/self/fd/%d", disk->fd);
		_cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		*out = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	} else {
		return hull_fail(err, -EBADF, "disk %s must be open for reading and writing", disk->serial);
	}
	return *out < 0 ? hull_fail_errno(err, "disk %s cannot be opened again", disk->serial) : 0;
}

/* QEMU reads the device state from a pipe: a transport that all versions support and that cannot be seeked. The state
 * fits into the pipe's buffer, so that no process has to feed it; *out = the reading end. */
static int fill_pipe(int from, int *out, struct hull_error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "cannot make a pipe");
	*out = ends[0];
	_cleanup_close_ int in = ends[1];
	_cleanup_free_ char *block = malloc(DEVICE_STATE_MAX);
	if (!block)
		return hull_fail(err, -ENOMEM, "out of memory");
	ssize_t n = lseek(from, 0, SEEK_SET) < 0 ? -errno : hull_read_full(from, block, DEVICE_STATE_MAX);
	if (n <= 0 || n == DEVICE_STATE_MAX)
		return hull_fail(err, n < 0 ? (int)n : -EBADMSG, "cannot read the devices' saved state");
	if (n > 65536 && fcntl(in, F_SETPIPE_SZ, DEVICE_STATE_MAX) < n)
		return hull_fail_errno(err, "cannot make a pipe of %d bytes (see /proc/sys/fs/pipe-max-size)",
				       DEVICE_STATE_MAX);
	hull_set_nonblock(in, true);
	int r = hull_write_full(in, block, (size_t)n);
	return r < 0 ? hull_fail(err, r, "cannot hand over the devices' saved state: %s", strerror(-r)) : 0;
}

/* --- the jail --- */

struct binds {
	struct hull_bind list[BINDS_MAX];
	size_t n;
	char *own[4]; /* paths made up here */
};

static void binds_free(struct binds *b)
{
	for (size_t i = 0; i < sizeof(b->own) / sizeof(b->own[0]); i++)
		free(b->own[i]);
}

static void bind_same(struct binds *b, const char *path, bool optional)
{
	if (path && b->n < BINDS_MAX)
		b->list[b->n++] = (struct hull_bind){.source = path, .target = path, .optional = optional};
}

/* A QEMU outside /usr needs its own directory, and the data and libraries next to it. */
static int bind_foreign_qemu(struct binds *b, const char *qemu, struct hull_error *err)
{
	static const char *const beside[] = {"", "/../share", "/../lib"};
	int dir = (int)(strrchr(qemu, '/') - qemu);
	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
		_cleanup_free_ char *path = hull_fmt("%.*s/%s", dir, qemu, beside[i]);
		if (!path)
			return hull_fail(err, -ENOMEM, "out of memory");
		b->own[i] = realpath(path, NULL); /* NULL = it does not exist, which is not an error */
		bind_same(b, b->own[i], true);
	}
	return 0;
}

/* Files that a distribution's QEMU needs: libraries (including its modules), and the firmware and option ROMs that it
 * loads into the machine. No other program, and from /etc only the linker's cache. */
static const char *const system_binds[] = {
	"/usr/lib",           "/usr/lib64",      "/lib",       "/lib64", "/etc/ld.so.cache", "/usr/share/qemu",
	"/usr/share/seabios", "/usr/share/ipxe", "/nix/store",
};

static int run_in_jail(struct hull_engine *e, const struct hull_engine_config *config, const char *qemu,
		       const struct hull_qemu_fds *fds, int stderr_fd, struct hull_error *err)
{
	_cleanup_(binds_free) struct binds b = {0};
	_cleanup_(hull_argv_free) char **argv = hull_qemu_args(qemu, config, e->kvm, fds);
	if (!argv)
		return hull_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < sizeof(system_binds) / sizeof(system_binds[0]); i++)
		bind_same(&b, system_binds[i], true);
	if (hull_starts(qemu, "/usr/bin/"))
		bind_same(&b, qemu, false);
	else if (bind_foreign_qemu(&b, qemu, err) < 0)
		return err->code;
	bind_same(&b, config->restore ? config->restore->shim : config->kernel, false);
	bind_same(&b, config->restore ? NULL : config->initrd, false);
	_cleanup_(hull_argv_free) char **env = NULL;
	int keep[5 + HULL_ENGINE_DISKS_MAX] = {fds->wire, fds->qmp, fds->serial};
	size_t n = 3;
	for (size_t i = 0; i < config->disk_count; i++)
		keep[n++] = fds->disks[i];
	if (config->restore) {
		keep[n++] = fds->memory;
		keep[n++] = fds->device;
		env = calloc(3, sizeof(*env));
		if (!env || !(env[0] = hull_fmt("LD_PRELOAD=%s", config->restore->shim)) ||
		    !(env[1] = hull_fmt(HULL_QEMU_MEMORY_ENV "=%d", fds->memory)))
			return hull_fail(err, -ENOMEM, "out of memory");
	}
	struct hull_jail jail = {.dir = config->jail_dir,
				 .binds = b.list,
				 .bind_count = b.n,
				 .need_kvm = e->kvm,
				 .threads_only = true,
				 .rlimit_nproc = HULL_ENGINE_THREADS_MAX,
				 .own_id = true,
				 .fds = keep,
				 .fd_count = n,
				 .stdin_fd = -1,
				 .stdout_fd = -1,
				 .stderr_fd = stderr_fd,
				 .argv = argv,
				 .envp = env,
				 .drop_uid = config->drop_uid,
				 .drop_gid = config->drop_gid};
	struct hull_jailed child;
	int r = hull_jail_start(&jail, &child, err);
	if (r < 0)
		return r;
	e->pid = child.pid;
	e->pidfd = child.pidfd;
	return 0;
}

/* When the host runs out of memory, the kernel shall kill a VM before the user's other programs. */
static void volunteer_for_oom(pid_t pid)
{
	_cleanup_free_ char *path = hull_fmt("/proc/%d/oom_score_adj", pid);
	_cleanup_close_ int fd = path ? open(path, O_WRONLY | O_CLOEXEC) : -1;
	if (fd >= 0)
		hull_write_full(fd, "300", 3); /* best effort: on failure the default stays */
}

/* --- putting it together --- */

static int check_config(const struct hull_engine_config *c, struct hull_error *err)
{
	if (c->kind == HULL_ENGINE_KVM)
		return hull_fail(err, -ENOTSUP, "the kvm engine is not implemented yet; use the engine auto or qemu");
	if (c->cpus < 1 || c->cpus > HULL_ENGINE_CPUS_MAX)
		return hull_fail(err, -EINVAL, "%u CPUs: between 1 and %d are possible", c->cpus, HULL_ENGINE_CPUS_MAX);
	if (c->memory < (64u << 20) || c->memory % (2u << 20))
		return hull_fail(err, -EINVAL, "memory must be a multiple of 2 MiB, and at least 64 MiB");
	if (c->disk_count > HULL_ENGINE_DISKS_MAX)
		return hull_fail(err, -EINVAL, "at most %d disks", HULL_ENGINE_DISKS_MAX);
	return 0;
}

static bool use_kvm(const struct hull_engine_config *c)
{
	struct hull_probe now;
	if (c->probe)
		return c->probe->kvm_usable;
	hull_engine_probe(&now);
	return now.kvm_usable;
}

/* Set up everything that must exist before the process. */
static int prepare(struct hull_engine *e, const struct hull_engine_config *config, struct hull_qemu_fds *theirs,
		   struct hull_error *err)
{
	static const struct itimerspec patience = {.it_value = {.tv_sec = PATIENCE_S}};
	int r = make_pair(&e->wire, &theirs->wire, "the wire", err);
	if (r == 0)
		r = make_pair(&e->qmp_fd, &theirs->qmp, "QMP", err);
	if (r == 0)
		r = make_pair(&e->serial_fd, &theirs->serial, "the serial console", err);
	for (size_t i = 0; r == 0 && i < config->disk_count; i++)
		r = open_disk(&config->disks[i], &theirs->disks[i], err);
	if (r < 0)
		return r;
	if (config->restore) {
		theirs->memory = fcntl(config->restore->memory_fd, F_DUPFD_CLOEXEC, 3);
		if (theirs->memory < 0)
			return hull_fail_errno(err, "cannot hand over the saved memory");
		r = fill_pipe(config->restore->device_fd, &theirs->device, err);
		if (r < 0)
			return r;
	}
	hull_capped_log_open(&e->serial, config->serial_log_fd);
	hull_capped_log_open(&e->words, config->stderr_log_fd);
	e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	e->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (e->epoll_fd < 0 || e->timer_fd < 0 || timerfd_settime(e->timer_fd, 0, &patience, NULL) < 0)
		return hull_fail_errno(err, "cannot watch QEMU's process");
	return 0;
}

static int watch_all(struct hull_engine *e, struct hull_error *err)
{
	if (hull_engine_watch(e, e->qmp_fd, WATCH_QMP) < 0 || hull_engine_watch(e, e->serial_fd, WATCH_SERIAL) < 0 ||
	    hull_engine_watch(e, e->stderr_fd, WATCH_STDERR) < 0 ||
	    hull_engine_watch(e, e->timer_fd, WATCH_TIMER) < 0 || hull_engine_watch(e, e->pidfd, WATCH_PROCESS) < 0)
		return hull_fail_errno(err, "cannot watch QEMU's process");
	return 0;
}

static int resolve(const char *what, const char *path, char **out, struct hull_error *err)
{
	*out = realpath(path, NULL);
	return *out ? 0 : hull_fail_errno(err, "%s %s", what, path);
}

static int start(struct hull_engine *e, const struct hull_engine_config *config, struct hull_error *err)
{
	_cleanup_free_ char *qemu = NULL;
	_cleanup_free_ char *kernel = NULL;
	_cleanup_free_ char *initrd = NULL;
	_cleanup_free_ char *shim = NULL;
	int r = config->restore ? resolve("QEMU's shim", config->restore->shim, &shim, err)
				: resolve("kernel", config->kernel, &kernel, err);
	if (r == 0 && !config->restore)
		r = resolve("initrd", config->initrd, &initrd, err);
	if (r == 0)
		r = hull_qemu_find(&qemu, err);
	if (r < 0)
		return r;
	struct hull_engine_config resolved = *config;
	struct hull_engine_restore restore = config->restore ? *config->restore : (struct hull_engine_restore){0};
	resolved.kernel = kernel;
	resolved.initrd = initrd;
	restore.shim = shim;
	if (config->restore)
		resolved.restore = &restore;
	_cleanup_(close_fds) struct hull_qemu_fds theirs = {
		.wire = -1, .qmp = -1, .serial = -1, .disks = {-1, -1, -1, -1}, .memory = -1, .device = -1};
	r = prepare(e, config, &theirs, err);
	if (r < 0)
		return r;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "cannot make a pipe");
	e->stderr_fd = ends[0];
	_cleanup_close_ int their_stderr = ends[1];
	hull_set_nonblock(e->stderr_fd, true);
	r = run_in_jail(e, &resolved, qemu, &theirs, their_stderr, err);
	if (r < 0)
		return r;
	volunteer_for_oom(e->pid);
	return watch_all(e, err);
}

int hull_engine_start(const struct hull_engine_config *config, const struct hull_engine_events *events, void *ctx,
		      struct hull_engine **out, struct hull_error *err)
{
	struct hull_error why = {0};
	int r = check_config(config, err);
	if (r < 0)
		return r;
	struct hull_engine *e = calloc(1, sizeof(*e));
	if (!e)
		return hull_fail(err, -ENOMEM, "out of memory");
	e->events = *events;
	e->ctx = ctx;
	e->pidfd = e->epoll_fd = e->timer_fd = e->wire = e->qmp_fd = e->serial_fd = e->stderr_fd = -1;
	e->serial.fd = e->words.fd = -1;
	e->kvm = use_kvm(config);
	e->restoring = config->restore != NULL;
	r = hull_qemu_new_session(e, &why);
	if (r == 0)
		r = start(e, config, &why);
	if (r < 0) {
		hull_engine_free(e);
		return hull_fail(err, r, "starting the machine: %s", why.msg);
	}
	*out = e;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* An engine runs one virtual machine. The whole contract between the keeper and whatever emulates or virtualizes:
 * qemu (engine/qemu*.c) now, kvm (our own monitor, hull-vmm) later.
 *
 * An engine is a jailed child process of the caller. It is driven through this interface only; events arrive when
 * the caller's loop sees one of hull_engine_fds() readable and calls hull_engine_dispatch(). Nothing blocks except
 * where a function says so. When the calling process dies, however it dies, the engine dies with it. */
#ifndef HULL_ENGINE_ENGINE_H
#define HULL_ENGINE_ENGINE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* AUTO and QEMU run QEMU (with hardware virtualization where it is usable); KVM is hull-vmm and fails until that is
 * there. */
/* That a machine can have. */
#define HULL_ENGINE_CPUS_MAX 255
/* Of the engine's process: one for each CPU, 64 for the disks, and a handful. */
#define HULL_ENGINE_THREADS_MAX 512

enum hull_engine_kind { HULL_ENGINE_AUTO, HULL_ENGINE_QEMU, HULL_ENGINE_KVM };

/* What hardware virtualization is worth here (engine/probe.c). */
struct hull_probe {
	bool kvm_present;    /* /dev/kvm exists */
	bool kvm_opens;      /* and this user may open it */
	bool kvm_usable;     /* and a timed ring-0 loop ran at hardware speed */
	double ns_per_instr; /* measured; 0 when it could not be */
	char reason[256];    /* one line: why it is, or is not, used; and what to do */
};
/* Time the loop (a few milliseconds at most; a KVM that emulates ring 0 is cut off after 20 ms). */
void hull_engine_probe(struct hull_probe *out);
/* As hull_engine_probe, remembered for this boot of the host in $XDG_RUNTIME_DIR/hull/probe (the start path reads
 * that one). */
void hull_engine_probe_cached(const char *runtime_dir, struct hull_probe *out);
/* The version of the QEMU that would be used, "10.0.2", by running it: for `hull doctor`. -ENOENT when there is none,
 * -ENOTSUP when it is too old (version is filled all the same), with advice. */
int hull_engine_qemu_version(char *version, size_t cap, struct hull_error *err);

/* Which program the engine is, without running it: its path, size and date, and a hash of the devices that it is told
 * to put together; one line owned by the caller. The state of a machine is restored by the very program that saved it,
 * with the same devices. NULL with err filled when there is none. */
char *hull_engine_identity(struct hull_error *err);

struct hull_disk {
	int fd; /* open on the image file; the engine dups it, the caller keeps its own */
	bool readonly;
	char serial[21]; /* virtio-blk serial, how the guest tells its disks apart: "base", "disk" */
};

enum { HULL_ENGINE_DISKS_MAX = 4 };

/* What a machine is restored from instead of being booted. Everything else of its configuration must be as it was for
 * the machine that was saved, and the engine the same program (hull_engine_identity). */
struct hull_engine_restore {
	int memory_fd;    /* open for reading only, exactly `memory` bytes: mapped private, never written to */
	int device_fd;    /* what hull_engine_save_device() wrote, open for reading, at its start */
	const char *shim; /* path of hull-qemu-shim.so (engine/qemu_shim.c); world-readable */
};

struct hull_engine_config {
	enum hull_engine_kind kind;
	const struct hull_probe *probe; /* what hardware virtualization is worth; NULL = find out now */
	const char *name;               /* for messages and the process title */
	unsigned cpus;                  /* at least 1 */
	uint64_t memory;                /* bytes, a multiple of 2 MiB */
	const char *kernel;             /* path of an uncompressed ELF vmlinux with a PVH note; world-readable */
	const char *initrd;             /* path, world-readable */
	const char *cmdline; /* kernel command line; the engine adds its console, panic=-1, and under emulation
			      * mitigations=off tsc=reliable maxcpus=1 noreplace-smp hull.emulated=1
			      * (see docs/internals/engine.md) */
	struct hull_disk disks[HULL_ENGINE_DISKS_MAX];
	size_t disk_count;
	int serial_log_fd;    /* the guest's serial console is written here, raw; -1 = nowhere. Both logs are kept
			       * under 4 MiB by truncation, and are dup'ed */
	int stderr_log_fd;    /* the engine's own words */
	const char *jail_dir; /* an empty directory of this sandbox, on which the jail's root is mounted (private) */
	const struct hull_engine_restore *restore; /* NULL = boot; else kernel, initrd and cmdline are not looked at */
	uid_t drop_uid; /* when the caller is root: the id the engine runs as; else ignored */
	gid_t drop_gid;
};

enum hull_engine_state {
	HULL_ENGINE_STARTING,
	HULL_ENGINE_RUNNING,
	HULL_ENGINE_PAUSED,
	HULL_ENGINE_STOPPED, /* exited; see hull_engine_outcome() */
};

struct hull_engine;

/* What the engine would be started with to boot this machine, a line each; owned by the caller, NULL when out of memory.
 * Without what differs between machines of one kind: name, paths and descriptors. */
char *hull_engine_arguments(const struct hull_engine_config *config, bool kvm);

struct hull_engine_events {
	/* The state changed. On HULL_ENGINE_STOPPED the process has been reaped; from this call, and only from this
	 * one, hull_engine_free() is allowed. PAUSED may come unasked: the host's disk is full (see trouble). */
	void (*state)(void *ctx, enum hull_engine_state state);
	/* The device model reported a problem the user should hear of (disk error, guest panic). */
	void (*trouble)(void *ctx, const char *text);
	/* The answer to hull_engine_save_device(): error is NULL when all is written. May be NULL. */
	void (*saved)(void *ctx, const char *error);
	/* The answer to hull_engine_keep_begin() and to hull_engine_keep_end(); error is NULL when it was done. May be
	 * NULL. */
	void (*kept)(void *ctx, const char *error);
	/* The answer to hull_engine_disk_grow(): error is NULL when the disk has its new size. May be NULL. */
	void (*grown)(void *ctx, const char *error);
};

/* Start the VM, or restore it. Returns once the process is running inside its jail (not once the guest is up). The
 * wire's descriptor is ready right away (hull_engine_wire_fd). A machine that is restored goes from STARTING to PAUSED
 * when all is loaded and nothing of it has run: hull_engine_resume() lets it. Until then its disks are as they were; a
 * machine that ends before can be restored again. */
int hull_engine_start(const struct hull_engine_config *config, const struct hull_engine_events *events, void *ctx,
		      struct hull_engine **out, struct hull_error *err);

/* The host end of the virtio-console port org.hull.wire: a connected, non-blocking stream socket. Owned by the
 * engine, valid until hull_engine_free(). */
int hull_engine_wire_fd(const struct hull_engine *e);
pid_t hull_engine_pid(const struct hull_engine *e);
/* "qemu 10.0.2 (tcg)", "qemu 10.0.2 (kvm)" : borrowed. */
const char *hull_engine_describe(const struct hull_engine *e);
/* "tcg" or "kvm" : borrowed. */
const char *hull_engine_accel(const struct hull_engine *e);

/* Descriptors to watch for reading, at most `max`; returns how many. Stable for the engine's life. */
size_t hull_engine_fds(const struct hull_engine *e, int *fds, size_t max);
/* Something was readable: read it, call events. Never blocks. */
void hull_engine_dispatch(struct hull_engine *e);

/* Ask for it; the state event says when it happened. */
int hull_engine_pause(struct hull_engine *e, struct hull_error *err);
int hull_engine_resume(struct hull_engine *e, struct hull_error *err);
/* Write everything of the machine but its memory and its disks to fd, an empty file open for writing only. The
 * machine must be paused, and stays so. The `saved` event tells when it is done. */
int hull_engine_save_device(struct hull_engine *e, int fd, struct hull_error *err);
/* Keep what a disk holds at this moment: from now on, before the machine changes a part of it for the first time, what
 * was there is written to the same place of fd: an empty file, made as long as the disk, open for reading and writing.
 * What is a hole there either was one or has not been changed. The machine must be paused. The `kept` event tells that
 * it has begun. One disk at a time. */
int hull_engine_keep_begin(struct hull_engine *e, size_t disk, int fd, struct hull_error *err);
/* No more of that. The `kept` event comes when nothing more is written to fd, with an error when something was lost. */
int hull_engine_keep_end(struct hull_engine *e, struct hull_error *err);
/* Make a disk of the running machine larger: its image file becomes `bytes` long, and the guest is told of the device's
 * new size. bytes is a multiple of 512 and more than the disk has (-EINVAL when it is not a size at all). One at a time
 * (-EBUSY); the `grown` event tells when it is done. */
int hull_engine_disk_grow(struct hull_engine *e, size_t disk, uint64_t bytes, struct hull_error *err);
/* Pull the plug: SIGKILL. (A clean end is the guest's power-off, asked for over the wire.) */
void hull_engine_kill(struct hull_engine *e);
/* How it ended, one line, with the engine's last words when it failed; 0 = guest powered off, -ECANCELED =
 * hull_engine_kill(), else another -errno. Valid in HULL_ENGINE_STOPPED. */
int hull_engine_outcome(const struct hull_engine *e, struct hull_error *err);
/* Bytes of host memory the VM holds (PSS of the process), or -errno. */
int hull_engine_memory(const struct hull_engine *e, uint64_t *bytes);
/* Kills if need be, waits for the process (it is SIGKILLed: milliseconds), frees. */
void hull_engine_free(struct hull_engine *e);

#endif

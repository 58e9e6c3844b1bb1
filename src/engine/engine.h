/* SPDX-License-Identifier: Apache-2.0 */
/* An engine runs one virtual machine. The complete contract between the keeper and the emulator or hypervisor: qemu
 * (engine/qemu*.c) now, kvm (our own monitor, hull-vmm) later.
 *
 * An engine is a jailed child process of the caller. It is driven through this interface only. Events are delivered
 * when the caller's loop sees one of hull_engine_fds() readable and calls hull_engine_dispatch(). Functions do not
 * block unless their comment says so. When the calling process ends for any reason, the engine ends with it. */
#ifndef HULL_ENGINE_ENGINE_H
#define HULL_ENGINE_ENGINE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* That a machine can have. */
#define HULL_ENGINE_CPUS_MAX 255
/* Threads of the engine's process: one for each CPU, 64 for the disks, and a few others. */
#define HULL_ENGINE_THREADS_MAX 512

/* AUTO and QEMU run QEMU (with hardware virtualization where usable). KVM is hull-vmm and fails until it is
 * implemented. */
enum hull_engine_kind { HULL_ENGINE_AUTO, HULL_ENGINE_QEMU, HULL_ENGINE_KVM };

/* The usability of hardware virtualization (engine/probe.c). */
struct hull_probe {
	bool kvm_present;    /* /dev/kvm exists */
	bool kvm_opens;      /* and this user may open it */
	bool kvm_usable;     /* and a timed ring-0 loop ran at hardware speed */
	double ns_per_instr; /* measured; 0 when it could not be */
	char reason[256];    /* one line: why it is or is not used, and what to do */
};
/* Time the loop (a few milliseconds at most; a KVM that emulates ring 0 is cut off after 20 ms). */
void hull_engine_probe(struct hull_probe *out);
/* Like hull_engine_probe(), cached for this boot of the host in $XDG_RUNTIME_DIR/hull/probe (used by the start path).
 */
void hull_engine_probe_cached(const char *runtime_dir, struct hull_probe *out);
/* The version of the QEMU that would be used, "10.0.2", found by running it: for `hull doctor`. -ENOENT when there is
 * none; -ENOTSUP, with advice, when it is too old (version is set nevertheless). */
int hull_engine_qemu_version(char *version, size_t cap, struct hull_error *err);

/* Identifies the engine's program without running it: path, size, date, and a hash of its devices; one line owned by
 * the caller. A machine's state can be restored only by the program that saved it, with the same devices. NULL with err
 * filled when there is none. */
char *hull_engine_identity(struct hull_error *err);

struct hull_disk {
	int fd; /* open on the image file; the engine duplicates it, the caller keeps its own */
	bool readonly;
	char serial[21]; /* virtio-blk serial, by which the guest identifies its disks: "base", "disk" */
};

enum { HULL_ENGINE_DISKS_MAX = 4 };

/* The saved machine to restore instead of booting. The rest of the configuration must equal that of the saved machine,
 * and the engine must be the same program (hull_engine_identity). */
struct hull_engine_restore {
	int memory_fd;    /* open for reading only, exactly `memory` bytes: mapped private, never written to */
	int device_fd;    /* written by hull_engine_save_device(), open for reading, positioned at its start */
	const char *shim; /* path of hull-qemu-shim.so (engine/qemu_shim.c); world-readable */
};

struct hull_engine_config {
	enum hull_engine_kind kind;
	const struct hull_probe *probe; /* result of the probe; NULL = probe now */
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
	const struct hull_engine_restore *restore; /* NULL = boot; otherwise kernel, initrd and cmdline are ignored */
	uid_t drop_uid; /* when the caller is root: the id the engine runs as; otherwise ignored */
	gid_t drop_gid;
};

enum hull_engine_state {
	HULL_ENGINE_STARTING,
	HULL_ENGINE_RUNNING,
	HULL_ENGINE_PAUSED,
	HULL_ENGINE_STOPPED, /* exited; see hull_engine_outcome() */
};

struct hull_engine;

/* The arguments that the engine would use to boot this machine, one per line; owned by the caller, NULL when out of
 * memory. Excludes names, paths and descriptors, which differ between machines of one kind. */
char *hull_engine_arguments(const struct hull_engine_config *config, bool kvm);

struct hull_engine_events {
	/* The state changed. On HULL_ENGINE_STOPPED the process has been reaped; hull_engine_free() may be called
	 * inside this call only. PAUSED may occur without a request: the host's disk is full (see trouble). */
	void (*state)(void *ctx, enum hull_engine_state state);
	/* The device model reported a problem that concerns the user (disk error, guest panic). */
	void (*trouble)(void *ctx, const char *text);
	/* Completion of hull_engine_save_device(): error is NULL on success. May be NULL. */
	void (*saved)(void *ctx, const char *error);
	/* Completion of hull_engine_keep_begin() and hull_engine_keep_end(); error is NULL on success. May be NULL. */
	void (*kept)(void *ctx, const char *error);
	/* Completion of hull_engine_disk_grow(): error is NULL on success. May be NULL. */
	void (*grown)(void *ctx, const char *error);
};

/* Start or restore the VM. Returns once the process runs in its jail (not once the guest is up). The wire's descriptor
 * is usable immediately (hull_engine_wire_fd). A restored machine goes from STARTING to PAUSED when everything is
 * loaded and no instruction has run; hull_engine_resume() starts it. Until then its disks are unchanged: if it ends
 * before, it can be restored again. */
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

/* Descriptors to watch for reading, at most `max`; returns their number. They do not change during the engine's life.
 */
size_t hull_engine_fds(const struct hull_engine *e, int *fds, size_t max);
/* Handles readable descriptors and delivers events. Never blocks. */
void hull_engine_dispatch(struct hull_engine *e);

/* Asynchronous: the state event reports completion. */
int hull_engine_pause(struct hull_engine *e, struct hull_error *err);
int hull_engine_resume(struct hull_engine *e, struct hull_error *err);
/* Write the machine's state except memory and disks to fd, an empty file open for writing only. The machine must be
 * paused and stays paused. The `saved` event reports completion. */
int hull_engine_save_device(struct hull_engine *e, int fd, struct hull_error *err);
/* Begin copy-before-write on a disk: before the machine first changes a part of it, the old content is written to the
 * same offset of fd, an empty file of the disk's length, open for reading and writing. A hole there was a hole of the
 * disk or has not been changed. The machine must be paused. The `kept` event reports that it has begun. One disk at a
 * time. */
int hull_engine_keep_begin(struct hull_engine *e, size_t disk, int fd, struct hull_error *err);
/* End copy-before-write. The `kept` event reports that nothing more is written to fd; with an error if content was
 * lost. */
int hull_engine_keep_end(struct hull_engine *e, struct hull_error *err);
/* Enlarge a disk of the running machine: its image file becomes `bytes` long, and the guest is notified. bytes must be
 * a multiple of 512 and larger than the current size (-EINVAL when it is not a valid size). One at a time (-EBUSY). The
 * `grown` event reports completion. */
int hull_engine_disk_grow(struct hull_engine *e, size_t disk, uint64_t bytes, struct hull_error *err);
/* Terminate immediately: SIGKILL. (For a clean end request the guest's power-off over the wire.) */
void hull_engine_kill(struct hull_engine *e);
/* Why it ended, one line, with the engine's last output after a failure. 0 = the guest powered off, -ECANCELED =
 * hull_engine_kill(), otherwise another -errno. Valid in HULL_ENGINE_STOPPED. */
int hull_engine_outcome(const struct hull_engine *e, struct hull_error *err);
/* Host memory used by the VM in bytes (PSS of the process), or -errno. */
int hull_engine_memory(const struct hull_engine *e, uint64_t *bytes);
/* Kills the process if it runs, waits for it (milliseconds after SIGKILL) and frees. */
void hull_engine_free(struct hull_engine *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the QEMU engine. */
#ifndef HULL_ENGINE_QEMU_INTERNAL_H
#define HULL_ENGINE_QEMU_INTERNAL_H

#include "engine/capped_log.h"
#include "engine/engine.h"
#include "engine/qmp.h"

enum hull_qemu_keep { KEEP_NOT, KEEP_BEGINNING, KEEP_ON, KEEP_ENDING, KEEP_CLOSING };

/* One running QEMU. All descriptors are owned; -1 = closed. */
struct hull_engine {
	struct hull_engine_events events;
	void *ctx;
	enum hull_engine_state state;
	bool kvm;
	char describe[64];

	pid_t pid; /* 0 = not started */
	int pidfd;
	bool reaped;
	int wait_status;
	bool killed; /* by hull_engine_kill */

	int epoll_fd; /* watches all descriptors below; the only one exposed to the owner */
	int timer_fd; /* timeout for QEMU's greeting */
	int wire;
	int qmp_fd;
	int serial_fd;
	int stderr_fd;

	struct hull_qmp *qmp;
	struct hull_capped_log serial;
	struct hull_capped_log words; /* its stderr */

	char shutdown_reason[32]; /* reason in the SHUTDOWN event; empty = none came */
	char panic[160];          /* the guest kernel's panic message, printable; empty = none */
	char line[160];           /* the serial console's current line, truncated */
	size_t line_len;
	bool restoring;            /* until its state is loaded */
	uint64_t load_id;          /* id of the command that queries it */
	uint64_t save_id;          /* id of the command that writes the device state; 0 = none in flight */
	enum hull_qemu_keep keep;  /* see qemu_keep.c */
	uint64_t keep_id;          /* of its command under way */
	uint64_t grow_id;          /* id of the command that enlarges a disk; 0 = none in flight */
	bool keep_broken;          /* it ended before it was requested */
	unsigned troubles;         /* told since the last resume */
	struct hull_error failure; /* why we killed it; code 0 = we did not */
};

enum hull_engine_watch { WATCH_QMP, WATCH_SERIAL, WATCH_STDERR, WATCH_TIMER, WATCH_PROCESS };
/* Watch for reading; epoll_wait returns `what`. */
int hull_engine_watch(struct hull_engine *e, int fd, enum hull_engine_watch what);

/* The path that QEMU is given for its memory file; engine/qemu_shim.c substitutes the descriptor in this variable. */
#define HULL_QEMU_MEMORY_PATH "/hull/memory"
#define HULL_QEMU_MEMORY_ENV  "HULL_MEMORY_FD"

/* The descriptors QEMU inherits, each with its number in the caller. */
struct hull_qemu_fds {
	int wire;
	int qmp;
	int serial;
	int disks[HULL_ENGINE_DISKS_MAX];
	int memory, device; /* when restoring; else -1 */
};

/* qemu_args.c: the command line, a NULL-terminated vector owned by the caller (hull_argv_free); NULL when out of
 * memory. */
char **hull_qemu_args(const char *qemu, const struct hull_engine_config *config, bool kvm,
		      const struct hull_qemu_fds *fds);
void hull_argv_free(char ***v);

/* qemu_find.c: the QEMU to run, from HULL_QEMU or else PATH: an absolute path without symlinks, owned by the caller. */
int hull_qemu_find(char **path, struct hull_error *err);
/* 0, or -ENOTSUP with advice when the version is older than what the engine needs. */
int hull_qemu_check_version(int major, int minor, struct hull_error *err);

/* qemu.c: the timeout for QEMU's greeting, for tests. */
void hull_qemu_set_patience(struct hull_engine *e, unsigned milliseconds);
/* qemu.c: send QMP's queued output. */
void hull_qemu_flush(struct hull_engine *e);
/* qemu.c: send the queued output, whose last command is add-fd, together with fd. */
int hull_qemu_send_fd(struct hull_engine *e, int fd);
/* qemu_keep.c: does this reply, or event, belong to it? */
bool hull_qemu_keep_reply(struct hull_engine *e, uint64_t id, const char *error);
void hull_qemu_keep_event(struct hull_engine *e, const char *name, const json_t *data);
/* qemu.c: attach the QMP client. */
int hull_qemu_new_session(struct hull_engine *e, struct hull_error *err);

#endif

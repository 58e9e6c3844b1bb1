/* SPDX-License-Identifier: Apache-2.0 */
/* What machine.c and save.c share: the engine of this sandbox. */
#ifndef HULL_KEEPER_MACHINE_H
#define HULL_KEEPER_MACHINE_H

#include "engine/engine.h"
#include "keeper/keeper.h"

enum { FDS_MAX = 16 };

struct save;
struct machine {
	struct keeper *k;
	struct hull_engine *engine;
	uv_poll_t polls[FDS_MAX];
	size_t poll_count;
	uint64_t memory; /* bytes of RAM */
	int memory_fd;   /* the file it maps private; -1 = it was booted */
	char *identity;  /* of the engine; NULL when it cannot be told */
	char *initramfs; /* file name of what it was booted with, before it was saved perhaps */
	json_t *names;   /* that the saved machine knew synthetic addresses for; NULL = none */
	struct save *save;
	struct disk_copy *copy; /* its disk is being made; NULL = it is there */
	bool loaded;            /* the engine has loaded the saved machine, and waits for that */
};

/* machine.c. Find the image, open the disks, start the engine. stage() tells the person who waits. */
int machine_start(struct keeper *k, void (*stage)(const char *text), struct hull_error *err);
int machine_wire_fd(const struct keeper *k);

/* save.c; see machine_ops. */
int save_begin(struct keeper *k, const char *dir, bool disk, bool end, struct hull_error *err);
void save_synced(struct keeper *k);
/* Events of the engine. */
void save_state(struct keeper *k, enum hull_engine_state state);
void save_device_saved(struct keeper *k, const char *error);
void save_kept(struct keeper *k, const char *error);

/* restore.c: open what the sandbox is to be restored from. 0 and `out` filled (descriptors owned by the caller); 1 when
 * it is a template that cannot be used, and booting the disk does as well; -errno when only this would do. */
struct restore {
	int memory_fd, device_fd;
	int disk_fd; /* what the sandbox's disk is to be copied from; -1 = it has one */
	char *shim;
	char *initramfs;
	json_t *names, *sessions;
};
int restore_open(struct keeper *k, const char *identity, const char *accel, void (*stage)(const char *text),
		 struct restore *out, struct hull_error *err);
void restore_close(struct restore *r);
/* Before the servers of the workspace start: what the guest knew of it (k->workspace->nodes.fd), if there is anything.
 * What else is wrong with what is restored is told later. */
void restore_nodes(struct keeper *k);
/* disk.c. Has the sandbox no disk yet? */
bool disk_missing(const struct keeper *k);
/* Make the disk of a sandbox that has none, and make it again where it may not be whole: nobody had flushed it when the
 * host went down. Takes as long as that. */
int disk_make(struct keeper *k, void (*stage)(const char *text), struct hull_error *err);
/* Or beside the engine, as a copy of `from` (borrowed): a file of the right size to start the engine with (*out is to
 * be freed also on errors), then the copy. `done` comes in the loop when the disk is in its place, with NULL, or not;
 * after it *out is gone. */
struct disk_copy;
int disk_copy_open(struct keeper *k, int from, struct disk_copy **out, struct hull_error *err);
int disk_copy_fd(const struct disk_copy *c); /* borrowed */
int disk_copy_start(struct disk_copy *c, void (*done)(struct keeper *k, const struct hull_error *err),
		    struct hull_error *err);
void disk_copy_free(struct disk_copy *c);

#endif

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
};

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
	char *shim;
	char *initramfs;
	json_t *names;
};
int restore_open(struct keeper *k, const char *identity, const char *accel, void (*stage)(const char *text),
		 struct restore *out, struct hull_error *err);
void restore_close(struct restore *r);
/* When the host went down before the sandbox had ever run, its disk, which nobody had flushed, may be a part of a copy:
 * copy it again. */
int restore_disk(struct keeper *k, void (*stage)(const char *text), struct hull_error *err);

#endif

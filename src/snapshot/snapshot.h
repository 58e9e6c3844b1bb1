/* SPDX-License-Identifier: Apache-2.0 */
/* Saved machines on disk: templates, snapshots, and the frozen memory of paused sandboxes. The contract.
 *
 * A saved machine is a directory that appears by one rename and is never changed after that:
 *
 *   snapshot.json   what it is (struct hull_snapshot), the format's version, and size and SHA-256 of every file
 *   memory          the guest's RAM, sparse: what is zero is a hole
 *   device          the state of everything else of the machine, as the engine writes it
 *   disk.img        the sandbox's disk of the same instant; absent where the sandbox's own disk is that (a pause)
 *   nodes           what the guest knows of its workspace (keeper/workspace/share_nodes.c); absent when it has none,
 *                   and so in every template
 *   verified        which files were found good when: remembered so that a start does not read gigabytes
 *
 *   $HULL_HOME/templates/KEY/                   made by Hull; KEY = 32 hex digits, see hull_template_key()
 *   $HULL_HOME/templates/NAME/                  made by a person; never 32 hex digits
 *   $HULL_HOME/templates/.tmp-*                 being made; holds a flock, leftovers are swept
 *   $HULL_HOME/sandboxes/NAME/snapshots/TAG/
 *   $HULL_HOME/sandboxes/NAME/frozen/           a paused sandbox
 *
 * Damage. A file is used only when its SHA-256 has been seen to be right since the host booted, and neither its inode,
 * its size, its mtime nor its ctime has changed since: no program can write to a file without changing its ctime, and
 * none can set it back. Otherwise it is read in full first (about 1.5 GB/s with the CPU's SHA instructions, and only
 * the data, not the holes). What is checked is the open descriptor that is then used. */
#ifndef HULL_SNAPSHOT_SNAPSHOT_H
#define HULL_SNAPSHOT_SNAPSHOT_H

#include "base/error.h"
#include "base/scratch.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* JSON_MAX: largest snapshot.json; all names of one sandbox together are under 8 MiB. */
enum { HULL_SNAPSHOT_FORMAT = 2, HULL_KEY_HEX = 32, HULL_SNAPSHOT_JSON_MAX = 16 << 20 };

#define HULL_SNAPSHOT_MEMORY "memory"
#define HULL_SNAPSHOT_DEVICE "device"
#define HULL_SNAPSHOT_DISK   "disk.img"
#define HULL_SNAPSHOT_NODES  "nodes"

/* Strings owned. */
struct hull_snapshot {
	char *image;     /* digest of the base image */
	char *identity;  /* hull_engine_identity() of the engine that saved it */
	char *engine;    /* "qemu 10.0.2 (tcg)", for people */
	char *accel;     /* "tcg" or "kvm" */
	char *cpu;       /* hull_snapshot_cpu() of the host that saved it */
	char *initramfs; /* file name of the initramfs it was booted with, which contains hull-init's hash */
	char *hull;      /* version that saved it */
	char *source;    /* the sandbox it was saved from; NULL for Hull's own templates */
	unsigned cpus;
	uint64_t memory, disk; /* bytes */
	uint64_t swap;         /* bytes; 0 = none */
	bool no_docker;
	uint64_t created; /* seconds since 1970 */
	json_t *files;    /* {NAME: {"size", "stored", "sha256"}}; set by finish and load */
	char digest[65];  /* digest of snapshot.json, which identifies this save; set by finish and load */
	json_t *sessions; /* ["id", ...]: the keeper's sessions that run in the guest; NULL = none */
	/* [[number, "name"], ...]: the names that synthetic addresses in its memory stand for; NULL = none */
	json_t *names;
};
void hull_snapshot_free(struct hull_snapshot *s); /* members; fit for _cleanup_ */

/* Turn a directory of files into a saved machine: hash and fsync the files, then write snapshot.json. */
int hull_snapshot_finish(const char *dir, struct hull_snapshot *s, struct hull_error *err);
/* Read and check snapshot.json, and check that every file exists with its size. -ENOENT: there is none; -EBADMSG:
 * damaged; -ENOTSUP: written by another version of Hull. */
int hull_snapshot_load(const char *dir, struct hull_snapshot *out, struct hull_error *err);
/* What its files take on disk by its own account, in bytes; 0 when it was not loaded. */
uint64_t hull_snapshot_stored(const struct hull_snapshot *s);
/* Open one of its files for reading and verify it; returns the descriptor. -EBADMSG: the file is damaged. `slow`, if
 * not NULL, is called before a file has to be read in full. */
int hull_snapshot_open(const char *dir, const struct hull_snapshot *s, const char *file, void (*slow)(const char *text),
		       struct hull_error *err);
/* Check that it can be restored by the installed engine, which runs as `accel`, on this host's processor. -ENOTSUP with
 * the reason if not. */
int hull_snapshot_fits(const struct hull_snapshot *s, const char *identity, const char *accel, struct hull_error *err);
/* Identifies the host's processor as a machine sees it: with hardware virtualization a digest of its model and
 * features, otherwise "emulated". Owned by the caller; NULL when out of memory. */
char *hull_snapshot_cpu(const char *accel);

/* digest.c: the SHA-256 of a sparse file's content, as 64 hex digits and a NUL. It covers the offset and bytes of every
 * chunk that is not all zero, and the size of the file. The position of holes has no influence. *stored = number of
 * bytes in those chunks. */
int hull_snapshot_digest(int fd, char hex[65], uint64_t *stored, struct hull_error *err);

/* --- memory.c --- */

/* Copy the RAM of the stopped machine in process `pid` to the file `to`. base_fd < 0: the machine was booted, and `to`
 * is empty. Otherwise the process maps base_fd private and `to` is a copy of base_fd: only modified pages are written.
 * *copied is the number of bytes written. */
int hull_memory_save(pid_t pid, uint64_t size, int base_fd, int to, uint64_t *copied, struct hull_error *err);

/* --- disk.c: a point-in-time copy of a disk that is being written --- */

struct hull_disk_map {
	uint64_t size;
	uint8_t *bits; /* one bit for each 64 KiB: does it have data? */
};
void hull_disk_map_free(struct hull_disk_map *m); /* fit for _cleanup_ */
/* At that moment. */
int hull_disk_map(int fd, struct hull_disk_map *m, struct hull_error *err);
/* Then copy the units that have data in the map into an empty file, which gets the disk's length. -ECANCELED once *stop
 * is set (stop may be NULL). */
int hull_disk_copy(int from, const struct hull_disk_map *m, int to, const volatile bool *stop, struct hull_error *err);
/* At the end: write the blocks that the engine preserved (hull_engine_keep_begin) over the copy. *merged = bytes
 * written. */
int hull_disk_merge(int kept, const struct hull_disk_map *m, int to, uint64_t *merged, struct hull_error *err);

/* --- scratch.c: a saved machine appears by one rename (base/scratch.h) --- */

/* Sweep leftovers of interrupted commands in `parent` (created if missing), then make a scratch directory there. */
int hull_saved_scratch(const char *parent, struct hull_scratch *out, struct hull_error *err);
/* Remove parent/name: it disappears by one rename, then its content is deleted. -ENOENT if it does not exist. */
int hull_saved_remove(const char *parent, const char *name, struct hull_error *err);
/* As hull_scratch_sweep() and hull_scratch_each(). */
void hull_saved_sweep(const char *parent);
void hull_saved_each(const char *parent, void (*found)(void *ctx, int root, const char *name), void *ctx);

/* --- own_disk.c: making the disk of a sandbox (directory `home`) as a copy --- */

/* Open for reading the disk of the save that s->restore names. -ENOENT if that save is gone or is another one. */
int hull_disk_source(const struct hull_paths *p, const struct hull_sandbox *s, struct hull_error *err);
/* Make an empty disk in a scratch directory; opened for reading and writing. */
int hull_disk_new(const char *home, struct hull_scratch *scratch, struct hull_error *err);
/* Make a disk with the content of `from` and this size, and fsync it. */
int hull_disk_clone(int from, uint64_t size, const char *home, struct hull_scratch *scratch, struct hull_error *err);
/* Make it the sandbox's disk, replacing the existing one. */
int hull_disk_place(const struct hull_scratch *scratch, const char *home, struct hull_error *err);

/* --- template.c --- */

/* The inputs of a template's key: everything that shapes the machine's memory. Borrowed. */
struct hull_template_shape {
	const char *image;     /* digest */
	const char *initramfs; /* file name of the initramfs, which contains hull-init's hash */
	const char *identity;  /* of the engine */
	const char *accel;
	const char *machine; /* hull_machine_describe(): devices, kernel command line */
	const char *warm_up; /* the scripts that run in the guest before it is saved */
	unsigned cpus;
	uint64_t memory, disk;
	bool no_docker;
};
/* key has HULL_KEY_HEX + 1 bytes. */
int hull_template_key(const struct hull_template_shape *shape, char *key, struct hull_error *err);
bool hull_template_is_key(const char *name);
/* Is the saved machine in this directory (relative to home; may be NULL) one of Hull's own templates? */
bool hull_template_is_hulls(const char *rel);
/* Is this a valid name for a user's template? */
int hull_template_name_check(const char *name, struct hull_error *err);
/* "<home>/templates[/NAME]", owned by the caller. */
char *hull_template_path(const struct hull_paths *p, const char *name);
/* Names, sorted; *names NULL-terminated, free with hull_strv_free(). */
int hull_template_list(const struct hull_paths *p, char ***names, struct hull_error *err);
/* Look up a template by name, key or unique prefix of a key (at least 4 digits). Its full name, owned by the caller.
 * -ENOENT if there is none. */
int hull_template_find(const struct hull_paths *p, const char *word, char **name, struct hull_error *err);
/* Record that it is used now. */
void hull_template_touch(const struct hull_paths *p, const char *name);
/* Time of last use, seconds since 1970; 0 = unknown. */
uint64_t hull_template_used(const struct hull_paths *p, const char *name);
/* Acquire the build lock of `key`: returns the descriptor that holds it. If another process has it, wait if `wait` is
 * set, otherwise -EAGAIN. */
int hull_template_build_lock(const struct hull_paths *p, const char *key, bool wait, struct hull_error *err);
/* Remove the lock file. Called by its holder before it closes the descriptor. */
void hull_template_build_done(const struct hull_paths *p, const char *key);
/* Remove the lock files of builds that were killed. */
void hull_template_build_sweep(const struct hull_paths *p);

/* --- archive.c: one file, zstd, checksummed --- */

int hull_archive_export(const char *dir, int to, struct hull_error *err);
/* Import into an empty directory, which then is a saved machine. -EBADMSG when the archive is damaged. */
int hull_archive_import(int from, const char *dir, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Inodes that the guest knows: identity, references, names, and how to reach the file on the host. The functions are in
 * inode.c, those by name in byname.c, those for a server that takes over from another in keep.c. */
#ifndef HULL_SHARE_INODE_H
#define HULL_SHARE_INODE_H

#include "base/error.h"
#include "share/meta.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct hull_share;
struct share_handle;
struct share_owner;
struct share_watch;

enum { SHARE_DEPTH_MAX = 2048 }; /* directories below each other that can be found again without descriptors */

/* The identity of a file for as long as it exists. An inode number is used again soon after its file is gone, often
 * within one tick of the clock that stamps birth times; the generation tells the two apart. */
struct share_key {
	uint64_t dev, ino, generation;
};

struct share_stat {
	struct statx x;      /* stx_mode is what the guest sees */
	uint64_t generation; /* from share_identify() */
	uint32_t host_mode;
	bool recorded; /* meta.h: meta is what is kept beside it */
	struct share_meta meta;
};

/* What the server remembers of one file or directory that the guest knows. Under hull_share.lock, but for atomics. */
struct share_inode {
	uint64_t id; /* the guest's node id */
	struct share_key key;
	uint32_t type;    /* S_IFMT bits */
	atomic_bool ro;   /* guarded itself or below something guarded */
	uint64_t lookups; /* nlookup: what the guest has to forget */
	uint32_t refs;    /* requests, handles, waits and children using it */
	bool hashed;      /* found by its key; not once the number was seen reused */

	/* Where it is: an open descriptor, or the last known name. */
	uint32_t pins;              /* uses of fd right now */
	int fd;                     /* O_PATH, directories mostly; -1 = find it by parent and name */
	struct share_inode *parent; /* ref'd; NULL for the root */
	char *name;                 /* last known, in parent */

	struct share_inode *next;      /* in the hash bucket of its key */
	struct share_inode *name_next; /* in the hash bucket of (parent, name), byname.c */
	bool named;                    /* in that one */
	bool reaping;                  /* unused, and about to be opened once more so that its mark can go */
	struct share_inode *reap_next;
	struct share_inode *lru_prev, *lru_next;
	struct share_handle *handles; /* its open files */
	struct share_owner *owners;   /* its fcntl lock owners */

	/* Watching. */
	struct share_watch *watch; /* directories: being watched */
	bool watch_failed;
	atomic_bool adopted; /* known to the previous server, and not verified yet (keep.c) */
	atomic_bool rewatch; /* the previous server watched or marked it */
	bool marked;         /* files: it is watched by itself */
	bool loose;          /* files: it can be changed by a name that is not in a directory which is watched */

	/* Prefetching, directories only (prefetch_dir.c). */
	uint32_t asked;  /* LOOKUPs in it */
	bool visited;    /* the guest looked a name up in it or listed it, or its entries were prefetched */
	bool walking;    /* a request is prefetching the entries of its subdirectories */
	uint32_t window; /* how many of its subdirectories were prefetched at once the last time; 0 = none yet */
	uint32_t below;  /* the largest window of a subdirectory, up to WINDOW_FIRST: where the next one begins */
	uint64_t walked; /* offset in its listing up to which its subdirectories were prefetched */

	/* What the guest's kernel may have cached. */
	int64_t ctime_sec; /* of the content in its page cache, from its last OPEN */
	uint32_t ctime_nsec;
	uint64_t advertised_size; /* files: the size in the last attributes that were sent */
	atomic_bool setid;        /* the last attributes that were sent had a set-id bit */
	bool partial;             /* files: the guest wrote a part of a page, which its kernel has to read before use */
};

/* Somewhere in the host's tree that a system call can be aimed at: (fd, name), or fd itself when name is "". */
struct share_at {
	int fd;
	struct share_inode *pinned;  /* whose fd it is */
	struct share_handle *handle; /* or whose */
	int own;                     /* or ours to close */
	char name[NAME_MAX + 1];
};

/* --- inode.c --- */
/* Attributes of (fd, name), or of fd when name is "". share_identify also tells what share_key_of needs. */
int share_statx(int fd, const char *name, struct share_stat *st);
int share_identify(struct hull_share *sh, int fd, const char *name, struct share_stat *st);
void share_key_of(const struct share_stat *st, struct share_key *key);
bool share_same(const struct share_key *a, const struct share_key *b);
int share_inodes_init(struct hull_share *sh, struct hull_error *err);
void share_inodes_free(struct hull_share *sh);
/* Ref'd, or NULL; may wait, see share_prove(). */
struct share_inode *share_inode_get(struct hull_share *sh, uint64_t id);
void share_inode_put(struct hull_share *sh, struct share_inode *ino);
/* The guest learns that (parent, name) is what st describes: one more lookup; ref'd for the caller. NULL when full. */
struct share_inode *share_inode_enter(struct hull_share *sh, struct share_inode *parent, const char *name,
				      const struct share_stat *st);
/* keep.c's, under the lock: what the guest knew before, not proved; unused. NULL when it cannot be one. */
struct share_inode *share_inode_adopt(struct hull_share *sh, uint64_t id, struct share_inode *parent, const char *name,
				      const struct share_key *key, uint32_t type);
/* An inode that stands for something gone, for the replayer to remove; as share_inode_enter. */
struct share_inode *share_inode_phantom(struct hull_share *sh, struct share_inode *parent, const char *name,
					uint32_t type);
/* The inode st describes if the guest knows it (ref'd), else NULL. */
struct share_inode *share_inode_find(struct hull_share *sh, const struct share_stat *st);
/* Those that a handle of the kernel's means, ref'd, at most `max`: of two file systems, several may have the same. */
size_t share_inode_of_handle(struct hull_share *sh, int type, const uint8_t *handle, uint32_t len,
			     struct share_inode **out, size_t max);
void share_inode_forget(struct hull_share *sh, uint64_t id, uint64_t n);
void share_inode_nlookup(struct hull_share *sh, uint64_t id, uint64_t n); /* the opposite */
/* The last name of an inode on a file system without generations is gone: its number means another file from now on. */
void share_inode_gone(struct hull_share *sh, struct share_inode *ino);
void share_inode_moved(struct hull_share *sh, struct share_inode *ino, struct share_inode *parent, const char *name);
/* A descriptor of the inode that stays open until unpinned; -errno. */
int share_pin(struct hull_share *sh, struct share_inode *ino);
void share_unpin(struct hull_share *sh, struct share_inode *ino);
/* Aim at an inode: a descriptor of that very one. 0 or -errno; release with share_at_put. */
int share_aim_exact(struct hull_share *sh, struct share_inode *ino, struct share_at *at);
void share_at_put(struct hull_share *sh, struct share_at *at);
int share_stat_inode(struct hull_share *sh, struct share_inode *ino, struct share_stat *st);
/* Open the inode itself with real flags (no creation, no truncation); fd or -errno, st filled when not NULL. */
int share_open_inode(struct hull_share *sh, struct share_inode *ino, int flags, struct share_stat *st);
/* At most `max` inodes from `at` (0 = the first) on; where to go on, 0 when that was all. */
uint32_t share_each_inode(struct hull_share *sh, uint32_t at, uint32_t max,
			  void (*fn)(void *ctx, struct share_inode *ino), void *ctx);

/* --- keep.c --- */
/* Find what was adopted, and its ancestors, where it is said to be. 0, or -ESTALE and the like: not to be used. */
int share_prove(struct hull_share *sh, struct share_inode *ino);
/* From the watching thread: watch what the server before did. */
void share_watch_again(struct hull_share *sh, struct share_inode *ino);

/* --- byname.c: add and remove under the lock --- */
void share_byname_add(struct hull_share *sh, struct share_inode *ino);
void share_byname_remove(struct hull_share *sh, struct share_inode *ino); /* before its parent or name changes */
/* The inodes last known by this name, ref'd, at most `max`; how many. */
size_t share_byname(struct hull_share *sh, const struct share_inode *dir, const char *name, struct share_inode **out,
		    size_t max);
/* Path of (dir, name) below the root into out; false when it cannot be told. */
bool share_path(struct hull_share *sh, struct share_inode *dir, const char *name, char *out, size_t cap);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The server's state, a request on its way, and the operations. What each part offers the others is in a header of its
 * own (inode.h, handle.h, watch.h, ...); nobody outside of this folder includes them.
 *
 * Locks, in the order they are taken:
 *   order  (rwlock) a reply that lets the guest cache something is sent under it, shared; the watching thread counts
 *          `changes` up under it, exclusive. So a reply made from a state before a change is either sent before the
 *          notification of that change, or notices and forbids caching.
 *   dir    (per open directory) its buffer and position.
 *   lock   (mutex) the tables: inodes, handles, lock owners, watches. Never held across a system call that can wait.
 *   waits  (mutex) waiting locks and interrupts. */
#ifndef HULL_SHARE_SERVER_H
#define HULL_SHARE_SERVER_H

#include "base/bytes.h"
#include "base/cleanup.h"
#include "share/guard.h"
#include "share/handle.h"
#include "share/inode.h"
#include "share/room.h"
#include "share/share.h"
#include "share/table.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct share_lock_wait;
struct share_notifier;
struct share_pendings;

enum {
	SHARE_LOG_WAITS = 64,    /* interrupts remembered for requests that have not started to wait yet */
	SHARE_OWNERS_MAX = 4096, /* lock owners per inode */
	SHARE_NOBODY = 65534,
};

struct hull_share {
	pthread_mutex_t lock;
	pthread_rwlock_t order;
	atomic_uint_fast64_t changes;

	struct hull_share_config config;
	int proc_fd; /* /proc/self/fd */
	uid_t uid;
	gid_t *groups;
	int group_count;
	uint64_t root_dev;
	atomic_bool adopted;        /* it took over from another server: notify the guest that all may have changed */
	atomic_bool no_generations; /* seen a file system that has none */

	struct share_table inodes, handles;
	struct share_inode *root;
	struct share_inode **buckets;
	uint32_t bucket_count, hashed;
	struct share_inode **name_buckets;
	uint32_t name_bucket_count, named;
	struct share_inode *reap;     /* see free_chain() */
	bool no_opendir;              /* the guest reads directories without opening them */
	struct share_handle *streams; /* half-read directories, in no table */
	struct share_inode lru;       /* ring; lru.lru_next is the most recently used */
	uint32_t dir_fds;
	struct share_guard guards[SHARE_GUARDS_MAX];
	atomic_size_t guard_count;

	atomic_uint minor; /* of the guest's protocol; 0 before INIT */
	atomic_bool expire_only;
	atomic_uint replayer;
	atomic_int_fast64_t unwatched_until; /* ms: by then the guest asks again for all that it is not notified of */
	atomic_bool prefetch;                /* the relay keeps what is sent ahead */

	pthread_mutex_t waits;
	pthread_cond_t waits_gone;
	struct share_lock_wait *waiting;
	uint32_t wait_count;
	bool stopping;
	bool old_setxattr; /* the guest sends the short form */
	uint64_t interrupted[SHARE_LOG_WAITS];
	uint32_t interrupted_at;

	struct share_room room;
	struct share_notifier *notifier;
	struct share_pendings *pendings, *absent;
};

/* One request on its way through the server. */
struct share_req {
	struct hull_share *sh;
	const struct hull_share_transport *t;
	const struct fuse_in_header *h;
	struct hull_cur in; /* arguments, behind the header */
	uint8_t *scratch;   /* HULL_SHARE_REQUEST_MAX bytes */
	uint64_t changes;   /* sh->changes when it started */
	bool replayer;
};

/* --- share.c: replies --- */
void share_reply(struct share_req *r, int error, const void *p, size_t n);
enum share_reply_kind { SHARE_ENTRY, SHARE_CREATE, SHARE_ATTR, SHARE_DIRPLUS };
/* A reply whose cache lifetimes hold only if nothing changed on the host meanwhile. 0, or what send() said. */
int share_reply_cached(struct share_req *r, enum share_reply_kind kind, void *p, size_t n);
/* The next name among the arguments: one component, fit for the host; NULL with *error otherwise. */
const char *share_name(struct share_req *r, int *error);
const void *share_args(struct share_req *r, size_t n);

/* --- the operations; each answers its request exactly once --- */
typedef void share_op(struct share_req *r, struct share_inode *ino);
share_op share_op_lookup, share_op_mknod, share_op_mkdir, share_op_symlink, share_op_link, share_op_unlink,
	share_op_rmdir, share_op_rename, share_op_rename2;                                        /* names.c */
share_op share_op_getattr, share_op_setattr, share_op_readlink, share_op_statfs, share_op_access; /* attr.c */
share_op share_op_open, share_op_create, share_op_tmpfile, share_op_read, share_op_write, share_op_flush,
	share_op_release, share_op_fsync, share_op_fallocate, share_op_lseek, share_op_copy,
	share_op_syncfs;                                                                                   /* file.c */
share_op share_op_opendir, share_op_readdir, share_op_readdirplus, share_op_releasedir, share_op_fsyncdir; /* dir.c */
share_op share_op_getxattr, share_op_listxattr, share_op_setxattr, share_op_removexattr;                   /* xattr.c */
share_op share_op_getlk, share_op_setlk, share_op_setlkw;                                                  /* lock.c */

#endif

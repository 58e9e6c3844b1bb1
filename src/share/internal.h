/* What the parts of the share server know of each other. Nobody else includes this.
 *
 * Locks, in the order they are taken:
 *   order  (rwlock) a reply that lets the guest cache something is sent under it, shared; the watching thread counts
 *          `changes` up under it, exclusive. So a reply made from a state before a change is either sent before the
 *          notification of that change, or notices and forbids caching.
 *   dir    (per open directory) its buffer and position.
 *   lock   (mutex) the tables: inodes, handles, lock owners, watches. Never held across a system call that can wait.
 *   waits  (mutex) waiting locks and interrupts. */
#ifndef HULL_SHARE_INTERNAL_H
#define HULL_SHARE_INTERNAL_H

#include "base/bytes.h"
#include "base/cleanup.h"
#include "share/meta.h"
#include "share/share.h"

#include <linux/fuse.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

enum {
	SHARE_DEPTH_MAX = 2048,  /* directories below each other that can be found again without descriptors */
	SHARE_GUARDS_MAX = 256,  /* guarded names and their ancestors */
	SHARE_LOG_WAITS = 64,    /* interrupts remembered for requests that have not started to wait yet */
	SHARE_OWNERS_MAX = 4096, /* lock owners per inode */
	SHARE_NOBODY = 65534,
};

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

struct share_handle;
struct share_owner;
struct share_watch;

struct share_inode {
	uint64_t id; /* the guest's node id */
	struct share_key key;
	uint32_t type;                 /* S_IFMT bits */
	atomic_bool ro;                /* guarded itself or below something guarded */
	bool hashed;                   /* found by its key; not once the number was seen reused */
	uint64_t lookups;              /* what the guest has to forget */
	uint32_t refs;                 /* requests, handles, waits and children using it */
	uint32_t pins;                 /* uses of fd right now */
	int fd;                        /* O_PATH, directories mostly; -1 = find it by parent and name */
	struct share_inode *parent;    /* ref'd; NULL for the root */
	char *name;                    /* last known, in parent */
	struct share_inode *next;      /* same hash bucket */
	struct share_inode *name_next; /* the same of byname.c */
	bool named;                    /* in that one */
	bool reaping;                  /* unused, and about to be opened once more so that its mark can go */
	struct share_inode *reap_next;
	struct share_inode *lru_prev, *lru_next;
	struct share_handle *handles; /* its open files */
	struct share_owner *owners;   /* its fcntl lock owners */
	struct share_watch *watch;    /* directories: being watched */
	bool watch_failed;
	atomic_bool adopted; /* of the server before, and not found to be there yet (keep.c) */
	atomic_bool rewatch; /* that one watched it, or marked it */
	bool marked;         /* files: it is watched by itself */
	bool loose;          /* files: it can be changed by a name that is not in a directory which is watched */
	uint32_t asked;      /* directories: LOOKUPs in it */
	/* Directories, of prefetch_dir.c: the guest has looked into it, or what is in it was sent ahead; somebody sends
	 * what is in those below it, how many of them at a time, and how far that is; how many in those below. */
	bool looked, walking;
	uint32_t window, below;
	uint64_t walked;
	int64_t ctime_sec; /* of the content the guest's page cache may hold, from its last OPEN */
	uint32_t ctime_nsec;
	uint64_t advertised_size; /* files: what the guest was last told */
	atomic_bool setid;        /* the guest was told of a set-id bit */
	bool partial; /* files: the guest wrote a part of a page, which its kernel then has to read to show it */
};

struct share_handle {
	uint64_t id;
	int fd;
	uint32_t refs;
	bool writable, directory;
	bool no_flush;             /* a file whose closing the guest does not tell us of, but its release */
	struct share_inode *inode; /* ref'd */
	struct share_handle *next; /* of the same inode; of the streams, the last used first */
	/* Directories: entries read ahead, and where the next one stands. */
	pthread_mutex_t dir;
	uint8_t *entries;
	uint32_t pos, len;
	uint64_t offset; /* cookie that continues at pos */
};

/* Ids handed to the guest: slot in the low half, a count of the slot's use in the high half. The count starts at
 * random, so that ids of a server that died mean nothing to its successor. */
struct share_slot {
	void *p;
	uint32_t count;
	uint32_t next_free;
};
struct share_table {
	struct share_slot *slots;
	uint32_t used, cap, max, live, free_head;
	uint32_t seed;
};

struct share_guard {
	uint64_t dev, ino; /* of the directory */
	char *name;
	atomic_bool final; /* read-only from here down; else an ancestor, which only keeps its name */
	/* Which step of which path this is, and which one leads to it; the same for all directories that have been
	 * there. Under the lock. */
	uint32_t place, up;
};

/* How much may be written before the file system is asked again (room.c). */
struct share_room {
	pthread_mutex_t lock;
	uint64_t dev, left, until;
};

struct share_lock_wait;
struct share_notifier;
struct share_pendings;

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
	atomic_bool adopted;        /* the guest is to be told that all may have changed */
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

/* Somewhere in the host's tree that a system call can be aimed at: (fd, name), or fd itself when name is "". */
struct share_at {
	int fd;
	struct share_inode *pinned;  /* whose fd it is */
	struct share_handle *handle; /* or whose */
	int own;                     /* or ours to close */
	char name[NAME_MAX + 1];
};

/* Where things are in a struct linux_dirent64: u64 ino, s64 off, u16 reclen, u8 type, name. */
enum { SHARE_DIRENT_OFF = 8, SHARE_DIRENT_RECLEN = 16, SHARE_DIRENT_TYPE = 18, SHARE_DIRENT_NAME = 19 };
static inline uint16_t share_reclen(const uint8_t *entry)
{
	uint16_t n;
	memcpy(&n, entry + SHARE_DIRENT_RECLEN, sizeof n);
	return n;
}
static inline bool share_dots(const char *name)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a name is there in every entry */
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* --- share.c: replies --- */
void share_reply(struct share_req *r, int error, const void *p, size_t n);
enum share_reply_kind { SHARE_ENTRY, SHARE_CREATE, SHARE_ATTR, SHARE_DIRPLUS };
/* A reply whose cache lifetimes hold only if nothing changed on the host meanwhile. 0, or what send() said. */
int share_reply_cached(struct share_req *r, enum share_reply_kind kind, void *p, size_t n);
/* The next name among the arguments: one component, fit for the host; NULL with *error otherwise. */
const char *share_name(struct share_req *r, int *error);
const void *share_args(struct share_req *r, size_t n);

/* --- table.c --- */
void share_table_init(struct share_table *t, uint32_t max);
void share_table_free(struct share_table *t);
uint64_t share_table_add(struct share_table *t, void *p); /* 0 when full or out of memory */
/* Only in one that nothing was added to yet: with this very id, 0 when that cannot be; then `adopted`, once. */
uint64_t share_table_put(struct share_table *t, uint64_t id, void *p);
void share_table_adopted(struct share_table *t);
void *share_table_get(const struct share_table *t, uint64_t id);
void share_table_remove(struct share_table *t, uint64_t id);

/* --- inode.c --- */
/* Attributes of (fd, name), or of fd when name is "". share_identify also tells what share_key_of needs. */
int share_statx(int fd, const char *name, struct share_stat *st);
int share_identify(struct hull_share *sh, int fd, const char *name, struct share_stat *st);
void share_key_of(const struct share_stat *st, struct share_key *key);
bool share_same(const struct share_key *a, const struct share_key *b);
int share_inodes_init(struct hull_share *sh, struct hull_error *err);
void share_inodes_free(struct hull_share *sh);
struct share_inode *share_inode_get(struct hull_share *sh,
				    uint64_t id); /* ref'd, or NULL; may wait, see share_prove() */
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
/* Aim at an inode. share_aim may give (parent, name): verify what you find there against ino->key. share_aim_exact
 * gives a descriptor of the very inode. 0 or -errno; release with share_at_put. */
int share_aim(struct hull_share *sh, struct share_inode *ino, struct share_at *at);
int share_aim_exact(struct hull_share *sh, struct share_inode *ino, struct share_at *at);
void share_at_put(struct hull_share *sh, struct share_at *at);
int share_stat_inode(struct hull_share *sh, struct share_inode *ino, struct share_stat *st);
/* Open the inode itself with real flags (no creation, no truncation); fd or -errno, st filled when not NULL. */
int share_open_inode(struct hull_share *sh, struct share_inode *ino, int flags, struct share_stat *st);
int share_reopen(struct hull_share *sh, int fd, int flags);
/* Path of (dir, name) below the root into out; false when it cannot be told. */
bool share_path(struct hull_share *sh, struct share_inode *dir, const char *name, char *out, size_t cap);
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

/* --- handle.c --- */
struct share_handle *share_handle_new(struct hull_share *sh, struct share_inode *ino, int fd, bool writable,
				      bool directory); /* takes fd over; NULL when full (fd closed) */
struct share_handle *share_handle_get(struct hull_share *sh, uint64_t id);
void share_handle_ref(struct hull_share *sh, struct share_handle *h);
void share_handle_put(struct hull_share *sh, struct share_handle *h);
void share_handle_drop(struct hull_share *sh, uint64_t id); /* the guest's own reference */
/* A directory that is being read, kept until its next part is asked for; the one that nobody asked for longest is
 * forgotten. new takes fd; take: NULL when none stands at the offset; end takes NULL. */
enum { SHARE_STREAMS_MAX = 64 };
struct share_handle *share_stream_new(struct hull_share *sh, struct share_inode *dir, int fd);
struct share_handle *share_stream_take(struct hull_share *sh, const struct share_inode *dir, uint64_t offset);
void share_stream_keep(struct hull_share *sh, struct share_handle *h);
void share_stream_end(struct hull_share *sh, struct share_handle *h);
void share_handles_free(struct hull_share *sh);

/* --- attr.c --- */
void share_fill_attr(struct hull_share *sh, const struct share_stat *st, struct fuse_attr *out);
/* How long the guest may keep the attributes of ino, and names in dir. */
void share_attr_valid(struct hull_share *sh, struct share_inode *ino, const struct share_stat *st, uint64_t *sec,
		      uint32_t *nsec);
void share_entry_valid(struct hull_share *sh, const struct share_inode *dir, uint64_t *sec, uint32_t *nsec);
bool share_is_ro(const struct hull_share *sh, const struct share_inode *ino);
uint64_t share_guest_ino(const struct hull_share *sh, uint64_t dev, uint64_t ino);

/* --- fstype.c --- */
/* Is a file system of this magic number (statfs) one that tells of every change? Is the one that fd is on? */
bool share_fs_local(uint32_t magic);
bool share_fs_reports(const struct hull_share *sh, int fd);

/* --- room.c --- */
/* May the guest have `bytes` more on the file system of ino, of which fd is any descriptor? 0 or -ENOSPC. A new name
 * counts as SHARE_ROOM_NAME. */
enum { SHARE_ROOM_NAME = 4096 };
int share_room(struct hull_share *sh, const struct share_inode *ino, int fd, uint64_t bytes);
/* What of it the guest is shown. */
struct statfs;
void share_room_shown(const struct hull_share *sh, struct statfs *fs);

/* --- guard.c --- */
/* 0; -EROFS when the name is guarded itself, -EBUSY when something below it is. */
int share_guarded(const struct hull_share *sh, const struct share_inode *dir, const char *name);
/* An inode is entered at a name: is it read-only there? Under the lock. */
bool share_guard_enter(struct hull_share *sh, const struct share_inode *dir, const char *name,
		       const struct share_key *key);
int share_guards_init(struct hull_share *sh, struct hull_error *err);
void share_guards_free(struct hull_share *sh);

/* --- watch.c --- */
void share_watch_init(struct hull_share *sh);
void share_watch_free(struct hull_share *sh);
int share_watch_start(struct hull_share *sh, const struct hull_share_transport *t, struct hull_error *err);
void share_watch_stop(struct hull_share *sh);
void share_watch_dir(struct hull_share *sh, struct share_inode *dir, int fd);
void share_watch_drop(struct hull_share *sh, struct share_watch *w, int fd);
/* A file that was seen to have several names is watched by itself, as long as there are marks for it: (dir, name) is
 * where it is. True when it has just been marked: what was read of it before may be old, and `now` is what it is since.
 */
bool share_mark(struct hull_share *sh, struct share_inode *ino, int dir, const char *name, struct share_stat *now);
void share_unmark(struct hull_share *sh, struct share_inode *ino); /* by its descriptor */
/* Have the guest drop the cached content of an inode, soon. */
void share_notify_content(struct hull_share *sh, uint64_t id);
/* Whether the host's changes are watched at all. */
bool share_watching(const struct hull_share *sh);
bool share_watched(const struct hull_share *sh, const struct share_inode *dir);
/* Tell the guest again of everything it may have cached, soon. */
void share_notify_all(struct hull_share *sh);
/* The relay has passed on what was sent before HULL_SHARE_MORE. */
void share_notify_more(struct hull_share *sh);
void share_sync_heard(struct hull_share *sh, uint32_t number); /* from the relay */
/* What may be kept for a time without being notified was told. */
void share_advertised_unwatched(struct hull_share *sh, uint32_t ms);

/* --- pending.c --- */
struct share_pendings *share_pendings_new(void);
void share_pendings_free(struct share_pendings *p);
/* A name of dir's that the guest's replayer is about to make appear (created) or disappear there. */
enum share_pending { SHARE_NOT_PENDING, SHARE_PENDING_FILE, SHARE_PENDING_DIR };
/* False when another one had to make room, which is then not announced as what it is. */
bool share_announce(struct hull_share *sh, uint64_t dir, const char *name, bool created, bool directory, uint64_t node);
/* The node of the file that is about to disappear, 0 = none that the guest knows. The replayer was shown that one
 * under the name; it was, and so it is the one that its kernel is about to remove. */
uint64_t share_announced_node(struct hull_share *sh, uint64_t dir, const char *name);
void share_announced_show(struct hull_share *sh, uint64_t dir, const char *name);
bool share_announced_shown(struct hull_share *sh, uint64_t dir, const char *name);
/* It was asked for too early: true the first time, when it is to be asked for again; else it is forgotten. */
bool share_announced_again(struct hull_share *sh, uint64_t dir, const char *name);
void share_announced_clear(struct hull_share *sh);
/* The guest is told that dir, which is watched, has no such name: for how many seconds it may believe that. */
uint32_t share_absent(struct hull_share *sh, uint64_t dir, const char *name);
void share_each_absent(struct hull_share *sh, void (*fn)(struct hull_share *sh, uint64_t dir, const char *name));
enum share_pending share_announced(struct hull_share *sh, uint64_t dir, const char *name, bool created, bool take);

/* --- file.c --- */
/* The guest has, or is about to have, the content of this ctime. Was it that already? */
bool share_content_known(struct hull_share *sh, struct share_inode *ino, const struct share_stat *st);

/* One entry as the guest's kernel reads it at `to`, FUSE_DIRENT_SIZE bytes; how many. */
size_t share_put_dirent(uint8_t *to, uint64_t ino, uint64_t next, uint8_t type, const char *name,
			size_t len); /* dir.c */

/* --- prefetch_dir.c and prefetch.c: each sends what may be asked next, before the reply to `r` --- */
void share_prefetch_siblings(struct share_req *r, struct share_inode *dir, const char *asked); /* uses r->scratch */
void share_prefetch_walk(struct share_req *r, struct share_inode *dir); /* it is looked into; uses r->scratch */
/* May anything in dir be sent ahead? Send n bytes of records; false when they do not hold any more. Put a record's name
 * behind it, at `out`: how many bytes. The attributes of a directory; false when they may not be kept. */
bool share_prefetch_may(const struct share_req *r, const struct share_inode *dir);
bool share_prefetch_send(struct share_req *r, const void *p, size_t n);
size_t share_prefetch_named(struct hull_share_prefetch *a, const char *name, uint8_t *out);
bool share_prefetch_directory(struct share_req *r, struct share_inode *dir, struct hull_share_prefetch *out);
void share_prefetch_attr(struct share_req *r, struct share_inode *dir);
/* Names changed in these two directories (the second may be NULL), and these two inodes got or lost one (either may be
 * NULL). */
void share_prefetch_names(struct share_req *r, struct share_inode *const dirs[2], struct share_inode *const inodes[2]);
void share_prefetch_written(struct share_req *r, struct share_inode *file, int fd); /* open at fd */
void share_prefetch_read(struct share_req *r, struct share_inode *file, int fd);    /* as a whole */
/* The directory `entry` was just made under that name. */
void share_prefetch_made(struct share_req *r, struct share_inode *dir, const char *name,
			 const struct fuse_entry_out *entry);
/* The guest asks for a name again that it knows already. */
void share_prefetch_known(struct share_req *r, struct share_inode *dir, const char *name, const struct share_stat *st);
/* It was opened for reading; `fresh`: the guest has not all of its content yet. Uses r->scratch. */
void share_prefetch_opened(struct share_req *r, struct share_inode *file, const struct share_handle *h,
			   const struct share_stat *st, bool fresh);
/* Closing it never fails. */
void share_prefetch_flush(struct share_req *r, const struct share_inode *file);
void share_prefetch_end(struct share_req *r, struct share_inode *dir, uint64_t offset);

/* --- lock.c --- */
void share_owners_drop(struct hull_share *sh, struct share_inode *ino); /* under lock, inode going away */
void share_owner_flush(struct hull_share *sh, struct share_inode *ino, uint64_t owner);
void share_owner_release(struct hull_share *sh, struct share_inode *ino, uint64_t fh);
bool share_waits_interrupt(struct hull_share *sh, uint64_t unique);
void share_waits_init(struct hull_share *sh);
void share_waits_stop(struct hull_share *sh);

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

/* Enter (parent, name) and answer with its entry. Shared by all that make or find names. */
void share_reply_entry(struct share_req *r, struct share_inode *parent, const char *name, const struct share_stat *st);
int share_fill_entry(struct share_req *r, struct share_inode *parent, const char *name, const struct share_stat *st,
		     struct fuse_entry_out *out);

#endif

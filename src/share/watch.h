/* SPDX-License-Identifier: Apache-2.0 */
/* Changes on the host: what is watched (watch.c, fstype.c), and what is about to be replayed (pending.c). */
#ifndef HULL_SHARE_WATCH_H
#define HULL_SHARE_WATCH_H

#include "share/share.h"

struct share_inode;
struct share_stat;
struct share_watch;
struct share_pendings;

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
/* The guest was given something that it may cache for `ms` without a notification. */
void share_advertised_unwatched(struct hull_share *sh, uint32_t ms);

/* --- fstype.c --- */
/* Does the file system that fd is on tell of every change? */
bool share_fs_reports(const struct hull_share *sh, int fd);

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
/* A negative entry of dir, which is watched: for how many seconds the guest may cache it. */
uint32_t share_absent(struct hull_share *sh, uint64_t dir, const char *name);
void share_each_absent(struct hull_share *sh, void (*fn)(struct hull_share *sh, uint64_t dir, const char *name));
enum share_pending share_announced(struct hull_share *sh, uint64_t dir, const char *name, bool created, bool take);

#endif

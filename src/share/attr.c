/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes: what the guest sees of an inode, how long it may believe it, and changing it.
 *
 * Ownership is a mapping: what is kept beside a file (meta.h), else the process's own user and groups appear as the
 * guest's user, all others as nobody. Who may change what is for the guest's kernel to check (default_permissions); the
 * host checks again, with the rights of this process.
 *
 * Lifetimes: for ever in directories that are watched (a change is notified); otherwise 100 ms. A file that
 * has, or had, more than one link can change through a name nobody watches: unless it is watched by itself (watch.c)
 * its attributes live a second. Names that do not exist live an hour when watched, or five seconds when there are too
 * many of them to remember (pending.c). */
#include "share/attr.h"

#include "base/cleanup.h"
#include "share/meta.h"
#include "share/server.h"
#include "share/watch.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statfs.h>

enum { FOREVER_SEC = 365 * 86400, LINKED_SEC = 1, UNWATCHED_MS = 100, UNWATCHED_NSEC = UNWATCHED_MS * 1000 * 1000 };

uint64_t share_guest_ino(const struct hull_share *sh, uint64_t dev, uint64_t ino)
{
	/* File systems mounted below the root have numbers of their own, the guest sees one device. */
	return dev == sh->root_dev ? ino : ino ^ (dev * 0x9e3779b97f4a7c15u) << 40;
}

void share_fill_attr(struct hull_share *sh, const struct share_stat *st, struct fuse_attr *out)
{
	struct share_key key;
	struct share_meta m;
	share_key_of(st, &key);
	share_meta_view(sh, st, &m);
	*out = (struct fuse_attr){
		.ino = share_guest_ino(sh, key.dev, key.ino),
		.size = st->x.stx_size,
		.blocks = st->x.stx_blocks,
		.atime = (uint64_t)st->x.stx_atime.tv_sec,
		.mtime = (uint64_t)st->x.stx_mtime.tv_sec,
		.ctime = (uint64_t)st->x.stx_ctime.tv_sec,
		.atimensec = st->x.stx_atime.tv_nsec,
		.mtimensec = st->x.stx_mtime.tv_nsec,
		.ctimensec = st->x.stx_ctime.tv_nsec,
		.mode = m.mode,
		.nlink = st->x.stx_nlink,
		.uid = m.uid,
		.gid = m.gid,
		.rdev = m.rdev, /* the guest's own; those of the host have none to use */
		.blksize = st->x.stx_blksize,
	};
}

void share_entry_valid(struct hull_share *sh, const struct share_inode *dir, uint64_t *sec, uint32_t *nsec)
{
	bool watched = share_watched(sh, dir);
	if (!watched)
		share_advertised_unwatched(sh, UNWATCHED_MS);
	*sec = watched ? FOREVER_SEC : 0;
	*nsec = watched ? 0 : UNWATCHED_NSEC;
}

void share_attr_valid(struct hull_share *sh, struct share_inode *ino, const struct share_stat *st, uint64_t *sec,
		      uint32_t *nsec)
{
	pthread_mutex_lock(&sh->lock);
	const struct share_inode *by = ino->type == S_IFDIR ? ino : ino->parent;
	bool watched = by && by->watch;
	ino->advertised_size = st->x.stx_size;
	bool loose = ino->type != S_IFDIR && !__atomic_load_n(&ino->marked, __ATOMIC_ACQUIRE) &&
		     (st->x.stx_nlink > 1 || ino->loose);
	atomic_store(&ino->setid, (st->x.stx_mode & (S_ISUID | S_ISGID)) != 0);
	pthread_mutex_unlock(&sh->lock);
	*nsec = watched ? 0 : UNWATCHED_NSEC;
	*sec = 0;
	if (!watched)
		share_advertised_unwatched(sh, UNWATCHED_MS);
	else
		*sec = loose ? LINKED_SEC : FOREVER_SEC;
}

bool share_is_ro(const struct hull_share *sh, const struct share_inode *ino)
{
	return sh->config.readonly || ino->ro;
}

static void reply_attr(struct share_req *r, struct share_inode *ino, const struct share_stat *st)
{
	struct fuse_attr_out out = {0};
	share_fill_attr(r->sh, st, &out.attr);
	share_attr_valid(r->sh, ino, st, &out.attr_valid, &out.attr_valid_nsec);
	share_reply_cached(r, SHARE_ATTR, &out, sizeof out);
}

void share_op_getattr(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_getattr_in *in = share_args(r, sizeof *in);
	struct share_stat st;
	int e = in ? 0 : -EINVAL;
	struct share_handle *h = in && in->getattr_flags & FUSE_GETATTR_FH ? share_handle_get(r->sh, in->fh) : NULL;
	if (h && h->inode == ino)
		e = share_statx(h->fd, "", &st);
	else if (in)
		e = share_stat_inode(r->sh, ino, &st);
	share_handle_put(r->sh, h);
	if (e < 0)
		share_reply(r, e, NULL, 0);
	else
		reply_attr(r, ino, &st);
}

static struct timespec when(uint32_t valid, uint32_t set, uint32_t now, uint64_t sec, uint32_t nsec)
{
	if (!(valid & set))
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	if (valid & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = nsec < 1000000000 ? nsec : 0};
}

/* Owner, group and mode. A new owner takes the set-id bits of a file away, as the kernel does where it knows them. */
static int set_owner_mode(struct hull_share *sh, int fd, const struct fuse_setattr_in *in)
{
	struct share_stat st;
	struct share_meta want;
	int e = share_statx(fd, "", &st);
	if (e < 0)
		return e;
	if (S_ISLNK(st.host_mode) && in->valid & FATTR_MODE)
		return -EOPNOTSUPP;
	share_meta_view(sh, &st, &want);
	if (in->valid & FATTR_UID && in->uid != UINT32_MAX)
		want.uid = in->uid;
	if (in->valid & FATTR_GID && in->gid != UINT32_MAX)
		want.gid = in->gid;
	if (in->valid & (FATTR_UID | FATTR_GID) && !S_ISDIR(want.mode))
		want.mode &= ~(uint32_t)(want.mode & S_IXGRP ? S_ISUID | S_ISGID : S_ISUID);
	if (in->valid & FATTR_MODE)
		want.mode = (want.mode & S_IFMT) | (in->mode & 07777);
	return share_meta_change(sh, fd, &st, &want);
}

static int set_size(struct share_req *r, struct share_inode *ino, const struct fuse_setattr_in *in)
{
	struct hull_share *sh = r->sh;
	if (in->size > INT64_MAX)
		return -EFBIG;
	if (ino->type != S_IFREG)
		return ino->type == S_IFDIR ? -EISDIR : -EINVAL;
	struct share_handle *h = in->valid & FATTR_FH ? share_handle_get(sh, in->fh) : NULL;
	int e;
	if (h && h->inode == ino && h->writable) {
		e = ftruncate(h->fd, (off_t)in->size) < 0 ? -errno : 0;
	} else {
		_cleanup_close_ int fd = share_open_for(r, ino, O_WRONLY, NULL);
		e = fd < 0 ? fd : ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
	}
	share_handle_put(sh, h);
	return e;
}

void share_op_setattr(struct share_req *r, struct share_inode *ino)
{
	struct hull_share *sh = r->sh;
	const struct fuse_setattr_in *in = share_args(r, sizeof *in);
	struct share_at at;
	struct share_stat st;
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	int e = share_aim_exact(sh, ino, &at);
	if (e < 0)
		return share_reply(r, e, NULL, 0);
	if (r->replayer) {
		/* Its touch makes watchers in the guest fire and must not touch the host. */
	} else if (share_is_ro(sh, ino)) {
		e = -EROFS;
	} else {
		if (in->valid & (FATTR_MODE | FATTR_UID | FATTR_GID))
			e = set_owner_mode(sh, at.fd, in);
		if (e == 0 && in->valid & FATTR_SIZE)
			e = set_size(r, ino, in);
		if (e == 0 && in->valid & FATTR_KILL_SUIDGID)
			e = share_meta_kill_setid(sh, ino, at.fd);
		if (e == 0 && in->valid & (FATTR_ATIME | FATTR_MTIME)) {
			struct timespec ts[2] = {
				when(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
				when(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
			};
			if (ino->type == S_IFLNK)
				share_meta_link_atime(at.fd, &ts[0]);
			e = utimensat(at.fd, "", ts, AT_EMPTY_PATH) < 0 ? -errno : 0;
		}
	}
	if (e >= 0)
		e = share_statx(at.fd, "", &st);
	share_at_put(sh, &at);
	if (e < 0)
		share_reply(r, e, NULL, 0);
	else
		reply_attr(r, ino, &st);
}

void share_op_readlink(struct share_req *r, struct share_inode *ino)
{
	struct share_at at;
	char target[PATH_MAX];
	if (ino->type != S_IFLNK)
		return share_reply(r, -EINVAL, NULL, 0);
	int e = share_aim_exact(r->sh, ino, &at);
	if (e < 0)
		return share_reply(r, e, NULL, 0);
	ssize_t n = readlinkat(at.fd, "", target, sizeof target);
	e = n < 0 ? -errno : 0;
	share_at_put(r->sh, &at);
	share_reply(r, e, target, e ? 0 : (size_t)n);
}

void share_op_statfs(struct share_req *r, struct share_inode *ino)
{
	struct share_at at;
	struct statfs fs;
	/* Below the root other file systems can be mounted. What is gone was on the root's, as far as anybody knows. */
	int e = share_aim_exact(r->sh, ino, &at);
	if (e < 0 && ino != r->sh->root)
		e = share_aim_exact(r->sh, r->sh->root, &at);
	if (e >= 0) {
		e = fstatfs(at.fd, &fs) < 0 ? -errno : 0;
		share_at_put(r->sh, &at);
	}
	if (e < 0)
		return share_reply(r, e, NULL, 0);
	share_room_shown(r->sh, &fs);
	struct fuse_statfs_out out = {.st = {
					      .blocks = fs.f_blocks,
					      .bfree = fs.f_bfree,
					      .bavail = fs.f_bavail,
					      .files = fs.f_files,
					      .ffree = fs.f_ffree,
					      .bsize = (uint32_t)fs.f_bsize,
					      .namelen = (uint32_t)fs.f_namelen,
					      .frsize = (uint32_t)(fs.f_frsize ? fs.f_frsize : fs.f_bsize),
				      }};
	share_reply(r, 0, &out, sizeof out);
}

void share_op_access(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_access_in *in = share_args(r, sizeof *in);
	struct share_at at;
	char name[16];
	if (!in || in->mask > 7)
		return share_reply(r, -EINVAL, NULL, 0);
	if (in->mask & W_OK && share_is_ro(r->sh, ino))
		return share_reply(r, -EROFS, NULL, 0);
	int e = ino->type == S_IFLNK ? 0 : share_aim_exact(r->sh, ino, &at);
	if (e == 0 && ino->type != S_IFLNK) {
		snprintf(name, sizeof name, "%d", at.fd);
		e = faccessat(r->sh->proc_fd, name, (int)in->mask, AT_EACCESS) < 0 ? -errno : 0;
		share_at_put(r->sh, &at);
	}
	share_reply(r, e, NULL, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Open files: open, create, read, write and what else takes a handle.
 *
 * The host's descriptors are never opened for appending: the guest says with each write whether it appends (RWF_APPEND
 * then does, atomically, also against writers on the host), and pages of a shared mapping written back through the
 * same handle must land where they belong. Files are opened without truncating and truncated once it is certain that
 * they are the right ones. */
#include "share/server.h"

#include "share/attr.h"
#include "share/lock.h"
#include "share/meta.h"
#include "share/prefetch.h"
#include "share/watch.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>

/* A copy runs as one request; the guest asks again for the rest. */
enum { COPY_MAX = 256 * 1024 * 1024, PAGE = 4096 /* the guest's */ };

static struct share_handle *file_handle(struct share_req *r, struct share_inode *ino, uint64_t fh)
{
	struct share_handle *h = share_handle_get(r->sh, fh);
	if (h && h->inode == ino && !h->directory)
		return h;
	share_handle_put(r->sh, h);
	share_reply(r, -EBADF, NULL, 0);
	return NULL;
}

static int access_flags(const struct hull_share *sh, uint32_t flags)
{
	int mode = (int)(flags & O_ACCMODE);
	if (mode == O_ACCMODE)
		mode = O_RDWR;
	/* A kernel that holds back writes reads the rest of a page through any handle. */
	return sh->config.writeback && mode == O_WRONLY ? O_RDWR : mode;
}

bool share_content_known(struct hull_share *sh, struct share_inode *ino, const struct share_stat *st)
{
	pthread_mutex_lock(&sh->lock);
	bool same = ino->ctime_sec == st->x.stx_ctime.tv_sec && ino->ctime_nsec == st->x.stx_ctime.tv_nsec;
	ino->ctime_sec = st->x.stx_ctime.tv_sec;
	ino->ctime_nsec = st->x.stx_ctime.tv_nsec;
	pthread_mutex_unlock(&sh->lock);
	return same;
}

/* May the guest's kernel keep the pages that it has cached? */
struct keeping {
	bool notified; /* yes: a change on the host gives a notification */
	bool same;     /* yes: the file did not change since it was last opened */
};
static struct keeping keep_pages(struct hull_share *sh, struct share_inode *ino, const struct share_stat *st)
{
	pthread_mutex_lock(&sh->lock);
	bool notified = ino->parent && ino->parent->watch &&
			(__atomic_load_n(&ino->marked, __ATOMIC_ACQUIRE) || (st->x.stx_nlink == 1 && !ino->loose));
	pthread_mutex_unlock(&sh->lock);
	bool same = share_content_known(sh, ino, st);
	return (struct keeping){.notified = notified, .same = same};
}

/* May the handle be opened with FOPEN_NOFLUSH, which saves a round trip at each close? Its fcntl locks are then dropped
 * at RELEASE.
 *
 *   | opened for          | its file system reports a failed write | no-flush                                      |
 *   |---------------------|----------------------------------------|-----------------------------------------------|
 *   | reading             | -                                      | yes                                           |
 *   | writing             | at once                                | yes                                           |
 *   | reading and writing | at once                                | no: a mapping may have dirty pages. The relay |
 *   |                     |                                        | answers the FLUSH (HULL_SHARE_PREFETCH_FLUSH) |
 *   | writing             | at close                               | no                                            |
 *
 * With `writeback` always no. */
static bool no_flush_handle(struct share_req *r, struct share_handle *h)
{
	if (r->sh->config.writeback)
		return false;
	int mode = h->writable ? fcntl(h->fd, F_GETFL) : O_RDONLY;
	bool reports = h->writable && (mode < 0 || !share_fs_reports(r->sh, h->fd));
	h->no_flush = !reports && (mode & O_ACCMODE) != O_RDWR;
	if (!reports && !h->no_flush)
		share_prefetch_flush(r, h->inode);
	return h->no_flush;
}

void share_op_open(struct share_req *r, struct share_inode *ino)
{
	struct hull_share *sh = r->sh;
	const struct fuse_open_in *in = share_args(r, sizeof *in);
	struct share_stat st;
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	if (ino->type != S_IFREG)
		return share_reply(r, ino->type == S_IFDIR ? -EISDIR : -EPERM, NULL, 0);
	int flags = access_flags(sh, in->flags);
	if (r->replayer)
		flags = O_RDONLY; /* it opens for writing only so that the guest's watchers see a close */
	if ((flags != O_RDONLY || in->flags & O_TRUNC) && !r->replayer && share_is_ro(sh, ino))
		return share_reply(r, -EROFS, NULL, 0);
	int fd = share_open_for(r, ino, flags, &st);
	if (fd < 0)
		return share_reply(r, fd, NULL, 0);
	int e = 0;
	if (in->flags & O_TRUNC && !r->replayer)
		e = flags == O_RDONLY ? 0 : ftruncate(fd, 0) < 0 ? -errno : 0;
	if (e == 0 && in->open_flags & FUSE_OPEN_KILL_SUIDGID)
		e = share_meta_kill_setid(sh, ino, fd);
	if (e < 0) {
		close(fd);
		return share_reply(r, e, NULL, 0);
	}
	struct share_handle *h = share_handle_new(sh, ino, fd, flags != O_RDONLY, false);
	if (!h)
		return share_reply(r, -ENFILE, NULL, 0);
	struct fuse_open_out out = {.fh = h->id};
	struct keeping keep = keep_pages(sh, ino, &st);
	if (keep.notified || keep.same)
		out.open_flags |= FOPEN_KEEP_CACHE;
	if (no_flush_handle(r, h))
		out.open_flags |= FOPEN_NOFLUSH;
	if (keep.notified && h->no_flush && !h->writable)
		share_prefetch_opened(r, ino, h, &st, !keep.same);
	share_reply(r, 0, &out, sizeof out);
}

static void reply_created(struct share_req *r, struct share_inode *dir, const char *name, int fd, uint32_t flags)
{
	struct hull_share *sh = r->sh;
	struct share_stat st;
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = {0};
	int e = share_identify(sh, fd, "", &st);
	if (e == 0 && !S_ISREG(st.x.stx_mode))
		e = S_ISDIR(st.x.stx_mode) ? -EISDIR : -EPERM;
	if (e == 0)
		e = share_fill_entry(r, dir, name, &st, &out.entry);
	if (e < 0) {
		close(fd);
		return share_reply(r, e, NULL, 0);
	}
	struct share_inode *ino = share_inode_get(sh, out.entry.nodeid);
	struct share_handle *h = NULL;
	bool no_flush = false;
	e = -ENFILE;
	if (ino && share_is_ro(sh, ino)) {
		close(fd);
		e = -EROFS;
	} else if (ino && flags & O_TRUNC && st.x.stx_size > 0 && ftruncate(fd, 0) < 0) {
		e = -errno;
		close(fd);
	} else if (ino) {
		h = share_handle_new(sh, ino, fd, true, false);
		no_flush = h && no_flush_handle(r, h);
		keep_pages(sh, ino, &st);
	} else {
		close(fd);
	}
	share_inode_put(sh, ino);
	if (!h) {
		share_inode_forget(sh, out.entry.nodeid, 1);
		return share_reply(r, e, NULL, 0);
	}
	share_prefetch_attr(r, dir);
	out.open.fh = h->id;
	out.open.open_flags = FOPEN_KEEP_CACHE | (no_flush ? FOPEN_NOFLUSH : 0);
	if (share_reply_cached(r, SHARE_CREATE, &out, sizeof out) == -ENOENT) {
		share_handle_drop(sh, out.open.fh);
		share_inode_forget(sh, out.entry.nodeid, 1);
	}
}

/* A file that is there already; else `error`. */
static int open_there(int at, const char *name, int flags, int error)
{
	int fd = openat(at, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd >= 0 ? fd : errno == ENOENT ? error : -errno;
}

/* A descriptor or -errno. */
static int file_create(struct share_req *r, const struct share_inode *dir, int at, const char *name, int flags,
		       uint32_t mode)
{
	struct share_meta want;
	int full = share_room(r->sh, dir, at, SHARE_ROOM_NAME);
	if (full < 0) /* what is there can be opened all the same */
		return flags & O_EXCL || (flags & O_TMPFILE) == O_TMPFILE ? full : open_there(at, name, flags, full);
	if (!share_meta_new(r, dir, at, S_IFREG | (mode & 07777), &want))
		return share_meta_create(r->sh, at, name, flags, &want);
	int fd = openat(at, name,
			flags | ((flags & O_TMPFILE) == O_TMPFILE ? 0 : O_CREAT) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK |
				O_NOCTTY,
			mode & 0777);
	return fd < 0 ? -errno : fd;
}

void share_op_create(struct share_req *r, struct share_inode *dir)
{
	struct hull_share *sh = r->sh;
	int e = -EINVAL;
	const struct fuse_create_in *in = share_args(r, sizeof *in);
	const char *name = in ? share_name(r, &e) : NULL;
	if (!name)
		return share_reply(r, e, NULL, 0);
	if (dir->type != S_IFDIR)
		return share_reply(r, -ENOTDIR, NULL, 0);
	if (share_is_ro(sh, dir) || share_guarded(sh, dir, name) < 0)
		return share_reply(r, -EROFS, NULL, 0);
	if (r->replayer)
		return share_reply(r, -EPERM, NULL, 0);
	int at = share_pin(sh, dir);
	if (at < 0)
		return share_reply(r, at, NULL, 0);
	share_watch_dir(sh, dir, at);
	int flags = access_flags(sh, in->flags) | (int)(in->flags & O_EXCL);
	int fd = file_create(r, dir, at, name, flags, in->mode);
	if (share_meta_ease(r, dir, at, fd))
		fd = file_create(r, dir, at, name, flags, in->mode);
	e = fd < 0 ? fd : 0;
	share_unpin(sh, dir);
	if (e < 0)
		return share_reply(r, e == -ELOOP ? -ESTALE : e, NULL, 0);
	reply_created(r, dir, name, fd, in->flags);
}

void share_op_tmpfile(struct share_req *r, struct share_inode *dir)
{
	struct hull_share *sh = r->sh;
	const struct fuse_create_in *in = share_args(r, sizeof *in);
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	if (dir->type != S_IFDIR || share_is_ro(sh, dir))
		return share_reply(r, dir->type != S_IFDIR ? -ENOTDIR : -EROFS, NULL, 0);
	int at = share_pin(sh, dir);
	if (at < 0)
		return share_reply(r, at, NULL, 0);
	int flags = access_flags(sh, in->flags) | (int)(in->flags & O_EXCL);
	int fd = file_create(r, dir, at, ".", flags | O_TMPFILE, in->mode);
	if (share_meta_ease(r, dir, at, fd))
		fd = file_create(r, dir, at, ".", flags | O_TMPFILE, in->mode);
	int e = fd < 0 ? fd : 0;
	share_unpin(sh, dir);
	if (e < 0)
		return share_reply(r, e, NULL, 0);
	/* It has no name. "." is one that can never turn out to be this file, so only the handle reaches it. */
	reply_created(r, dir, ".", fd, 0);
}

void share_op_read(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_read_in *in = share_args(r, sizeof *in);
	if (!in || in->size > HULL_SHARE_MAX_WRITE || in->offset > INT64_MAX)
		return share_reply(r, -EINVAL, NULL, 0);
	struct share_handle *h = file_handle(r, ino, in->fh);
	if (!h)
		return;
	ssize_t n = pread(h->fd, r->scratch, in->size, (off_t)in->offset);
	int e = n < 0 ? -errno : 0;
	if (e == 0 && in->offset == 0 && (size_t)n < in->size)
		share_prefetch_read(r, ino, h->fd);
	share_reply(r, e, r->scratch, e ? 0 : (size_t)n);
	share_handle_put(r->sh, h);
}

static void written(struct share_req *r, struct share_inode *ino, int fd, uint64_t ends)
{
	if (ends % PAGE) {
		pthread_mutex_lock(&r->sh->lock);
		ino->partial = true;
		pthread_mutex_unlock(&r->sh->lock);
	}
	share_prefetch_written(r, ino, fd);
}

void share_op_write(struct share_req *r, struct share_inode *ino)
{
	struct hull_share *sh = r->sh;
	const struct fuse_write_in *in = share_args(r, sizeof *in);
	if (!in || in->size > HULL_SHARE_MAX_WRITE || in->size != hull_cur_left(&r->in) || in->offset > INT64_MAX)
		return share_reply(r, -EINVAL, NULL, 0);
	struct share_handle *h = file_handle(r, ino, in->fh);
	if (!h)
		return;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)r->in.p, .iov_len = in->size};
	bool append = in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE);
	int flags = append ? RWF_APPEND : 0;
	if ((in->flags & O_SYNC) == O_SYNC)
		flags |= RWF_SYNC;
	else if (in->flags & O_DSYNC)
		flags |= RWF_DSYNC;
	int e = share_is_ro(sh, ino) ? -EROFS : share_room(sh, ino, h->fd, in->size);
	ssize_t n = e < 0 ? 0 : pwritev2(h->fd, &iov, 1, (off_t)in->offset, flags);
	if (n < 0)
		e = -errno;
	if (e == 0 && in->write_flags & FUSE_WRITE_KILL_SUIDGID)
		share_meta_kill_setid(sh, ino, h->fd);
	if (e == 0 && append) {
		/* The guest's kernel put these bytes into its cache where it believed the end was. */
		struct stat st;
		if (fstat(h->fd, &st) < 0 || (uint64_t)st.st_size != in->offset + (uint64_t)n)
			share_notify_content(sh, ino->id);
	}
	if (e == 0)
		written(r, ino, h->fd, in->offset | (in->offset + (uint64_t)n));
	struct fuse_write_out out = {.size = e ? 0 : (uint32_t)n};
	share_reply(r, e, &out, e ? 0 : sizeof out);
	share_handle_put(sh, h);
}

void share_op_flush(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_flush_in *in = share_args(r, sizeof *in);
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	struct share_handle *h = file_handle(r, ino, in->fh);
	if (!h)
		return;
	share_owner_flush(r->sh, ino, in->lock_owner);
	int e = 0;
	if (h->writable) {
		/* Where the host reports a failed write only at close (NFS, quota), this is when the guest hears it. */
		int copy = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
		e = copy < 0 ? 0 : close(copy) < 0 ? -errno : 0;
	}
	share_reply(r, e == -EINTR ? 0 : e, NULL, 0);
	share_handle_put(r->sh, h);
}

void share_op_release(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_release_in *in = share_args(r, sizeof *in);
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	struct share_handle *h = file_handle(r, ino, in->fh);
	if (!h)
		return;
	if (in->release_flags & FUSE_RELEASE_FLOCK_UNLOCK)
		flock(h->fd, LOCK_UN); /* a lock still waiting on this handle keeps it open */
	if (h->no_flush)
		share_owner_release(r->sh, ino, in->fh);
	share_handle_drop(r->sh, in->fh);
	share_reply(r, 0, NULL, 0);
	share_handle_put(r->sh, h);
}

void share_op_fsync(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_fsync_in *in = share_args(r, sizeof *in);
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	struct share_handle *h = file_handle(r, ino, in->fh);
	if (!h)
		return;
	int e = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd);
	share_reply(r, e < 0 ? -errno : 0, NULL, 0);
	share_handle_put(r->sh, h);
}

void share_op_fallocate(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_fallocate_in *in = share_args(r, sizeof *in);
	const uint32_t known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	if (!in || in->offset > INT64_MAX || in->length > INT64_MAX)
		return share_reply(r, -EINVAL, NULL, 0);
	if (in->mode & ~known)
		return share_reply(r, -EOPNOTSUPP, NULL, 0);
	if (share_is_ro(r->sh, ino))
		return share_reply(r, -EROFS, NULL, 0);
	struct share_handle *h = file_handle(r, ino, in->fh);
	if (!h)
		return;
	int e = in->mode & FALLOC_FL_PUNCH_HOLE ? 0 : share_room(r->sh, ino, h->fd, in->length);
	if (e == 0 && fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0)
		e = -errno;
	share_reply(r, e, NULL, 0);
	share_handle_put(r->sh, h);
}

void share_op_lseek(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_lseek_in *in = share_args(r, sizeof *in);
	if (!in || (in->whence != SEEK_DATA && in->whence != SEEK_HOLE) || in->offset > INT64_MAX)
		return share_reply(r, -EINVAL, NULL, 0);
	struct share_handle *h = file_handle(r, ino, in->fh);
	if (!h)
		return;
	/* The descriptor's own position is used for nothing else. */
	off_t at = lseek(h->fd, (off_t)in->offset, (int)in->whence);
	struct fuse_lseek_out out = {.offset = at < 0 ? 0 : (uint64_t)at};
	share_reply(r, at < 0 ? -errno : 0, &out, at < 0 ? 0 : sizeof out);
	share_handle_put(r->sh, h);
}

void share_op_copy(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_copy_file_range_in *in = share_args(r, sizeof *in);
	if (!in || in->off_in > INT64_MAX || in->off_out > INT64_MAX || in->flags)
		return share_reply(r, -EINVAL, NULL, 0);
	struct share_handle *from = file_handle(r, ino, in->fh_in);
	if (!from)
		return;
	struct share_handle *to = share_handle_get(r->sh, in->fh_out);
	if (!to || to->directory || to->inode->id != in->nodeid_out) {
		share_reply(r, -EBADF, NULL, 0);
	} else if (share_is_ro(r->sh, to->inode)) {
		share_reply(r, -EROFS, NULL, 0);
	} else {
		off_t a = (off_t)in->off_in, b = (off_t)in->off_out;
		struct stat st;
		uint64_t len = in->len < COPY_MAX ? in->len : COPY_MAX;
		uint64_t rest = fstat(from->fd, &st) == 0 && st.st_size > a ? (uint64_t)(st.st_size - a) : 0;
		int e = share_room(r->sh, to->inode, to->fd, len < rest ? len : rest);
		ssize_t n = e < 0 ? 0 : copy_file_range(from->fd, &a, to->fd, &b, len, 0);
		if (n < 0)
			e = -errno;
		struct fuse_write_out out = {.size = e < 0 ? 0 : (uint32_t)n};
		share_reply(r, e, &out, e < 0 ? 0 : sizeof out);
	}
	share_handle_put(r->sh, to);
	share_handle_put(r->sh, from);
}

void share_op_syncfs(struct share_req *r, struct share_inode *ino)
{
	int fd = share_open_inode(r->sh, r->sh->root, O_RDONLY, NULL);
	int e = fd < 0 ? fd : syncfs(fd) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	share_reply(r, e, NULL, 0);
}

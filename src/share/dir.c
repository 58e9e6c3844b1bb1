/* SPDX-License-Identifier: Apache-2.0 */
/* Reading directories. The host's own cookies (d_off) are the guest's offsets, so that a seek resumes exactly; a
 * buffer of entries read ahead is kept per open directory while it is read in sequence.
 *
 * Where the host's changes are watched, the guest's kernel is told on the first OPENDIR that there is no such thing: it
 * asks no more, and a directory whose entries it has costs no round trip (`git status` opens each). READDIR then comes
 * without a handle. A directory that is half read stays open here as a `stream`, because some file systems (tmpfs) lose
 * their place in one that is opened anew while entries go. The kernel then caches the entries of every directory; those
 * of one that cannot be watched are taken from it again as soon as they are read. */
#include "share/server.h"

#include "share/attr.h"
#include "share/entries.h"
#include "share/meta.h"
#include "share/prefetch.h"
#include "share/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

enum { ENTRIES_SIZE = 32 * 1024 };

struct entry {
	uint64_t ino, next; /* next: the cookie after it */
	uint32_t len;
	uint8_t type;
	const char *name;
};

static struct share_handle *dir_handle(struct share_req *r, struct share_inode *ino, uint64_t fh)
{
	struct share_handle *h = share_handle_get(r->sh, fh);
	if (h && h->inode == ino && h->directory)
		return h;
	share_handle_put(r->sh, h);
	share_reply(r, -EBADF, NULL, 0);
	return NULL;
}

void share_op_opendir(struct share_req *r, struct share_inode *ino)
{
	struct hull_share *sh = r->sh;
	if (ino->type != S_IFDIR)
		return share_reply(r, -ENOTDIR, NULL, 0);
	if (sh->no_opendir)
		return share_reply(r, -ENOSYS, NULL, 0);
	int fd = share_open_for(r, ino, O_RDONLY, NULL);
	if (fd < 0)
		return share_reply(r, fd, NULL, 0);
	share_watch_dir(sh, ino, fd);
	struct share_handle *h = share_handle_new(sh, ino, fd, false, true);
	if (!h)
		return share_reply(r, -ENFILE, NULL, 0);
	struct fuse_open_out out = {.fh = h->id};
	if (share_watched(sh, ino))
		out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
	share_reply(r, 0, &out, sizeof out);
}

/* The entry at the handle's position: 1, 0 at the end, or -errno. Under h->dir. */
static int peek(struct share_handle *h, struct entry *e)
{
	if (h->pos >= h->len) {
		if (!h->entries)
			h->entries = malloc(ENTRIES_SIZE);
		if (!h->entries)
			return -ENOMEM;
		h->pos = h->len = 0;
		long n = syscall(SYS_getdents64, h->fd, h->entries, ENTRIES_SIZE);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		h->len = (uint32_t)n;
	}
	const uint8_t *p = h->entries + h->pos;
	uint16_t reclen = share_reclen(p);
	memcpy(&e->ino, p, sizeof e->ino);
	memcpy(&e->next, p + SHARE_DIRENT_OFF, sizeof e->next);
	e->type = p[SHARE_DIRENT_TYPE];
	e->name = (const char *)p + SHARE_DIRENT_NAME;
	e->len = (uint32_t)strnlen(e->name, reclen > SHARE_DIRENT_NAME ? reclen - SHARE_DIRENT_NAME : 0);
	return 1;
}

static void dir_step(struct share_handle *h, const struct entry *e)
{
	h->pos += share_reclen(h->entries + h->pos);
	h->offset = e->next;
}

static int seek(struct share_handle *h, uint64_t offset)
{
	if (offset == h->offset && (offset != 0 || (h->pos == 0 && h->len > 0)))
		return 0;
	h->pos = h->len = 0;
	h->offset = offset;
	return lseek(h->fd, (off_t)offset, SEEK_SET) < 0 ? -errno : 0;
}

size_t share_put_dirent(uint8_t *to, uint64_t ino, uint64_t next, uint8_t type, const char *name, size_t len)
{
	struct fuse_dirent d = {.ino = ino, .off = next, .namelen = (uint32_t)len, .type = type};
	size_t size = FUSE_DIRENT_SIZE(&d);
	memcpy(to, &d, FUSE_NAME_OFFSET);
	memcpy(to + FUSE_NAME_OFFSET, name, len);
	memset(to + FUSE_NAME_OFFSET + len, 0, size - FUSE_NAME_OFFSET - len);
	return size;
}

/* Fill r->scratch with at most `size` bytes of entries; the count, or -errno when not even one was got. Under h->dir.*/
static ssize_t dir_fill(struct share_req *r, struct share_handle *h, size_t size, bool plus, bool *end)
{
	size_t at = 0;
	struct entry e = {.name = ""};
	for (;;) {
		int got = peek(h, &e);
		*end = got == 0;
		if (got <= 0)
			return got < 0 && at == 0 ? got : (ssize_t)at;
		struct fuse_entry_out entry = {0};
		size_t head = plus ? FUSE_NAME_OFFSET_DIRENTPLUS - FUSE_NAME_OFFSET : 0;
		size_t need = head + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + e.len);
		if (need > size - at)
			return (ssize_t)at;
		uint64_t ino = share_guest_ino(r->sh, h->inode->key.dev, e.ino);
		if (plus && !share_dots(e.name)) {
			struct share_stat st;
			int failed = share_identify(r->sh, h->fd, e.name, &st);
			if (failed == -ENOENT) {
				dir_step(h, &e);
				continue;
			}
			/* When it cannot be entered the name alone is told, and the guest looks it up when it needs to.
			 */
			if (failed == 0 && share_fill_entry(r, h->inode, e.name, &st, &entry) == 0) {
				e.type = (uint8_t)(entry.attr.mode >> 12);
				ino = entry.attr.ino;
			}
		}
		if (e.type == DT_REG && !entry.nodeid && share_meta_nodes_seen())
			e.type = DT_UNKNOWN; /* it may be one of the guest's nodes */
		if (plus)
			memcpy(r->scratch + at, &entry, sizeof entry);
		share_put_dirent(r->scratch + at + head, ino, e.next, e.type, e.name, e.len);
		at += need;
		dir_step(h, &e);
	}
}

static void forget_entries(struct share_req *r, size_t n)
{
	for (size_t at = 0; at < n;) {
		struct fuse_direntplus d;
		memcpy(&d, r->scratch + at, FUSE_NAME_OFFSET_DIRENTPLUS);
		if (d.entry_out.nodeid)
			share_inode_forget(r->sh, d.entry_out.nodeid, 1);
		at += FUSE_DIRENTPLUS_SIZE(&d);
	}
}

/* The directory without a handle, at the offset or from its beginning; answers when it cannot be had. */
static struct share_handle *stream_at(struct share_req *r, struct share_inode *ino, uint64_t offset)
{
	struct share_handle *h = offset ? share_stream_take(r->sh, ino, offset) : NULL;
	if (h)
		return h;
	int fd = ino->type == S_IFDIR ? share_open_for(r, ino, O_RDONLY, NULL) : -ENOTDIR;
	if (fd >= 0) {
		share_watch_dir(r->sh, ino, fd);
		h = share_stream_new(r->sh, ino, fd);
	}
	if (!h)
		share_reply(r, fd < 0 ? fd : -ENOMEM, NULL, 0);
	return h;
}

static void read_entries(struct share_req *r, struct share_inode *ino, bool plus)
{
	const struct fuse_read_in *in = share_args(r, sizeof *in);
	if (!in || in->offset > INT64_MAX)
		return share_reply(r, -EINVAL, NULL, 0);
	bool stream = in->fh == 0;
	struct share_handle *h = stream ? stream_at(r, ino, in->offset) : dir_handle(r, ino, in->fh);
	if (!h)
		return;
	if (stream && in->offset == 0)
		share_prefetch_walk(r, ino);
	size_t size = in->size < HULL_SHARE_MAX_WRITE ? in->size : HULL_SHARE_MAX_WRITE;
	pthread_mutex_lock(&h->dir);
	int e = seek(h, in->offset);
	bool end = false;
	ssize_t n = e < 0 ? e : dir_fill(r, h, size, plus, &end);
	uint64_t offset = h->offset;
	pthread_mutex_unlock(&h->dir);
	if (end && stream)
		share_prefetch_end(r, ino, offset);
	if (n < 0)
		share_reply(r, (int)n, NULL, 0);
	else if (!plus)
		share_reply(r, 0, r->scratch, (size_t)n);
	else if (share_reply_cached(r, SHARE_DIRPLUS, r->scratch, (size_t)n) == -ENOENT)
		forget_entries(r, (size_t)n);
	if (!stream)
		return share_handle_put(r->sh, h);
	if (!share_watched(r->sh, ino))
		share_notify_content(r->sh, ino->id);
	if (n > 0 && !(end && atomic_load(&r->sh->prefetch)))
		share_stream_keep(r->sh, h);
	else
		share_stream_end(r->sh, h);
}

void share_op_readdir(struct share_req *r, struct share_inode *ino)
{
	read_entries(r, ino, false);
}

void share_op_readdirplus(struct share_req *r, struct share_inode *ino)
{
	read_entries(r, ino, true);
}

void share_op_releasedir(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_release_in *in = share_args(r, sizeof *in);
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	struct share_handle *h = dir_handle(r, ino, in->fh);
	if (!h)
		return;
	share_handle_drop(r->sh, in->fh);
	share_reply(r, 0, NULL, 0);
	share_handle_put(r->sh, h);
}

void share_op_fsyncdir(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_fsync_in *in = share_args(r, sizeof *in);
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	bool stream = in->fh == 0;
	struct share_handle *h = stream ? stream_at(r, ino, 0) : dir_handle(r, ino, in->fh);
	if (!h)
		return;
	int e = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd);
	share_reply(r, e < 0 ? -errno : 0, NULL, 0);
	if (stream)
		share_stream_end(r->sh, h);
	else
		share_handle_put(r->sh, h);
}

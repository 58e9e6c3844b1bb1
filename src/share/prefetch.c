/* Answers sent ahead of their requests, to a relay that keeps them (HULL_SHARE_PREFETCH in share.h): what a guest asks
 * next when it has asked this, so that it costs no round trip. Only of directories that are watched, because what is
 * not notified cannot be kept; and only when nothing changed on the host since the request that gives the occasion was
 * taken, as for every reply that may be cached (share_reply_cached).
 *
 *     LOOKUP             the directory's other entries: a few at the first, more when it goes on asking; with the first
 *                        what READDIR gives, when those are all, as for READDIR below (prefetch_dir.c)
 *     LOOKUP, READDIR    of a guest that goes through a tree: the same of the directories beside it
 *     LOOKUP again       of a directory: that it is there. mkdir makes the kernel ask even when it knows
 *     READDIR            when that was the last part: that there is no more, and the attributes, which the guest's
 *                        kernel takes for old because reading changes the time of access
 *     a name changes     the attributes of its directory; that those of what had the name are old, and the new ones
 *     MKDIR              that the new directory is empty, so that no name is asked for in it; and that it is there
 *     WRITE              the attributes of the file; READ of a whole file too
 *     OPEN, CREATE       that the FLUSH before it is closed has nothing to report, where that is so
 *     OPEN for reading   that the handle may be used again; and the content, when that is little and not there yet
 *                        (what the guest has written itself counts as there, but for parts of pages)
 *
 * An entry counts as one lookup, which the relay passes on or gives back. Not sent: files with several names, of which
 * a change by another name would go unnoticed; what the guest knows already. */
#include "share/prefetch.h"

#include "base/cleanup.h"
#include "share/attr.h"
#include "share/entries.h"
#include "share/server.h"
#include "share/watch.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

enum { CONTENT_MAX = 32 * 1024, LOOK = 1024 /* bytes of a directory that was just made */ };

bool share_prefetch_may(const struct share_req *r, const struct share_inode *dir)
{
	return atomic_load(&r->sh->prefetch) && !r->replayer && dir->type == S_IFDIR && share_watched(r->sh, dir);
}

static bool send_records(struct share_req *r, const void *p, size_t n)
{
	uint64_t unique = r->h->unique;
	struct fuse_out_header h = {.len = (uint32_t)(sizeof h + sizeof unique + n), .error = HULL_SHARE_PREFETCH};
	struct iovec iov[3] = {
		{.iov_base = &h, .iov_len = sizeof h},
		{.iov_base = &unique, .iov_len = sizeof unique},
		{.iov_base = (void *)(uintptr_t)p, .iov_len = n},
	};
	return r->t->send(r->t->ctx, iov, 3) == 0;
}

bool share_prefetch_send(struct share_req *r, const void *p, size_t n)
{
	struct hull_share *sh = r->sh;
	pthread_rwlock_rdlock(&sh->order);
	bool good = atomic_load(&sh->changes) == r->changes && send_records(r, p, n);
	pthread_rwlock_unlock(&sh->order);
	return good;
}

size_t share_prefetch_named(struct hull_share_prefetch *a, const char *name, uint8_t *out)
{
	size_t n = strlen(name);
	a->name_len = (uint32_t)n;
	memcpy(out, a, sizeof *a);
	memset(out + sizeof *a, 0, (n + 7) & ~(size_t)7);
	memcpy(out + sizeof *a, name, n);
	return (sizeof *a + n + 7) & ~(size_t)7;
}

static bool attr_record(struct share_req *r, struct share_inode *ino, const struct share_stat *st,
			struct hull_share_prefetch *out)
{
	*out = (struct hull_share_prefetch){.type = HULL_SHARE_PREFETCH_ATTR, .node = ino->id};
	share_fill_attr(r->sh, st, &out->attr.attr);
	share_attr_valid(r->sh, ino, st, &out->attr.attr_valid, &out->attr.attr_valid_nsec);
	return out->attr.attr_valid > 0 && !(ino->loose && !ino->marked);
}

bool share_prefetch_directory(struct share_req *r, struct share_inode *dir, struct hull_share_prefetch *out)
{
	struct share_stat st;
	return share_prefetch_may(r, dir) && share_stat_inode(r->sh, dir, &st) == 0 && attr_record(r, dir, &st, out);
}

void share_prefetch_attr(struct share_req *r, struct share_inode *dir)
{
	struct hull_share_prefetch a;
	if (share_prefetch_directory(r, dir, &a))
		share_prefetch_send(r, &a, sizeof a);
}

/* Those of a file with several names, and of one that is gone, are left to be asked for. */
static bool inode_record(struct share_req *r, struct share_inode *ino, struct hull_share_prefetch *out)
{
	struct share_stat st;
	if (ino->type == S_IFDIR)
		return share_prefetch_directory(r, ino, out);
	return !r->replayer && share_stat_inode(r->sh, ino, &st) == 0 && st.x.stx_nlink == 1 &&
	       attr_record(r, ino, &st, out);
}

void share_prefetch_names(struct share_req *r, struct share_inode *const dirs[2], struct share_inode *const inodes[2])
{
	struct hull_share_prefetch a[6];
	size_t n = 0;
	if (!atomic_load(&r->sh->prefetch))
		return;
	for (int i = 0; i < 2; i++)
		if (inodes[i])
			a[n++] = (struct hull_share_prefetch){.type = HULL_SHARE_PREFETCH_CHANGED,
							      .node = inodes[i]->id};
	size_t changed = n;
	for (int i = 0; i < 2; i++)
		n += inodes[i] && inode_record(r, inodes[i], &a[n]);
	for (int i = 0; i < 2; i++)
		n += dirs[i] && share_prefetch_directory(r, dirs[i], &a[n]);
	/* What is not known any more has to be said, whatever the host does meanwhile. */
	if (n > 0 && !share_prefetch_send(r, a, n * sizeof *a) && changed > 0)
		send_records(r, a, changed * sizeof *a);
}

/* False where changes are not notified, or it has several names. */
static bool file_record(struct share_req *r, struct share_inode *file, int fd, struct share_stat *st,
			struct hull_share_prefetch *out)
{
	return atomic_load(&r->sh->prefetch) && !r->replayer && file->type == S_IFREG && share_statx(fd, "", st) == 0 &&
	       st->x.stx_nlink == 1 && attr_record(r, file, st, out);
}

void share_prefetch_written(struct share_req *r, struct share_inode *file, int fd)
{
	struct hull_share_prefetch a;
	struct share_stat st;
	if (!file_record(r, file, fd, &st, &a))
		return;
	/* What it has written it has. (Not to be said where changes are not notified, see keep_pages.) */
	share_content_known(r->sh, file, &st);
	share_prefetch_send(r, &a, sizeof a);
}

void share_prefetch_read(struct share_req *r, struct share_inode *file, int fd)
{
	struct hull_share_prefetch a;
	struct share_stat st;
	if (file_record(r, file, fd, &st, &a))
		share_prefetch_send(r, &a, sizeof a);
}

void share_prefetch_opened(struct share_req *r, struct share_inode *file, const struct share_handle *h,
			   const struct share_stat *st, bool fresh)
{
	struct hull_share *sh = r->sh;
	/* What is kept leaves a quarter of all handles to what is opened next. */
	struct hull_share_prefetch handle = {.type = HULL_SHARE_PREFETCH_HANDLE,
					     .node = file->id,
					     .offset = h->id,
					     .open_max = sh->handles.max / 4 * 3};
	struct hull_share_prefetch data = {.type = HULL_SHARE_PREFETCH_DATA, .node = file->id};
	size_t n = sizeof handle;
	if (!atomic_load(&sh->prefetch) || r->replayer)
		return;
	memcpy(r->scratch, &handle, sizeof handle);
	/* The guest's kernel takes it for what its idea of the size says, which must be this one. */
	pthread_mutex_lock(&sh->lock);
	bool whole = (fresh || file->partial) && st->x.stx_size > 0 && st->x.stx_size <= CONTENT_MAX &&
		     file->advertised_size == st->x.stx_size;
	file->partial = false;
	pthread_mutex_unlock(&sh->lock);
	if (whole && pread(h->fd, r->scratch + n + sizeof data, st->x.stx_size, 0) == (ssize_t)st->x.stx_size) {
		data.name_len = (uint32_t)st->x.stx_size;
		memcpy(r->scratch + n, &data, sizeof data);
		n += sizeof data + data.name_len;
		while (n % 8)
			r->scratch[n++] = 0;
	}
	share_prefetch_send(r, r->scratch, n);
}

void share_prefetch_flush(struct share_req *r, const struct share_inode *file)
{
	const struct hull_share_prefetch a = {.type = HULL_SHARE_PREFETCH_FLUSH, .node = file->id};
	if (atomic_load(&r->sh->prefetch))
		send_records(r, &a, sizeof a);
}

/* That the guest knows it, in n bytes at `out`. */
static size_t known_record(const struct share_inode *dir, const char *name, const struct fuse_entry_out *entry,
			   uint8_t *out)
{
	struct hull_share_prefetch a = {.type = HULL_SHARE_PREFETCH_KNOWN, .node = dir->id, .entry = *entry};
	return share_prefetch_named(&a, name, out);
}

void share_prefetch_known(struct share_req *r, struct share_inode *dir, const char *name, const struct share_stat *st)
{
	struct fuse_entry_out entry = {0};
	uint8_t out[sizeof(struct hull_share_prefetch) + NAME_MAX + 8];
	if (!S_ISDIR(st->x.stx_mode) || !share_prefetch_may(r, dir))
		return;
	struct share_inode *ino = share_inode_find(r->sh, st);
	if (!ino)
		return;
	entry.nodeid = ino->id;
	share_entry_valid(r->sh, dir, &entry.entry_valid, &entry.entry_valid_nsec);
	share_fill_attr(r->sh, st, &entry.attr);
	/* First watched, then looked at, as in share_fill_entry. */
	struct share_stat now;
	if (share_watched(r->sh, ino) && share_stat_inode(r->sh, ino, &now) == 0) {
		share_fill_attr(r->sh, &now, &entry.attr);
		share_attr_valid(r->sh, ino, &now, &entry.attr_valid, &entry.attr_valid_nsec);
	}
	share_inode_put(r->sh, ino);
	share_prefetch_send(r, out, known_record(dir, name, &entry, out));
}

/* It is empty, and known by its name. */
void share_prefetch_made(struct share_req *r, struct share_inode *dir, const char *name,
			 const struct fuse_entry_out *entry)
{
	struct hull_share *sh = r->sh;
	struct share_inode *made = share_inode_get(sh, entry->nodeid);
	if (!made)
		return;
	/* It is watched by now: what the host puts into it after this look is notified. */
	_cleanup_close_ int fd = share_prefetch_may(r, made) ? share_open_inode(sh, made, O_RDONLY | O_DIRECTORY, NULL)
							     : -1;
	long got = fd < 0 ? -1 : syscall(SYS_getdents64, fd, r->scratch, LOOK);
	bool empty = got >= 0;
	for (long at = 0; at < got; at += share_reclen(r->scratch + at))
		empty = empty && share_dots((const char *)r->scratch + at + SHARE_DIRENT_NAME);
	share_inode_put(sh, made);
	const struct hull_share_prefetch a = {.type = HULL_SHARE_PREFETCH_EMPTY, .node = entry->nodeid};
	size_t n = 0;
	if (empty) {
		memcpy(r->scratch, &a, sizeof a);
		n = sizeof a;
	}
	if (share_prefetch_may(r, dir))
		n += known_record(dir, name, entry, r->scratch + n);
	if (n)
		share_prefetch_send(r, r->scratch, n);
}

void share_prefetch_end(struct share_req *r, struct share_inode *dir, uint64_t offset)
{
	struct hull_share_prefetch a[2];
	if (!share_prefetch_directory(r, dir, &a[0]))
		return;
	a[1] = (struct hull_share_prefetch){.type = HULL_SHARE_PREFETCH_END, .node = dir->id, .offset = offset};
	share_prefetch_send(r, a, sizeof a);
}

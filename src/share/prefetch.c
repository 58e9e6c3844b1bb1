/* SPDX-License-Identifier: Apache-2.0 */
/* Prefetching: with the reply to one request, the server sends answers to those that usually follow (share/relay.h), so
 * that they cost no round trip.
 *
 *   | request           | what is sent before the reply                                                               |
 *   |-------------------|---------------------------------------------------------------------------------------------|
 *   | LOOKUP            | ENTRY of the directory's other entries; at the first LOOKUP also what READDIR would give    |
 *   |                   | (prefetch_dir.c)                                                                            |
 *   | LOOKUP, READDIR   | of a guest that walks a tree: the same for directories beside this one (prefetch_dir.c)     |
 *   | LOOKUP, again     | KNOWN of a directory that the guest knows: mkdir makes the kernel look up even known names  |
 *   | READDIR, the last | END, and ATTR of the directory: reading it changed its atime                                |
 *   | a name changes    | CHANGED of the inode that had the name, ATTR of it and of the directory                     |
 *   | MKDIR             | EMPTY and KNOWN of the new directory                                                        |
 *   | WRITE, whole READ | ATTR of the file                                                                            |
 *   | OPEN, CREATE      | FLUSH, where a FLUSH has nothing to report                                                  |
 *   | OPEN for reading  | HANDLE; DATA of a small file, unless the guest's page cache has it                          |
 *
 * Records are sent only for directories that are watched, because an unwatched one would give no notification. They are
 * sent only if nothing changed on the host since the request arrived, as for every reply that may be cached
 * (share_reply_cached). Entries of files with several names, and of inodes that the guest knows, are not sent. */
#include "share/prefetch.h"

#include "base/cleanup.h"
#include "share/attr.h"
#include "share/entries.h"
#include "share/server.h"
#include "share/watch.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

enum { CONTENT_MAX = 32 * 1024, LOOK = 1024 /* bytes of listing of a directory that was just made */ };

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

/* The ATTR of an inode; false for a file with several names, or with none any more. */
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
	/* CHANGED must arrive whatever the host changes meanwhile; the rest need not. */
	if (n > 0 && !share_prefetch_send(r, a, n * sizeof *a) && changed > 0)
		send_records(r, a, changed * sizeof *a);
}

/* The ATTR of a file that is open at fd; false where changes are not notified, or when it has several names. */
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
	/* The guest's page cache has what the guest wrote. (Only where changes are notified, see keep_pages.) */
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
	/* A quarter of all handles stays free for files that are opened next. */
	struct hull_share_prefetch handle = {.type = HULL_SHARE_PREFETCH_HANDLE,
					     .node = file->id,
					     .offset = h->id,
					     .open_max = sh->handles.max / 4 * 3};
	struct hull_share_prefetch data = {.type = HULL_SHARE_PREFETCH_DATA, .node = file->id};
	size_t n = sizeof handle;
	if (!atomic_load(&sh->prefetch) || r->replayer)
		return;
	memcpy(r->scratch, &handle, sizeof handle);
	/* The guest's kernel cuts DATA at the size that it was told last, so that must be the size now. */
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

/* A KNOWN record at `out`: its length. */
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

/* EMPTY, if it is, and KNOWN. */
void share_prefetch_made(struct share_req *r, struct share_inode *dir, const char *name,
			 const struct fuse_entry_out *entry)
{
	struct hull_share *sh = r->sh;
	struct share_inode *made = share_inode_get(sh, entry->nodeid);
	if (!made)
		return;
	/* It is watched by now, so a name that the host makes after this look is notified. */
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

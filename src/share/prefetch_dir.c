/* SPDX-License-Identifier: Apache-2.0 */
/* Prefetching of directories: the entries of the one in which the guest has begun to look up names, and of those beside
 * it.
 *
 * A program that walks a tree (find, git status, a compiler with its search path) pays a round trip for each directory.
 * When the guest looks into a second subdirectory of one parent, the server prefetches the entries of the next ones, in
 * the order of the parent's listing. The window is 2 at first and doubles with each further subdirectory that had not
 * been prefetched, up to WINDOW_MAX. In a parent whose sibling had a window, it begins with that, up to WINDOW_FIRST.
 * Each directory is prefetched once. */
#include "share/prefetch.h"

#include "base/cleanup.h"
#include "share/attr.h"
#include "share/entries.h"
#include "share/meta.h"
#include "share/server.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

/* Bytes of a directory's listing that are prefetched: with the first LOOKUP, and with number MANY_AT + 1. */
enum { FIRST = 4 * 1024, MANY = 32 * 1024, MANY_AT = 4 };
/* Directories at a time; bytes of records at a time, about; reads of the parent's listing at a time. */
enum { WINDOW_FIRST = 8, WINDOW_MAX = 32, WALK_SIZE = 64 * 1024, WALK_PARTS = 8 };
#define WALKED_ALL UINT64_MAX

/* The ENTRY of (dir, name) at `out`: its length, 0 when it is not to be sent. *linked: because it has other names. */
static size_t entry_record(struct share_req *r, struct share_inode *dir, int fd, const char *name, uint8_t *out,
			   bool *linked)
{
	struct hull_share *sh = r->sh;
	struct share_stat st;
	struct hull_share_prefetch a = {.type = HULL_SHARE_PREFETCH_ENTRY, .node = dir->id};
	if (share_identify(sh, fd, name, &st) < 0)
		return 0;
	if (!S_ISDIR(st.x.stx_mode) && st.x.stx_nlink > 1) {
		*linked = true;
		return 0;
	}
	struct share_inode *known = share_inode_find(sh, &st);
	share_inode_put(sh, known);
	if (known || share_fill_entry(r, dir, name, &st, &a.entry) < 0)
		return 0;
	if (a.entry.attr_valid == 0) {
		share_inode_forget(sh, a.entry.nodeid, 1);
		return 0;
	}
	return share_prefetch_named(&a, name, out);
}

static void forget_all(struct share_req *r, const uint8_t *p, size_t n)
{
	struct hull_share_prefetch a;
	for (size_t at = 0; at < n; at += (sizeof a + a.name_len + 7) & ~(size_t)7) {
		memcpy(&a, p + at, sizeof a);
		if (a.type == HULL_SHARE_PREFETCH_ENTRY)
			share_inode_forget(r->sh, a.entry.nodeid, 1);
	}
}

/* ATTR, LIST and END of a small directory at `out`: their length; 0 for a larger one. `entries` holds `got` bytes of
 * the listing of fd, from its beginning, and has FIRST bytes of room behind them. */
static size_t list_record(struct share_req *r, struct share_inode *dir, int fd, uint8_t *entries, long got,
			  uint8_t *out)
{
	struct hull_share_prefetch attr, list = {.type = HULL_SHARE_PREFETCH_LIST, .node = dir->id};
	struct hull_share_prefetch end = {.type = HULL_SHARE_PREFETCH_END, .node = dir->id};
	uint8_t *to = out + sizeof attr + sizeof list;
	size_t n = 0;
	/* Is that all of it? */
	if (syscall(SYS_getdents64, fd, entries + got, FIRST) != 0 || !share_prefetch_directory(r, dir, &attr))
		return 0;
	for (long at = 0; at < got; at += share_reclen(entries + at)) {
		const char *name = (const char *)entries + at + SHARE_DIRENT_NAME;
		uint64_t ino;
		memcpy(&ino, entries + at, sizeof ino);
		memcpy(&end.offset, entries + at + SHARE_DIRENT_OFF, sizeof end.offset);
		uint8_t type = entries[at + SHARE_DIRENT_TYPE];
		if (type == 0 || (type == DT_REG && share_meta_nodes_seen()))
			return 0; /* the type takes a look at each entry */
		n += share_put_dirent(to + n, share_guest_ino(r->sh, dir->key.dev, ino), end.offset, type, name,
				      strlen(name));
		if (n > HULL_SHARE_PREFETCH_LIST_MAX)
			return 0;
	}
	list.name_len = (uint32_t)n;
	memcpy(out, &attr, sizeof attr);
	memcpy(out + sizeof attr, &list, sizeof list);
	memcpy(to + n, &end, sizeof end);
	return (size_t)(to - out) + n + sizeof end;
}

/* The ENTRY of each name in the listing, but of `asked`, at `out`: their length. */
static size_t entry_records(struct share_req *r, struct share_inode *dir, int fd, const uint8_t *entries, long got,
			    const char *asked, uint8_t *out, bool *linked)
{
	size_t n = 0;
	for (long at = 0; at < got; at += share_reclen(entries + at)) {
		const char *name = (const char *)entries + at + SHARE_DIRENT_NAME;
		if (!share_dots(name) && strcmp(name, asked) != 0)
			n += entry_record(r, dir, fd, name, out + n, linked);
	}
	return n;
}

void share_prefetch_siblings(struct share_req *r, struct share_inode *dir, const char *asked)
{
	if (!share_prefetch_may(r, dir) || atomic_load(&r->sh->no_generations))
		return;
	uint32_t before = __atomic_fetch_add(&dir->asked, 1, __ATOMIC_RELAXED);
	if (before != 0 && before != MANY_AT)
		return;
	_cleanup_close_ int fd = share_open_inode(r->sh, dir, O_RDONLY, NULL);
	/* The records grow from the beginning of the room for replies, the listing stands at its end. */
	uint8_t *entries = r->scratch + HULL_SHARE_MAX_WRITE - MANY;
	long got = fd < 0 ? 0 : syscall(SYS_getdents64, fd, entries, before ? MANY : FIRST);
	bool linked = false;
	size_t n = entry_records(r, dir, fd, entries, got, asked, r->scratch, &linked);
	/* Without all attributes, a READDIRPLUS that goes to the server is worth more than a LIST. */
	if (got > 0 && before == 0 && !linked)
		n += list_record(r, dir, fd, entries, got, r->scratch + n);
	if (n > 0 && !share_prefetch_send(r, r->scratch, n))
		forget_all(r, r->scratch, n);
	if (before == 0)
		share_prefetch_walk(r, dir);
}

/* --- a guest that walks a tree --- */

/* The guest looks into `dir` for the first time. Returns the parent (ref'd) of which to prefetch the next *window
 * subdirectories, from offset *at of its listing on; NULL when none are to be prefetched. */
static struct share_inode *walk_begin(struct hull_share *sh, struct share_inode *dir, uint32_t *window, uint64_t *at)
{
	pthread_mutex_lock(&sh->lock);
	struct share_inode *up = dir->visited ? NULL : dir->parent;
	dir->visited = true;
	if (up && (!up->watch || up->walking || up->walked == WALKED_ALL))
		up = NULL;
	if (up) {
		uint32_t next = up->window ? 2 * up->window : up->parent ? up->parent->below : 0;
		*window = up->window && next <= WINDOW_MAX ? next : up->window ? WINDOW_MAX : next;
		up->window = *window ? *window : 1;
		if (up->parent && *window > up->parent->below)
			up->parent->below = *window < WINDOW_FIRST ? *window : WINDOW_FIRST;
		*at = up->walked;
		if (*window == 0)
			up = NULL;
	}
	if (up) {
		up->walking = true;
		up->refs++;
	}
	pthread_mutex_unlock(&sh->lock);
	return up;
}

static void walk_end(struct hull_share *sh, struct share_inode *up, uint64_t at)
{
	pthread_mutex_lock(&sh->lock);
	up->walking = false;
	up->walked = at;
	pthread_mutex_unlock(&sh->lock);
	share_inode_put(sh, up);
}

/* The records of (up, name), a directory that was not visited: its own ENTRY, those of its entries, and its LIST. */
static size_t below_records(struct share_req *r, struct share_inode *up, int fd, const char *name, uint8_t *out)
{
	struct hull_share *sh = r->sh;
	uint8_t entries[2 * FIRST];
	struct share_stat st;
	bool linked = false;
	size_t n = entry_record(r, up, fd, name, out, &linked);
	struct share_inode *dir = share_identify(sh, fd, name, &st) == 0 ? share_inode_find(sh, &st) : NULL;
	if (!dir)
		return n;
	pthread_mutex_lock(&sh->lock);
	bool visited = dir->visited;
	dir->visited = true;
	pthread_mutex_unlock(&sh->lock);
	_cleanup_close_ int in = visited || !share_prefetch_may(r, dir) ? -1
									: share_open_inode(sh, dir, O_RDONLY, NULL);
	long got = in < 0 ? 0 : syscall(SYS_getdents64, in, entries, FIRST);
	n += entry_records(r, dir, in, entries, got, "", out + n, &linked);
	if (got > 0 && !linked)
		n += list_record(r, dir, in, entries, got, out + n);
	share_inode_put(sh, dir);
	return n;
}

void share_prefetch_walk(struct share_req *r, struct share_inode *dir)
{
	struct hull_share *sh = r->sh;
	uint32_t window;
	uint64_t at;
	uint8_t entries[FIRST];
	size_t n = 0;
	if (!share_prefetch_may(r, dir) || atomic_load(&sh->no_generations))
		return;
	struct share_inode *up = walk_begin(sh, dir, &window, &at);
	if (!up)
		return;
	_cleanup_close_ int fd = share_open_inode(sh, up, O_RDONLY, NULL);
	if (fd < 0 || lseek(fd, (off_t)at, SEEK_SET) < 0)
		at = WALKED_ALL;
	for (int part = 0; part < WALK_PARTS && window > 0 && at != WALKED_ALL; part++) {
		long got = syscall(SYS_getdents64, fd, entries, sizeof entries);
		for (long i = 0; i < got && window > 0; i += share_reclen(entries + i)) {
			const char *name = (const char *)entries + i + SHARE_DIRENT_NAME;
			size_t more = 0;
			memcpy(&at, entries + i + SHARE_DIRENT_OFF, sizeof at);
			if (entries[i + SHARE_DIRENT_TYPE] == DT_DIR && !share_dots(name))
				more = below_records(r, up, fd, name, r->scratch + n);
			n += more;
			window = n > WALK_SIZE ? 0 : window - (more > 0);
		}
		if (got <= 0)
			at = WALKED_ALL;
	}
	if (n > 0 && !share_prefetch_send(r, r->scratch, n))
		forget_all(r, r->scratch, n);
	walk_end(sh, up, at);
}

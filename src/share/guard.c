/* SPDX-License-Identifier: Apache-2.0 */
/* Guards: names in a writable share that stay as they are, and what lies below them. A path "a/b/c" makes three: `c` in
 * a/b is read-only from there down (final), `a` and `b` only keep their names, so that nothing else can be put at the
 * path. Of "a/b/c/" all three only keep their names. A directory is known by device and inode, not by its own name,
 * which others may change on the host. When they have put another one at a guarded path (a git checkout does that), its
 * names are guarded from the moment on at which the guest first gets to know it there; the old one's stay guarded too.
 *
 * Guards are only ever added, also while requests run: an entry is written, then counted, and read without a lock.
 * Inodes that the guest knows already are marked when a guard comes, those it meets later when they are entered; both
 * happen under the lock, so none slips between.
 *
 * A name is compared byte by byte. Where the file system finds the same file by a name in another case (vfat, ext4 with
 * casefold), the guest could go round the guard, so there none is made. */
#include "share/guard.h"

#include "base/cleanup.h"
#include "share/server.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { NO_PLACE = UINT32_MAX };

static const struct share_guard *guard_find(const struct hull_share *sh, uint64_t dev, uint64_t ino, const char *name)
{
	size_t n = atomic_load(&sh->guard_count);
	for (size_t i = 0; i < n; i++) {
		const struct share_guard *g = &sh->guards[i];
		if (g->ino == ino && g->dev == dev && !strcmp(g->name, name))
			return g;
	}
	return NULL;
}

int share_guarded(const struct hull_share *sh, const struct share_inode *dir, const char *name)
{
	const struct share_guard *g = guard_find(sh, dir->key.dev, dir->key.ino, name);
	return !g ? 0 : g->final ? -EROFS : -EBUSY;
}

/* Under the lock: known inodes at the guarded name or below it. */
static void guard_mark(struct hull_share *sh, const struct share_guard *g)
{
	for (uint32_t i = 0; i < sh->inodes.used; i++) {
		struct share_inode *ino = sh->inodes.slots[i].p;
		for (const struct share_inode *at = ino; at && at->parent; at = at->parent) {
			if (at->parent->key.ino == g->ino && at->parent->key.dev == g->dev &&
			    !strcmp(at->name, g->name)) {
				atomic_store(&ino->ro, true);
				break;
			}
		}
	}
}

/* Under the lock. place = NO_PLACE: one of its own. */
static int guard_add(struct hull_share *sh, const struct share_key *dir, const char *name, bool final, uint32_t place,
		     uint32_t up)
{
	size_t n = atomic_load(&sh->guard_count);
	struct share_guard *g = (struct share_guard *)(uintptr_t)guard_find(sh, dir->dev, dir->ino, name);
	if (g) {
		g->final |= final; /* as it was, or stricter */
	} else if (n == SHARE_GUARDS_MAX) {
		return -ENOSPC;
	} else {
		g = &sh->guards[n];
		*g = (struct share_guard){.dev = dir->dev,
					  .ino = dir->ino,
					  .name = strdup(name),
					  .final = final,
					  .place = place == NO_PLACE ? (uint32_t)n : place,
					  .up = up};
		if (!g->name)
			return -ENOMEM;
		atomic_store(&sh->guard_count, n + 1);
	}
	if (final)
		guard_mark(sh, g);
	return (int)g->place;
}

bool share_guard_enter(struct hull_share *sh, const struct share_inode *dir, const char *name,
		       const struct share_key *key)
{
	const struct share_guard *g = guard_find(sh, dir->key.dev, dir->key.ino, name);
	if (!g)
		return false;
	bool ro = g->final;
	size_t n = atomic_load(&sh->guard_count);
	for (size_t i = 0; i < n && !ro; i++) {
		const struct share_guard *next = &sh->guards[i];
		if (next->up == g->place && (next->ino != key->ino || next->dev != key->dev) &&
		    guard_add(sh, key, next->name, next->final, next->place, next->up) < 0)
			ro = true; /* no room to be exact */
	}
	return ro;
}

/* Is what is called so in the directory found by the name in another case, too? */
static bool found_in_other_case(int dir, const char *name)
{
	struct share_stat st, other_st;
	char other[NAME_MAX + 1];
	size_t n = strlen(name);
	if (n > NAME_MAX)
		return false;
	for (size_t i = 0; i <= n; i++)
		other[i] = (char)(isascii(name[i]) && isalpha(name[i]) ? name[i] ^ 0x20 : name[i]);
	if (!strcmp(name, other) || share_statx(dir, name, &st) < 0 || share_statx(dir, other, &other_st) < 0)
		return false;
	struct share_key a, b;
	share_key_of(&st, &a);
	share_key_of(&other_st, &b);
	return share_same(&a, &b); /* share_statx() tells no generation */
}

int hull_share_guard(struct hull_share *sh, const char *path, struct hull_error *err)
{
	size_t len = strlen(path);
	bool only_names = len > 0 && path[len - 1] == '/';
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int dir = fcntl(sh->root->fd, F_DUPFD_CLOEXEC, 0);
	if (!copy || dir < 0)
		return hull_fail(err, -ENOMEM, "share: out of memory");
	char *save = NULL;
	uint32_t up = NO_PLACE;
	char *part = strtok_r(copy, "/", &save);
	if (!part)
		return hull_fail(err, -EINVAL, "share: '%s' is no path below the root", path);
	while (part) {
		struct share_stat st;
		struct share_key key;
		char *next = strtok_r(NULL, "/", &save);
		int e = share_statx(dir, "", &st);
		if (e < 0)
			return hull_fail(err, e, "share: cannot read '%s': %s", path, strerror(-e));
		share_key_of(&st, &key);
		if (!strcmp(part, ".") || !strcmp(part, ".."))
			return hull_fail(err, -EINVAL, "share: cannot guard '%s': not a plain path", path);
		if (found_in_other_case(dir, part))
			return hull_fail(err, -ENOTSUP,
					 "share: cannot guard '%s': the same file is found by the name in another "
					 "case, so a sandbox could write there; mount what is around it read-only",
					 path);
		pthread_mutex_lock(&sh->lock);
		e = guard_add(sh, &key, part, !next && !only_names, NO_PLACE, up);
		pthread_mutex_unlock(&sh->lock);
		if (e < 0)
			return hull_fail(err, e, "share: cannot guard '%s': %s", path,
					 e == -ENOSPC ? "too many" : strerror(-e));
		up = (uint32_t)e;
		if (next) {
			int fd = openat(dir, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (fd < 0)
				return hull_fail_errno(err, "share: cannot guard '%s'", path);
			close(dir);
			dir = fd;
		}
		part = next;
	}
	return 0;
}

int share_guards_init(struct hull_share *sh, struct hull_error *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < sh->config.guarded_count; i++)
		r = hull_share_guard(sh, sh->config.guarded[i], err);
	return r;
}

void share_guards_free(struct hull_share *sh)
{
	size_t n = atomic_load(&sh->guard_count);
	for (size_t i = 0; i < n; i++)
		free(sh->guards[i].name);
}

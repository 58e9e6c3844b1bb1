/* SPDX-License-Identifier: Apache-2.0 */
/* The inodes the guest knows, and how to find each again on the host.
 *
 * An inode is kept while the guest remembers it (lookups > 0) or something here uses it (refs > 0). Files have no
 * descriptor of their own: they are reached through their parent's descriptor and last known name, and checked to be
 * the same file (device, number, generation); or through an open handle, which works even when the name is gone.
 * Directories get an O_PATH descriptor when they are first used as one; at most max_dirs stay open, least recently used
 * closed first, and a closed one is found again the same way as a file, from the nearest ancestor that is open.
 *
 * Everything in the tables is guarded by sh->lock; a name is copied out under it before a system call uses it. */
#include "share/inode.h"

#include "base/hash.h"
#include "share/lock.h"
#include "share/meta.h"
#include "share/server.h"
#include "share/watch.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID 0x200
#endif

int share_statx(int fd, const char *name, struct share_stat *st)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
	st->generation = 0;
	if (statx(fd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &st->x) < 0)
		return -errno;
	share_meta_load(fd, name, st);
	return 0;
}

static uint64_t of_handle(int type, const uint8_t *handle, uint32_t len)
{
	return hull_hash(HULL_HASH_START + (uint64_t)(uint32_t)type, handle, len) | 1;
}

/* The file's handle holds its generation; what else it holds does no harm. 0 when there is none. */
static uint64_t generation(int fd, const char *name)
{
	union {
		struct file_handle handle;
		uint8_t room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h;
	static const int try[] = {0, AT_HANDLE_FID};
	for (size_t i = 0; i < sizeof try / sizeof *try; i++) {
		int mount;
		h.handle.handle_bytes = MAX_HANDLE_SZ;
		if (name_to_handle_at(fd, name, &h.handle, &mount, try[i] | (*name ? 0 : AT_EMPTY_PATH)) == 0) {
			uint32_t len = h.handle.handle_bytes;
			return of_handle(h.handle.handle_type, h.handle.f_handle,
					 len < MAX_HANDLE_SZ ? len : MAX_HANDLE_SZ);
		}
		if (errno != EOPNOTSUPP)
			break;
	}
	return 0;
}

int share_identify(struct hull_share *sh, int fd, const char *name, struct share_stat *st)
{
	int e = share_statx(fd, name, st);
	if (e < 0)
		return e;
	/* Should another file take the name between the two calls, the key is nobody's, and its first use ESTALE. */
	st->generation = generation(fd, name);
	if (st->generation == 0) {
		atomic_store(&sh->no_generations, true);
		if (st->x.stx_mask & STATX_BTIME)
			st->generation = ((uint64_t)st->x.stx_btime.tv_sec << 32 | st->x.stx_btime.tv_nsec) ^
					 st->x.stx_ino * 0x9e3779b97f4a7c15u;
	}
	return 0;
}

void share_key_of(const struct share_stat *st, struct share_key *key)
{
	*key = (struct share_key){
		/* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): statx(2) filled it */
		.dev = makedev(st->x.stx_dev_major, st->x.stx_dev_minor),
		.ino = st->x.stx_ino,
		.generation = st->generation,
	};
}

bool share_same(const struct share_key *a, const struct share_key *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->generation == b->generation;
}

static uint32_t bucket_of(const struct hull_share *sh, const struct share_key *key)
{
	uint64_t h = key->generation * 0x9e3779b97f4a7c15u; /* alone: share_inode_of_handle() has nothing else */
	return (uint32_t)(h >> 32) & (sh->bucket_count - 1);
}

static struct share_inode *inode_find_key(struct hull_share *sh, const struct share_key *key)
{
	for (struct share_inode *i = sh->buckets[bucket_of(sh, key)]; i; i = i->next)
		if (share_same(&i->key, key))
			return i;
	return NULL;
}

static void hash_remove(struct hull_share *sh, struct share_inode *ino)
{
	if (!ino->hashed)
		return;
	struct share_inode **at = &sh->buckets[bucket_of(sh, &ino->key)];
	while (*at != ino)
		at = &(*at)->next;
	*at = ino->next;
	ino->hashed = false;
	sh->hashed--;
}

static void hash_add(struct hull_share *sh, struct share_inode *ino)
{
	if (sh->hashed >= sh->bucket_count) {
		uint32_t old_count = sh->bucket_count;
		struct share_inode **old = sh->buckets;
		struct share_inode **grown = calloc((size_t)old_count * 2, sizeof *grown);
		if (grown) { /* else the chains only get longer */
			sh->buckets = grown;
			sh->bucket_count = old_count * 2;
			for (uint32_t b = 0; b < old_count; b++)
				for (struct share_inode *i = old[b], *next; i; i = next) {
					next = i->next;
					struct share_inode **head = &grown[bucket_of(sh, &i->key)];
					i->next = *head;
					*head = i;
				}
			free(old);
		}
	}
	struct share_inode **head = &sh->buckets[bucket_of(sh, &ino->key)];
	ino->next = *head;
	*head = ino;
	ino->hashed = true;
	sh->hashed++;
}

static void lru_remove(struct share_inode *ino)
{
	ino->lru_prev->lru_next = ino->lru_next;
	ino->lru_next->lru_prev = ino->lru_prev;
	ino->lru_prev = ino->lru_next = NULL;
}

static void lru_front(struct hull_share *sh, struct share_inode *ino)
{
	if (ino->lru_next)
		lru_remove(ino);
	ino->lru_next = sh->lru.lru_next;
	ino->lru_prev = &sh->lru;
	ino->lru_next->lru_prev = ino;
	sh->lru.lru_next = ino;
}

int share_inodes_init(struct hull_share *sh, struct hull_error *err)
{
	struct share_stat st;
	sh->lru.lru_next = sh->lru.lru_prev = &sh->lru;
	share_table_init(&sh->inodes, sh->config.max_inodes);
	sh->bucket_count = 1024;
	sh->buckets = calloc(sh->bucket_count, sizeof *sh->buckets);
	struct share_inode *root = calloc(1, sizeof *root);
	sh->root = root;
	if (!sh->buckets || !root)
		return hull_fail(err, -ENOMEM, "share: out of memory");
	root->fd = fcntl(sh->config.root_fd, F_DUPFD_CLOEXEC, 0);
	if (root->fd < 0)
		return hull_fail_errno(err, "share: cannot use the root's descriptor");
	int e = share_identify(sh, root->fd, "", &st);
	if (e < 0)
		return hull_fail(err, e, "share: cannot read the root's attributes: %s", strerror(-e));
	root->type = st.x.stx_mode & S_IFMT;
	if (root->type != S_IFDIR && root->type != S_IFREG)
		return hull_fail(err, -ENOTDIR, "share: only a directory or a regular file can be shared");
	if (root->type == S_IFREG)
		sh->config.readonly = true;
	share_key_of(&st, &root->key);
	sh->root_dev = root->key.dev;
	root->id = FUSE_ROOT_ID;
	root->lookups = root->refs = 1;
	hash_add(sh, root);
	return 0;
}

static void inode_free(struct share_inode *ino)
{
	if (ino->fd >= 0)
		close(ino->fd);
	free(ino->name);
	free(ino);
}

void share_inodes_free(struct hull_share *sh)
{
	for (uint32_t i = 0; i < sh->inodes.used; i++) {
		struct share_inode *ino = sh->inodes.slots[i].p;
		if (!ino)
			continue;
		share_owners_drop(sh, ino);
		share_watch_drop(sh, ino->watch, -1);
		inode_free(ino);
	}
	if (sh->root) {
		share_owners_drop(sh, sh->root);
		share_watch_drop(sh, sh->root->watch, -1);
		inode_free(sh->root);
	}
	share_table_free(&sh->inodes);
	free(sh->buckets);
	free(sh->name_buckets);
}

/* Take ino, and every ancestor that only it kept, out of the tables; returns them chained by `next`. A mark takes a
 * descriptor to be removed, and left alone would stay and keep the host's inode in memory: what has one, and no
 * descriptor, goes to `reap` instead, still in the tables. */
static struct share_inode *detach_unused(struct hull_share *sh, struct share_inode *ino)
{
	struct share_inode *dead = NULL;
	while (ino && ino != sh->root && ino->refs == 0 && ino->lookups == 0) {
		struct share_inode *parent = ino->parent;
		if ((ino->watch || ino->marked) && ino->fd < 0 && !ino->reaping) {
			ino->reaping = true;
			ino->refs++;
			ino->reap_next = sh->reap;
			__atomic_store_n(&sh->reap, ino, __ATOMIC_RELAXED);
			break;
		}
		hash_remove(sh, ino);
		share_byname_remove(sh, ino);
		share_table_remove(&sh->inodes, ino->id);
		if (ino->lru_next) {
			lru_remove(ino);
			sh->dir_fds--;
		}
		share_owners_drop(sh, ino);
		ino->next = dead;
		dead = ino;
		if (parent)
			parent->refs--;
		ino = parent;
	}
	return dead;
}

static int find_again(struct hull_share *sh, struct share_inode *ino, unsigned depth);

/* Open what detach_unused() left in `reap`, so that it can go; returns what has. What the guest has asked for meanwhile
 * stays, and what cannot be found any more goes without: with the directory itself, if it was removed, its mark has. */
static struct share_inode *reap_one(struct hull_share *sh)
{
	pthread_mutex_lock(&sh->lock);
	struct share_inode *ino = sh->reap;
	if (ino)
		__atomic_store_n(&sh->reap, ino->reap_next, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&sh->lock);
	if (!ino)
		return NULL;
	int fd = find_again(sh, ino, 0);
	pthread_mutex_lock(&sh->lock);
	ino->refs--;
	bool unused = ino->refs == 0 && ino->lookups == 0;
	if (unused && ino->fd < 0) {
		ino->fd = fd < 0 ? -1 : fd;
		fd = -1;
	}
	struct share_inode *dead = detach_unused(sh, ino);
	if (!unused)
		ino->reaping = false;
	pthread_mutex_unlock(&sh->lock);
	if (fd >= 0)
		close(fd);
	return dead;
}

static void free_chain(struct hull_share *sh, struct share_inode *dead)
{
	do {
		for (struct share_inode *next; dead; dead = next) {
			next = dead->next;
			share_watch_drop(sh, dead->watch, dead->fd);
			share_unmark(sh, dead);
			inode_free(dead);
		}
		if (__atomic_load_n(&sh->reap, __ATOMIC_RELAXED))
			dead = reap_one(sh);
	} while (dead || __atomic_load_n(&sh->reap, __ATOMIC_RELAXED));
}

static struct share_inode *get_locked(struct hull_share *sh, uint64_t id)
{
	struct share_inode *ino = id == FUSE_ROOT_ID ? sh->root : share_table_get(&sh->inodes, id);
	if (ino)
		ino->refs++;
	return ino;
}

struct share_inode *share_inode_get(struct hull_share *sh, uint64_t id)
{
	pthread_mutex_lock(&sh->lock);
	struct share_inode *ino = get_locked(sh, id);
	pthread_mutex_unlock(&sh->lock);
	if (ino && atomic_load(&ino->adopted) && share_prove(sh, ino) < 0) {
		share_inode_put(sh, ino);
		return NULL;
	}
	return ino;
}

void share_inode_put(struct hull_share *sh, struct share_inode *ino)
{
	if (!ino)
		return;
	pthread_mutex_lock(&sh->lock);
	ino->refs--;
	struct share_inode *dead = detach_unused(sh, ino);
	pthread_mutex_unlock(&sh->lock);
	free_chain(sh, dead);
}

void share_inode_nlookup(struct hull_share *sh, uint64_t id, uint64_t n)
{
	pthread_mutex_lock(&sh->lock);
	struct share_inode *ino = id == FUSE_ROOT_ID ? NULL : share_table_get(&sh->inodes, id);
	if (ino && __builtin_add_overflow(ino->lookups, n, &ino->lookups))
		ino->lookups = UINT64_MAX;
	pthread_mutex_unlock(&sh->lock);
}

void share_inode_forget(struct hull_share *sh, uint64_t id, uint64_t n)
{
	if (id == FUSE_ROOT_ID)
		return;
	pthread_mutex_lock(&sh->lock);
	struct share_inode *ino = share_table_get(&sh->inodes, id);
	struct share_inode *dead = NULL;
	if (ino) {
		ino->lookups -= n < ino->lookups ? n : ino->lookups;
		dead = detach_unused(sh, ino);
	}
	pthread_mutex_unlock(&sh->lock);
	free_chain(sh, dead);
}

/* Under the lock. Returns what is unused now that the old parent lost a child. */
static struct share_inode *move_locked(struct hull_share *sh, struct share_inode *ino, struct share_inode *parent,
				       const char *name)
{
	if (!parent || ino == sh->root || (ino->parent == parent && ino->name && !strcmp(ino->name, name)))
		return NULL;
	/* A directory must not become its own ancestor, however the host and the guest race their renames. */
	for (const struct share_inode *up = parent; up; up = up->parent)
		if (up == ino)
			return NULL;
	char *copy = strdup(name);
	if (!copy)
		return NULL; /* the old place stays; at worst a later use is ESTALE and looks it up again */
	share_byname_remove(sh, ino);
	free(ino->name);
	ino->name = copy;
	struct share_inode *old = ino->parent;
	parent->refs++;
	ino->parent = parent;
	share_byname_add(sh, ino);
	if (!old)
		return NULL;
	old->refs--;
	return detach_unused(sh, old);
}

void share_inode_moved(struct hull_share *sh, struct share_inode *ino, struct share_inode *parent, const char *name)
{
	pthread_mutex_lock(&sh->lock);
	struct share_inode *dead = move_locked(sh, ino, parent, name);
	pthread_mutex_unlock(&sh->lock);
	free_chain(sh, dead);
}

/* A new record, not hashed, unused yet; id 0 = any. NULL when full. Under the lock. */
static struct share_inode *add_locked(struct hull_share *sh, struct share_inode *parent, const char *name, uint64_t id)
{
	struct share_inode *ino = calloc(1, sizeof *ino);
	char *copy = strdup(name);
	if (ino)
		ino->id = !copy ? 0 : id ? share_table_put(&sh->inodes, id, ino) : share_table_add(&sh->inodes, ino);
	if (!ino || ino->id == 0) {
		free(copy);
		free(ino);
		return NULL;
	}
	ino->fd = -1;
	ino->name = copy;
	ino->parent = parent;
	parent->refs++;
	share_byname_add(sh, ino);
	return ino;
}

struct share_inode *share_inode_phantom(struct hull_share *sh, struct share_inode *parent, const char *name,
					uint32_t type)
{
	pthread_mutex_lock(&sh->lock);
	struct share_inode *ino = add_locked(sh, parent, name, 0);
	if (ino) {
		ino->key.dev = UINT64_MAX; /* no file is that one, so nothing is ever found under its name */
		ino->type = type;
		ino->lookups = ino->refs = 1;
	}
	pthread_mutex_unlock(&sh->lock);
	return ino;
}

struct share_inode *share_inode_adopt(struct hull_share *sh, uint64_t id, struct share_inode *parent, const char *name,
				      const struct share_key *key, uint32_t type)
{
	struct share_inode *ino = inode_find_key(sh, key) ? NULL : add_locked(sh, parent, name, id);
	if (!ino)
		return NULL;
	ino->key = *key;
	ino->type = type;
	atomic_store(&ino->adopted, true);
	hash_add(sh, ino);
	return ino;
}

struct share_inode *share_inode_enter(struct hull_share *sh, struct share_inode *parent, const char *name,
				      const struct share_stat *st)
{
	struct share_key key;
	struct share_inode *dead = NULL;
	share_key_of(st, &key);
	pthread_mutex_lock(&sh->lock);
	bool ro = share_guard_enter(sh, parent, name, &key) || parent->ro;
	struct share_inode *ino = inode_find_key(sh, &key);
	if (ino && ino->type != (st->x.stx_mode & S_IFMT)) {
		hash_remove(sh, ino); /* the number was reused, on a file system that tells no generations */
		ino = NULL;
	}
	if (ino) {
		dead = move_locked(sh, ino, parent, name);
		atomic_store(&ino->adopted, false); /* it is what it was said to be */
	} else {
		ino = add_locked(sh, parent, name, 0);
		if (!ino) {
			pthread_mutex_unlock(&sh->lock);
			return NULL;
		}
		ino->key = key;
		ino->type = st->x.stx_mode & S_IFMT;
		hash_add(sh, ino);
	}
	if (ro)
		atomic_store(&ino->ro, true);
	if (ino != sh->root)
		ino->lookups++;
	ino->refs++;
	pthread_mutex_unlock(&sh->lock);
	free_chain(sh, dead);
	return ino;
}

void share_inode_gone(struct hull_share *sh, struct share_inode *ino)
{
	pthread_mutex_lock(&sh->lock);
	hash_remove(sh, ino);
	pthread_mutex_unlock(&sh->lock);
}

struct share_inode *share_inode_find(struct hull_share *sh, const struct share_stat *st)
{
	struct share_key key;
	share_key_of(st, &key);
	pthread_mutex_lock(&sh->lock);
	struct share_inode *ino = inode_find_key(sh, &key);
	if (ino)
		ino->refs++;
	pthread_mutex_unlock(&sh->lock);
	return ino;
}

size_t share_inode_of_handle(struct hull_share *sh, int type, const uint8_t *handle, uint32_t len,
			     struct share_inode **out, size_t max)
{
	struct share_key key = {.generation = of_handle(type, handle, len)};
	size_t n = 0;
	pthread_mutex_lock(&sh->lock);
	for (struct share_inode *i = sh->buckets[bucket_of(sh, &key)]; i && n < max; i = i->next)
		if (i->key.generation == key.generation) {
			i->refs++;
			out[n++] = i;
		}
	pthread_mutex_unlock(&sh->lock);
	return n;
}

/* Under the lock: close directories beyond the limit. Closing an O_PATH descriptor does not wait. */
static void evict(struct hull_share *sh)
{
	struct share_inode *i = sh->lru.lru_prev;
	while (sh->dir_fds > sh->config.max_dirs && i != &sh->lru) {
		struct share_inode *older = i->lru_prev;
		if (i->pins == 0) {
			lru_remove(i);
			close(i->fd);
			i->fd = -1;
			sh->dir_fds--;
		}
		i = older;
	}
}

static int pin_at_depth(struct hull_share *sh, struct share_inode *ino, unsigned depth);

/* An O_PATH descriptor of ino, found by parent and name; -ESTALE when something else is there now. */
static int find_again(struct hull_share *sh, struct share_inode *ino, unsigned depth)
{
	char name[NAME_MAX + 1];
	if (depth > SHARE_DEPTH_MAX)
		return -ENAMETOOLONG;
	pthread_mutex_lock(&sh->lock);
	struct share_inode *parent = ino->parent;
	if (parent && ino->name) {
		parent->refs++;
		strncpy(name, ino->name, sizeof name);
		name[NAME_MAX] = '\0';
	}
	pthread_mutex_unlock(&sh->lock);
	if (!parent)
		return -ESTALE;
	int dir = pin_at_depth(sh, parent, depth + 1);
	int fd = dir;
	if (dir >= 0) {
		struct share_stat st;
		struct share_key key;
		fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		int e = fd < 0 ? -errno : share_identify(sh, fd, "", &st);
		share_unpin(sh, parent);
		if (e == 0) {
			share_key_of(&st, &key);
			e = share_same(&key, &ino->key) ? 0 : -ESTALE;
		}
		if (e < 0) {
			if (fd >= 0)
				close(fd);
			fd = e == -ENOENT || e == -ENOTDIR ? -ESTALE : e;
		}
	}
	share_inode_put(sh, parent);
	return fd;
}

static int pin_at_depth(struct hull_share *sh, struct share_inode *ino, unsigned depth)
{
	int fd = -1;
	pthread_mutex_lock(&sh->lock);
	if (ino->fd >= 0) {
		fd = ino->fd;
		ino->pins++;
		if (ino != sh->root)
			lru_front(sh, ino);
	}
	pthread_mutex_unlock(&sh->lock);
	if (fd >= 0)
		return fd;
	fd = find_again(sh, ino, depth);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&sh->lock);
	int spare = -1;
	if (ino->fd >= 0) {
		spare = fd;
	} else {
		ino->fd = fd;
		sh->dir_fds++;
	}
	fd = ino->fd;
	ino->pins++;
	if (ino != sh->root)
		lru_front(sh, ino);
	evict(sh);
	pthread_mutex_unlock(&sh->lock);
	if (spare >= 0)
		close(spare);
	return fd;
}

int share_pin(struct hull_share *sh, struct share_inode *ino)
{
	return pin_at_depth(sh, ino, 0);
}

void share_unpin(struct hull_share *sh, struct share_inode *ino)
{
	pthread_mutex_lock(&sh->lock);
	ino->pins--;
	pthread_mutex_unlock(&sh->lock);
}

/* Not `exact`: may give (parent, name), where what is found is to be verified. */
static int aim(struct hull_share *sh, struct share_inode *ino, struct share_at *at, bool exact)
{
	*at = (struct share_at){.fd = -1, .own = -1};
	pthread_mutex_lock(&sh->lock);
	bool by_fd = ino->fd >= 0 || ino->type == S_IFDIR;
	if (!by_fd && ino->handles) {
		at->handle = ino->handles;
		at->handle->refs++;
		at->fd = at->handle->fd;
	}
	pthread_mutex_unlock(&sh->lock);
	if (at->handle)
		return 0;
	if (by_fd) {
		at->fd = share_pin(sh, ino);
		if (at->fd < 0)
			return at->fd;
		at->pinned = ino;
		ino = NULL;
	} else if (exact) {
		at->fd = at->own = find_again(sh, ino, 0);
		if (at->fd < 0)
			return at->fd;
		ino = NULL;
	} else {
		pthread_mutex_lock(&sh->lock);
		struct share_inode *parent = ino->parent;
		if (parent) {
			strncpy(at->name, ino->name, sizeof at->name);
			at->name[NAME_MAX] = '\0';
			parent->refs++;
		}
		pthread_mutex_unlock(&sh->lock);
		if (!parent)
			return -ESTALE;
		at->fd = share_pin(sh, parent);
		if (at->fd < 0) {
			share_inode_put(sh, parent);
			return at->fd;
		}
		at->pinned = parent;
		return 0;
	}
	if (at->pinned) {
		pthread_mutex_lock(&sh->lock);
		at->pinned->refs++; /* as in the branch above, for one way to put */
		pthread_mutex_unlock(&sh->lock);
	}
	return 0;
}

int share_aim_exact(struct hull_share *sh, struct share_inode *ino, struct share_at *at)
{
	return aim(sh, ino, at, true);
}

void share_at_put(struct hull_share *sh, struct share_at *at)
{
	if (at->pinned) {
		share_unpin(sh, at->pinned);
		share_inode_put(sh, at->pinned);
	}
	if (at->handle)
		share_handle_put(sh, at->handle);
	if (at->own >= 0)
		close(at->own);
	*at = (struct share_at){.fd = -1, .own = -1};
}

/* What the tables hold and what the host shows under that name must be the same file. */
static int verify(const struct share_inode *ino, const struct share_stat *st)
{
	struct share_key key;
	share_key_of(st, &key);
	return share_same(&key, &ino->key) ? 0 : -ESTALE;
}

int share_stat_inode(struct hull_share *sh, struct share_inode *ino, struct share_stat *st)
{
	struct share_at at;
	int e = aim(sh, ino, &at, false);
	if (e == 0)
		e = at.name[0] ? share_identify(sh, at.fd, at.name, st) : share_statx(at.fd, "", st);
	if (e == 0 && at.name[0])
		e = verify(ino, st);
	else if (e == -ENOENT && at.name[0])
		e = -ESTALE; /* the guest's idea of the name is old: have it look again */
	share_at_put(sh, &at);
	return e;
}

static int inode_reopen(struct hull_share *sh, int fd, int flags)
{
	char name[16];
	snprintf(name, sizeof name, "%d", fd);
	int r = openat(sh->proc_fd, name, (flags & ~O_NOFOLLOW) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return r < 0 ? -errno : r;
}

int share_open_inode(struct hull_share *sh, struct share_inode *ino, int flags, struct share_stat *st)
{
	struct share_at at;
	struct share_stat mine;
	int fd;
	if (ino->type != S_IFREG && ino->type != S_IFDIR)
		return -EPERM; /* the guest's kernel serves fifos, sockets and devices itself */
	int e = aim(sh, ino, &at, false);
	if (e < 0)
		return e;
	if (at.name[0])
		fd = openat(at.fd, at.name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	else if (ino->type == S_IFDIR)
		fd = openat(at.fd, ".", flags | O_DIRECTORY | O_CLOEXEC);
	else
		fd = inode_reopen(sh, at.fd, flags);
	if (fd == -1)
		fd = -errno;
	if (at.name[0] && (fd == -ENOENT || fd == -ELOOP || fd == -ENXIO))
		fd = -ESTALE;
	if (fd >= 0 && (at.name[0] || st)) {
		e = at.name[0] ? share_identify(sh, fd, "", &mine) : share_statx(fd, "", &mine);
		if (e == 0 && at.name[0])
			e = verify(ino, &mine);
		if (e < 0) {
			close(fd);
			fd = e;
		} else if (st) {
			*st = mine;
		}
	}
	share_at_put(sh, &at);
	return fd;
}

uint32_t share_each_inode(struct hull_share *sh, uint32_t at, uint32_t max,
			  void (*fn)(void *ctx, struct share_inode *ino), void *ctx)
{
	if (at == 0)
		fn(ctx, sh->root);
	for (; max > 0; at++, max--) {
		pthread_mutex_lock(&sh->lock);
		bool more = at < sh->inodes.used;
		struct share_inode *ino = more ? sh->inodes.slots[at].p : NULL;
		if (ino)
			ino->refs++;
		pthread_mutex_unlock(&sh->lock);
		if (!more)
			return 0;
		if (ino) {
			fn(ctx, ino);
			share_inode_put(sh, ino);
		}
	}
	return at;
}

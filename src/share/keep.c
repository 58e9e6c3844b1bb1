/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest knows, handed from one server of a directory to the next: a machine that was saved and is restored has
 * node ids in its memory (working directories, watches) which the new server has to know. The old one writes down its
 * table; the new one takes it over.
 *
 *     "HULLNODE", u32 version, u32 count, the root: u64 dev, ino, generation, u8 watched; then for each node, all
 *     little-endian, a directory before what is in it:
 *     u64 id, u64 parent's id, u64 dev, ino, generation, u64 lookups, u32 type (S_IFMT), u8 watched, u8 length, name
 *
 * What is read may be old, damaged or made by somebody hostile, and is taken for a guess: a node can be used only once
 * it has been found at its name in its parent, that one too, up from the root, each the very file (device, number,
 * generation) of the type that is said (share_prove). Names are single components and never followed, so nothing in the
 * table leads out of the root; guards are applied when a node is proved, as to one that is looked up. What cannot be
 * proved is ESTALE, upon which the guest looks it up again. Ids and lookups are the guest's own affair: wrong ones
 * mislead nobody but it.
 *
 * Directories that were watched get their marks again from the watching thread, before it tells the guest that all may
 * have changed, which is what happens first when the guest is connected. */
#include "share/inode.h"

#include "base/cleanup.h"
#include "share/entries.h"
#include "share/server.h"
#include "share/watch.h"

#include <string.h>

enum { VERSION = 1, RECORD = 6 * 8 + 4 + 2 };
static const char MAGIC[8] = {'H', 'U', 'L', 'L', 'N', 'O', 'D', 'E'};

/* --- writing --- */

static bool keep_watched(const struct share_inode *ino)
{
	return ino->watch || ino->marked || atomic_load(&ino->rewatch);
}

static int put_key(struct hull_buf *out, const struct share_key *key)
{
	int r = hull_buf_le64(out, key->dev);
	if (r == 0)
		r = hull_buf_le64(out, key->ino);
	return r < 0 ? r : hull_buf_le64(out, key->generation);
}

static int put_node(struct hull_buf *out, const struct share_inode *ino)
{
	size_t len = strlen(ino->name);
	const uint8_t tail[2] = {keep_watched(ino), (uint8_t)len};
	int r = hull_buf_le64(out, ino->id);
	if (r == 0)
		r = hull_buf_le64(out, ino->parent->id);
	if (r == 0)
		r = put_key(out, &ino->key);
	if (r == 0)
		r = hull_buf_le64(out, ino->lookups);
	if (r == 0)
		r = hull_buf_le32(out, ino->type);
	if (r == 0)
		r = hull_buf_add(out, tail, sizeof tail);
	return r < 0 ? r : hull_buf_add(out, ino->name, len);
}

/* Can it be found again at all? */
static bool keepable(const struct share_inode *ino)
{
	return ino->parent && ino->name && ino->hashed && ino->key.dev != UINT64_MAX && strlen(ino->name) <= NAME_MAX;
}

/* ino and what of its ancestors is not written yet, the topmost first. Under the lock. */
static int put_chain(struct hull_share *sh, struct hull_buf *out, const struct share_inode *ino, uint8_t *done,
		     uint32_t *count)
{
	const struct share_inode *chain[SHARE_DEPTH_MAX];
	size_t n = 0;
	for (; ino != sh->root && !done[(uint32_t)ino->id - 1]; ino = ino->parent) {
		if (n == SHARE_DEPTH_MAX || !keepable(ino))
			return 0;
		chain[n++] = ino;
	}
	while (n-- > 0) {
		if (out->len + RECORD + NAME_MAX > HULL_SHARE_NODES_MAX)
			return 0;
		int r = put_node(out, chain[n]);
		if (r < 0)
			return r;
		done[(uint32_t)chain[n]->id - 1] = 1;
		++*count;
	}
	return 0;
}

int hull_share_keep(struct hull_share *sh, struct hull_buf *out)
{
	_cleanup_(hull_buf_free) struct hull_buf nodes = {0};
	_cleanup_free_ uint8_t *done = NULL;
	uint32_t count = 0;
	int r = 0;
	pthread_mutex_lock(&sh->lock);
	done = calloc((size_t)sh->inodes.used + 1, 1);
	if (!done)
		r = -ENOMEM;
	for (uint32_t i = 0; r == 0 && i < sh->inodes.used; i++) {
		const struct share_inode *ino = sh->inodes.slots[i].p;
		if (ino && ino->lookups > 0)
			r = put_chain(sh, &nodes, ino, done, &count);
	}
	uint8_t root_watched = keep_watched(sh->root);
	pthread_mutex_unlock(&sh->lock);
	if (r == 0)
		r = hull_buf_add(out, MAGIC, sizeof MAGIC);
	if (r == 0)
		r = hull_buf_le32(out, VERSION);
	if (r == 0)
		r = hull_buf_le32(out, count);
	if (r == 0)
		r = put_key(out, &sh->root->key);
	if (r == 0)
		r = hull_buf_add(out, &root_watched, 1);
	return r < 0 || nodes.len == 0 ? r : hull_buf_add(out, hull_buf_bytes(&nodes), nodes.len);
}

/* --- reading --- */

static struct share_key get_key(struct hull_cur *in)
{
	struct share_key key;
	key.dev = hull_cur_le64(in);
	key.ino = hull_cur_le64(in);
	key.generation = hull_cur_le64(in);
	return key;
}

static bool is_type(uint32_t type)
{
	return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFIFO || type == S_IFSOCK ||
	       type == S_IFCHR || type == S_IFBLK;
}

/* Under the lock. False when it is none that was written here. */
static bool get_node(struct hull_share *sh, struct hull_cur *in, const struct share_key *old_root)
{
	char name[NAME_MAX + 1] = "";
	uint64_t id = hull_cur_le64(in), up = hull_cur_le64(in);
	struct share_key key = get_key(in);
	uint64_t lookups = hull_cur_le64(in);
	uint32_t type = hull_cur_le32(in);
	bool watch = hull_cur_u8(in) != 0;
	size_t len = hull_cur_u8(in);
	const uint8_t *p = hull_cur_take(in, len);
	struct share_inode *parent = up == FUSE_ROOT_ID ? sh->root : share_table_get(&sh->inodes, up);
	if (in->bad || !p || id == 0 || len == 0 || memchr(p, '\0', len) || memchr(p, '/', len) || !is_type(type) ||
	    !parent || parent->type != S_IFDIR || key.dev == UINT64_MAX)
		return false;
	memcpy(name, p, len);
	if (share_dots(name))
		return false;
	/* The number of a device may be another one after the host has booted. */
	if (key.dev == old_root->dev)
		key.dev = sh->root_dev;
	struct share_inode *ino = share_inode_adopt(sh, id, parent, name, &key, type);
	if (!ino)
		return false;
	ino->lookups = lookups;
	atomic_store(&ino->rewatch, watch);
	return true;
}

static void drop_all(struct hull_share *sh)
{
	for (uint32_t i = 0; i < sh->inodes.used; i++) {
		const struct share_inode *ino = sh->inodes.slots[i].p;
		if (ino)
			share_inode_forget(sh, ino->id, UINT64_MAX);
	}
}

int hull_share_adopt(struct hull_share *sh, const void *p, size_t n, struct hull_error *err)
{
	struct hull_cur in = hull_cur_make(p, n);
	const uint8_t *magic = hull_cur_take(&in, sizeof MAGIC);
	uint32_t version = hull_cur_le32(&in), count = hull_cur_le32(&in);
	struct share_key root = get_key(&in);
	bool watch = hull_cur_u8(&in) != 0;
	if (in.bad || !magic || memcmp(magic, MAGIC, sizeof MAGIC) != 0)
		return hull_fail(err, -EBADMSG, "share: the table of the server before is damaged");
	/* Another directory is there, or another version wrote it: the guest has to look everything up again. */
	if (version != VERSION || root.ino != sh->root->key.ino || root.generation != sh->root->key.generation)
		return 0;
	bool good = true;
	pthread_mutex_lock(&sh->lock);
	for (uint32_t i = 0; good && i < count; i++)
		good = get_node(sh, &in, &root);
	share_table_adopted(&sh->inodes);
	pthread_mutex_unlock(&sh->lock);
	if (!good || hull_cur_left(&in) > 0) {
		drop_all(sh);
		return hull_fail(err, -EBADMSG, "share: the table of the server before is damaged");
	}
	atomic_store(&sh->root->rewatch, watch);
	atomic_store(&sh->adopted, true);
	return 0;
}

/* --- using --- */

static int prove_one(struct hull_share *sh, struct share_inode *ino)
{
	struct share_stat st;
	int e = share_stat_inode(sh, ino, &st); /* -ESTALE when another file has the name */
	if (e < 0)
		return e;
	if ((st.x.stx_mode & S_IFMT) != ino->type)
		return -ESTALE;
	pthread_mutex_lock(&sh->lock);
	if (share_guard_enter(sh, ino->parent, ino->name, &ino->key) || atomic_load(&ino->parent->ro))
		atomic_store(&ino->ro, true);
	atomic_store(&ino->adopted, false);
	pthread_mutex_unlock(&sh->lock);
	return 0;
}

int share_prove(struct hull_share *sh, struct share_inode *ino)
{
	for (;;) {
		unsigned depth = 0;
		pthread_mutex_lock(&sh->lock);
		struct share_inode *top = ino;
		while (top->parent && atomic_load(&top->parent->adopted) && depth++ < SHARE_DEPTH_MAX)
			top = top->parent;
		top->refs++;
		pthread_mutex_unlock(&sh->lock);
		int e = depth > SHARE_DEPTH_MAX ? -ESTALE : atomic_load(&top->adopted) ? prove_one(sh, top) : 0;
		bool last = top == ino;
		share_inode_put(sh, top);
		if (e < 0 || last)
			return e;
	}
}

void share_watch_again(struct hull_share *sh, struct share_inode *ino)
{
	char name[NAME_MAX + 1] = "";
	struct share_stat st;
	if (!atomic_exchange(&ino->rewatch, false) || share_prove(sh, ino) < 0)
		return;
	struct share_inode *dir = ino;
	pthread_mutex_lock(&sh->lock);
	if (ino->type != S_IFDIR && ino->parent) {
		dir = ino->parent;
		strncpy(name, ino->name, NAME_MAX);
	}
	dir->refs++;
	pthread_mutex_unlock(&sh->lock);
	int fd = share_pin(sh, dir);
	if (fd >= 0 && dir == ino)
		share_watch_dir(sh, ino, fd);
	else if (fd >= 0)
		share_mark(sh, ino, fd, name, &st);
	if (fd >= 0)
		share_unpin(sh, dir);
	share_inode_put(sh, dir);
}

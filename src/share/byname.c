/* SPDX-License-Identifier: Apache-2.0 */
/* Index of inodes by the name under which the guest knows them: events of the host name a directory and an entry.
 *
 * Several inodes may have the same name here: the host replaced a file, and the guest still has the old one open. The
 * index is a hash table under sh->lock. Its key is the directory's inode, not a path, so renaming a directory changes
 * nothing.
 */
#include "share/inode.h"

#include "base/hash.h"
#include "share/server.h"

#include <string.h>

enum { FIRST_COUNT = 1024 };

static struct share_inode **bucket(struct share_inode **buckets, uint32_t count, const struct share_inode *dir,
				   const char *name)
{
	uint64_t h = hull_hash(dir->id * 0x9e3779b97f4a7c15u, name, strlen(name));
	return &buckets[(h >> 24) & (count - 1)];
}

static void byname_grow(struct hull_share *sh)
{
	uint32_t count = sh->name_buckets ? 2 * sh->name_bucket_count : FIRST_COUNT;
	struct share_inode **grown = calloc(count, sizeof *grown);
	if (!grown)
		return; /* the chains only get longer */
	for (uint32_t b = 0; sh->name_buckets && b < sh->name_bucket_count; b++)
		for (struct share_inode *i = sh->name_buckets[b], *next; i; i = next) {
			next = i->name_next;
			struct share_inode **head = bucket(grown, count, i->parent, i->name);
			i->name_next = *head;
			*head = i;
		}
	free(sh->name_buckets);
	sh->name_buckets = grown;
	sh->name_bucket_count = count;
}

void share_byname_add(struct hull_share *sh, struct share_inode *ino)
{
	if (!sh->name_buckets || sh->named >= sh->name_bucket_count)
		byname_grow(sh);
	if (!sh->name_buckets || !ino->parent)
		return;
	struct share_inode **head = bucket(sh->name_buckets, sh->name_bucket_count, ino->parent, ino->name);
	ino->name_next = *head;
	*head = ino;
	ino->named = true;
	sh->named++;
}

void share_byname_remove(struct hull_share *sh, struct share_inode *ino)
{
	if (!ino->named)
		return;
	struct share_inode **at = bucket(sh->name_buckets, sh->name_bucket_count, ino->parent, ino->name);
	while (*at != ino)
		at = &(*at)->name_next;
	*at = ino->name_next;
	ino->named = false;
	sh->named--;
}

size_t share_byname(struct hull_share *sh, const struct share_inode *dir, const char *name, struct share_inode **out,
		    size_t max)
{
	size_t n = 0;
	pthread_mutex_lock(&sh->lock);
	struct share_inode *i = NULL;
	if (sh->name_buckets)
		i = *bucket(sh->name_buckets, sh->name_bucket_count, dir, name);
	for (; i && n < max; i = i->name_next)
		if (i->parent == dir && !strcmp(i->name, name)) {
			i->refs++;
			out[n++] = i;
		}
	pthread_mutex_unlock(&sh->lock);
	return n;
}

bool share_path(struct hull_share *sh, struct share_inode *dir, const char *name, char *out, size_t cap)
{
	size_t at = cap - 1;
	bool fits = true;
	out[at] = '\0';
	pthread_mutex_lock(&sh->lock);
	const char *part = name;
	for (const struct share_inode *i = dir;; i = i->parent) {
		size_t n = strlen(part);
		if (n > 0) {
			fits = at > n + 1;
			if (!fits)
				break;
			if (out[at])
				out[--at] = '/';
			at -= n;
			memcpy(out + at, part, n);
		}
		if (!i->parent) {
			fits = i == sh->root;
			break;
		}
		part = i->name;
	}
	pthread_mutex_unlock(&sh->lock);
	if (fits)
		memmove(out, out + at, cap - at);
	return fits;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Open files and directories of the guest, and directories that it reads without opening them (dir.c). A handle lives
 * until the guest releases it and nothing uses it; each one also keeps its inode reachable after its last name is gone.
 * Guarded by sh->lock. */
#include "share/handle.h"

#include "share/server.h"

#include <string.h>

struct share_handle *share_handle_new(struct hull_share *sh, struct share_inode *ino, int fd, bool writable,
				      bool directory)
{
	struct share_handle *h = calloc(1, sizeof *h);
	if (h) {
		h->fd = fd;
		h->refs = 1;
		h->writable = writable;
		h->directory = directory;
		h->inode = ino;
		pthread_mutex_init(&h->dir, NULL);
		pthread_mutex_lock(&sh->lock);
		h->id = share_table_add(&sh->handles, h);
		if (h->id) {
			ino->refs++;
			if (!directory) {
				h->next = ino->handles;
				ino->handles = h;
			}
		}
		pthread_mutex_unlock(&sh->lock);
		if (h->id)
			return h;
		pthread_mutex_destroy(&h->dir);
	}
	free(h);
	close(fd);
	return NULL;
}

struct share_handle *share_handle_get(struct hull_share *sh, uint64_t id)
{
	pthread_mutex_lock(&sh->lock);
	struct share_handle *h = share_table_get(&sh->handles, id);
	if (h)
		h->refs++;
	pthread_mutex_unlock(&sh->lock);
	return h;
}

static void handle_free(struct share_handle *h)
{
	close(h->fd);
	pthread_mutex_destroy(&h->dir);
	free(h->entries);
	free(h);
}

/* Under the lock; true when h is out of its inode's list and to be freed. */
static bool put_locked(struct share_handle *h)
{
	if (--h->refs > 0)
		return false;
	if (!h->directory) {
		struct share_handle **at = &h->inode->handles;
		while (*at != h)
			at = &(*at)->next;
		*at = h->next;
	}
	return true;
}

void share_handle_put(struct hull_share *sh, struct share_handle *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&sh->lock);
	bool dead = put_locked(h);
	pthread_mutex_unlock(&sh->lock);
	if (!dead)
		return;
	share_inode_put(sh, h->inode);
	handle_free(h);
}

void share_handle_drop(struct hull_share *sh, uint64_t id)
{
	pthread_mutex_lock(&sh->lock);
	struct share_handle *h = share_table_get(&sh->handles, id);
	bool dead = false;
	if (h) {
		share_table_remove(&sh->handles, id);
		dead = put_locked(h);
	}
	pthread_mutex_unlock(&sh->lock);
	if (!dead)
		return;
	share_inode_put(sh, h->inode);
	handle_free(h);
}

/* --- directories read without having been opened --- */

struct share_handle *share_stream_new(struct hull_share *sh, struct share_inode *dir, int fd)
{
	struct share_handle *h = calloc(1, sizeof *h);
	if (!h) {
		close(fd);
		return NULL;
	}
	h->fd = fd;
	h->refs = 1;
	h->directory = true;
	h->inode = dir;
	pthread_mutex_init(&h->dir, NULL);
	pthread_mutex_lock(&sh->lock);
	dir->refs++;
	pthread_mutex_unlock(&sh->lock);
	return h;
}

void share_stream_end(struct hull_share *sh, struct share_handle *h)
{
	if (!h)
		return;
	share_inode_put(sh, h->inode);
	handle_free(h);
}

struct share_handle *share_stream_take(struct hull_share *sh, const struct share_inode *dir, uint64_t offset)
{
	pthread_mutex_lock(&sh->lock);
	struct share_handle **at = &sh->streams;
	while (*at && ((*at)->inode != dir || (*at)->offset != offset))
		at = &(*at)->next;
	struct share_handle *h = *at;
	if (h)
		*at = h->next;
	pthread_mutex_unlock(&sh->lock);
	return h;
}

void share_stream_keep(struct hull_share *sh, struct share_handle *h)
{
	struct share_handle *oldest = NULL;
	unsigned n = 1;
	pthread_mutex_lock(&sh->lock);
	h->next = sh->streams;
	sh->streams = h;
	for (struct share_handle *at = h; at->next; at = at->next)
		if (++n > SHARE_STREAMS_MAX) {
			oldest = at->next;
			at->next = NULL;
			break;
		}
	pthread_mutex_unlock(&sh->lock);
	share_stream_end(sh, oldest);
}

void share_handles_free(struct hull_share *sh)
{
	while (sh->streams) {
		struct share_handle *h = sh->streams;
		sh->streams = h->next;
		share_stream_end(sh, h);
	}
	for (uint32_t i = 0; i < sh->handles.used; i++) {
		struct share_handle *h = sh->handles.slots[i].p;
		if (h)
			share_handle_drop(sh, h->id);
	}
	share_table_free(&sh->handles);
}

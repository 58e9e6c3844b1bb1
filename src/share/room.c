/* SPDX-License-Identifier: Apache-2.0 */
/* Room on the host's disk: what the guest writes may not take the last of it.
 *
 * As much stays free as `keep_free` says, of itself the floor of base/space.h, and as many inodes as that. What would
 * go below fails with ENOSPC: writing, allocating, copying, making names, attributes. Removing and shortening always
 * work, and a hole takes nothing. Bytes count as the blocks that they may lie in: one byte in each takes them all.
 *
 * Asking the file system before each write would cost a call, so one answer serves for a while: for a second, and for a
 * quarter of what was free above the limit, 64 MiB at most. Others who write to the same disk meanwhile, a second
 * server of the same sandbox among them, can take it below the limit by about as much. What cannot be asked is not
 * limited. */
#include "share/room.h"

#include "base/space.h"
#include "share/server.h"

#include <sys/statfs.h>
#include <time.h>

enum { NAME_COST = 4096, BLOCK = 4096, LEFT_MAX = 64 * 1024 * 1024, HOLDS_NSEC = 1000 * 1000 * 1000 };

static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t n;
	return __builtin_mul_overflow(a, b, &n) ? UINT64_MAX : n;
}

static uint64_t block_size(const struct statfs *fs)
{
	return fs->f_frsize > 0 ? (uint64_t)fs->f_frsize : (uint64_t)fs->f_bsize;
}

/* What stays free, in bytes. */
static uint64_t floor_of(const struct hull_share *sh, const struct statfs *fs)
{
	return sh->config.keep_free ? sh->config.keep_free
				    : hull_space_floor_bytes(times(fs->f_blocks, block_size(fs)));
}

static uint64_t above(uint64_t n, uint64_t limit)
{
	return n > limit ? n - limit : 0;
}

void share_room_shown(const struct hull_share *sh, struct statfs *fs)
{
	if (sh->config.no_floor || fs->f_blocks == 0 || block_size(fs) == 0)
		return;
	uint64_t blocks = floor_of(sh, fs) / block_size(fs);
	fs->f_bavail = above(fs->f_bavail, blocks);
	fs->f_bfree = above(fs->f_bfree, blocks);
	if (fs->f_files)
		fs->f_ffree = above(fs->f_ffree, hull_space_floor_files(fs->f_files));
}

static uint64_t now_nsec(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * HOLDS_NSEC + (uint64_t)ts.tv_nsec;
}

int share_room(struct hull_share *sh, const struct share_inode *ino, int fd, uint64_t bytes)
{
	struct share_room *room = &sh->room;
	struct statfs fs;
	bool name = bytes == SHARE_ROOM_NAME;
	bytes = name ? NAME_COST : (bytes / BLOCK + 2) * BLOCK;
	if (sh->config.no_floor)
		return 0;
	uint64_t now = now_nsec();
	pthread_mutex_lock(&room->lock);
	bool known = room->dev == ino->key.dev && now < room->until && room->left >= bytes;
	if (known)
		room->left -= bytes;
	pthread_mutex_unlock(&room->lock);
	if (known || fstatfs(fd, &fs) < 0 || fs.f_blocks == 0 || block_size(&fs) == 0)
		return 0;
	uint64_t left = above(times(fs.f_bavail, block_size(&fs)), floor_of(sh, &fs));
	if (fs.f_files) {
		uint64_t names = times(above(fs.f_ffree, hull_space_floor_files(fs.f_files)), NAME_COST);
		if (name && names < bytes)
			return -ENOSPC;
		left = left > bytes && left - bytes > names ? bytes + names : left;
	}
	if (left < bytes)
		return -ENOSPC;
	left = (left - bytes) / 4;
	pthread_mutex_lock(&room->lock);
	room->dev = ino->key.dev;
	room->left = left < LEFT_MAX ? left : LEFT_MAX;
	room->until = now + HOLDS_NSEC;
	pthread_mutex_unlock(&room->lock);
	return 0;
}

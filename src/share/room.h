/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the host's file system the guest may fill; see room.c. */
#ifndef HULL_SHARE_ROOM_H
#define HULL_SHARE_ROOM_H

#include <pthread.h>
#include <stdint.h>

struct hull_share;
struct share_inode;
struct statfs;

/* How much may be written before the file system is asked again (room.c). */
struct share_room {
	pthread_mutex_t lock;
	uint64_t dev, left, until;
};

/* May the guest have `bytes` more, or a new name, on the file system of ino, of which fd is any descriptor? 0 or
 * -ENOSPC. */
#define SHARE_ROOM_NAME UINT64_MAX
int share_room(struct hull_share *sh, const struct share_inode *ino, int fd, uint64_t bytes);
/* What of it the guest is shown. */
void share_room_shown(const struct hull_share *sh, struct statfs *fs);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* fcntl and flock locks, and those that wait; see lock.c. */
#ifndef HULL_SHARE_LOCK_H
#define HULL_SHARE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct hull_share;
struct share_inode;

void share_owners_drop(struct hull_share *sh, struct share_inode *ino); /* under lock, inode going away */
void share_owner_flush(struct hull_share *sh, struct share_inode *ino, uint64_t owner);
void share_owner_release(struct hull_share *sh, struct share_inode *ino, uint64_t fh);
bool share_waits_interrupt(struct hull_share *sh, uint64_t unique);
void share_waits_init(struct hull_share *sh);
void share_waits_stop(struct hull_share *sh);

#endif

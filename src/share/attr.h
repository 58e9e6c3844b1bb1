/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest is told of a file: attributes and entries, and for how long it may keep them. */
#ifndef HULL_SHARE_ATTR_H
#define HULL_SHARE_ATTR_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>

struct hull_share;
struct share_inode;
struct share_req;
struct share_stat;

/* --- attr.c --- */
void share_fill_attr(struct hull_share *sh, const struct share_stat *st, struct fuse_attr *out);
/* How long the guest may keep the attributes of ino, and names in dir. */
void share_attr_valid(struct hull_share *sh, struct share_inode *ino, const struct share_stat *st, uint64_t *sec,
		      uint32_t *nsec);
void share_entry_valid(struct hull_share *sh, const struct share_inode *dir, uint64_t *sec, uint32_t *nsec);
bool share_is_ro(const struct hull_share *sh, const struct share_inode *ino);
uint64_t share_guest_ino(const struct hull_share *sh, uint64_t dev, uint64_t ino);

/* --- names.c --- */
/* Enter (parent, name): its entry. Shared by all that make or find names. */
int share_fill_entry(struct share_req *r, struct share_inode *parent, const char *name, const struct share_stat *st,
		     struct fuse_entry_out *out);

/* --- file.c --- */
/* The guest has, or is about to have, the content of this ctime. Was it that already? */
bool share_content_known(struct hull_share *sh, struct share_inode *ino, const struct share_stat *st);

#endif

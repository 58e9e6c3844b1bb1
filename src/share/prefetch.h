/* SPDX-License-Identifier: Apache-2.0 */
/* Prefetching: answers that are sent to the relay before they are asked for (prefetch.c, prefetch_dir.c).
 *
 * An operation calls the function that fits before it replies to its request `r`. Each sends the records that it can,
 * and none when prefetching is off. Those that say so use r->scratch. */
#ifndef HULL_SHARE_PREFETCH_H
#define HULL_SHARE_PREFETCH_H

#include "share/relay.h"

#include <stddef.h>

struct share_handle;
struct share_inode;
struct share_req;
struct share_stat;

/* LOOKUP of `asked` in dir: the other entries. Uses r->scratch. */
void share_prefetch_siblings(struct share_req *r, struct share_inode *dir, const char *asked);
/* The guest looks into dir: directories beside it. Uses r->scratch. */
void share_prefetch_walk(struct share_req *r, struct share_inode *dir);
/* The attributes of a directory. */
void share_prefetch_attr(struct share_req *r, struct share_inode *dir);
/* Names changed in these two directories (the second may be NULL), and these two inodes got or lost one (either may be
 * NULL). */
void share_prefetch_names(struct share_req *r, struct share_inode *const dirs[2], struct share_inode *const inodes[2]);
/* The file, open at fd, was written; was read as a whole. */
void share_prefetch_written(struct share_req *r, struct share_inode *file, int fd);
void share_prefetch_read(struct share_req *r, struct share_inode *file, int fd);
/* The directory `entry` was made with this name. Uses r->scratch. */
void share_prefetch_made(struct share_req *r, struct share_inode *dir, const char *name,
			 const struct fuse_entry_out *entry);
/* LOOKUP of a name that the guest knows. */
void share_prefetch_known(struct share_req *r, struct share_inode *dir, const char *name, const struct share_stat *st);
/* The file was opened for reading; `fresh`: the guest's page cache lacks some of its content. Uses r->scratch. */
void share_prefetch_opened(struct share_req *r, struct share_inode *file, const struct share_handle *h,
			   const struct share_stat *st, bool fresh);
/* The file was opened, and a FLUSH of it has nothing to report. */
void share_prefetch_flush(struct share_req *r, const struct share_inode *file);
/* READDIR of dir ended at this offset. */
void share_prefetch_end(struct share_req *r, struct share_inode *dir, uint64_t offset);

/* --- what the two files share --- */
/* May anything in dir be prefetched? */
bool share_prefetch_may(const struct share_req *r, const struct share_inode *dir);
/* Send n bytes of records; false when something changed on the host, so that they are void. */
bool share_prefetch_send(struct share_req *r, const void *p, size_t n);
/* Write a record with its name to `out`: the length. */
size_t share_prefetch_named(struct hull_share_prefetch *a, const char *name, uint8_t *out);
/* The ATTR of a directory; false when it must not be cached. */
bool share_prefetch_directory(struct share_req *r, struct share_inode *dir, struct hull_share_prefetch *out);

#endif

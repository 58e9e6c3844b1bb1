/* Prefetching: answers sent to the relay before they are asked for (prefetch.c, prefetch_dir.c). Each function is called
 * by an operation before the reply to its request `r`, and sends what the guest is likely to ask next. */
#ifndef HULL_SHARE_PREFETCH_H
#define HULL_SHARE_PREFETCH_H

#include "share/relay.h"

#include <stddef.h>

struct share_handle;
struct share_inode;
struct share_req;
struct share_stat;

void share_prefetch_siblings(struct share_req *r, struct share_inode *dir, const char *asked); /* uses r->scratch */
void share_prefetch_walk(struct share_req *r, struct share_inode *dir); /* it is looked into; uses r->scratch */
/* May anything in dir be sent ahead? Send n bytes of records; false when they do not hold any more. Put a record's name
 * behind it, at `out`: how many bytes. The attributes of a directory; false when they may not be kept. */
bool share_prefetch_may(const struct share_req *r, const struct share_inode *dir);
bool share_prefetch_send(struct share_req *r, const void *p, size_t n);
size_t share_prefetch_named(struct hull_share_prefetch *a, const char *name, uint8_t *out);
bool share_prefetch_directory(struct share_req *r, struct share_inode *dir, struct hull_share_prefetch *out);
void share_prefetch_attr(struct share_req *r, struct share_inode *dir);
/* Names changed in these two directories (the second may be NULL), and these two inodes got or lost one (either may be
 * NULL). */
void share_prefetch_names(struct share_req *r, struct share_inode *const dirs[2], struct share_inode *const inodes[2]);
void share_prefetch_written(struct share_req *r, struct share_inode *file, int fd); /* open at fd */
void share_prefetch_read(struct share_req *r, struct share_inode *file, int fd);    /* as a whole */
/* The directory `entry` was just made under that name. */
void share_prefetch_made(struct share_req *r, struct share_inode *dir, const char *name,
			 const struct fuse_entry_out *entry);
/* The guest asks for a name again that it knows already. */
void share_prefetch_known(struct share_req *r, struct share_inode *dir, const char *name, const struct share_stat *st);
/* It was opened for reading; `fresh`: the guest has not all of its content yet. Uses r->scratch. */
void share_prefetch_opened(struct share_req *r, struct share_inode *file, const struct share_handle *h,
			   const struct share_stat *st, bool fresh);
/* Closing it never fails. */
void share_prefetch_flush(struct share_req *r, const struct share_inode *file);
void share_prefetch_end(struct share_req *r, struct share_inode *dir, uint64_t offset);

#endif

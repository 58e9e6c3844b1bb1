/* SPDX-License-Identifier: Apache-2.0 */
/* What a file is in the guest beyond what the host's user can make it: owner, group, set-id and sticky bits,
 * permissions that would keep the server itself out, and fifos, sockets and device nodes. It is kept in an extended
 * attribute of the host's file, and in the guest replaces what the host shows.
 *
 * A file without the attribute shows as the host has it (attr.c), and what the guest does to a file is kept in the
 * attribute only if the host's own mode and owner cannot say it: an ordinary file of the guest's user has none.
 * A file with one has a mode on the host that lets its owner read and write (and search, a directory), so that the
 * server can do for root in the guest what root may do. On the host nothing comes of it: set-id bits are never made,
 * and a fifo, a socket or a device is an empty regular file. The guest mounts with nosuid and nodev.
 *
 * Whoever may write to the host's file can set the attribute; it is parsed as hostile, and says nothing about what the
 * server may do: the host decides that. A host mode that is no longer the recorded one was changed on the host since;
 * then the host's permissions are shown, with the recorded owner and type.
 *
 * A symlink can have no attribute; its owner is kept in its time of access (meta_link.c). */
#ifndef HULL_SHARE_META_H
#define HULL_SHARE_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARE_META_PREFIX "user.hull." /* the guest sees none of these, and sets none */
#define SHARE_META_NAME   SHARE_META_PREFIX "stat"
enum { SHARE_META_SIZE = 24, SHARE_META_HOST_BITS = 01777 };

struct share_meta {
	uint32_t mode; /* type and permission bits, as the guest sees them */
	uint32_t host; /* SHARE_META_HOST_BITS of the host's mode when this was recorded */
	uint32_t uid, gid;
	uint32_t rdev; /* of a device node, as FUSE has it */
};

/* --- meta.c: the record --- */
/* False when it is not one that share_meta_format can have made. */
bool share_meta_parse(const void *p, size_t n, struct share_meta *out);
void share_meta_format(const struct share_meta *m, uint8_t out[SHARE_META_SIZE]);

/* --- meta_file.c: beside a file --- */
struct hull_share;
struct share_inode;
struct share_req;
struct share_stat;
/* After statx(2) of (fd, name), or of fd when name is "": look for the record and, with one, make `st` what the guest
 * is to see. */
void share_meta_load(int fd, const char *name, struct share_stat *st);
/* Has a fifo, a socket or a device been seen that is a regular file on the host? */
bool share_meta_nodes_seen(void);
/* What the guest sees of st. */
void share_meta_view(const struct hull_share *sh, const struct share_stat *st, struct share_meta *out);
/* Make the file at fd (O_PATH will do), which st describes, look like `want`, whose type it has already.
 * Where the host's file system keeps no such attributes: as far as the host's mode goes, and 0. */
int share_meta_change(struct hull_share *sh, int fd, const struct share_stat *st, const struct share_meta *want);
/* Clear the set-id bits that a write takes away. `ino` is open at fd. */
int share_meta_kill_setid(struct hull_share *sh, const struct share_inode *ino, int fd);

/* Who owns what the request makes in `dir`, pinned at fd, with this mode: into *want. True when that is what the host
 * shows of a new file anyway. */
bool share_meta_new(struct share_req *r, const struct share_inode *dir, int fd, uint32_t mode, struct share_meta *want);
/* Make `name` in the directory at fd as `want` says: a regular file (descriptor, opened with `flags`), or anything else
 * but a symlink (0). -errno. */
int share_meta_create(struct hull_share *sh, int fd, const char *name, int flags, const struct share_meta *want);
int share_meta_make(struct hull_share *sh, int fd, const char *name, const struct share_meta *want);

/* --- meta_link.c: the owner of a symlink --- */
/* What a time of access says, false when it is just a time. */
bool share_meta_link_parse(int64_t sec, uint64_t nsec, uint32_t *uid, uint32_t *gid);
void share_meta_link_load(struct share_stat *st);
/* share_meta_change for the symlink at fd, which without a record is as `plain` says. 0 where it cannot be kept. */
int share_meta_link_change(int fd, const struct share_stat *st, const struct share_meta *plain,
			   const struct share_meta *want);
/* The guest sets this time of access of the symlink at fd: leave it out if it would make or unmake an owner. */
struct timespec;
void share_meta_link_atime(int fd, struct timespec *atime);
/* Make a symlink of that owner. */
int share_meta_symlink(struct hull_share *sh, int fd, const char *name, const char *target,
		       const struct share_meta *want);

/* The host refused (`error` is -EACCES) what root in the guest asks for, because of the mode of a file of the server's
 * own: let the server have it, and record the mode for the guest. True when it is worth trying again. */
bool share_meta_ease(struct share_req *r, struct share_inode *ino, int fd, int error);
/* The same for (fd, name), a directory that is to be moved. */
bool share_meta_ease_named(struct share_req *r, int fd, const char *name, int error);
/* share_open_inode for what the request asks; eases. */
int share_open_for(struct share_req *r, struct share_inode *ino, int flags, struct share_stat *st);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes: user.* only, on files and directories (nothing else can have them). All other namespaces mean
 * something to a kernel, and what the guest's kernel would make of them is not for the host to store. */
#include "share/server.h"

#include "base/cleanup.h"
#include "share/attr.h"
#include "share/meta.h"

#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>

static bool xattr_may_have(const struct share_inode *ino)
{
	return ino->type == S_IFREG || ino->type == S_IFDIR;
}

/* A name among the arguments (it may hold '/', unlike a file's); NULL when there is none. */
static const char *xattr_name(struct share_req *r)
{
	size_t left = hull_cur_left(&r->in);
	const char *name = (const char *)r->in.p;
	const char *end = left ? memchr(name, '\0', left) : NULL;
	if (!end || end - name > XATTR_NAME_MAX)
		return NULL;
	hull_cur_take(&r->in, (size_t)(end - name) + 1);
	return name;
}

static bool is_user(const char *name)
{
	return !strncmp(name, "user.", 5) && name[5];
}

/* The server's own (meta.h): for the guest there is none of that name, and it makes none. */
static bool is_ours(const char *name)
{
	return !strncmp(name, SHARE_META_PREFIX, sizeof SHARE_META_PREFIX - 1);
}

static void reply_value(struct share_req *r, ssize_t n, uint32_t size)
{
	struct fuse_getxattr_out out = {.size = n < 0 ? 0 : (uint32_t)n};
	if (n < 0)
		share_reply(r, (int)n, NULL, 0);
	else if (size == 0)
		share_reply(r, 0, &out, sizeof out);
	else if ((size_t)n > size)
		share_reply(r, -ERANGE, NULL, 0);
	else
		share_reply(r, 0, r->scratch, (size_t)n);
}

void share_op_getxattr(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_getxattr_in *in = share_args(r, sizeof *in);
	const char *name = in ? xattr_name(r) : NULL;
	if (!name)
		return share_reply(r, -EINVAL, NULL, 0);
	if (!is_user(name) || is_ours(name) || !xattr_may_have(ino))
		return share_reply(r, is_user(name) ? -ENODATA : -EOPNOTSUPP, NULL, 0);
	_cleanup_close_ int fd = share_open_for(r, ino, O_RDONLY, NULL);
	ssize_t n = fd < 0 ? fd : fgetxattr(fd, name, r->scratch, XATTR_SIZE_MAX);
	reply_value(r, fd >= 0 && n < 0 ? -errno : n, in->size);
}

void share_op_listxattr(struct share_req *r, struct share_inode *ino)
{
	const struct fuse_getxattr_in *in = share_args(r, sizeof *in);
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	if (!xattr_may_have(ino))
		return reply_value(r, 0, in->size);
	_cleanup_close_ int fd = share_open_for(r, ino, O_RDONLY, NULL);
	char *list = (char *)r->scratch + XATTR_LIST_MAX;
	ssize_t n = fd < 0 ? fd : flistxattr(fd, list, XATTR_LIST_MAX);
	if (fd >= 0 && n < 0)
		n = -errno;
	size_t kept = 0;
	for (ssize_t at = 0; at < n;) {
		size_t len = strnlen(list + at, (size_t)(n - at)) + 1;
		if (is_user(list + at) && !is_ours(list + at)) {
			memcpy(r->scratch + kept, list + at, len);
			kept += len;
		}
		at += (ssize_t)len;
	}
	reply_value(r, n < 0 ? n : (ssize_t)kept, in->size);
}

void share_op_setxattr(struct share_req *r, struct share_inode *ino)
{
	/* Kernels before 7.33 send only size and flags. */
	const struct fuse_setxattr_in *in = share_args(r,
						       r->sh->old_setxattr ? FUSE_COMPAT_SETXATTR_IN_SIZE : sizeof *in);
	const char *name = in ? xattr_name(r) : NULL;
	if (!name || in->size != hull_cur_left(&r->in) || in->size > XATTR_SIZE_MAX)
		return share_reply(r, in && in->size > XATTR_SIZE_MAX ? -E2BIG : -EINVAL, NULL, 0);
	if (!is_user(name))
		return share_reply(r, -EOPNOTSUPP, NULL, 0);
	if (is_ours(name) || !xattr_may_have(ino))
		return share_reply(r, -EPERM, NULL, 0);
	if (share_is_ro(r->sh, ino))
		return share_reply(r, -EROFS, NULL, 0);
	_cleanup_close_ int fd = share_open_for(r, ino, O_RDONLY, NULL);
	int e = fd < 0 ? fd : share_room(r->sh, ino, fd, in->size);
	if (e == 0 && fsetxattr(fd, name, r->in.p, in->size, (int)(in->flags & 3)) < 0)
		e = -errno;
	if (fd >= 0 && share_meta_ease(r, ino, fd, e))
		e = fsetxattr(fd, name, r->in.p, in->size, (int)(in->flags & 3)) < 0 ? -errno : 0;
	share_reply(r, e, NULL, 0);
}

void share_op_removexattr(struct share_req *r, struct share_inode *ino)
{
	const char *name = xattr_name(r);
	if (!name)
		return share_reply(r, -EINVAL, NULL, 0);
	if (is_ours(name))
		return share_reply(r, -ENODATA, NULL, 0);
	if (!is_user(name) || !xattr_may_have(ino))
		return share_reply(r, is_user(name) ? -EPERM : -EOPNOTSUPP, NULL, 0);
	if (share_is_ro(r->sh, ino))
		return share_reply(r, -EROFS, NULL, 0);
	_cleanup_close_ int fd = share_open_for(r, ino, O_RDONLY, NULL);
	int e = fd < 0 ? fd : fremovexattr(fd, name) < 0 ? -errno : 0;
	if (fd >= 0 && share_meta_ease(r, ino, fd, e))
		e = fremovexattr(fd, name) < 0 ? -errno : 0;
	share_reply(r, e, NULL, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The jail's root directory: a tmpfs on jail->dir that holds the binds asked for, a few device nodes, and nothing
 * else, read-only in the end.
 *
 * The sources are cloned first, as detached mounts, and attached after the tmpfs is there: so a bind that contains
 * jail->dir does not contain the new root too. Every bind is made nosuid and nodev, and read-only unless asked
 * otherwise, with all mounts below it, before anything can see it.
 *
 * Device nodes: real root makes its own, owned by the id the child will run as, because the host's /dev/kvm may be
 * closed to that id. Elsewhere the host's nodes are bound. */
#include "jail/jail_internal.h"

#include "base/cleanup.h"
#include "base/path.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

enum { BINDS_MAX = 40 };

/* b->fd itself will not do: it belongs to the mount namespace of the parent, of which nothing can be cloned here. So
 * the path is gone again, and has to lead to the same thing. */
int hull_jail_open_source(const struct hull_bind *b, struct hull_error *err)
{
	struct stat want, got;
	_cleanup_close_ int fd = b->fd > 0 ? hull_path_open(AT_FDCWD, b->source, O_PATH, false)
					   : open(b->source, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return hull_fail_errno(err, "jail: cannot open %s", b->source);
	if (b->fd > 0) {
		if (fstat(b->fd, &want) < 0 || fstat(fd, &got) < 0)
			return hull_fail_errno(err, "jail: stat %s", b->source);
		if (want.st_dev != got.st_dev || want.st_ino != got.st_ino)
			return hull_fail(err, -ESTALE, "jail: %s was replaced after it was checked", b->source);
	}
	return hull_steal_fd(&fd);
}

/* A source, cloned and locked down, not attached anywhere yet. */
static int clone_bind(const struct hull_bind *b, int *fd, struct hull_error *err)
{
	_cleanup_close_ int source = hull_jail_open_source(b, err);
	*fd = -1;
	if (source < 0)
		return b->optional && (source == -ENOENT || source == -ENOTDIR || source == -EACCES) ? 0 : source;
	*fd = open_tree(source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH);
	if (*fd < 0)
		return hull_fail_errno(err, "jail: cannot bind %s", b->source);
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, .propagation = MS_PRIVATE};
	if (!b->writable)
		attr.attr_set |= MOUNT_ATTR_RDONLY;
	if (mount_setattr(*fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return hull_fail_errno(err, "jail: cannot restrict the mount of %s", b->source);
	return 0;
}

/* mkdir -p of everything in front of the last slash, or of all of it. */
static int make_dirs(const char *path, bool whole, struct hull_error *err)
{
	char copy[PATH_MAX];
	if ((size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy))
		return hull_fail(err, -ENAMETOOLONG, "jail: path too long: %s", path);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return hull_fail_errno(err, "jail: mkdir %s", copy);
		*p = '/';
	}
	if (whole && mkdir(copy, 0755) < 0 && errno != EEXIST)
		return hull_fail_errno(err, "jail: mkdir %s", copy);
	return 0;
}

static int attach_bind(const char *root, const struct hull_bind *b, int tree, struct hull_error *err)
{
	char at[PATH_MAX];
	struct stat st;
	if ((size_t)snprintf(at, sizeof(at), "%s%s", root, b->target) >= sizeof(at))
		return hull_fail(err, -ENAMETOOLONG, "jail: path too long: %s", b->target);
	if (fstat(tree, &st) < 0)
		return hull_fail_errno(err, "jail: stat %s", b->source);
	int r = make_dirs(at, S_ISDIR(st.st_mode), err);
	if (r < 0)
		return r;
	if (!S_ISDIR(st.st_mode) && mknod(at, S_IFREG | 0444, 0) < 0 && errno != EEXIST)
		return hull_fail_errno(err, "jail: make %s", b->target);
	if (move_mount(tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return hull_fail_errno(err, "jail: cannot mount %s on %s", b->source, b->target);
	return 0;
}

static int make_device(const char *root, const char *name, const struct hull_jail *jail, bool own,
		       struct hull_error *err)
{
	char at[PATH_MAX], host[64];
	struct stat st;
	snprintf(host, sizeof(host), "/dev/%s", name);
	if ((size_t)snprintf(at, sizeof(at), "%s%s", root, host) >= sizeof(at))
		return hull_fail(err, -ENAMETOOLONG, "jail: path too long: %s", root);
	if (stat(host, &st) < 0 || !S_ISCHR(st.st_mode))
		return hull_fail(err, -ENODEV, "jail: the host has no %s", host);
	if (own && mknod(at, S_IFCHR | 0600, st.st_rdev) == 0) {
		/* A node of our own is worth nothing where devices cannot be opened (a container's root). */
		_cleanup_close_ int fd = open(at, O_RDWR | O_CLOEXEC);
		if (fd >= 0) {
			if (fchmodat(AT_FDCWD, at, 0600, 0) < 0 || chown(at, jail->drop_uid, jail->drop_gid) < 0)
				return hull_fail_errno(err, "jail: owner of %s", host);
			return 0;
		}
	}
	if (mknod(at, S_IFREG | 0444, 0) < 0 && errno != EEXIST)
		return hull_fail_errno(err, "jail: make %s", host);
	if (mount(host, at, NULL, MS_BIND, NULL) < 0)
		return hull_fail_errno(err, "jail: cannot bind %s", host);
	return 0;
}

static int make_devices(const char *root, const struct hull_jail *jail, bool own, struct hull_error *err)
{
	static const char *const names[] = {"null", "zero", "random", "urandom"};
	char dev[PATH_MAX];
	if ((size_t)snprintf(dev, sizeof(dev), "%s/dev", root) >= sizeof(dev))
		return hull_fail(err, -ENAMETOOLONG, "jail: path too long: %s", root);
	if (mkdir(dev, 0755) < 0 && errno != EEXIST)
		return hull_fail_errno(err, "jail: mkdir /dev");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int r = make_device(root, names[i], jail, own, err);
		if (r < 0)
			return r;
	}
	return jail->need_kvm ? make_device(root, "kvm", jail, own, err) : 0;
}

/* A /proc of the jail's own pid namespace. The kernel refuses it where the host's is partly covered (containers):
 * then there is none. */
static void make_proc(const char *root, bool readonly)
{
	char at[PATH_MAX];
	if ((size_t)snprintf(at, sizeof(at), "%s/proc", root) >= sizeof(at) || mkdir(at, 0555) < 0)
		return;
	/* Settings of the kernel belong to uid 0, capabilities or not. */
	unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | (readonly ? MS_RDONLY : 0);
	if (mount("proc", at, "proc", flags, "hidepid=2,subset=pid") < 0)
		mount("proc", at, "proc", flags, NULL);
}

static int change_root(const char *root, struct hull_error *err)
{
	if (chdir(root) < 0)
		return hull_fail_errno(err, "jail: chdir %s", root);
	/* The old root ends up mounted over the new one, and is then taken away: no directory for it is needed. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return hull_fail_errno(err, "jail: pivot_root to %s", root);
	if (umount2(".", MNT_DETACH) < 0)
		return hull_fail_errno(err, "jail: unmounting the host's root");
	if (chdir("/") < 0)
		return hull_fail_errno(err, "jail: chdir /");
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC};
	if (mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof(attr)) < 0)
		return hull_fail_errno(err, "jail: making the root read-only");
	return 0;
}

int hull_jail_make_root(const struct hull_jail *jail, bool root, struct hull_error *err)
{
	int trees[BINDS_MAX];
	if (jail->bind_count > BINDS_MAX)
		return hull_fail(err, -E2BIG, "jail: more than %d binds", BINDS_MAX);
	/* Nothing mounted from here on is seen outside, nor the other way round. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return hull_fail_errno(err, "jail: making the mounts private");
	/* The descriptors are closed with all others before the child runs, or by its exit. */
	for (size_t i = 0; i < jail->bind_count; i++) {
		int r = clone_bind(&jail->binds[i], &trees[i], err);
		if (r < 0)
			return r;
	}
	mode_t mask = umask(0);
	if (mount("hull-jail", jail->dir, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=256k,nr_inodes=256") < 0)
		return hull_fail_errno(err, "jail: mounting a tmpfs on %s", jail->dir);
	for (size_t i = 0; i < jail->bind_count; i++) {
		if (trees[i] < 0)
			continue;
		int r = attach_bind(jail->dir, &jail->binds[i], trees[i], err);
		if (r < 0)
			return r;
	}
	int r = make_devices(jail->dir, jail, root, err);
	if (r < 0)
		return r;
	if (jail->need_proc)
		make_proc(jail->dir, jail->drop_to_root);
	umask(mask);
	if (sethostname("hull", 4) < 0)
		return hull_fail_errno(err, "jail: sethostname");
	return change_root(jail->dir, err);
}

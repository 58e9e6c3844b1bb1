/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the host's file systems tell of every change to them.
 *
 * A mark of fanotify's can be set on nearly any file system (on NFS, FUSE, 9p and CIFS since Linux 6.8). An event is
 * raised by the kernel that makes the change, so on a file system that others can change too (a server's, a daemon's)
 * some changes raise none here. Only those listed are trusted, all of which one kernel writes alone; what is not in
 * the list is revalidated as a directory that cannot be watched. The same ones report a write that fails at once, and
 * not at the close. */
#include "share/watch.h"

#include "share/server.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#ifndef F2FS_SUPER_MAGIC
#define F2FS_SUPER_MAGIC 0xF2F52010
#endif
enum { ZFS_MAGIC = 0x2FC12FC1, BCACHEFS_MAGIC = (int)0xCA451A4E };

/* By its magic number (statfs). */
static bool fs_local(uint32_t magic)
{
	switch (magic) {
	case EXT4_SUPER_MAGIC: /* ext2 and ext3 too */
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case TMPFS_MAGIC:
	case F2FS_SUPER_MAGIC:
	case (uint32_t)ZFS_MAGIC:
	case (uint32_t)BCACHEFS_MAGIC:
	case OVERLAYFS_SUPER_MAGIC: /* its layers are not to be changed by themselves: overlayfs forbids it */
		return true;
	default:
		return false;
	}
}

bool share_fs_reports(const struct hull_share *sh, int fd)
{
	struct statfs fs;
	if (sh->config.fs_magic)
		return fs_local(sh->config.fs_magic);
	return fstatfs(fd, &fs) == 0 && fs_local((uint32_t)fs.f_type);
}

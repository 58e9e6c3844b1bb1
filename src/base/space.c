/* SPDX-License-Identifier: Apache-2.0 */
/* See space.h. Based on f_bavail, the blocks available to this user, for root too. */
#include "base/space.h"

#include "base/text.h"

#include <sys/statvfs.h>

int hull_space_check(int fd, uint64_t bytes, uint64_t files, struct hull_error *err)
{
	struct statvfs fs;
	char need[16], is[16], keep[16];
	if (fstatvfs(fd, &fs) < 0)
		return hull_fail_errno(err, "cannot determine the free space");
	uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
	uint64_t least = hull_space_floor_bytes((uint64_t)fs.f_blocks * fs.f_frsize);
	if (left < least || left - least < bytes)
		return hull_fail(err, -ENOSPC, "%s is needed, %s is free, and %s of that is kept free; make room",
				 hull_format_size(bytes, need, sizeof(need)), hull_format_size(left, is, sizeof(is)),
				 hull_format_size(least, keep, sizeof(keep)));
	/* btrfs and others report no inode count. */
	uint64_t nodes = hull_space_floor_files(fs.f_files);
	if (fs.f_files && (fs.f_favail < nodes || fs.f_favail - nodes < files))
		return hull_fail(err, -ENOSPC, "the file system has too few inodes left; make room");
	return 0;
}

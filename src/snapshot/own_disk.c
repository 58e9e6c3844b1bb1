/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox's own copy of a disk. The copy is made in a scratch directory next to the disk and renamed into place when
 * it is complete. The next start sweeps unfinished copies. */
#include "snapshot/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int hull_disk_source(const struct hull_paths *p, const struct hull_sandbox *s, struct hull_error *err)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot snap = {0};
	_cleanup_free_ char *dir = hull_fmt("%s/%s", p->home, s->restore);
	int r = dir ? hull_snapshot_load(dir, &snap, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	if (!hull_streq(snap.digest, s->restore_id))
		return hull_fail(err, -ENOENT, "%s has been replaced", s->restore);
	return hull_snapshot_open(dir, &snap, HULL_SNAPSHOT_DISK, NULL, err);
}

int hull_disk_new(const char *home, struct hull_scratch *scratch, struct hull_error *err)
{
	int r = hull_saved_scratch(home, scratch, err);
	if (r < 0)
		return r;
	int fd = openat(scratch->fd, "disk.img", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? hull_fail_errno(err, "cannot make a disk in %s", scratch->path) : fd;
}

int hull_disk_clone(int from, uint64_t size, const char *home, struct hull_scratch *scratch, struct hull_error *err)
{
	_cleanup_close_ int to = hull_disk_new(home, scratch, err);
	int r = to < 0 ? to : hull_clone_file(from, to, err);
	if (r < 0)
		return r;
	return ftruncate(to, (off_t)size) < 0 || fsync(to) < 0
		       ? hull_fail_errno(err, "cannot write a disk in %s", scratch->path)
		       : 0;
}

int hull_disk_place(const struct hull_scratch *scratch, const char *home, struct hull_error *err)
{
	_cleanup_free_ char *to = hull_fmt("%s/disk.img", home);
	if (!to || renameat(scratch->fd, "disk.img", AT_FDCWD, to) < 0)
		return hull_fail_errno(err, "cannot put the disk in its place in %s", home);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The owner of a symlink (meta.h). Linux lets nobody but root put an attribute on a symlink, so its owner in the guest
 * is kept in the one thing of it that a user can write and that nobody needs: its time of access. Seconds from
 * LINK_EPOCH (the year 2242) on are the owner, nanoseconds the group. That belongs to the inode as an attribute would:
 * it goes with every rename, hard link and removal, whoever makes them, and no other symlink has it by accident.
 *
 * Reading a symlink leaves a time of access in the future alone (relatime, noatime); with strictatime, and where the
 * file system cannot hold the time, the symlink is the guest's user's. The guest sees the time of modification instead,
 * and cannot set a time of access that means an owner. What is found is hostile, as any record is; here every value
 * that is in range is one, and says no more than who is shown as the owner. */
#include "share/meta.h"

#include "base/cleanup.h"
#include "share/server.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static const int64_t LINK_EPOCH = INT64_C(1) << 33; /* ext4 ends at 2^34 - 2^31, XFS with large times later */
enum { NSEC_PER_SEC = 1000 * 1000 * 1000 };

bool share_meta_link_parse(int64_t sec, uint64_t nsec, uint32_t *uid, uint32_t *gid)
{
	if (sec < LINK_EPOCH || sec >= LINK_EPOCH + UINT32_MAX || nsec >= NSEC_PER_SEC)
		return false;
	*uid = (uint32_t)(sec - LINK_EPOCH);
	*gid = (uint32_t)nsec;
	return true;
}

void share_meta_link_load(struct share_stat *st)
{
	struct share_meta *m = &st->meta;
	*m = (struct share_meta){.mode = st->x.stx_mode};
	st->recorded = share_meta_link_parse(st->x.stx_atime.tv_sec, st->x.stx_atime.tv_nsec, &m->uid, &m->gid);
	if (st->recorded)
		st->x.stx_atime = st->x.stx_mtime;
}

static int set_atime(int fd, struct timespec atime)
{
	const struct timespec ts[2] = {atime, {.tv_nsec = UTIME_OMIT}};
	return utimensat(fd, "", ts, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int share_meta_link_change(int fd, const struct share_stat *st, const struct share_meta *plain,
			   const struct share_meta *want)
{
	const struct timespec now = {.tv_nsec = UTIME_NOW};
	struct share_stat made;
	if (want->uid == plain->uid && want->gid == plain->gid)
		return st->recorded ? set_atime(fd, now) : 0;
	if (want->uid == UINT32_MAX || want->gid >= NSEC_PER_SEC)
		return st->recorded ? set_atime(fd, now) : 0;
	int e = set_atime(fd, (struct timespec){.tv_sec = LINK_EPOCH + want->uid, .tv_nsec = want->gid});
	if (e == 0)
		e = share_statx(fd, "", &made);
	/* A file system that has rounded it would show an owner that nobody gave. */
	if (e == 0 && (!made.recorded || made.meta.uid != want->uid || made.meta.gid != want->gid))
		e = set_atime(fd, now);
	return e;
}

void share_meta_link_atime(int fd, struct timespec *atime)
{
	struct share_stat st;
	uint32_t uid, gid;
	bool means_one = share_meta_link_parse(atime->tv_sec, (uint64_t)atime->tv_nsec, &uid, &gid);
	if (means_one || (share_statx(fd, "", &st) == 0 && st.recorded))
		atime->tv_nsec = UTIME_OMIT;
}

int share_meta_symlink(struct hull_share *sh, int fd, const char *name, const char *target,
		       const struct share_meta *want)
{
	struct share_stat st;
	if (symlinkat(target, fd, name) < 0)
		return -errno;
	/* What the host has put there since is not ours to change. */
	_cleanup_close_ int file = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (file >= 0 && share_statx(file, "", &st) == 0 && S_ISLNK(st.host_mode))
		share_meta_change(sh, file, &st, want);
	return 0;
}

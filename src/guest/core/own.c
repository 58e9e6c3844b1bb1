/* Files of the guest's own root, for PID 1.
 *
 * hull-init serves the workspace's file systems: a system call of its own that asks one of them for something would
 * wait for itself, for ever. Their mount points are the user's choice, and may lie below /etc or /var. So while shares
 * may be mounted, PID 1 opens the root's files with a walk that refuses to enter any mount (openat2's RESOLVE_NO_XDEV,
 * which holds for symlinks as well), and what it must do with paths that a user gives, it does in children. */
#include "guest/core/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/openat2.h>

int hull_own_openat(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

int hull_own_open(const char *path, int flags, mode_t mode)
{
	return hull_own_openat(AT_FDCWD, path, flags, mode);
}

void hull_own_path(int fd, char path[32])
{
	snprintf(path, 32, "/proc/self/fd/%d", fd);
}

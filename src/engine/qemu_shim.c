/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into QEMU (LD_PRELOAD) when it restores a machine: gives it the saved memory and protects the file from it.
 *
 * QEMU opens its memory file by path and for writing, even to map it private. The shim returns a duplicate of the
 * inherited descriptor (HULL_MEMORY_FD), which is read-only. So no path has to be visible in its jail, and a
 * compromised QEMU cannot write to memory that other sandboxes start from.
 *
 * When the guest returns memory (balloon, free page reporting), QEMU first punches a hole in the file and then drops
 * its own copy of the pages. The first step would destroy the file for all sandboxes, and fails on a read-only
 * descriptor; QEMU would then skip the second step, which is the one that frees memory. So the shim reports success for
 * the first without doing it.
 *
 * It has no state but the descriptor's number and makes only system calls: it runs before everything else. */
#include "engine/qemu_internal.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int open64(const char *path, int flags, ...);
int __open64_2(const char *path, int flags); /* called by fortified builds */
int fallocate64(int fd, int mode, off64_t offset, off64_t length);

static int memory_fd(void)
{
	const char *text = getenv(HULL_QEMU_MEMORY_ENV);
	return text ? atoi(text) : -1;
}

static int open_it(const char *path, int flags, mode_t mode)
{
	if (path && strcmp(path, HULL_QEMU_MEMORY_PATH) == 0)
		return fcntl(memory_fd(), F_DUPFD_CLOEXEC, 3);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {
		va_list ap;
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return open_it(path, flags, mode);
}

int __open64_2(const char *path, int flags)
{
	return open_it(path, flags, 0);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	struct stat a, b;
	if ((mode & FALLOC_FL_PUNCH_HOLE) && fstat(fd, &a) == 0 && fstat(memory_fd(), &b) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return 0;
	return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded into QEMU (LD_PRELOAD) when it restores a machine: gives it the saved memory, and keeps it from harming it.
 *
 * QEMU wants its memory's file by path and open for writing, even to map it private. It gets a duplicate of the
 * descriptor it inherited (HULL_MEMORY_FD), which is open for reading only: no path has to be visible in its jail, and
 * whoever takes QEMU over still cannot write to what other sandboxes start from.
 *
 * When the guest gives memory back (balloon, free page reporting), QEMU first punches a hole in the file and then
 * drops its own copy of the pages. The first would destroy the file under everybody else and fails on a descriptor
 * like this one, and QEMU would then leave out the second, which is the one that frees memory. So the first is
 * answered with success and not done.
 *
 * No state but the number of the descriptor, no library calls besides system calls: it runs before anything else. */
#include "engine/qemu_internal.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int open64(const char *path, int flags, ...);
int __open64_2(const char *path, int flags); /* what a fortified build calls */
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

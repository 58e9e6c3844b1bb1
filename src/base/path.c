/* SPDX-License-Identifier: Apache-2.0 */
/* See path.h. */
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIES = 64 };

const char *hull_path_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	if (strncmp(path, dir, n) != 0)
		return NULL;
	/* "" and "/" hold everything. */
	if (n == 0 || dir[n - 1] == '/' || path[n] == '\0')
		return path + n;
	return path[n] == '/' ? path + n + 1 : NULL;
}

bool hull_path_in(const char *path, const char *dir)
{
	return hull_path_below(path, dir) != NULL;
}

int hull_path_open(int dirfd, const char *path, int flags, bool beneath)
{
	const struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_NO_SYMLINKS | (beneath ? RESOLVE_BENEATH : 0),
	};
	int fd = -1;
	/* EAGAIN: a rename happened meanwhile, and the kernel could not determine whether the path left dirfd. Try
	 * again. */
	for (int i = 0; i < TRIES && fd < 0; i++) {
		fd = (int)syscall(SYS_openat2, dirfd, *path ? path : ".", &how, sizeof(how));
		if (fd < 0 && errno != EAGAIN && errno != EINTR)
			break;
	}
	return fd;
}

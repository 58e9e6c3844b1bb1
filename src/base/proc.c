/* SPDX-License-Identifier: Apache-2.0 */
/* See proc.h. */
#include "base/proc.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <string.h>

bool hull_proc_look(pid_t pid, struct hull_proc *out)
{
	char path[32], text[1024];
	unsigned long long user = 0, kernel = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : hull_read_full(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	/* Fields 3, 14, 15 and 22. The second, the program's name in parentheses, may hold anything. */
	const char *at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu",
			  &out->state, &user, &kernel, &out->start) != 4)
		return false;
	out->used = user + kernel;
	return true;
}

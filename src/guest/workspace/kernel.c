/* SPDX-License-Identifier: Apache-2.0 */
/* See kernel.h. */
#include "guest/workspace/kernel.h"

#include "base/cleanup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { READ_AHEAD_KB = 1024 };

/* More than the kernel's default: a round trip costs more than on a disk. Set once the kernel has taken the answer to
 * INIT, which resets it. By the device number, and that from a list: to ask the mount itself would take an answer. */
void hull_share_read_ahead(const char *path)
{
	char *line = NULL, name[64], where[PATH_MAX];
	size_t cap = 0;
	unsigned major, minor, found_major = 0, found_minor = 0;
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	while (f && getline(&line, &cap, f) > 0)
		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &major, &minor, where) == 3 && strcmp(where, path) == 0)
			found_major = major, found_minor = minor;
	free(line);
	snprintf(name, sizeof(name), "/sys/class/bdi/%u:%u/read_ahead_kb", found_major, found_minor);
	char kb[16];
	snprintf(kb, sizeof(kb), "%d", READ_AHEAD_KB);
	if (f)
		hull_put(name, kb);
}

/* What is cached may be older than the new server. */
static struct hull_child drop_child;

static void drop_run(void *ctx, int status_fd)
{
	hull_child_keep(-1, status_fd);
	sync();
	hull_put("/proc/sys/vm/drop_caches", "2");
	_exit(0);
}

static bool drop_again; /* something is to be dropped that came after it had begun */
static void drop_ended(struct hull_child *c, int status);

void hull_share_drop_caches(void)
{
	struct hull_error err;
	drop_again = drop_child.pid != 0;
	if (!drop_again)
		hull_spawn(&drop_child, -1, drop_run, NULL, NULL, drop_ended, &err);
}

static void drop_ended(struct hull_child *c, int status)
{
	if (drop_again)
		hull_share_drop_caches();
}

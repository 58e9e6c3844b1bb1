/* SPDX-License-Identifier: Apache-2.0 */
/* Returns page cache that nobody uses to the host.
 *
 * The balloon reports free pages to the host. A page of cache is not free: the kernel keeps it until it needs the room,
 * which in a machine with memory to spare is never. So hull-init reclaims the coldest pages when the sandbox is idle.
 *
 * When. A command, job or connection that starts or ends sets a timer of QUIET_MS. When it fires, the processor time of
 * /work is read twice, LOOK_MS apart. Less than BUSY_PERCENT of one processor means idle; otherwise the timer is set
 * again. After a reclaim no timer runs until something starts or ends: an idle sandbox has none, and a build is not
 * disturbed.
 *
 * What. All file pages of /work but KEEP, by cgroup v2's memory.reclaim with swappiness 0: the kernel takes the least
 * recently used first, and no anonymous memory. KEEP holds the programs in use. Pages of the workspace are reclaimed,
 * too; the host has them in its own cache.
 *
 * How. In a child: reclaim may wait for the disk, and for a workspace, which PID 1 itself relays. The child is killed
 * when the sandbox is used again, which stops the reclaim. Freed memory is fragmented; compaction, which is off
 * otherwise (boot/setup.c), makes blocks of it that are large enough to be reported. */
#include "guest/machine/machine.h"

#include "base/cleanup.h"
#include "guest/core/cgroup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { QUIET_MS = 20 * 1000, LOOK_MS = 5 * 1000, BUSY_PERCENT = 5, KEEP = 64 << 20, WORTH = 32 << 20, STEP = 64 << 20 };

#define WORK HULL_CG_ROOT "/work"

static struct hull_timer timer;
static struct hull_child child;
static bool looking; /* the timer is for the second look */
static uint64_t used_us, since_ms;

/* The number behind "KEY " at the start of a line of a cgroup's file; 0 when there is none. */
static uint64_t figure(const char *path, const char *key)
{
	char text[8192];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	size_t len = strlen(key);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return strtoull(line + len + 1, NULL, 10);
	return 0;
}

static uint64_t cached(void)
{
	return figure(WORK "/memory.stat", "inactive_file") + figure(WORK "/memory.stat", "active_file");
}

static void reclaim_run(void *ctx, int status_fd)
{
	hull_child_keep(-1, status_fd);
	/* What is read meanwhile is not given up again. */
	uint64_t budget = cached();
	while (budget > 0) {
		char want[64];
		uint64_t there = cached();
		if (there < KEEP + (uint64_t)WORTH / 2)
			break;
		uint64_t bytes = there - KEEP < STEP ? there - KEEP : STEP;
		bytes = bytes < budget ? bytes : budget;
		budget -= bytes;
		snprintf(want, sizeof(want), "%llu swappiness=0", (unsigned long long)bytes);
		/* EAGAIN: less than that could be had. */
		if (hull_put(WORK "/memory.reclaim", want) < 0 && cached() + (STEP >> 4) > there)
			break;
	}
	hull_put("/proc/sys/vm/compact_memory", "1");
	_exit(0);
}

static void reclaim_ended(struct hull_child *c, int status)
{
}

static void rest(void)
{
	struct hull_error err;
	if (child.pid == 0 && cached() > KEEP + (uint64_t)WORTH &&
	    hull_spawn(&child, -1, reclaim_run, NULL, NULL, reclaim_ended, &err) < 0)
		hull_say("the page cache is not given back: %s", err.msg);
}

static void fired(struct hull_timer *t)
{
	uint64_t used = figure(WORK "/cpu.stat", "usage_usec"), now = hull_uptime_ms();
	if (!looking) {
		looking = true;
		used_us = used;
		since_ms = now;
		hull_timer_start(&timer, LOOK_MS, fired);
		return;
	}
	looking = false;
	/* In percent of one processor: microseconds in a millisecond are tenths of it. */
	if (used - used_us > (now - since_ms) * 10 * BUSY_PERCENT)
		hull_timer_start(&timer, QUIET_MS, fired);
	else
		rest();
}

void hull_reclaim_touch(void)
{
	if (child.pid > 0)
		kill(child.pid, SIGKILL);
	looking = false;
	hull_timer_start(&timer, QUIET_MS, fired);
}

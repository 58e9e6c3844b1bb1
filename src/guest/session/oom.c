/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel killed for want of memory is told: on the console, in the keeper's log, and on the stderr of the
 * session that it was part of, where somebody would else see no more than an exit code of 137.
 *
 * The kernel says it in its log. /dev/kmsg can be waited for; records of others are read and dropped. The kernel writes
 * the record before it kills, so it is there by the time that the end of the process is. */
#include "guest/session/oom.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "guest/core/cgroup.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"
#include "guest/session/exec.h"
#include "guest/session/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_MAX = 8192, AT_ONCE = 1000 };

static struct hull_watch watch = {.fd = -1};
static int kmsg = -1;

static void limit_of_work(char out[32])
{
	char text[32] = "";
	_cleanup_close_ int fd = open(HULL_CG_ROOT "/work/memory.max", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || text[0] < '0' || text[0] > '9')
		snprintf(out, 32, "so much");
	else
		hull_format_size(strtoull(text, NULL, 10), out, 32);
}

/* The session that a process is in; 0 = none. It has not been reaped yet. */
static unsigned session_of(pid_t pid)
{
	static const char start[] = "0::/work/sessions/";
	char path[64], text[256] = "";
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || strncmp(text, start, sizeof(start) - 1) != 0)
		return 0;
	return (unsigned)strtoul(text + sizeof(start) - 1, NULL, 10);
}

static void oom_tell(const struct hull_oom *o)
{
	char text[256], size[32];
	if (strncmp(o->group, "/work/", 6) == 0) {
		snprintf(text, sizeof(text),
			 "%s (process %d) was killed: out of memory: its container may not have more", o->task,
			 (int)o->pid);
	} else {
		limit_of_work(size);
		snprintf(text, sizeof(text),
			 "%s (process %d) was killed: out of memory: what runs in this sandbox may use %s in all; "
			 "`hull set NAME --memory SIZE` gives it more",
			 o->task, (int)o->pid, size);
	}
	hull_say("%s", text);
	hull_exec_tell(o->pid, session_of(o->pid), text);
}

void hull_oom_look(void)
{
	char record[RECORD_MAX];
	for (int i = 0; kmsg >= 0 && i < AT_ONCE; i++) {
		struct hull_oom o;
		ssize_t n = read(kmsg, record, sizeof(record));
		if (n < 0 && (errno == EPIPE || errno == EINTR)) /* what was overwritten before we came is lost */
			continue;
		if (n <= 0)
			return;
		if (hull_oom_record(record, (size_t)n, &o))
			oom_tell(&o);
	}
}

static void oom_ready(struct hull_watch *w, uint32_t events)
{
	hull_oom_look();
}

void hull_oom_start(void)
{
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg < 0 || lseek(kmsg, 0, SEEK_END) < 0 || hull_watch_add(&watch, kmsg, EPOLLIN, oom_ready) < 0)
		hull_say("what the kernel kills for want of memory will not be told: %s", strerror(errno));
}

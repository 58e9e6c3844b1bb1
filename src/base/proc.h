/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of a process: /proc/PID/stat. Times are in its clock ticks. */
#ifndef HULL_BASE_PROC_H
#define HULL_BASE_PROC_H

#include <stdbool.h>
#include <sys/types.h>

struct hull_proc {
	char state;               /* 'R', 'S', 'D' (waits for a disk), 'Z', ...: proc(5) */
	unsigned long long used;  /* processor time, in user and kernel mode */
	unsigned long long start; /* since boot; with the pid it identifies the process */
};
/* False when there is no such process. */
bool hull_proc_look(pid_t pid, struct hull_proc *out);

#endif

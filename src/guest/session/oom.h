/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel killed for want of memory: see oom.c and oom_record.c. */
#ifndef HULL_GUEST_OOM_H
#define HULL_GUEST_OOM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct hull_oom {
	pid_t pid;
	char task[32];  /* the process's name, as it says */
	char group[96]; /* the cgroup whose limit was met; "" = the machine's */
};
/* Is this record of /dev/kmsg the kernel's word that it killed a process? */
bool hull_oom_record(const char *record, size_t n, struct hull_oom *out);

/* Say what there is to be said now: before a session that was killed is reported. */
void hull_oom_look(void);

#endif

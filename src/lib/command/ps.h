/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the output of ps from a guest. The text is untrusted. */
#ifndef HULL_LIB_COMMAND_PS_H
#define HULL_LIB_COMMAND_PS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* The requested columns, in the order that ps_read() expects. */
#define PS_FORMAT "pid=,ppid=,user:32=,stat=,pcpu=,rss=,etimes=,cgroup:160=,args="

/* Returns the processes of the sandbox as an array of {pid, ppid, user, state, cpu, memory, elapsed, session,
 * container, job, command}: its sessions, containers and Docker, without kernel threads, hull-init, and `self` and its
 * descendants. Malformed lines are skipped. `jobs` (the keeper's list; may be NULL) maps sessions to jobs. NULL when
 * out of memory. */
json_t *ps_read(const void *text, size_t n, uint32_t self, const json_t *jobs);

#endif

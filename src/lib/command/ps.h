/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what ps says in a guest: text that the guest can have made up. */
#ifndef HULL_LIB_COMMAND_PS_H
#define HULL_LIB_COMMAND_PS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* The columns asked for; ps_read() takes them in this order. */
#define PS_FORMAT "pid=,ppid=,user:32=,stat=,pcpu=,rss=,etimes=,cgroup:160=,args="

/* The processes of the sandbox (its sessions, containers and Docker; not kernel threads, not hull-init, not `self` and
 * what that started) as an array of {pid, ppid, user, state, cpu, memory, elapsed, session, container, job, command}.
 * Lines that are not as asked for are left out. `jobs` (the keeper's list, may be NULL) says which job a session is.
 * NULL when out of memory. */
json_t *ps_read(const void *text, size_t n, uint32_t self, const json_t *jobs);

#endif

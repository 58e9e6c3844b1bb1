/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of cgroups that processes of the guest live in; see cgroup.c. */
#ifndef HULL_GUEST_CGROUP_H
#define HULL_GUEST_CGROUP_H

#include <stdint.h>

#define HULL_CG_ROOT "/sys/fs/cgroup" /* keeps only kernel threads */
void hull_cgroup_setup(void);
extern int hull_cg_dockerd; /* directory descriptor, for hull_spawn(); -1 without cgroups */
/* A cgroup for one session: its directory descriptor (-1 when there is none to be had; that is no failure) and the
 * number to drop it by (0 = none). */
int hull_cgroup_make(uint32_t *number);
void hull_cgroup_drop(uint32_t number);
/* A signal to every process of this session; KILL reaches those too that are being born. */
void hull_cgroup_signal(uint32_t number, int sig);
/* TERM to every process of every session; HUP to those that ignore TERM. */
void hull_cgroup_end_sessions(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* System call filters. All of Hull's are made in this one place, from lists that stand beside the code that makes the
 * calls:
 *
 *     src/share/syscalls.c                    allow-lists of processes that serve a guest; installed once the process
 *     src/egress/syscalls.c                   has what it needs and before it reads a byte of the guest's
 *     src/jail/jail_seccomp.c                 the base filter, a list of what is refused, which stands under those in
 *                                             every jailed child and is all there is of ours in one that brings its own
 *                                             (QEMU)
 *     src/git/jail.c                          git starts no program
 *
 * tests/e2e/filters.py compares the lists with the filters of live processes. */
#ifndef HULL_JAIL_FILTER_H
#define HULL_JAIL_FILTER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct hull_filter {
	const int *allowed; /* numbers (SCMP_SYS) that are allowed whatever their arguments */
	size_t allowed_count;
	const int *families; /* of socket() */
	size_t family_count;
	bool threads;       /* clone() of threads, never of processes */
	bool map_code;      /* mappings that are executable (a dynamic linker's) */
	int otherwise;      /* the errno of every other call; 0 = it is allowed, and what is above is not looked at */
	const int *refused; /* with otherwise 0: these fail with EPERM */
	size_t refused_count;
	/* Rules that look at arguments, added to `seccomp` (a scmp_filter_ctx); 0 or -errno. May be NULL. */
	int (*more)(void *seccomp, const void *ctx);
	const void *ctx;
};

/* For good, for every thread of the process from here on. Needs no_new_privs. */
int hull_filter_install(const struct hull_filter *filter, struct hull_error *err);

#endif

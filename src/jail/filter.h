/* The system call filter of a process that serves a guest: an allow-list, made in this one place from what the process
 * says of itself. Each process has its list in a file of its own beside the code that makes the calls
 * (src/share/calls.c, src/egress/calls.c) and installs it once it has what it needs and before it reads a byte of the
 * guest's. tests/e2e/filters.py compares the lists with the filters of live processes.
 *
 * The base filter of src/jail/jail_seccomp.c stands under it, in every jailed child, and is all there is of ours in one
 * that brings its own filter (QEMU). */
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
	bool threads;  /* clone() of threads, never of processes */
	bool map_code; /* mappings that are executable (a dynamic linker's) */
	int otherwise; /* the errno of every other call */
};

/* For good, for every thread of the process from here on. Needs no_new_privs. */
int hull_filter_install(const struct hull_filter *filter, struct hull_error *err);

#endif

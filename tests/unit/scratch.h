/* SPDX-License-Identifier: Apache-2.0 */
/* Scratch directories for tests. All lie in one, which is removed when the program ends: also when a test has failed. */
#ifndef HULL_TESTS_SCRATCH_H
#define HULL_TESTS_SCRATCH_H

#include "base/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char scratch_top[] = "/tmp/hull-test-XXXXXX";
static pid_t scratch_owner;

static void scratch_end(void)
{
	if (getpid() == scratch_owner) /* a child that a failed test has left here has nothing to remove */
		hull_remove_tree(AT_FDCWD, scratch_top, NULL);
}

/* Makes a directory; its path is in dir. */
static inline bool scratch_make(char dir[64])
{
	if (!scratch_owner) {
		if (!mkdtemp(scratch_top))
			return false;
		scratch_owner = getpid();
		atexit(scratch_end);
	}
	snprintf(dir, 64, "%s/XXXXXX", scratch_top);
	return mkdtemp(dir) != NULL;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A directory for tests of git, and shell commands that prepare it. */
#ifndef HULL_TESTS_GIT_RIG_H
#define HULL_TESTS_GIT_RIG_H

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char base[] = "/tmp/hull-test-git-XXXXXX"; /* set_up() calls mkdtemp() */
static struct hull_error err;

/* In base, which is $B too; its exit status as system(3) has it. */
__attribute__((format(printf, 1, 2))) static inline int shell(const char *fmt, ...)
{
	char cmd[4096];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(cmd, sizeof cmd, fmt, ap);
	va_end(ap);
	_cleanup_free_ char *all = hull_fmt("set -e; B=%s; cd $B; %s", base, cmd);
	return system(all);
}

static inline int tear_down(void **state)
{
	return hull_remove_tree(AT_FDCWD, base, NULL);
}

#endif

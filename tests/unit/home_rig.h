/* SPDX-License-Identifier: Apache-2.0 */
/* A home of Hull's in a scratch directory, with sandboxes that nothing runs for: for tests of what reads their records. */
#ifndef HULL_TESTS_HOME_RIG_H
#define HULL_TESTS_HOME_RIG_H

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "store/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char base[] = "/tmp/hull-test-home-XXXXXX";
static struct hull_paths paths; /* home, run and config in base */

/* Makes base and the directories of paths, then runs a shell command in base. */
static inline int home_make(const char *command)
{
	if (!mkdtemp(base))
		return -1;
	paths.home = hull_fmt("%s/home", base);
	paths.runtime = hull_fmt("%s/run", base);
	paths.config = hull_fmt("%s/config", base);
	_cleanup_free_ char *make = hull_fmt("cd %s && mkdir -p home/sandboxes run config && %s", base, command);
	return system(make);
}

static inline int home_drop(void **state)
{
	(void)state;
	hull_paths_free(&paths);
	return hull_remove_tree(AT_FDCWD, base, NULL);
}

/* A record of sandbox "web" with these directories (entries as in sandbox.json). */
__attribute__((unused)) static int home_save(char **entries, struct hull_error *err)
{
	char *none[] = {NULL};
	struct hull_sandbox s = {.name = (char *)"web",
				 .agent = (char *)"shell",
				 .image = (char *)"0123456789abcdef0123456789abcdef",
				 .cpus = 1,
				 .memory = 1 << 30,
				 .disk = 1 << 30,
				 .engine = (char *)"auto",
				 .env = none,
				 .paths = entries,
				 .state = (char *)"created"};
	_cleanup_free_ char *dir = hull_fmt("%s/sandboxes/web", paths.home);
	int r = hull_mkdir_all(dir, 0700, err);
	return r < 0 ? r : hull_sandbox_save(&paths, &s, err);
}

#endif

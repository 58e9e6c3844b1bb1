/* SPDX-License-Identifier: Apache-2.0 */
/* A share server over a directory of its own, for the unit tests: requests by hand (tests/share/raw.h). */
#ifndef HULL_TESTS_SHARE_RIG_H
#define HULL_TESTS_SHARE_RIG_H

#include "../share/raw.h"
#include "scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
	char dir[64];
	int fd;
	struct hull_share *sh;
	struct raw c;
};

static inline void put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* It holds `file` and `dir/inner`; the guest has said hello. */
static inline void begin(struct fixture *f, struct hull_share_config config)
{
	struct hull_error err = {0};
	assert_true(scratch_make(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(f->fd, "file", "content");
	assert_int_equal(mkdirat(f->fd, "dir", 0755), 0);
	put(f->fd, "dir/inner", "inner");
	config.root_fd = f->fd;
	config.guest_uid = config.guest_gid = 1000;
	assert_int_equal(hull_share_new(&config, &f->sh, &err), 0);
	assert_true(raw_init(&f->c, f->sh));
	assert_int_equal(raw_hello(&f->c), 0);
}

static inline void end(struct fixture *f)
{
	char command[160];
	raw_free(&f->c);
	hull_share_free(f->sh);
	close(f->fd);
	snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -rf %s", f->dir, f->dir);
	assert_int_equal(system(command), 0);
}

#endif

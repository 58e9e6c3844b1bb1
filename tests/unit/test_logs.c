/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's log beside a guest that says without end what ends up there. */
#include "keeper/life/life.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool has(const char *dir, const char *file, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	if (hull_read_file(AT_FDCWD, path, 16 << 20, &b, NULL) < 0)
		return false;
	return memmem(hull_buf_bytes(&b), b.len, text, strlen(text)) != NULL;
}

static void test_flood(void **state)
{
	static struct keeper k;
	char home[] = "/tmp/hull-logs-XXXXXX", dir[128], long_line[512];
	(void)state;
	assert_non_null(mkdtemp(home));
	snprintf(dir, sizeof(dir), "%s/sandboxes", home);
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(dir, sizeof(dir), "%s/sandboxes/a", home);
	assert_int_equal(mkdir(dir, 0700), 0);
	k.paths.home = home;
	k.sb.name = (char *)"a";
	k.logs.keeper.fd = k.logs.guest.fd = -1;
	assert_int_equal(keeper_log_open(&k, NULL), 0);
	hull_log("the evidence");
	memset(long_line, 'x', sizeof(long_line) - 1);
	long_line[sizeof(long_line) - 1] = '\0';
	keeper_log_guest(&k, "guest: first");
	for (int i = 0; i < 50000; i++)
		keeper_log_guest(&k, "guest: %s", long_line);
	keeper_log_guest(&k, "guest: last");
	hull_log("the end");
	assert_true(has(dir, "keeper.log", "the evidence"));
	assert_true(has(dir, "keeper.log", "guest: first"));
	assert_true(has(dir, "keeper.log", "are in guest.log"));
	assert_true(has(dir, "keeper.log", "the end"));
	assert_false(has(dir, "keeper.log", "guest: last"));
	assert_true(has(dir, "guest.log", "guest: last"));
	struct stat st;
	assert_int_equal(fstat(k.logs.keeper.fd, &st), 0);
	assert_true(st.st_size < GUEST_LOG_SHARE + 2048);
	assert_int_equal(fstat(k.logs.guest.fd, &st), 0);
	assert_true(st.st_size < LOG_CAP + 2048);
	hull_log_open(2, "test");
	logfile_close(&k.logs.keeper);
	logfile_close(&k.logs.guest);
	assert_int_equal(hull_remove_tree(AT_FDCWD, home, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_flood)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

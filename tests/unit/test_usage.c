/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring what files take on the disk: holes, hard links, symlinks, what cannot be read and what is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/usage.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { KIB = 1024, MIB = 1 << 20 };

static char root[64];
static int dir;

static int setup(void **state)
{
	strcpy(root, "/tmp/hull-test-usage.XXXXXX");
	if (!mkdtemp(root) || chmod(root, 0755) < 0)
		return -1;
	dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 || mkdirat(dir, "d", 0755) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	close(dir);
	return hull_remove_tree(AT_FDCWD, root, NULL);
}

/* n bytes of data at an offset. */
static void write_at(const char *name, off_t at, size_t n)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	_cleanup_free_ char *data = malloc(n);
	assert_true(fd >= 0 && data);
	memset(data, 'x', n);
	assert_int_equal(pwrite(fd, data, n, at), n);
	assert_int_equal(fsync(fd), 0); /* blocks are given by then, on every file system */
}

static uint64_t blocks(const char *name)
{
	struct stat st;
	assert_int_equal(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* One whole measurement of what is in "d". */
static uint64_t measure(struct hull_usage *u)
{
	return hull_usage_add(u, dir, "d", "shown");
}

static void holes_take_nothing(void **state)
{
	_cleanup_(hull_usage_free) struct hull_usage u = {0};
	write_at("d/sparse", 512 * MIB, 64 * KIB);
	uint64_t bytes = measure(&u);
	assert_int_equal(bytes, blocks("d") + blocks("d/sparse"));
	assert_true(bytes >= 64 * KIB && bytes < 2 * MIB);
	assert_false(u.incomplete);
	assert_null(u.problems);
}

static void a_hard_link_counts_once(void **state)
{
	_cleanup_(hull_usage_free) struct hull_usage u = {0};
	write_at("d/one", 0, 256 * KIB);
	assert_int_equal(mkdirat(dir, "d/below", 0755), 0);
	assert_int_equal(linkat(dir, "d/one", dir, "d/below/two", 0), 0);
	assert_int_equal(linkat(dir, "d/one", dir, "outside", 0), 0);
	assert_int_equal(measure(&u), blocks("d") + blocks("d/below") + blocks("d/one"));
	/* Nor again with something else that is added. */
	assert_int_equal(hull_usage_add(&u, dir, "outside", "outside"), 0);
}

static void what_has_a_link_elsewhere_frees_nothing(void **state)
{
	_cleanup_(hull_usage_free) struct hull_usage u = {.freed = true};
	write_at("d/one", 0, 256 * KIB);
	write_at("d/alone", 0, 64 * KIB);
	assert_int_equal(linkat(dir, "d/one", dir, "outside", 0), 0);
	assert_int_equal(measure(&u), blocks("d") + blocks("d/alone"));
	/* When that goes too, it does. */
	assert_int_equal(hull_usage_add(&u, dir, "outside", "outside"), blocks("d/one"));
}

static void symlinks_are_not_followed(void **state)
{
	_cleanup_(hull_usage_free) struct hull_usage u = {0};
	assert_int_equal(mkdirat(dir, "far", 0755), 0);
	write_at("far/big", 0, MIB);
	assert_int_equal(symlinkat("../far", dir, "d/dir"), 0);
	assert_int_equal(symlinkat("../far/big", dir, "d/file"), 0);
	assert_int_equal(symlinkat("far", dir, "top"), 0);
	assert_int_equal(measure(&u), blocks("d") + blocks("d/dir") + blocks("d/file"));
	assert_int_equal(hull_usage_add(&u, dir, "top", "top"), blocks("top"));
	assert_null(u.problems);
	/* Nor where a directory is expected. */
	assert_true(hull_usage_open(&u, dir, "top", "top") < 0);
	assert_true(u.incomplete);
	assert_string_equal(u.problems[0],
			    "top was not measured: it is not a directory, and symlinks are not followed");
}

static void what_cannot_be_read_is_told_and_the_rest_measured(void **state)
{
	_cleanup_(hull_usage_free) struct hull_usage u = {0};
	write_at("d/file", 0, 64 * KIB);
	assert_int_equal(mkdirat(dir, "d/closed", 0755), 0);
	write_at("d/closed/hidden", 0, 64 * KIB);
	assert_int_equal(fchmodat(dir, "d/closed", 0, 0), 0);
	uid_t me = geteuid();
	if (me == 0)
		assert_int_equal(seteuid(65534), 0); /* root may read it */
	uint64_t bytes = measure(&u);
	if (me == 0)
		assert_int_equal(seteuid(me), 0);
	assert_int_equal(fchmodat(dir, "d/closed", 0755, 0), 0);
	assert_int_equal(bytes, blocks("d") + blocks("d/closed") + blocks("d/file"));
	assert_true(u.incomplete);
	assert_string_equal(u.problems[0], "shown/closed was not measured: Permission denied");
	assert_null(u.problems[1]);
}

static void what_has_vanished_is_told(void **state)
{
	_cleanup_(hull_usage_free) struct hull_usage u = {0};
	assert_int_equal(hull_usage_add(&u, dir, "gone", "x/gone"), 0);
	assert_int_equal(hull_usage_open(&u, dir, "gone", "x/gone"), -ENOENT);
	assert_string_equal(u.problems[0], "x/gone vanished while it was measured");
	assert_int_equal(measure(&u), blocks("d"));
	/* It takes nothing any more, so nothing is missing. */
	assert_false(u.incomplete);
}

static void a_bottomless_tree_ends(void **state)
{
	_cleanup_(hull_usage_free) struct hull_usage u = {0};
	_cleanup_close_ int at = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(mkdirat(at, "d", 0755), 0);
		int below = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(below >= 0);
		close(at);
		at = below;
	}
	assert_true(measure(&u) >= blocks("d"));
	assert_true(u.incomplete);
	assert_non_null(strstr(u.problems[0], "nested too deeply"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(holes_take_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hard_link_counts_once, setup, teardown),
		cmocka_unit_test_setup_teardown(what_has_a_link_elsewhere_frees_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(symlinks_are_not_followed, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_told_and_the_rest_measured, setup, teardown),
		cmocka_unit_test_setup_teardown(what_has_vanished_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bottomless_tree_ends, setup, teardown),
	};
	return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}

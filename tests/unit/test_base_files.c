/* SPDX-License-Identifier: Apache-2.0 */
/* The base: where Hull's own programs lie; writing at an offset; directories that appear whole; the hash that names
 * follow from; paths; processes. */
#include "base/beside.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/scratch.h"
#include "base/text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

/* The test's own executable is what lies beside it for certain. */
static void test_beside(void **state)
{
	struct hull_error err = {0};
	_cleanup_free_ char *self = hull_self(&err);
	assert_non_null(self);
	_cleanup_free_ char *found = hull_beside("test-base_files", X_OK, &err);
	assert_non_null(found);
	assert_string_equal(found, self);
	assert_null(hull_beside("no-such-program", X_OK, &err));
	assert_int_equal(err.code, -ENOENT);
	assert_non_null(strstr(err.msg, "no-such-program"));
	assert_non_null(strstr(err.msg, "build or install Hull again"));
}

/* An installation has `hull` in bin/ and the rest in libexec/hull/. */
static void test_beside_installed(void **state)
{
	struct hull_error err = {0};
	char name[64];
	_cleanup_free_ char *self = hull_self(&err);
	assert_non_null(self);
	*strrchr(self, '/') = '\0';
	snprintf(name, sizeof(name), "beside-%d", (int)getpid());
	_cleanup_free_ char *libexec = hull_fmt("%s/../libexec", self);
	_cleanup_free_ char *folder = hull_fmt("%s/hull", libexec);
	_cleanup_free_ char *want = hull_fmt("%s/%s", folder, name);
	assert_int_equal(hull_mkdir_all(folder, 0700, &err), 0);
	assert_int_equal(hull_write_file_unsynced(AT_FDCWD, want, "", 0, 0600, &err), 0);
	assert_null(hull_beside(name, X_OK, &err));
	_cleanup_free_ char *found = hull_beside(name, R_OK, &err);
	unlink(want);
	rmdir(folder);
	rmdir(libexec);
	assert_int_equal(err.code, -EACCES);
	assert_non_null(found);
	assert_string_equal(found, want);
}

static void test_pwrite_full(void **state)
{
	char name[] = "/tmp/hull-pwrite-XXXXXX", got[9];
	_cleanup_close_ int fd = mkostemp(name, O_CLOEXEC);
	_cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0 && full >= 0);
	unlink(name);
	assert_int_equal(hull_pwrite_full(fd, "content", 7, 2), 0);
	assert_int_equal(hull_pwrite_full(fd, NULL, 0, 100), 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	assert_int_equal(hull_pread_full(fd, got, sizeof(got), 0), 9);
	assert_memory_equal(got, "\0\0content", 9);
	assert_int_equal(hull_pwrite_full(full, "x", 1, 0), -ENOSPC);
	assert_int_equal(hull_pwrite_full(-1, "x", 1, 0), -EBADF);
}

/* --- scratch directories --- */

static int make_parent(void **state)
{
	char *parent = strdup("/tmp/hull-scratch-XXXXXX");
	*state = mkdtemp(parent);
	return *state ? 0 : -1;
}

static int drop_parent(void **state)
{
	hull_remove_tree(AT_FDCWD, *state, NULL);
	free(*state);
	return 0;
}

static bool is_there(const char *parent, const char *name)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", parent, name);
	return access(path, F_OK) == 0;
}

static void make_dir(const char *parent, const char *name)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", parent, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

/* A sweep takes what nobody holds and has the prefix, and nothing else. */
static void test_scratch_sweep(void **state)
{
	const char *parent = *state;
	struct hull_error err = {0};
	struct hull_scratch held;
	make_dir(parent, ".new-dead00");
	make_dir(parent, ".old-dead00");
	assert_int_equal(hull_scratch_make(parent, ".new-", &held, &err), 0);
	assert_true(is_there(parent, ".new-dead00"));
	hull_scratch_sweep(parent, ".new-");
	assert_false(is_there(parent, ".new-dead00"));
	assert_true(is_there(parent, ".old-dead00"));
	assert_int_equal(access(held.path, F_OK), 0);
	_cleanup_free_ char *path = strdup(held.path);
	hull_scratch_drop(&held);
	assert_int_equal(access(path, F_OK), -1);
}

/* A name is given once, or replaced by one exchange; parent may be a symlink to another disk. */
static void test_scratch_commit(void **state)
{
	_cleanup_free_ char *parent = hull_fmt("%s/link", (const char *)*state);
	struct hull_error err = {0};
	struct hull_scratch a, b;
	make_dir(*state, "real");
	assert_int_equal(symlink("real", parent), 0);
	assert_int_equal(hull_scratch_make(parent, ".new-", &a, &err), 0);
	assert_int_equal(hull_scratch_make(parent, ".new-", &b, &err), 0);
	assert_int_equal(mkdirat(a.fd, "first", 0700), 0);
	assert_int_equal(mkdirat(b.fd, "second", 0700), 0);
	assert_int_equal(hull_scratch_commit(&a, parent, "name", false, &err), 0);
	assert_null(a.path);
	assert_int_equal(hull_scratch_commit(&b, parent, "name", false, &err), -EEXIST);
	assert_true(is_there(parent, "name/first"));
	_cleanup_free_ char *scratch = strdup(b.path);
	assert_int_equal(hull_scratch_commit(&b, parent, "name", true, &err), 0);
	assert_true(is_there(parent, "name/second"));
	assert_int_equal(access(scratch, F_OK), -1);
}

static void test_scratch_remove(void **state)
{
	const char *parent = *state;
	struct hull_error err = {0};
	make_dir(parent, "name");
	make_dir(parent, "name/in");
	assert_int_equal(hull_scratch_remove(parent, "name", ".old-", &err), 0);
	assert_false(is_there(parent, "name"));
	assert_int_equal(hull_scratch_remove(parent, "name", ".old-", &err), -ENOENT);
	assert_int_equal(rmdir(parent), 0);
	assert_int_equal(hull_scratch_make(parent, ".new-", &(struct hull_scratch){0}, &err), -ENOENT);
	assert_non_null(strstr(err.msg, parent));
}

/* The published value, and one of parts as directories in /tmp are named by: they must not change. */
static void test_hash(void **state)
{
	assert_true(hull_hash(HULL_HASH_START, "foobar", 6) == UINT64_C(0x85944171f73967e8));
	uint64_t h = hull_hash_str(hull_hash_str(hull_hash_str(HULL_HASH_START, "/run"), "/home"), "box");
	assert_true(h == UINT64_C(0xdd5905bbf1820a5c));
	assert_true(hull_hash_str(hull_hash_str(1, "a"), "bc") != hull_hash_str(hull_hash_str(1, "ab"), "c"));
}

/* --- paths --- */

static void test_path_in(void **state)
{
	static const struct {
		const char *path, *dir, *below; /* below NULL: not in it */
	} cases[] = {
		{"/a", "/a", ""},     {"/a/b", "/a", "b"}, {"/a/b/c", "/a", "b/c"}, {"/ab", "/a", NULL},
		{"/a", "/a/b", NULL}, {"/a", "/ab", NULL}, {"/", "/", ""},          {"/a/b", "/", "a/b"},
		{"/", "/a", NULL},    {"a/b", "a", "b"},   {"ab", "a", NULL},       {"a/b", "", "a/b"},
		{"", "", ""},         {"", "a", NULL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *below = hull_path_below(cases[i].path, cases[i].dir);
		assert_int_equal(below != NULL, cases[i].below != NULL);
		assert_int_equal(hull_path_in(cases[i].path, cases[i].dir), below != NULL);
		if (below)
			assert_string_equal(below, cases[i].below);
	}
}

/* No symlink is followed, at the end or on the way; out of the root is out of reach only where that is asked for. */
static void test_path_open(void **state)
{
	const char *parent = *state;
	make_dir(parent, "dir");
	make_dir(parent, "dir/in");
	_cleanup_free_ char *link = hull_fmt("%s/link", parent);
	_cleanup_free_ char *through = hull_fmt("%s/link/in", parent);
	assert_int_equal(symlink("dir", link), 0);
	_cleanup_close_ int root = hull_path_open(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY, false);
	assert_true(root >= 0);
	_cleanup_close_ int in = hull_path_open(root, "dir/in", O_PATH, true);
	assert_true(in >= 0);
	assert_int_equal(hull_path_open(AT_FDCWD, link, O_PATH, false), -1);
	assert_int_equal(errno, ELOOP);
	assert_int_equal(hull_path_open(AT_FDCWD, through, O_PATH, false), -1);
	assert_int_equal(errno, ELOOP);
	assert_int_equal(hull_path_open(in, "../..", O_PATH, true), -1);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(hull_path_open(in, parent, O_PATH, true), -1);
	assert_int_equal(errno, EXDEV);
	_cleanup_close_ int up = hull_path_open(in, "../..", O_PATH, false);
	assert_true(up >= 0);
	_cleanup_close_ int same = hull_path_open(root, "", O_PATH, true);
	assert_true(hull_same_file(same, AT_FDCWD, parent));
}

static void test_proc(void **state)
{
	struct hull_proc self, alive, dead;
	char name[] = ") Z 1 2 (3", was[16];
	assert_true(hull_proc_look(getpid(), &self));
	assert_int_equal(self.state, 'R');
	assert_true(self.start > 0);
	/* A child has the name of its parent. */
	assert_int_equal(prctl(PR_GET_NAME, was), 0);
	assert_int_equal(prctl(PR_SET_NAME, name), 0);
	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	prctl(PR_SET_NAME, was);
	assert_true(pid > 0);
	assert_true(hull_proc_look(pid, &alive));
	assert_int_not_equal(alive.state, 'Z');
	assert_true(alive.start >= self.start);
	kill(pid, SIGKILL);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_true(hull_proc_look(pid, &dead));
	assert_int_equal(dead.state, 'Z');
	assert_int_equal(dead.start, alive.start);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(hull_proc_look(pid, &dead));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beside),
		cmocka_unit_test(test_beside_installed),
		cmocka_unit_test(test_pwrite_full),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_path_in),
		cmocka_unit_test(test_proc),
		cmocka_unit_test_setup_teardown(test_path_open, make_parent, drop_parent),
		cmocka_unit_test_setup_teardown(test_scratch_sweep, make_parent, drop_parent),
		cmocka_unit_test_setup_teardown(test_scratch_commit, make_parent, drop_parent),
		cmocka_unit_test_setup_teardown(test_scratch_remove, make_parent, drop_parent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

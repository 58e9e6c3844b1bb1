/* SPDX-License-Identifier: Apache-2.0 */
/* Where a command is led by a path of the host (lib/files/reach.c): a sandbox that writes there, or one that is gone,
 * may have left symlinks. */
#include "home_rig.h"

#include "lib/files/reach.h"

static int setup(void **state)
{
	return home_make("mkdir -p ws/dir out && ln -s ../out ws/build && ln -s none ws/new && echo x >file && "
			 "ln -s ../file ws/tofile && ln -s ws above");
}

static void expect(const char *path, bool follow, int result, const char *found)
{
	_cleanup_(reach_free) struct reach at = {0};
	struct hull_error err = {0};
	_cleanup_free_ char *whole = hull_fmt("%s/%s", base, path);
	int r = reach_dest(&paths, whole, follow, &at, &err);
	if (r != result)
		fail_msg("%s: %d: %s", path, r, err.msg);
	if (r < 0)
		assert_non_null(strstr(err.msg, "--follow-link"));
	else
		assert_string_equal(at.path + strlen(base) + 1, found);
}

static void test_a_link_as_dest(void **state)
{
	static const char *const links[] = {"ws/build",   "ws/build/",   "ws/build//",
					    "ws/build/.", "ws/build/./", "above"};
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		expect(links[i], false, -ELOOP, NULL);
	expect("ws/build", true, 0, "out");
	expect("ws/build/", true, 0, "out");
	/* What is no symlink, or behind one above it. */
	expect("ws/dir", false, 0, "ws/dir");
	expect("ws/dir/.", false, 0, "ws/dir");
	expect("ws/more", false, 0, "ws/more");
	expect("above/dir/", false, 0, "ws/dir");
	expect("ws/dir/..", false, 0, "ws");
	/* A directory that would be made. */
	expect("ws/new", false, -ELOOP, NULL);
	expect("ws/new", true, 0, "ws/none");
}

static void real_is(const char *path, const char *want)
{
	_cleanup_free_ char *whole = hull_fmt("%s/%s", base, path);
	_cleanup_free_ char *real = NULL;
	struct hull_error err = {0};
	int r = reach_real(&paths, whole, &real, &err);
	if (want ? r < 0 : r != -ELOOP)
		fail_msg("%s: %d: %s", path, r, err.msg);
	if (want)
		assert_string_equal(real + strlen(base) + 1, want);
}

/* What is to be mounted: not where a sandbox has put a link to. */
static void test_a_link_that_a_sandbox_made(void **state)
{
	_cleanup_free_ char *home = hull_fmt("%s/home/sandboxes/web", base);
	_cleanup_free_ char *ws = hull_fmt("%s/ws", base);
	char *entries[] = {ws, NULL};
	struct hull_error err = {0};
	real_is("ws/build", "out");
	assert_int_equal(home_save(entries, &err), 0);
	real_is("ws/build", NULL);
	real_is("ws/build/.", NULL);
	real_is("above/build", NULL);
	real_is("above/dir", "ws/dir");
	real_is("ws/dir", "ws/dir");
	/* Where it cannot be told what a sandbox writes in, only what has no symlink on the way is known. */
	_cleanup_free_ char *json = hull_fmt("%s/sandbox.json", home);
	_cleanup_free_ char *real = NULL;
	_cleanup_free_ char *above = hull_fmt("%s/above/dir", base);
	assert_int_equal(truncate(json, 3), 0);
	real_is("ws/dir", "ws/dir");
	assert_true(reach_real(&paths, above, &real, &err) < 0);
	assert_non_null(strstr(err.msg, "cannot determine which directories web may write to"));
	assert_true(reach_real(&paths, "", &real, &err) == -ENOENT);
	assert_int_equal(hull_remove_tree(AT_FDCWD, home, NULL), 0);
}

/* A sandbox whose directories cannot be told could have made any symlink. */
static void test_unknown(void **state)
{
	_cleanup_(reach_free) struct reach at = {0};
	struct hull_error err = {0};
	_cleanup_free_ char *dir = hull_fmt("%s/home/sandboxes/bad", base), *file = hull_fmt("%s/sandbox.json", dir);
	_cleanup_free_ char *link = hull_fmt("%s/link", base);
	assert_int_equal(hull_mkdir_all(dir, 0700, &err), 0);
	assert_int_equal(hull_write_file_atomic(AT_FDCWD, file, "{", 1, 0600, &err), 0);
	assert_int_equal(symlink("/tmp", link), 0);
	assert_int_equal(reach_path(&paths, link, true, &at, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "which directories bad may write to"));
	assert_non_null(strstr(err.msg, "hull rm bad"));
	assert_int_equal(hull_remove_tree(AT_FDCWD, dir, &err), 0);
	assert_int_equal(reach_path(&paths, link, true, &at, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_link_as_dest),
		cmocka_unit_test(test_a_link_that_a_sandbox_made),
		cmocka_unit_test(test_unknown),
	};
	return cmocka_run_group_tests(tests, setup, home_drop);
}

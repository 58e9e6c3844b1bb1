/* Where `hull cp` is led by a path of the host (lib/files/reach.c), where no sandbox has anything mounted: one that is
 * gone may have left symlinks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/files/reach.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[64];
static struct hull_paths paths;

static int setup(void **state)
{
	snprintf(base, sizeof(base), "/tmp/hull-test-reach-XXXXXX");
	if (!mkdtemp(base))
		return -1;
	_cleanup_free_ char *make = hull_fmt(
		"cd %s && mkdir -p home/sandboxes run config ws/dir out && ln -s ../out ws/build && "
		"ln -s none ws/new && echo x >file && ln -s ../file ws/tofile && ln -s ws above",
		base);
	paths.home = hull_fmt("%s/home", base);
	paths.runtime = hull_fmt("%s/run", base);
	paths.config = hull_fmt("%s/config", base);
	return system(make);
}

static int teardown(void **state)
{
	free(paths.home);
	free(paths.runtime);
	free(paths.config);
	return hull_remove_tree(AT_FDCWD, base, NULL);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_link_as_dest),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

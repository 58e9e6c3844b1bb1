/* The base: where Hull's own programs lie. */
#include "base/beside.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beside),
		cmocka_unit_test(test_beside_installed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Variables for a sandbox: -e and --env-file (cli/env.c). Who may have written such a file decides what it may ask for. */
#include "home_rig.h"

#include "cli/create.h"

static struct hull_error err;

static int setup(void **state)
{
	int r = home_make("mkdir -p ws/sub stranger ro && echo K=secret >secret && ln -s ../secret ws/link && "
			  "ln -s ws/sub own");
	_cleanup_free_ char *ws = hull_fmt("%s/ws", base), *ro = hull_fmt("%s/ro:ro", base);
	char *entries[] = {ws, ro, NULL};
	return r != 0 ? r : home_save(entries, &err);
}

/* What the file at `name`, of this content (NULL = as it is), gives a sandbox that is about to have `given`. */
static int from(const char *name, const char *content, const char *given, char ***out)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", base, name);
	_cleanup_free_ char *dir = given ? hull_fmt("%s/%s", base, given) : NULL;
	char *files[] = {path, NULL}, *dirs[] = {dir, NULL};
	if (content)
		assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, content, strlen(content), 0600, &err), 0);
	*out = NULL;
	return create_env(&paths, dirs, files, NULL, out, &err);
}

static void test_env(void **state)
{
	_cleanup_free_ char *path = hull_fmt("%s/file", base);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	static const char file[] = "\xef\xbb\xbf# comment\nX=from file\r\n\n  Y=2\nHULL_TEST_HERE\nHULL_TEST_NOT\nZ=";
	assert_int_equal(write(fd, file, sizeof file - 1), sizeof file - 1);
	setenv("HULL_TEST_HERE", "yes", 1);
	unsetenv("HULL_TEST_NOT");
	char *files[] = {path, NULL}, *pairs[] = {(char *)"Y=3", (char *)"HULL_TEST_NOT", (char *)"A=b=c", NULL};
	char **out = NULL;
	assert_int_equal(create_env(&paths, NULL, files, pairs, &out, &err), 0);
	static const char *const want[] = {"X=from file", "Y=2", "HULL_TEST_HERE=yes", "Z=", "Y=3", "A=b=c"};
	assert_int_equal(hull_strv_count(out), 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(out[i], want[i]);
	hull_strv_free(out);
	char *bad[][2] = {{(char *)"=x", NULL}, {(char *)"", NULL}, {(char *)"a b=c", NULL}};
	for (size_t i = 0; i < 3; i++) {
		out = NULL;
		assert_true(create_env(&paths, NULL, NULL, bad[i], &out, &err) < 0);
		hull_strv_free(out);
	}
	assert_int_equal(pwrite(fd, "a\0b", 3, 0), 3);
	out = NULL;
	assert_true(create_env(&paths, NULL, files, NULL, &out, &err) < 0);
	hull_strv_free(out);
	close(fd);
	unlink(path);
	out = NULL;
	assert_true(create_env(&paths, NULL, files, NULL, &out, &err) < 0);
	assert_non_null(strstr(err.msg, path));
	hull_strv_free(out);
}

static void test_env_quotes(void **state)
{
	static const char good[] = "# comment\n"
				   "export A='as it $is \\n'  # why\n"
				   "B=\"two\\nlines \\\"q\\\" \\$x \\\\ \\d #\"\n"
				   "\texport\tC=plain # kept \r\n"
				   "D=''\nE=it's\nF=a\"b\"\nG=\n"
				   "export HULL_TEST_HERE  \nHULL_TEST_NOT\nexport=x";
	static const char *const want[] = {"A=as it $is \\n",
					   "B=two\nlines \"q\" $x \\ \\d #",
					   "C=plain # kept ",
					   "D=",
					   "E=it's",
					   "F=a\"b\"",
					   "G=",
					   "HULL_TEST_HERE=yes",
					   "export=x"};
	static const char *const bad[] = {"A='x", "A=\"x\\\"", "A='x'y", "A=\"x\"#y", "export =x", "A B=c"};
	char **out = NULL;
	(void)state;
	setenv("HULL_TEST_HERE", "yes", 1);
	unsetenv("HULL_TEST_NOT");
	assert_int_equal(from("quotes", good, NULL, &out), 0);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		assert_string_equal(out[i], want[i]);
	assert_null(out[sizeof want / sizeof *want]);
	hull_strv_free(out);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		_cleanup_free_ char *file = hull_fmt("\n# first\n%s\n", bad[i]);
		assert_int_equal(from("quotes", file, NULL, &out), -EINVAL);
		assert_non_null(strstr(err.msg, "line 3"));
		hull_strv_free(out);
	}
}

static void refused(const char *name, const char *content, const char *given, int code, const char *word)
{
	char **out = NULL;
	if (from(name, content, given, &out) != code)
		fail_msg("%s: %s", name, err.msg);
	assert_non_null(strstr(err.msg, word));
	assert_int_equal(hull_strv_count(out), 0);
	hull_strv_free(out);
}

static void given_is(const char *name, const char *content, const char *given, const char *want)
{
	char **out = NULL;
	if (from(name, content, given, &out) < 0)
		fail_msg("%s: %s", name, err.msg);
	assert_int_equal(hull_strv_count(out), 1);
	assert_string_equal(out[0], want);
	hull_strv_free(out);
}

static void test_env_of_strangers(void **state)
{
	static const char bare[] = "HULL_TEST_HERE\n";
	setenv("HULL_TEST_HERE", "yes", 1);
	unsetenv("HULL_TEST_NOT");
	/* The person's own file, also beside a sandbox that has other directories. */
	given_is("mine", bare, NULL, "HULL_TEST_HERE=yes");
	given_is("mine", bare, "stranger", "HULL_TEST_HERE=yes");
	/* A guest's, and what a stranger may have brought. */
	refused("ws/env", bare, NULL, -EPERM, "-e HULL_TEST_HERE");
	refused("own/env", bare, NULL, -EPERM, "-e HULL_TEST_HERE");
	refused("stranger/env", bare, "stranger", -EPERM, "-e HULL_TEST_HERE");
	refused("ro/env", bare, "ro:ro", -EPERM, "-e HULL_TEST_HERE");
	given_is("ws/env", "A=b\nHULL_TEST_NOT\n", NULL, "A=b");
	/* A symlink there chooses nothing either. */
	refused("ws/link", NULL, NULL, -ELOOP, "symlink");
	_cleanup_free_ char *to = hull_fmt("%s/secret", base), *at = hull_fmt("%s/stranger/link", base);
	assert_int_equal(symlink(to, at), 0);
	refused("stranger/link", NULL, "stranger", -ELOOP, "symlink");
	given_is("stranger/link", NULL, NULL, "K=secret");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_env_quotes),
		cmocka_unit_test(test_env_of_strangers),
	};
	return cmocka_run_group_tests(tests, setup, home_drop);
}

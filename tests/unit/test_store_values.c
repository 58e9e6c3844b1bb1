/* SPDX-License-Identifier: Apache-2.0 */
/* What the store reads in a sandbox's file: entries of its list of paths, members of JSON. */
#include "store/json.h"
#include "store/store.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_entries(void **state)
{
	static const struct {
		const char *entry, *path;
		enum hull_path_mode mode;
	} cases[] = {
		{"/a", "/a", HULL_PATH_WRITABLE},
		{"/a:ro", "/a", HULL_PATH_READONLY},
		{"/a:git", "/a", HULL_PATH_GIT},
		{"/a:ro:git", "/a:ro", HULL_PATH_GIT},
		{"/a:git:ro", "/a:git", HULL_PATH_READONLY},
		{"/a:rw", "/a:rw", HULL_PATH_WRITABLE},
		{":ro", ":ro", HULL_PATH_WRITABLE},
		{"", "", HULL_PATH_WRITABLE},
	};
	char *const list[] = {(char *)"/ab", (char *)"/a:git", (char *)"/b:ro", NULL};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum hull_path_mode mode;
		assert_int_equal(hull_entry_split(cases[i].entry, &mode), strlen(cases[i].path));
		assert_int_equal(mode, cases[i].mode);
		_cleanup_free_ char *path = hull_entry_path(cases[i].entry);
		_cleanup_free_ char *entry = hull_entry_make(cases[i].path, cases[i].mode);
		assert_string_equal(path, cases[i].path);
		assert_string_equal(entry, cases[i].entry);
	}
	assert_int_equal(hull_entry_find(list, "/a"), 1);
	assert_int_equal(hull_entry_find(list, "/b"), 2);
	assert_int_equal(hull_entry_find(list, "/"), 3);
	assert_int_equal(hull_entry_find(NULL, "/a"), 0);
}

/* Each getter names the first member that is wrong, and returns something that can be freed. */
static void test_json_members(void **state)
{
	json_t *j = json_pack("{s:s, s:s%, s:i, s:i, s:b, s:[s,s], s:[s,i]}", "text", "a", "nul", "a\0b", (size_t)3,
			      "number", 7, "less", -1, "flag", 1, "list", "x", "y", "mixed", "x", 1);
	static const char *const wrong_text[] = {"nul", "number", "none"};
	static const char *const wrong_number[] = {"less", "text", "none", "flag"};
	const char *bad = NULL;
	assert_non_null(j);
	_cleanup_free_ char *text = hull_json_str(j, "text", true, &bad);
	assert_string_equal(text, "a");
	assert_null(hull_json_str(j, "none", false, &bad));
	assert_int_equal(hull_json_uint(j, "number", true, 7, 7, &bad), 7);
	assert_int_equal(hull_json_uint(j, "none", false, 1, 7, &bad), 0);
	assert_true(hull_json_bool(j, "flag", true, &bad) && !hull_json_bool(j, "none", false, &bad));
	char **list = hull_json_list(j, "list", 2, &bad);
	assert_int_equal(hull_strv_count(list), 2);
	hull_strv_free(list);
	assert_null(bad);
	for (size_t i = 0; i < 3; i++, bad = NULL) {
		assert_null(hull_json_str(j, wrong_text[i], true, &bad));
		assert_string_equal(bad, wrong_text[i]);
	}
	for (size_t i = 0; i < 4; i++, bad = NULL) {
		assert_int_equal(hull_json_uint(j, wrong_number[i], true, 0, 99, &bad), 0);
		assert_string_equal(bad, wrong_number[i]);
	}
	hull_json_uint(j, "number", true, 8, 99, &bad);
	hull_json_uint(j, "less", true, 0, 99, &bad);
	assert_string_equal(bad, "number");
	bad = NULL;
	hull_json_bool(j, "none", true, &bad);
	assert_string_equal(bad, "none");
	bad = NULL;
	hull_strv_free(hull_json_list(j, "mixed", 2, &bad));
	assert_string_equal(bad, "mixed");
	bad = NULL;
	hull_strv_free(hull_json_list(j, "list", 1, &bad));
	assert_string_equal(bad, "list");
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_json_members),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

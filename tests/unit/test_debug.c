/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for whoever looks for a fault: levels by area, nothing evaluated while they are off, and a stream's number in
 * the lines of both ends of a wire. */
#include "wire_rig.h"

#include "base/cleanup.h"
#include "base/debug.h"
#include "wire/args.h"
#include "wire/service.h"

static struct hull_buf lines;

static void collect(const char *line)
{
	hull_buf_add(&lines, line, strlen(line));
	hull_buf_add(&lines, "\n", 1);
}

static const char *text(void)
{
	hull_buf_add(&lines, "", 1);
	lines.len--;
	return (const char *)hull_buf_bytes(&lines);
}

static int setup(void **state)
{
	memset(hull_debug_levels, 0, sizeof hull_debug_levels);
	hull_buf_free(&lines);
	hull_debug_sink(collect);
	return 0;
}

static void test_levels(void **state)
{
	struct hull_error err;
	char out[HULL_DEBUG_TEXT];
	assert_string_equal(hull_debug_text(out), "");
	assert_int_equal(hull_debug_set(NULL, &err), 0);
	assert_int_equal(hull_debug_set("keeper=debug,wire=trace", &err), 0);
	assert_string_equal(hull_debug_text(out), "keeper=debug,wire=trace");
	assert_int_equal(hull_debug_set("wire=off,share=trace", &err), 0);
	assert_string_equal(hull_debug_text(out), "keeper=debug,share=trace");
	static const char *const wrong[] = {"loud",         "keeper",         "keeper=",  "=debug",
					    "kernel=debug", "keeper=debug,,", "trace,x=y"};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_int_equal(hull_debug_set(wrong[i], &err), -EINVAL);
		assert_non_null(strstr(err.msg, "levels are off, debug and trace"));
		assert_string_equal(hull_debug_text(out), "keeper=debug,share=trace"); /* nothing of it counts */
	}
	assert_int_equal(hull_debug_set("trace", &err), 0);
	assert_true(strlen(hull_debug_text(out)) < HULL_DEBUG_TEXT - 1);
	assert_int_equal(hull_debug_set("off", &err), 0);
	assert_string_equal(hull_debug_text(out), "");
}

static void test_option(void **state)
{
	struct hull_error err;
	char *argv[] = {(char *)"hull", (char *)"--debug", (char *)"ls", NULL};
	int argc = 3;
	unsetenv("HULL_LOG");
	assert_int_equal(hull_debug_init(&argc, argv, &err), 0);
	assert_int_equal(argc, 2);
	assert_string_equal(argv[1], "ls");
	assert_null(argv[2]);
	for (size_t i = 0; i < HULL_AREA_COUNT; i++)
		assert_int_equal(hull_debug_levels[i], HULL_LEVEL_DEBUG);
	setenv("HULL_LOG", "wire=trace", 1); /* says more precisely what is wanted */
	assert_int_equal(hull_debug_init(&argc, argv, &err), 0);
	assert_int_equal(hull_debug_levels[HULL_AREA_WIRE], HULL_LEVEL_TRACE);
	setenv("HULL_LOG", "nonsense", 1);
	assert_int_equal(hull_debug_init(&argc, argv, &err), -EINVAL);
	unsetenv("HULL_LOG");
}

static int evaluated(int *count)
{
	return ++*count;
}

static void test_off_costs_nothing(void **state)
{
	int count = 0;
	hull_debug(HULL_AREA_CLI, "%d", evaluated(&count));
	hull_trace(HULL_AREA_CLI, "%d", evaluated(&count));
	assert_int_equal(count, 0);
	hull_debug_levels[HULL_AREA_CLI] = HULL_LEVEL_DEBUG;
	hull_debug(HULL_AREA_CLI, "%d", evaluated(&count));
	hull_trace(HULL_AREA_CLI, "%d", evaluated(&count));
	hull_debug(HULL_AREA_KEEPER, "%d", evaluated(&count));
	assert_int_equal(count, 1);
	assert_string_equal(text(), "cli debug: 1\n");
}

static unsigned occurrences(const char *in, const char *what)
{
	unsigned n = 0;
	for (const char *p = in; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

static void test_stream_by_number(void **state)
{
	struct end host;
	struct end guest;
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	assert_int_equal(hull_args_put_str(&args, HULL_TAG_ARGV, "true"), 0);
	assert_int_equal(hull_args_put_u32(&args, HULL_TAG_TRACE, 0x1234abcd), 0);
	pair_init(&host, &guest);
	guest.auto_accept = true;
	uint32_t silent;
	uint32_t id;
	assert_int_equal(hull_wire_open(host.w, 2, hull_buf_bytes(&args), args.len, NULL, &silent), 0);
	pump(&host, &guest);
	assert_string_equal(text(), "");
	hull_debug_levels[HULL_AREA_WIRE] = HULL_LEVEL_TRACE;
	assert_int_equal(hull_wire_open(host.w, 2, hull_buf_bytes(&args), args.len, NULL, &id), 0);
	pump(&host, &guest);
	assert_int_equal(hull_wire_write(host.w, id, 0, "abc", 3), 3);
	assert_int_equal(hull_wire_write(host.w, id, 0, "de", 2), 2); /* joins the frame before it */
	pump(&host, &guest);
	assert_int_equal(hull_wire_reset(guest.w, id, EIO, "no"), 0);
	pump(&host, &guest);
	const char *all = text();
	assert_non_null(strstr(all, "wire trace: to guest side #3 OPEN "));
	assert_non_null(strstr(all, "wire trace: from host side #3 OPEN "));
	assert_non_null(strstr(all, "wire trace: to guest side #3 DATA 3 bytes, flags 0 [1234abcd]\n"));
	assert_non_null(strstr(all, "wire trace: to guest side #3 DATA 2 bytes, flags 0 [1234abcd]\n"));
	assert_non_null(strstr(all, "wire trace: from host side #3 DATA 5 bytes, flags 0 [1234abcd]\n"));
	assert_non_null(strstr(all, "wire trace: from guest side #3 RESET "));
	/* OPEN twice, ACCEPT twice, DATA three times, RESET twice. */
	assert_int_equal(occurrences(all, "[1234abcd]"), 9);
	assert_null(strstr(all, "abc\n")); /* nothing of what is in the frames */
	end_free(&host);
	end_free(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_levels, setup),
		cmocka_unit_test_setup(test_option, setup),
		cmocka_unit_test_setup(test_off_costs_nothing, setup),
		cmocka_unit_test_setup(test_stream_by_number, setup),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	hull_buf_free(&lines);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The published ports of a sandbox that does not run: written down for its next start. */
#include "home_rig.h"
#include "lib/handle.h"

static struct hull *h;
static struct hull_error err;

static int setup(void **state)
{
	char *none[] = {NULL};
	if (home_make("true") != 0 || home_save(none, &err) < 0)
		return -1;
	setenv("HULL_HOME", paths.home, 1);
	setenv("XDG_RUNTIME_DIR", paths.runtime, 1);
	setenv("XDG_CONFIG_HOME", paths.config, 1);
	return hull_open(&h, NULL, &err);
}

static int teardown(void **state)
{
	hull_close(h);
	return home_drop(state);
}

static void assert_ports(const char *const *specs)
{
	struct hull_port_info **list = NULL;
	assert_int_equal(hull_ports(h, "web", &list, &err), 0);
	size_t n = 0;
	for (; specs[n]; n++) {
		assert_non_null(list[n]);
		assert_string_equal(list[n]->spec, specs[n]);
		assert_null(list[n]->bound[0]);
		assert_null(list[n]->error);
	}
	assert_null(list[n]);
	hull_ports_free(list);
}

static void test_stopped(void **state)
{
	assert_ports((const char *const[]){NULL});
	assert_int_equal(hull_publish(h, "web", "8080:80", &err), 0);
	assert_int_equal(hull_publish(h, "web", "5353:53/udp", &err), 0);
	assert_ports((const char *const[]){"8080:80/tcp", "5353:53/udp", NULL});
	assert_int_equal(hull_publish(h, "web", "8080:80", &err), -EEXIST);
	assert_int_equal(hull_publish(h, "web", "0", &err), -EINVAL);
	assert_int_equal(hull_publish(h, "none", "80", &err), -ENOENT);
	/* Of another protocol, or another port of the host. */
	assert_int_equal(hull_unpublish(h, "web", "80/udp", &err), -ENOENT);
	assert_int_equal(hull_unpublish(h, "web", "8081:80", &err), -ENOENT);
	assert_ports((const char *const[]){"8080:80/tcp", "5353:53/udp", NULL});
	assert_int_equal(hull_unpublish(h, "web", "80", &err), 0);
	assert_ports((const char *const[]){"5353:53/udp", NULL});
	/* Nothing holds its lock afterwards. */
	_cleanup_close_ int lock = hull_sandbox_lock(&h->paths, "web", &err);
	assert_true(lock >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_stopped)};
	return cmocka_run_group_tests(tests, setup, teardown);
}

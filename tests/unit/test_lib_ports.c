/* SPDX-License-Identifier: Apache-2.0 */
/* The published ports of a sandbox that does not run: written down for its next start. */
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
#include "lib/handle.h"

#include <fcntl.h>
#include <time.h>

static char home[64];
static struct hull *h;
static struct hull_error err;

static int setup(void **state)
{
	char *none[] = {NULL};
	snprintf(home, sizeof(home), "/tmp/hull-test-ports-XXXXXX");
	if (!mkdtemp(home))
		return -1;
	_cleanup_free_ char *config = hull_fmt("%s/config", home);
	_cleanup_free_ char *seed_img = hull_fmt("%s/seed", home);
	setenv("HULL_HOME", home, 1);
	setenv("XDG_RUNTIME_DIR", home, 1);
	setenv("XDG_CONFIG_HOME", config, 1);
	if (hull_open(&h, NULL, &err) < 0 || hull_write_file_atomic(AT_FDCWD, seed_img, "disk", 4, 0600, &err) < 0)
		return -1;
	_cleanup_close_ int seed = open(seed_img, O_RDONLY | O_CLOEXEC);
	struct hull_sandbox s = {.name = (char *)"web",
				 .agent = (char *)"shell",
				 .engine = (char *)"auto",
				 .image = (char *)"none",
				 .cpus = 1,
				 .memory = 1 << 30,
				 .disk = 1 << 30,
				 .env = none,
				 .paths = none,
				 .state = (char *)"stopped",
				 .created = (uint64_t)time(NULL)};
	return hull_sandbox_create(&h->paths, &s, seed, true, &err);
}

static int teardown(void **state)
{
	hull_close(h);
	_cleanup_close_ int fd = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return hull_remove_tree(fd, home + 5, NULL);
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

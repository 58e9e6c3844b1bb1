/* SPDX-License-Identifier: Apache-2.0 */
/* When dockerd may be frozen, from a daemon.json that the sandbox's user may have written, and from a process's
 * sockets: this one's. */
#include "guest/docker/idle.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netinet/in.h>

#include <cmocka.h>

static struct hull_docker_config config(const void *text, size_t n)
{
	_cleanup_close_ int fd = memfd_create("daemon.json", MFD_CLOEXEC);
	assert_int_equal(write(fd, text, n), (ssize_t)n);
	lseek(fd, 0, SEEK_SET);
	return hull_docker_config_read(fd);
}

static void test_config(void **state)
{
	static const struct {
		const char *text;
		bool hosts, more;
	} cases[] = {
		{"", false, false},
		{"{}", false, false},
		{"{\"cgroup-parent\": \"/work/docker\", \"debug\": true}", false, false},
		{"{\"hosts\": [\"fd://\"]}", true, true},
		{"{\"hosts\"\n\t:[\"tcp://127.0.0.1:2375\"]}", true, true},
		{"{\"Hosts\": []}", false, true},
		{"{\"labels\": [\"hosts\"]}", false, true}, /* no key, but who knows */
		{"{\"h\\u006fsts\": []}", false, true},
		{"{\"metrics-addr\": \"127.0.0.1:9323\"}", false, true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct hull_docker_config c = config(cases[i].text, strlen(cases[i].text));
		assert_int_equal(c.hosts, cases[i].hosts);
		assert_int_equal(c.more, cases[i].more);
	}
	assert_true(config("{}\0hosts", 8).more);
}

/* No file is no listener; one that cannot be read whole may be any. */
static void test_unreadable(void **state)
{
	assert_false(hull_docker_config_read(-ENOENT).more);
	assert_true(hull_docker_config_read(-EXDEV).more);
	_cleanup_free_ char *large = malloc(300 << 10);
	memset(large, ' ', 300 << 10);
	assert_true(config(large, 300 << 10).more);
	/* A FIFO is not waited for. */
	char dir[] = "/tmp/hull-test-rest-XXXXXX", path[64];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	_cleanup_close_ int both = open(path, O_RDWR | O_CLOEXEC);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(both >= 0 && hull_docker_config_read(fd).more);
	unlink(path);
	rmdir(dir);
}

static void listens_on(int family, const struct sockaddr *where, socklen_t len)
{
	_cleanup_close_ int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, where, len) < 0)
		return; /* a machine without IPv6 */
	assert_false(hull_listens_on_tcp(proc));
	assert_int_equal(listen(fd, 1), 0);
	assert_true(hull_listens_on_tcp(proc));
}

static void test_listener(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	listens_on(AF_INET, (const struct sockaddr *)&in, sizeof(in));
	listens_on(AF_INET6, (const struct sockaddr *)&in6, sizeof(in6));
	assert_true(hull_listens_on_tcp(-1));
}

static void test_company(void **state)
{
	static const struct {
		const char *procs;
		int pid;
		bool more;
	} cases[] = {{"", 0, false},    {"7\n", 0, false},   {"7\n8\n", 0, true},
		     {"7\n", 7, false}, {"7\n8\n", 7, true}, {"8\n", 7, true}};
	char dir[] = "/tmp/hull-test-rest-XXXXXX";
	assert_non_null(mkdtemp(dir));
	_cleanup_close_ int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(hull_cgroup_has_more(at, 0)); /* nothing to read */
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_close_ int fd = openat(at, "cgroup.procs", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, cases[i].procs, strlen(cases[i].procs)), (ssize_t)strlen(cases[i].procs));
		assert_int_equal(hull_cgroup_has_more(at, cases[i].pid), cases[i].more);
	}
	unlinkat(at, "cgroup.procs", 0);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_listener),
		cmocka_unit_test(test_company),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

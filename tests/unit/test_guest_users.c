/* SPDX-License-Identifier: Apache-2.0 */
/* Who a session runs as, from passwd and group files that the sandbox's user may have written. */
#include "guest/session/users.h"

#include "base/cleanup.h"
#include "guest/core/own.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char passwd_path[] = "/tmp/hull-test-passwd-XXXXXX";
static char group_path[] = "/tmp/hull-test-group-XXXXXX";

static const char passwd_text[] = "root:x:0:0:root:/root:/bin/bash\n"
				  "\n"
				  "no colons here\n"
				  "short:x:5\n"
				  "minus:x:4294967295:0::/:/bin/sh\n"
				  "huge:x:99999999999999999999:0::/:/bin/sh\n"
				  "agent:x:1000:1001:Agent,,,:/home/agent:/bin/bash\n"
				  "agent:x:0:0:a second line of that name:/root:/bin/bash\n"
				  "bare:x:1002:1002::relative/home:\n"
				  "1500:x:77:77::/named-like-a-number:/bin/sh";

static const char group_text[] = "root:x:0:\n"
				 "sudo:x:27:agent\n"
				 "agentx:x:28:xagent,agentx\n"
				 "docker:x:102:other,agent,more\n"
				 "twice:x:103:agent,agent\n"
				 "broken:x:-1:agent\n"
				 "nogid\n"
				 "staff:x:50";

static void put(char *path, const char *text)
{
	_cleanup_close_ int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int files_make(void **state)
{
	put(passwd_path, passwd_text);
	put(group_path, group_text);
	return 0;
}

static int files_remove(void **state)
{
	unlink(passwd_path);
	unlink(group_path);
	return 0;
}

static int find(const char *spec, struct hull_user *u)
{
	struct hull_error err = {0};
	int r = hull_user_find(spec, passwd_path, group_path, u, &err);
	if (r < 0)
		assert_string_not_equal(err.msg, "");
	return r;
}

static void test_by_name(void **state)
{
	_cleanup_(hull_user_free) struct hull_user u = {0};
	assert_int_equal(find("agent", &u), 0);
	assert_int_equal(u.uid, 1000);
	assert_int_equal(u.gid, 1001);
	assert_string_equal(u.name, "agent");
	assert_string_equal(u.home, "/home/agent");
	assert_string_equal(u.shell, "/bin/bash");
	assert_int_equal(u.group_count, 3);
	assert_int_equal(u.groups[0], 27);
	assert_int_equal(u.groups[1], 102);
	assert_int_equal(u.groups[2], 103);
}

static void test_by_number(void **state)
{
	_cleanup_(hull_user_free) struct hull_user u = {0};
	assert_int_equal(find("1000", &u), 0);
	assert_string_equal(u.name, "agent");
	assert_int_equal(u.group_count, 3);
	hull_user_free(&u);

	/* a number is a number, also when somebody has it for a name */
	assert_int_equal(find("1500", &u), 0);
	assert_int_equal(u.uid, 1500);
	assert_int_equal(u.gid, 0);
	assert_string_equal(u.name, "1500");
	assert_string_equal(u.home, "/");
	assert_string_equal(u.shell, "/bin/sh");
	assert_int_equal(u.group_count, 0);
}

static void test_with_group(void **state)
{
	_cleanup_(hull_user_free) struct hull_user u = {0};
	assert_int_equal(find("agent:staff", &u), 0);
	assert_int_equal(u.gid, 50);
	assert_int_equal(u.group_count, 0);
	hull_user_free(&u);
	assert_int_equal(find("1000:55", &u), 0);
	assert_int_equal(u.uid, 1000);
	assert_int_equal(u.gid, 55);
}

static void test_unknown(void **state)
{
	struct hull_user u = {0};
	assert_int_equal(find("nobody-here", &u), -ESRCH);
	assert_int_equal(find("", &u), -ESRCH);
	assert_int_equal(find("agent:", &u), -ESRCH);
	assert_int_equal(find("agent:nogroup", &u), -ESRCH);
	assert_int_equal(find(":root", &u), -ESRCH);
	assert_int_equal(find("-1", &u), -ESRCH);
	/* lines that are not well-formed, or name an id that is none */
	assert_int_equal(find("short", &u), -ESRCH);
	assert_int_equal(find("minus", &u), -ESRCH);
	assert_int_equal(find("huge", &u), -ESRCH);
	assert_int_equal(find("agent:broken", &u), -ESRCH);
	assert_int_equal(find("4294967295", &u), -ESRCH);
	assert_null(u.name);
}

static void test_odd_fields(void **state)
{
	_cleanup_(hull_user_free) struct hull_user u = {0};
	assert_int_equal(find("bare", &u), 0);
	assert_string_equal(u.home, "/");
	assert_string_equal(u.shell, "/bin/sh");
}

static void test_no_files(void **state)
{
	_cleanup_(hull_user_free) struct hull_user u = {0};
	struct hull_error err = {0};
	assert_int_equal(hull_user_find("agent", "/nonexistent/passwd", "/nonexistent/group", &u, &err), -ESRCH);
	assert_int_equal(hull_user_find("0", "/nonexistent/passwd", "/nonexistent/group", &u, &err), 0);
	assert_int_equal(u.uid, 0);
}

/* The root's own files are opened without entering a mount, by symlinks neither: /proc is one everywhere. */
static void test_own_files(void **state)
{
	char link[] = "/tmp/hull-test-own.XXXXXX", path[32], c;
	_cleanup_close_ int made = mkstemp(link);
	assert_true(made >= 0);
	int direct = hull_own_open("/proc/self/status", O_RDONLY, 0);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("/proc/self/status", link), 0);
	int by_link = hull_own_open(link, O_RDONLY, 0);
	unlink(link);
	assert_int_equal(direct, -EXDEV);
	assert_int_equal(by_link, -EXDEV);
	assert_int_equal(hull_own_open("/no such thing", O_RDONLY, 0), -ENOENT);
	_cleanup_close_ int passwd = hull_own_open("/etc/passwd", O_RDONLY, 0);
	assert_true(passwd >= 0);
	hull_own_path(passwd, path);
	_cleanup_close_ int again = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(again, &c, 1), 1);
}

/* A FIFO in the place of a file is refused: to open it would be to wait for its writer. */
static void test_fifo(void **state)
{
	char dir[] = "/tmp/hull-test-fifo.XXXXXX", path[64];
	_cleanup_(hull_user_free) struct hull_user u = {0};
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	struct hull_error err = {0};
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	int user = hull_user_find("agent", path, path, &u, &err);
	int own = hull_own_read(path, 4096, &text);
	unlink(path);
	rmdir(dir);
	assert_int_equal(user, -EINVAL);
	assert_int_equal(own, -EINVAL);
}

/* Directories on the way are made where they are missing; nothing leads up. */
static void test_own_make_dir(void **state)
{
	char root[] = "/tmp/hull-test-dirs.XXXXXX", path[64];
	struct stat st;
	assert_non_null(mkdtemp(root));
	_cleanup_close_ int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int made = hull_own_make_dir(fd, "/a//b");
	_cleanup_close_ int again = hull_own_make_dir(fd, "a/b/");
	int up = hull_own_make_dir(fd, "a/../c");
	snprintf(path, sizeof(path), "%s/a/b", root);
	bool there = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
	unlinkat(fd, "a/b", AT_REMOVEDIR);
	unlinkat(fd, "a", AT_REMOVEDIR);
	rmdir(root);
	assert_true(made >= 0 && again >= 0);
	assert_true(there);
	assert_int_equal(up, -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_name),      cmocka_unit_test(test_by_number),
		cmocka_unit_test(test_with_group),   cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_odd_fields),   cmocka_unit_test(test_no_files),
		cmocka_unit_test(test_own_files),    cmocka_unit_test(test_fifo),
		cmocka_unit_test(test_own_make_dir),
	};
	return cmocka_run_group_tests_name("guest_users", tests, files_make, files_remove);
}

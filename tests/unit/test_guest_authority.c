/* SPDX-License-Identifier: Apache-2.0 */
/* The trust store in the guest: what is added is what the host gave, goes when it does not, and never into a mount. */
#include "guest/identity/identity.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PEM(x) "-----BEGIN CERTIFICATE-----\n" x "\n-----END CERTIFICATE-----\n"
#define BUNDLE "etc/ssl/certs/ca-certificates.crt"
#define LOCAL  "usr/local/share/ca-certificates"

struct fixture {
	char dir[32];
	int root;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/hull-auth.XXXXXX");
	f->root = mkdtemp(f->dir) ? open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (f->root < 0 || mkdirat(f->root, "etc", 0755) < 0 || mkdirat(f->root, "etc/ssl", 0755) < 0 ||
	    mkdirat(f->root, "etc/ssl/certs", 0755) < 0)
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	close(f->root);
	hull_remove_tree(AT_FDCWD, f->dir, NULL);
	free(f);
	return 0;
}

static int install(struct fixture *f, const char *const *pems, bool *there)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	struct hull_error err = {0};
	for (; *pems; pems++) {
		hull_args_put_u32(&b, HULL_TAG_CA_HASH, 0xabc);
		hull_args_put_str(&b, HULL_TAG_CA, *pems);
	}
	int r = hull_authority_install(f->root, hull_buf_bytes(&b), b.len, there, &err);
	if (r < 0)
		assert_string_not_equal(err.msg, "");
	return r;
}

static void put(struct fixture *f, const char *name, const char *text)
{
	assert_int_equal(hull_write_file_atomic(f->root, name, text, strlen(text), 0644, NULL), 0);
}

static void is(struct fixture *f, const char *name, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	assert_int_equal(hull_read_file(f->root, name, 1 << 20, &b, NULL), 0);
	assert_string_equal((char *)hull_buf_bytes(&b), text);
}

static void link_is(struct fixture *f, const char *name, const char *target)
{
	char text[256] = "";
	assert_true(readlinkat(f->root, name, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, target);
}

static bool there_is(struct fixture *f, const char *name)
{
	struct stat st;
	return fstatat(f->root, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void test_comes_and_goes(void **state)
{
	struct fixture *f = *state;
	bool there = true;
	static const char own[] = "# the image's\n" PEM("AAAA") PEM("BBBB");
	put(f, BUNDLE, own);
	assert_int_equal(symlinkat("x.pem", f->root, "etc/ssl/certs/00000abc.0"), 0);
	/* None, and none before: nothing is touched. */
	assert_int_equal(install(f, (const char *const[]){NULL}, &there), 0);
	assert_false(there);
	assert_false(there_is(f, LOCAL));
	/* One that the image has is not ours to take away. */
	const char *const two[] = {PEM("BBBB"), PEM("CCCC"), PEM("DDDD"), NULL};
	assert_int_equal(install(f, two, &there), 0);
	assert_true(there);
	is(f, BUNDLE, "# the image's\n" PEM("AAAA") PEM("BBBB") PEM("CCCC") PEM("DDDD"));
	is(f, "etc/ssl/hull-ca.pem", PEM("BBBB") PEM("CCCC") PEM("DDDD"));
	is(f, LOCAL "/hull-ca-0.crt", PEM("CCCC"));
	is(f, LOCAL "/hull-ca-1.crt", PEM("DDDD"));
	link_is(f, "etc/ssl/certs/hull-ca-1.pem", "/" LOCAL "/hull-ca-1.crt");
	link_is(f, "etc/ssl/certs/00000abc.0", "x.pem");
	link_is(f, "etc/ssl/certs/00000abc.1", "hull-ca-0.pem");
	link_is(f, "etc/ssl/certs/00000abc.2", "hull-ca-1.pem");
	/* Again the same; and when the distribution's program has written the bundle anew without us. */
	assert_int_equal(install(f, two, &there), 0);
	is(f, BUNDLE, "# the image's\n" PEM("AAAA") PEM("BBBB") PEM("CCCC") PEM("DDDD"));
	put(f, BUNDLE, own);
	assert_int_equal(install(f, two, &there), 0);
	is(f, BUNDLE, "# the image's\n" PEM("AAAA") PEM("BBBB") PEM("CCCC") PEM("DDDD"));
	/* A renewed one. */
	assert_int_equal(install(f, (const char *const[]){PEM("EEEE"), NULL}, &there), 0);
	is(f, BUNDLE, "# the image's\n" PEM("AAAA") PEM("BBBB") PEM("EEEE"));
	is(f, LOCAL "/hull-ca-0.crt", PEM("EEEE"));
	assert_false(there_is(f, LOCAL "/hull-ca-1.crt"));
	assert_false(there_is(f, "etc/ssl/certs/00000abc.2"));
	/* None any more. */
	assert_int_equal(install(f, (const char *const[]){NULL}, &there), 0);
	assert_false(there);
	is(f, BUNDLE, own);
	assert_false(there_is(f, LOCAL "/hull-ca-0.crt"));
	assert_false(there_is(f, "etc/ssl/certs/hull-ca-0.pem"));
	assert_false(there_is(f, "etc/ssl/certs/00000abc.1"));
	assert_false(there_is(f, "etc/ssl/hull-ca.pem"));
	assert_false(there_is(f, "etc/ssl/hull-ca.added"));
	link_is(f, "etc/ssl/certs/00000abc.0", "x.pem");
}

/* An image without a store gets one; a bundle without a newline at its end stays readable; bytes that are no whole
 * certificate are not added. */
static void test_odd(void **state)
{
	struct fixture *f = *state;
	bool there;
	assert_int_equal(unlinkat(f->root, "etc/ssl/certs", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(f->root, "etc/ssl", AT_REMOVEDIR), 0);
	const char *const one[] = {PEM("CCCC"), "-----BEGIN CERTIFICATE-----\nXX", PEM("A") "tail", "", NULL};
	assert_int_equal(install(f, one, &there), 0);
	assert_true(there);
	is(f, BUNDLE, PEM("CCCC"));
	put(f, BUNDLE, PEM("AAAA") "# no newline");
	assert_int_equal(install(f, one, &there), 0);
	is(f, BUNDLE, PEM("AAAA") "# no newline\n" PEM("CCCC"));
	/* A start that was cut short after the record: the next one takes everything back. */
	assert_int_equal(unlinkat(f->root, "etc/ssl/certs/hull-ca-0.pem", 0), 0);
	assert_int_equal(install(f, (const char *const[]){NULL}, &there), 0);
	is(f, BUNDLE, PEM("AAAA") "# no newline\n");
	/* A bundle that is no file is left alone, and nothing claims that it has them. */
	assert_int_equal(unlinkat(f->root, BUNDLE, 0), 0);
	assert_int_equal(mkfifoat(f->root, BUNDLE, 0644), 0);
	assert_true(install(f, one, &there) < 0);
	assert_false(there);
}

/* As PID 1 may be while workspaces are mounted: one of them on the way. */
static int in_a_mount(struct fixture *f, const char *where)
{
	bool there = true;
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", f->dir, where);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || mount("none", path, "tmpfs", 0, NULL) < 0)
		return 77;
	f->root = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* that of this namespace */
	_cleanup_close_ int inside = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = install(f, (const char *const[]){PEM("CCCC"), NULL}, &there);
	bool empty = faccessat(inside, "ca-certificates.crt", F_OK, 0) < 0 && faccessat(inside, "certs", F_OK, 0) < 0 &&
		     faccessat(inside, "hull-ca-0.crt", F_OK, 0) < 0 && faccessat(inside, "hull-ca.pem", F_OK, 0) < 0;
	return r == -EXDEV && !there && empty ? 0 : 1;
}

static void test_no_mount_is_entered(void **state)
{
	struct fixture *f = *state;
	static const char *const where[] = {"etc/ssl/certs", "etc/ssl", LOCAL};
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", f->dir, LOCAL);
	assert_int_equal(hull_mkdir_all(path, 0755, NULL), 0);
	for (size_t i = 0; i < 3; i++) {
		int status = 0;
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			_exit(in_a_mount(f, where[i]));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 77)
			skip(); /* no user namespaces here */
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_comes_and_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_mount_is_entered, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

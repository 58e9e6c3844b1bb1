/* SPDX-License-Identifier: Apache-2.0 */
/* Exec requests: what OPEN's arguments become, and what is refused. */
#include "guest/identity/gitconfig.h"
#include "guest/session/oom.h"
#include "guest/session/request.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int read_it(const struct hull_buf *b, struct hull_request *r)
{
	struct hull_error err = {0};
	int e = hull_request_read(hull_buf_bytes(b), b->len, r, &err);
	if (e < 0)
		assert_string_not_equal(err.msg, "");
	return e;
}

static int read_one(uint16_t tag, const char *value, size_t n)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_(hull_request_free) struct hull_request r = {0};
	hull_args_put(&b, tag, value, n);
	return read_it(&b, &r);
}

static const char *get(const struct hull_request *r, const char *name)
{
	const char *found = NULL;
	size_t n = strlen(name);
	for (size_t i = 0; i < r->envc; i++) {
		if (strncmp(r->env[i], name, n) == 0 && r->env[i][n] == '=') {
			assert_null(found);
			found = r->env[i] + n + 1;
		}
	}
	assert_null(r->env[r->envc]);
	return found;
}

static struct hull_user agent(void)
{
	static char name[] = "agent", home[] = "/home/agent", shell[] = "/usr/bin/zsh";
	return (struct hull_user){.uid = 1000, .gid = 1000, .name = name, .home = home, .shell = shell};
}

static void test_command(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_(hull_request_free) struct hull_request r = {0};
	struct hull_user u = agent();
	hull_args_put_str(&b, HULL_TAG_ARGV, "make");
	hull_args_put_str(&b, HULL_TAG_ENV, "A=1");
	hull_args_put_str(&b, HULL_TAG_ARGV, "");
	hull_args_put_str(&b, 60000, "from a newer peer");
	hull_args_put_str(&b, HULL_TAG_ENV, "PATH=/opt/bin");
	hull_args_put_str(&b, HULL_TAG_ENV, "A=2=3");
	hull_args_put_str(&b, HULL_TAG_ENV, "AB=x");
	hull_args_put_str(&b, HULL_TAG_ENV, "A=");
	hull_args_put_str(&b, HULL_TAG_CWD, "/work");
	hull_args_put_str(&b, HULL_TAG_USER, "agent:docker");
	assert_int_equal(read_it(&b, &r), 0);
	assert_int_equal(hull_request_complete(&r, &u, NULL), 0);
	assert_int_equal(r.argc, 2);
	assert_string_equal(r.argv[0], "make");
	assert_string_equal(r.argv[1], "");
	assert_null(r.argv[2]);
	assert_string_equal(r.program, "make");
	assert_string_equal(r.cwd, "/work");
	assert_string_equal(r.user, "agent:docker");
	assert_false(r.tty);
	assert_string_equal(get(&r, "A"), "");
	assert_string_equal(get(&r, "AB"), "x");
	assert_string_equal(get(&r, "PATH"), "/opt/bin");
	assert_string_equal(get(&r, "HULL_PATH"), "/opt/bin"); /* for login shells */
	assert_string_equal(get(&r, "HOME"), "/home/agent");
	assert_string_equal(get(&r, "USER"), "agent");
	assert_string_equal(get(&r, "LOGNAME"), "agent");
	assert_string_equal(get(&r, "SHELL"), "/usr/bin/zsh");
	assert_string_equal(get(&r, "LANG"), "C.UTF-8");
	assert_null(get(&r, "TERM"));
	assert_string_equal(get(&r, "npm_config_fetch_retry_maxtimeout"), "2000");
	assert_string_equal(get(&r, "PIP_RETRIES"), "2");
	assert_null(get(&r, "SSL_CERT_FILE"));
}

/* Where the host gave authorities, programs with a store of their own hear of it; what the request says wins. */
static void test_authorities(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_(hull_request_free) struct hull_request r = {0};
	const struct hull_user u = {.name = (char *)"a", .home = (char *)"/", .shell = (char *)"/bin/sh"};
	hull_args_put_str(&b, HULL_TAG_ARGV, "make");
	hull_args_put_str(&b, HULL_TAG_ENV, "SSL_CERT_FILE=/mine");
	assert_int_equal(read_it(&b, &r), 0);
	r.authorities = true;
	assert_int_equal(hull_request_complete(&r, &u, NULL), 0);
	assert_string_equal(get(&r, "SSL_CERT_FILE"), "/mine");
	assert_string_equal(get(&r, "NODE_EXTRA_CA_CERTS"), "/etc/ssl/hull-ca.pem");
	assert_string_equal(get(&r, "REQUESTS_CA_BUNDLE"), "/etc/ssl/certs/ca-certificates.crt");
	assert_string_equal(get(&r, "PIP_CERT"), "/etc/ssl/certs/ca-certificates.crt");
}

/* What sudo is told to keep is what is set, but for what sudo sets itself; and what the request says wins. */
static void test_sudo_keeps(void **state)
{
	static const char own[] = " HOME USER LOGNAME SHELL LANG PATH ";
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_(hull_request_free) struct hull_request r = {0};
	const struct hull_user u = {.name = (char *)"a", .home = (char *)"/", .shell = (char *)"/bin/sh"};
	unsigned kept = 0, set = 0;
	hull_args_put_str(&b, HULL_TAG_ARGV, "make");
	hull_args_put_str(&b, HULL_TAG_ENV, "PIP_RETRIES=7");
	assert_int_equal(read_it(&b, &r), 0);
	r.authorities = true;
	assert_int_equal(hull_request_complete(&r, &u, NULL), 0);
	assert_string_equal(get(&r, "PIP_RETRIES"), "7");
	char names[] = HULL_ENV_SUDO;
	for (char *save, *n = strtok_r(names, " ", &save); n; n = strtok_r(NULL, " ", &save), kept++)
		assert_non_null(get(&r, n));
	for (size_t i = 0; i < r.envc; i++) {
		char name[64];
		snprintf(name, sizeof(name), " %.*s ", (int)strcspn(r.env[i], "="), r.env[i]);
		set += strstr(own, name) == NULL;
	}
	assert_int_equal(kept, set);
}

/* The lines for git: first in the file, replaced by later ones, and never more than they should be. */
static void test_gitconfig(void **state)
{
	static const char rest[] = "[safe]\n\tdirectory = *\n";
	_cleanup_(hull_buf_free) struct hull_buf one = {0};
	_cleanup_(hull_buf_free) struct hull_buf two = {0};
	_cleanup_(hull_buf_free) struct hull_buf none = {0};
	assert_int_equal(hull_gitconfig(rest, sizeof(rest) - 1, "A \"B\" \\C", "a@x.org", &one), 0);
	assert_int_equal(hull_buf_add(&one, "", 1), 0);
	const char *text = (const char *)hull_buf_bytes(&one);
	assert_non_null(strstr(text, "[user]\n\tname = \"A \\\"B\\\" \\\\C\"\n\temail = \"a@x.org\"\n"));
	assert_true(strstr(text, "[safe]") > strstr(text, "[user]"));
	one.len--;
	assert_int_equal(hull_gitconfig(hull_buf_bytes(&one), one.len, "New", NULL, &two), 0);
	assert_int_equal(hull_buf_add(&two, "", 1), 0);
	text = (const char *)hull_buf_bytes(&two);
	assert_non_null(strstr(text, "name = \"New\""));
	assert_null(strstr(text, "a@x.org"));
	assert_non_null(strstr(text, rest));
	assert_int_equal(hull_gitconfig(NULL, 0, "x\n[core]", NULL, &none), -EINVAL);
}

static void test_oom_record(void **state)
{
	static const char killed[] =
		"6,1234,99887766,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=7,"
		"mems_allowed=0,oom_memcg=/work,task_memcg=/work,task=py,pid=5,x,pid=123,uid=1000\n"
		" SUBSYSTEM=x\n";
	struct hull_oom o;
	assert_true(hull_oom_record(killed, sizeof(killed) - 1, &o));
	assert_int_equal(o.pid, 123);
	assert_string_equal(o.task, "py,pid=5,x");
	assert_string_equal(o.group, "/work");
	static const char whole[] =
		"6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,global_oom,task_memcg=/work,task=a\033b,"
		"pid=7,uid=0";
	assert_true(hull_oom_record(whole, sizeof(whole) - 1, &o));
	assert_string_equal(o.task, "a?b");
	assert_string_equal(o.group, "");
	/* Not the kernel's word, or not whole. */
	static const char *const not [] = {
		"14,1,2,-;oom-kill:constraint=X,oom_memcg=/work,task=a,pid=7,uid=0",
		"6,1,2,-;killed: oom-kill:task=a,pid=7",
		"6,1,2,-;oom-kill:constraint=X,task=a",
		"6,1,2,-;oom-kill:constraint=X,task=a,pid=1,uid=0",
		"6,1,2,-;oom-kill:constraint=X,task=a,pid=99999999999,uid=0",
		"oom-kill:constraint=X,task=a,pid=7",
		";",
		"",
	};
	for (size_t i = 0; i < sizeof(not ) / sizeof(*not ); i++)
		assert_false(hull_oom_record(not [i], strlen(not [i]), &o));
}

static void test_linkdir(void **state)
{
	for (int given = 0; given < 2; given++) {
		_cleanup_(hull_buf_free) struct hull_buf b = {0};
		_cleanup_(hull_request_free) struct hull_request r = {0};
		struct hull_user u = agent();
		hull_args_put_str(&b, HULL_TAG_ARGV, "pwd");
		hull_args_put_str(&b, HULL_TAG_WORKDIR, "/src/x");
		hull_args_put_str(&b, HULL_TAG_LINKDIR, "/srv/me/x");
		if (given)
			hull_args_put_str(&b, HULL_TAG_CWD, "/tmp");
		assert_int_equal(read_it(&b, &r), 0);
		assert_int_equal(hull_request_complete(&r, &u, NULL), 0);
		assert_string_equal(r.linkdir, "/srv/me/x");
		if (given)
			assert_null(get(&r, "PWD"));
		else
			assert_string_equal(get(&r, "PWD"), "/srv/me/x");
	}
}

static void test_login_shell(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_(hull_request_free) struct hull_request r = {0};
	struct hull_user u = agent();
	hull_args_put_u32(&b, HULL_TAG_TTY, 1);
	hull_args_put_u32(&b, HULL_TAG_ROWS, 30);
	hull_args_put_u32(&b, HULL_TAG_COLS, 100);
	hull_args_put_u32(&b, HULL_TAG_LOGIN, 1);
	assert_int_equal(read_it(&b, &r), 0);
	assert_int_equal(hull_request_complete(&r, &u, NULL), 0);
	assert_null(get(&r, "HULL_PATH"));
	assert_int_equal(r.argc, 1);
	assert_string_equal(r.argv[0], "-zsh");
	assert_string_equal(r.program, "/usr/bin/zsh");
	assert_int_equal(r.rows, 30);
	assert_int_equal(r.cols, 100);
	assert_string_equal(get(&r, "TERM"), "xterm-256color");
}

static void test_refused(void **state)
{
	assert_int_equal(read_one(HULL_TAG_ARGV, "", 0), -EINVAL);
	assert_int_equal(read_one(HULL_TAG_ARGV, "a\0b", 3), -EINVAL);
	assert_int_equal(read_one(HULL_TAG_ENV, "NOVALUE", 7), -EINVAL);
	assert_int_equal(read_one(HULL_TAG_ENV, "=x", 2), -EINVAL);
	assert_int_equal(read_one(HULL_TAG_CWD, "relative", 8), -EINVAL);
	assert_int_equal(read_one(HULL_TAG_CWD, "", 0), -EINVAL);
	assert_int_equal(read_one(HULL_TAG_USER, "a\0", 2), -EINVAL);
}

/* Every prefix of a good request is either refused or a shorter good request; none is read past its end. */
static void test_every_prefix(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	hull_args_put_str(&b, HULL_TAG_ARGV, "sh");
	hull_args_put_str(&b, HULL_TAG_ENV, "KEY=value");
	hull_args_put_u32(&b, HULL_TAG_TTY, 1);
	hull_args_put_str(&b, HULL_TAG_CWD, "/");
	for (size_t n = 0; n <= b.len; n++) {
		_cleanup_free_ uint8_t *copy = malloc(n ? n : 1); /* of exactly this size: a sanitizer sees its end */
		_cleanup_(hull_request_free) struct hull_request r = {0};
		assert_non_null(copy);
		memcpy(copy, hull_buf_bytes(&b), n);
		int e = hull_request_read(copy, n, &r, NULL);
		assert_true(e == 0 || e == -EINVAL);
		if (n == b.len)
			assert_int_equal(e, 0);
	}
}

static void test_many(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_(hull_request_free) struct hull_request r = {0};
	struct hull_user u = agent();
	for (int i = 0; i < 60000; i++) {
		char text[32];
		snprintf(text, sizeof(text), "K%d=%d", i % 1000, i);
		hull_args_put_str(&b, HULL_TAG_ENV, text);
	}
	assert_int_equal(read_it(&b, &r), 0);
	assert_int_equal(hull_request_complete(&r, &u, NULL), 0);
	assert_int_equal(r.envc, 1000 + 10);
	assert_string_equal(get(&r, "K7"), "59007");
	for (int i = 0; i < 6000; i++)
		hull_args_put_str(&b, HULL_TAG_ARGV, "x");
	_cleanup_(hull_request_free) struct hull_request more = {0};
	assert_int_equal(read_it(&b, &more), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command),      cmocka_unit_test(test_authorities),
		cmocka_unit_test(test_sudo_keeps),   cmocka_unit_test(test_gitconfig),
		cmocka_unit_test(test_linkdir),      cmocka_unit_test(test_oom_record),
		cmocka_unit_test(test_login_shell),  cmocka_unit_test(test_refused),
		cmocka_unit_test(test_every_prefix), cmocka_unit_test(test_many),
	};
	return cmocka_run_group_tests_name("guest_request", tests, NULL, NULL);
}

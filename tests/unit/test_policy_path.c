/* SPDX-License-Identifier: Apache-2.0 */
/* What can be read in several ways: paths of requests, and addresses with another one inside. */
#include "policy/path.h"
#include "policy/policy.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What servers read in two ways: an allow needs every reading, a deny has every one. */
static void readings(void **state)
{
	static const char *const refused[] = {
		"/admin/delete/../../v1/x",
		"/admin//../v1/x",
		"/admin/%2e%2e/v1/x",
		"/v1x/../v1/a",
		"//v1/a",
		"/v1/..%20/v2",
		"/v1/%20../v2",
		"/v1/%c0%ae%c0%ae/v2",
		"/v1/%e0%80%ae%e0%80%ae/v2",
		"/v1/./x",
		"/v1/%2e/x",
		"/v1/x/..",
		"/v1/x/.",
		"/v1//x",
		"/v1/x//",
		"/v1/%2fx",
		"/v1/%5c..%5cx",
		"/v1/a\\b",
		"/v1/%252e%252e/x",
		"/v1/%u002e%u002e/x",
		"/v1/x%00",
		"/v1/x%0a",
		"/v1/...;/x",
		"/v1/;a/x",
		"/v1/..;/x",
		"/v1/%ff",
		"/v1/%ff/../x",
		("/..\xea\xff\xff\xff"
		 "43/.."),
		"/v1/caf%e9",
		"/v1/%ef%bc%8f..%ef%bc%8fx",
		"/v1/%ef%bc%8e%ef%bc%8e/x",
		"/v1/%2e%ef%bc%8e/x",
		"/v1/%2e%2e%3fx/y",
		"/V1/x",
		"/%761/x",
		"/%76%31/x",
		"/status;x",
		"/status;x/../a",
		"/status%3f/x",
		"/v1",
		"",
		"*",
	};
	static const char *const allowed[] = {
		"/v1/",
		"/v1/x",
		"/v1/x/",
		"/v1/a%20b",
		"/v1/caf%c3%a9",
		"/v1/caf\xc3\xa9",
		"/v1/x;y=z",
		"/v1/.well-known",
		"/v1/a..b",
		"/v1/x.",
		"/v1/x%20",
		"/v1/C%23",
		"/v1/a%3fb",
		"/v1/%7Eme",
		"/status",

		"/my%20docs/a",
		"/v1/%f0%9f%90%b3",
		"/v1/%ef%bc%88x%ef%bc%89",
	};
	static const char *const denied[] = {
		"/admin",
		"/admin/",
		"/admin/x",
		"/ADMIN/x",
		"/Admin",
		"/admin./x",
		"/admin%20/x",
		"/admin.",
		"/admin%20",
		"/x/../admin",
		"/admin;x",
		"/admin;x/y",
		"/%61dmin/x",
		"//admin",
		"/admin%3fx",
		"/admin%23",
		"/%c1%a1dmin/x",
		"/x%c0%afadmin",
		"/%ef%bd%81dmin/x",
		"/x%ef%bc%8fadmin/x",
		"/ad%ffmin",
		"/admin%2fx",
		"/admin%5cx",
		"/admin%00",
		"/admin%25",
		"/x/%2e%2e/admin",
		"/x/%ef%bc%8e%ef%bc%8e/admin/x",
		"/admin%e3%80%80/x",
		"/one",
		"/one/",
		"/ONE",
		"/%u0061dmin",
	};
	static const char *const open[] = {"/",        "/x",         "/administrator", "/x/admin",
					   "/admin-x", "/admin.x/y", "/one/x",         "/a;x=/admin/y",
					   "/x/../y",  "//y",        "/caf%c3%a9"};
	const struct {
		const char *host;
		bool want;
		const char *const *list;
		size_t n;
	} t[] = {
		{"some.com", false, refused, sizeof(refused) / sizeof(*refused)},
		{"some.com", true, allowed, sizeof(allowed) / sizeof(*allowed)},
		{"most.com", false, denied, sizeof(denied) / sizeof(*denied)},
		{"most.com", true, open, sizeof(open) / sizeof(*open)},
	};
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	struct hull_error err;
	assert_int_equal(
		hull_policy_build(
			"preset: locked\nallow: [{host: some.com, paths: [/v1/**, /status, '/my docs/*']}, most.com]\n"
			"deny: [{host: most.com, paths: [/admin/**, /one]}]\n",
			NULL, &p, NULL, &err),
		0);
	for (size_t k = 0; k < sizeof(t) / sizeof(*t); k++)
		for (size_t i = 0; i < t[k].n; i++) {
			struct hull_target q = {.name = t[k].host, .port = 80, .proto = HULL_PROTO_TCP};
			const char *path = t[k].list[i];
			if ((hull_policy_request(&p, &q, "GET", path).verdict == HULL_ALLOW) != t[k].want)
				fail_msg("%s %s: not %d", t[k].host, path, t[k].want);
		}
}

static void globs(void **state)
{
	static const struct {
		const char *glob, *s;
		bool want;
	} t[] = {
		{"/", "/", true},
		{"/a", "/b", false},
		{"/*", "/a", true},
		{"/*", "/a/b", false},
		{"/**", "/a/b", true},
		{"/**", "/", true},
		{"/a/*/c", "/a/b/c", true},
		{"/a/*/c", "/a/b/d/c", false},
		{"/a/**/c", "/a/b/d/c", true},
		{"/*.git", "/x.git", true},
		{"/*.git", "/x.gitx", false},
		{"/**.git/*", "/a/b.git/info", true},
		{"/**.git/*", "/a/b.git/info/refs", false},
		{"", "", true},
		{"", "/", false},
		{"/a*b*c", "/aXbXbXc", true},
		{"/**/x/**", "/a/x/x/b", true},
		{"/a*", "/a", true},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		if (hull_glob(t[i].glob, t[i].s) != t[i].want)
			fail_msg("%s on %s", t[i].glob, t[i].s);
}

/* A rule opens a private address below a public prefix by naming it, as any other. */
static void isatap(void **state)
{
	static const struct {
		const char *rule;
		bool want;
	} t[] = {
		{"::/0", false},
		{"2606:2800::/32", false},
		{"2606:2800::5efe:0:0/96", false},
		{"2606:2800::5efe:a00:0/104", true},
		{"2606:2800::5efe:10.0.0.1", true},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		_cleanup_(hull_policy_free) struct hull_policy p = {0};
		struct hull_error err;
		_cleanup_free_ char *text = hull_fmt("preset: locked\nallow: [a.com, '%s']\n", t[i].rule);
		struct hull_target q = {.port = 443, .proto = HULL_PROTO_TCP};
		assert_int_equal(hull_policy_build(text, NULL, &p, NULL, &err), 0);
		assert_true(hull_addr_parse("2606:2800::5efe:10.0.0.1", &q.addr));
		if ((hull_policy_connect(&p, &q).verdict == HULL_ALLOW) != t[i].want)
			fail_msg("%s", t[i].rule);
		q.name = "a.com";
		if ((hull_policy_address(&p, &q).verdict == HULL_ALLOW) != t[i].want)
			fail_msg("a.com and %s", t[i].rule);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readings),
		cmocka_unit_test(globs),
		cmocka_unit_test(isatap),
	};
	return cmocka_run_group_tests_name("policy_path", tests, NULL, NULL);
}

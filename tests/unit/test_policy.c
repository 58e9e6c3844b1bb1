/* SPDX-License-Identifier: Apache-2.0 */
/* The network policy: rules, files, decisions, and changes to files. Tables of what is said and what must follow. */
#include "policy/policy.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void good_rules(void **state)
{
	static const struct {
		const char *text, *shown; /* NULL = as written */
	} t[] = {
		{"example.com", NULL},
		{"Example.COM.", "example.com"},
		{"*.example.com:443", NULL},
		{"**.example.com:80,443,8000-8100", NULL},
		{"**", NULL},
		{"*", "**"},
		{"**/any", NULL},
		{"10.0.0.0/8", NULL},
		{"10.0.0.0/8:5432", NULL},
		{"1.2.3.4", NULL},
		{"1.2.3.4/32:53/udp", "1.2.3.4:53/udp"},
		{"2001:db8::/32", NULL},
		{"[2001:DB8::1]:443", "[2001:db8::1]:443"},
		{"[2001:db8::]:443", NULL},
		{"::1", NULL},
		{"::ffff:10.1.2.3", "10.1.2.3"},
		{"::/0", NULL},
		{"localhost:5432", NULL},
		{"localhost:*", NULL},
		{"host.docker.internal:80", "localhost:80"},
		{"host.hull.internal:80-90", "localhost:80-90"},
		{"xn--bcher-kva.example:443/tcp", "xn--bcher-kva.example:443"},
		{"_sip.example.com", NULL},
		{"db:5432", NULL},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		_cleanup_(hull_rule_free) struct hull_rule r = {0};
		struct hull_error err = {0};
		if (hull_rule_parse(t[i].text, true, &r, &err) < 0)
			fail_msg("%s: %s", t[i].text, err.msg);
		assert_string_equal(r.text, t[i].shown ? t[i].shown : t[i].text);
		/* What is shown means the same. */
		_cleanup_(hull_rule_free) struct hull_rule again = {0};
		assert_int_equal(hull_rule_parse(r.text, true, &again, &err), 0);
		assert_true(hull_rule_same(&r, &again));
	}
}

static void bad_rules(void **state)
{
	static const char *const t[] = {
		"",
		" ",
		"a b",
		"http://example.com",
		"example.com/path",
		"example.com:0",
		"a.com:65536",
		"a.com:x",
		"a.com:90-80",
		"a.com:",
		"a.com:1,",
		"-a.com",
		"a-.com",
		"a..com",
		".a.com",
		"*.*.com",
		"a*.com",
		"***.com",
		("b\xc3\xbc"
		 "cher.de"),
		"2130706433",
		"0x7f000001",
		"0177.0.0.1",
		"127.1",
		"1.2.3.4.5",
		"1.2.3.256",
		"a.123",
		"a.0x1",
		"10.0.0.1/8",
		"10.0.0.0/33",
		"::/129",
		"2001:db8::1/32",
		"localhost",
		"*.localhost:80",
		"[1.2.3.4]:80",
		"[::1",
		"[::1]80",
		"%00",
		"a.com/sctp",
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct hull_rule r;
		struct hull_error err = {0};
		if (hull_rule_parse(t[i], true, &r, &err) >= 0)
			fail_msg("\"%s\" is taken", t[i]);
		assert_non_null(strstr(err.msg, "is not a rule: "));
	}
	char longest[2000];
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	struct hull_rule r;
	assert_int_equal(hull_rule_parse(longest, true, &r, NULL), -EINVAL);
}

static void special_addresses(void **state)
{
	static const struct {
		const char *text;
		bool special;
	} t[] = {
		{"8.8.8.8", false},
		{"1.1.1.1", false},
		{"151.101.0.1", false},
		{"172.15.255.255", false},
		{"172.32.0.0", false},
		{"100.63.255.255", false},
		{"100.128.0.0", false},
		{"198.17.0.1", false},
		{"11.0.0.0", false},
		{"223.255.255.255", false},
		{"2606:4700::1111", false},
		{"2a00:1450:4001:80b::200e", false},
		{"64:ff9b::8.8.8.8", false},
		{"2002:808:808::1", false},
		{"::ffff:8.8.8.8", false},
		{"0.0.0.0", true},
		{"0.1.2.3", true},
		{"10.0.0.1", true},
		{"100.64.0.1", true},
		{"100.127.255.255", true},
		{"127.0.0.1", true},
		{"127.255.255.255", true},
		{"169.254.169.254", true},
		{"169.254.1.1", true},
		{"172.16.0.1", true},
		{"172.31.255.255", true},
		{"192.168.1.1", true},
		{"192.0.0.8", true},
		{"198.18.0.1", true},
		{"198.19.255.255", true},
		{"224.0.0.1", true},
		{"239.1.1.1", true},
		{"240.0.0.1", true},
		{"255.255.255.255", true},
		{"168.63.129.16", true},
		{"100.100.100.200", true},
		{"::", true},
		{"::1", true},
		{"::2", true},
		{"::127.0.0.1", true},
		{"::ffff:127.0.0.1", true},
		{"::ffff:10.0.0.1", true},
		{"::ffff:0:10.0.0.1", true},
		{"64:ff9b::10.0.0.1", true},
		{"64:ff9b::169.254.169.254", true},
		{"64:ff9b:1::8.8.8.8", true},
		{"2002:7f00:1::1", true},
		{"2002:a00:1::", true},
		{"2001::1", true},
		{"2001:2::1", true},
		{"2001:db8::1", true},
		{"fc00::1", true},
		{"fd00:ec2::254", true},
		{"fe80::1", true},
		{"febf::1", true},
		{"fec0::1", true},
		{"ff02::1", true},
		{"4000::1", true},
		{"100::1", true},
		{"5f00::1", true},
		{"2606:2800::5efe:127.0.0.1", true},
		{"2606:2800::200:5efe:10.0.0.1", true},
		{"2606:2800::5efe:169.254.169.254", true},
		{"2606:2800::5efe:8.8.8.8", false},
		{"2606:2800::5eff:127.0.0.1", false},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct hull_addr a;
		assert_true(hull_addr_parse(t[i].text, &a));
		if ((hull_addr_special(&a) != NULL) != t[i].special)
			fail_msg("%s", t[i].text);
	}
	static const char *const not_addresses[] = {"127.1", "0177.0.0.1", "0x7f.0.0.1", "2130706433", "127.0.0.1 ", "",
						    "1.2.3", "[::1]",      "::1%lo",     "fe80::1%1",  "01.2.3.4"};
	for (size_t i = 0; i < sizeof(not_addresses) / sizeof(*not_addresses); i++) {
		struct hull_addr a;
		assert_false(hull_addr_parse(not_addresses[i], &a));
	}
}

static void names(void **state)
{
	char out[HULL_HOST_MAX + 1];
	static const char *const bad[] = {"",       ".",          "..",         "a..b",         "a b", "a/b",
					  "a:b",    "a@b",        "1",          "0x10",         "a.1", "127.0.0.1",
					  "::1",    "2130706433", "0x7f000001", "017700000001", "-",   "a.-b.c",
					  "a.0x7f", "1.0x",       "a\n",        "*.a"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (hull_host_name(bad[i], strlen(bad[i]), out))
			fail_msg("%s", bad[i]);
	assert_false(hull_host_name("a\0b", 3, out));
	assert_true(hull_host_name("A.b-C.D_e.", 10, out));
	assert_string_equal(out, "a.b-c.d_e");
	assert_true(hull_host_name("1.com", 5, out));
	char name[260];
	memset(name, 'a', sizeof(name));
	assert_false(hull_host_name(name, 64, out));
	for (size_t i = 63; i < 254; i += 64)
		name[i] = '.';
	assert_true(hull_host_name(name, 253, out));
	assert_false(hull_host_name(name, 254, out));
}

static const char *policy_text = "preset: locked\n"
				 "allow:\n"
				 "  - example.com\n"
				 "  - \"*.one.com:443\"\n"
				 "  - \"**.deep.com\"\n"
				 "  - 10.1.0.0/16:5432\n"
				 "  - 0.0.0.0/0:80\n"
				 "  - 2001:db8::/32\n"
				 "  - localhost:8080\n"
				 "  - dns.com:53/udp\n"
				 "  - host: api.com:80\n"
				 "    methods: [GET, head]\n"
				 "    paths: [/v1/**, /status]\n"
				 "  - veto.com\n"
				 "  - verb.com\n"
				 "  - host: corp.com\n"
				 "    private: true\n"
				 "deny:\n"
				 "  - bad.deep.com\n"
				 "  - host: veto.com\n"
				 "    paths: /admin/**\n"
				 "  - host: verb.com\n"
				 "    methods: [DELETE]\n"
				 "  - 9.9.9.0/24\n";

static void build(struct hull_policy *p, const char *global, const char *sandbox)
{
	struct hull_error err = {0};
	if (hull_policy_build(global, sandbox, p, NULL, &err) < 0)
		fail_msg("%s", err.msg);
}

static struct hull_target target(const char *host, uint16_t port, uint8_t proto)
{
	struct hull_target t = {.port = port, .proto = proto};
	if (!hull_addr_parse(host, &t.addr))
		t.name = host;
	return t;
}

static void connects(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
		uint8_t proto;
		enum hull_verdict want;
	} t[] = {
		{"example.com", 80, 1, HULL_ALLOW},
		{"example.com", 65535, 1, HULL_ALLOW},
		{"example.com", 80, 2, HULL_DENY},
		{"www.example.com", 80, 1, HULL_DENY},
		{"example.com.evil.com", 80, 1, HULL_DENY},
		{"notexample.com", 80, 1, HULL_DENY},
		{"a.one.com", 443, 1, HULL_ALLOW},
		{"a.one.com", 80, 1, HULL_DENY},
		{"a.b.one.com", 443, 1, HULL_DENY},
		{"one.com", 443, 1, HULL_DENY},
		{"xone.com", 443, 1, HULL_DENY},
		{"a.b.c.deep.com", 1, 1, HULL_ALLOW},
		{"a.deep.com", 1, 1, HULL_ALLOW},
		{"deep.com", 1, 1, HULL_DENY},
		{"bad.deep.com", 1, 1, HULL_DENY},
		{"xbad.deep.com", 1, 1, HULL_ALLOW},
		{"10.1.2.3", 5432, 1, HULL_ALLOW},
		{"10.1.2.3", 80, 1, HULL_DENY},
		{"10.2.0.1", 5432, 1, HULL_DENY},
		{"127.0.0.1", 80, 1, HULL_DENY},
		{"169.254.169.254", 80, 1, HULL_DENY},
		{"192.168.0.1", 80, 1, HULL_DENY},
		{"8.8.8.8", 80, 1, HULL_ALLOW},
		{"8.8.8.8", 53, 2, HULL_DENY},
		{"9.9.9.9", 80, 1, HULL_DENY},
		{"2001:db8::5", 1, 1, HULL_ALLOW},
		{"2001:db9::5", 1, 1, HULL_DENY},
		{"localhost", 8080, 1, HULL_ALLOW},
		{"host.docker.internal", 8080, 1, HULL_ALLOW},
		{"host.hull.internal", 8081, 1, HULL_DENY},
		{"dns.com", 53, 2, HULL_ALLOW},
		{"dns.com", 53, 1, HULL_DENY},
		{"api.com", 80, 1, HULL_ALLOW_HTTP},
		{"api.com", 443, 1, HULL_DENY},
		{"veto.com", 443, 1, HULL_ALLOW_HTTP},
		{"nothing.net", 443, 1, HULL_DENY},
	};
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	build(&p, policy_text, NULL);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct hull_target q = target(t[i].host, t[i].port, t[i].proto);
		struct hull_answer a = hull_policy_connect(&p, &q);
		if (a.verdict != t[i].want)
			fail_msg("%s:%u/%u: %d (%s)", t[i].host, t[i].port, t[i].proto, a.verdict, a.why);
		assert_non_null(a.why);
	}
	assert_true(hull_policy_names(&p, "example.com"));
	assert_true(hull_policy_names(&p, "x.y.deep.com"));
	assert_false(hull_policy_names(&p, "db"));
}

static void rebinding(void **state)
{
	static const struct {
		const char *name, *addr;
		uint16_t port;
		bool want;
	} t[] = {
		{"example.com", "93.184.216.34", 80, true},
		{"example.com", "127.0.0.1", 80, false},
		{"example.com", "10.0.0.1", 80, false},
		{"example.com", "169.254.169.254", 80, false},
		{"example.com", "::1", 80, false},
		{"example.com", "64:ff9b::a00:1", 80, false},
		{"example.com", "10.1.2.3", 5432, true},
		{"example.com", "10.1.2.3", 80, false},
		{"example.com", "9.9.9.1", 443, false},
		{"corp.com", "192.168.7.7", 443, true},
		{"corp.com", "9.9.9.1", 443, false},
		{"example.com", "0.0.0.0", 80, false},
		{"corp.com", "64:ff9b::909:901", 443, false},
		{"example.com", "64:ff9b::808:808", 443, true},
	};
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	build(&p, policy_text, NULL);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct hull_target q = {.name = t[i].name, .port = t[i].port, .proto = HULL_PROTO_TCP};
		assert_true(hull_addr_parse(t[i].addr, &q.addr));
		if ((hull_policy_address(&p, &q).verdict == HULL_ALLOW) != t[i].want)
			fail_msg("%s -> %s:%u", t[i].name, t[i].addr, t[i].port);
	}
}

/* A network that is denied, in every disguise of its addresses. */
static void disguises(void **state)
{
	static const struct {
		const char *addr;
		bool want;
	} t[] = {
		{"9.9.9.9", false},
		{"::ffff:9.9.9.9", false},
		{"::ffff:0:9.9.9.9", false},
		{"::9.9.9.9", false},
		{"64:ff9b::9.9.9.9", false},
		{"64:ff9b:1:909:9:900::", false},
		{"64:ff9b:1::9.9.9.9", false},
		{"64:ff9b:1:0:9:909:900::", false},
		{"2002:909:909::1", false},
		{"2001:0:909:909::", false},
		{"2001:0:101:101:0:0:f6f6:f6f6", false},
		{"2a00::5efe:9.9.9.9", false},
		{"2a00::200:5efe:9.9.9.9", false},
		{"8.8.8.8", true},
		{"64:ff9b::8.8.8.8", true},
		{"2002:808:808::1", true},
		{"2a00::9.9.9.9", true},
		{"2a00:909:909::1", true},
	};
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	build(&p,
	      "preset: locked\nallow: [0.0.0.0/0, '::/0', '::/96', '::ffff:0:0:0/96', '64:ff9b:1::/48', '2001::/32']\n"
	      "deny: [9.9.9.0/24]\n",
	      NULL);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct hull_target q = target(t[i].addr, 443, HULL_PROTO_TCP);
		assert_null(q.name);
		struct hull_answer a = hull_policy_connect(&p, &q);
		if ((a.verdict == HULL_ALLOW) != t[i].want || (!t[i].want && !a.rule))
			fail_msg("%s: %d (%s)", t[i].addr, a.verdict, a.why);
	}
	/* An allow is for the addresses that it names. */
	_cleanup_(hull_policy_free) struct hull_policy only = {0};
	build(&only, "preset: locked\nallow: [8.8.8.0/24]\n", NULL);
	struct hull_target q = target("64:ff9b::8.8.8.8", 443, HULL_PROTO_TCP);
	assert_int_equal(hull_policy_connect(&only, &q).verdict, HULL_DENY);
}

static void requests(void **state)
{
	static const struct {
		const char *host, *method, *path;
		bool want;
	} t[] = {
		{"api.com", "GET", "/v1/x", true},
		{"api.com", "HEAD", "/status", true},
		{"api.com", "GET", "/v1/a/b/c", true},
		{"api.com", "POST", "/v1/x", false},
		{"api.com", "get", "/v1/x", false},
		{"api.com", "GET", "/v2/x", false},
		{"api.com", "GET", "/v1/../v2/x", false},
		{"api.com", "GET", "/v1/%2e%2e/v2/x", false},
		{"api.com", "GET", "/v1/%2fx", false},
		{"api.com", "GET", "/v2/../v1/x", false},
		{"api.com", "GET", "*", false},
		{"api.com", "GET", "/v1/a%20b", true},
		{"api.com", "GET", "/v1\\..\\x", false},
		{"veto.com", "GET", "/", true},
		{"veto.com", "GET", "/admin/x", false},
		{"veto.com", "POST", "/x/../admin/x", false},
		{"veto.com", "GET", "/%61dmin/x", false},
		{"veto.com", "GET", "/%2fadmin/x", false},
		{"veto.com", "GET", "//admin/x", false},
		{"veto.com", "GET", "/./admin/./x", false},
		{"veto.com", "GET", "/administrator", true},
		{"veto.com", "GET", "/admin;x=y/x", false},
		{"veto.com", "GET", "/;x/admin;/x", false},
		{"veto.com", "GET", "/a;x=/admin/y", true},
		{"veto.com", "GET", "/a/..;/admin/x", false},
		{"veto.com", "GET", "/a/..;b=c/x", false},
		{"veto.com", "GET", "/a;b=c/x", true},
		{"veto.com", "GET", "/a/...;/x", true},
		{"verb.com", "GET", "/", true},
		{"verb.com", "DELETE", "/", false},
		{"verb.com", "delete", "/", false},
		{"verb.com", "dEleTe", "/", false},
		{"api.com", "GET", "/v1/..;/v2/x", false},
		{"api.com", "GET", "/v1/.;/x", false},
		{"api.com", "GET", "/v1/%2e.;a/x", false},
		{"api.com", "GET", "/v1/..%3b/x", false},
		{"api.com", "GET", "/v1/x;y=z", true},
		{"example.com", "BREW", "/pot", true},
	};
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	build(&p, policy_text, NULL);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct hull_target q = target(t[i].host, 80, HULL_PROTO_TCP);
		if ((hull_policy_request(&p, &q, t[i].method, t[i].path).verdict == HULL_ALLOW) != t[i].want)
			fail_msg("%s %s%s", t[i].method, t[i].host, t[i].path);
	}
}

static void bad_files(void **state)
{
	static const struct {
		const char *text, *place;
	} t[] = {
		{"allow:\n  - *.x.com\n", "f:2:"},
		{"allow:\n  - ok.com\n  - no good\n", "f:3:5: "},
		{"allow: [a.com, 'b c']\n", "f:1:17"},
		{"allow: yes\n", "f:1:8: "},
		{"alow: [a.com]\n", "f:1:1: unknown key"},
		{"preset: opne\n", "f:1:9: preset"},
		{"- a.com\n", "f:1:3: "},
		{"allow:\n  - host: a.com\n    metods: GET\n", "f:3:5: "},
		{"allow:\n  - methods: GET\n", "f:2:5: a rule needs host"},
		{"allow:\n  - host: a.com/udp\n    methods: GET\n", "f:2:"},
		{"deny:\n  - host: a.com\n    private: true\n", "f:2:"},
		{"allow: [a.com\n", "f:"},
		{"allow:\n\t- a.com\n", "f:2:"},
		{"{", "f:"},
		{"allow:\n  - a.com\nallow:\n  - b.com\n", "f:3:"},
		{"allow:\n  - [a.com]\n", "f:2:"},
		{"%YAML 9\n---\n...\n...\n{", "f:"},
		{"allow:\n- \xa4.test\n", "f:2:1: this is not UTF-8"},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		_cleanup_(hull_policy_free) struct hull_policy p = {0};
		struct hull_error err = {0};
		if (hull_policy_add(&p, "s", "f", t[i].text, strlen(t[i].text), NULL, &err) == 0)
			fail_msg("taken: %s", t[i].text);
		if (!hull_starts(err.msg, t[i].place))
			fail_msg("%s -> %s", t[i].text, err.msg);
		assert_int_equal(p.count, 0);
	}
	static const char *const empty[] = {
		"", "\n", "# nothing\n", "---\n", "allow:\n", "allow: []\ndeny: []\n", "preset: open\n"};
	for (size_t i = 0; i < sizeof(empty) / sizeof(*empty); i++) {
		_cleanup_(hull_policy_free) struct hull_policy p = {0};
		struct hull_error err = {0};
		if (hull_policy_add(&p, "s", "f", empty[i], strlen(empty[i]), NULL, &err) < 0)
			fail_msg("\"%s\": %s", empty[i], err.msg);
		assert_int_equal(p.count, 0);
	}
}

/* What agents, toolchains and registries need, and what only looks like it. */
static void balanced(void **state)
{
	static const char *const yes[] = {
		"objects.githubusercontent.com",
		"release-assets.githubusercontent.com",
		"raw.githubusercontent.com",
		"codeload.github.com",
		"github-cloud.s3.amazonaws.com",
		"api.githubcopilot.com",
		"api.business.githubcopilot.com",
		"copilot-proxy.githubusercontent.com",
		"registry.yarnpkg.com",
		"get.pnpm.io",
		"jitpack.io",
		"repo1.maven.org",
		"repo.maven.apache.org",
		"plugins.gradle.org",
		"plugins-artifacts.gradle.org",
		"download.swift.org",
		"ziglang.org",
		"nvcr.io",
		"ghcr.io",
		"quay.io",
		"cdn01.quay.io",
		"mcr.microsoft.com",
		"gcr.io",
		"registry.k8s.io",
		"production.cloudflare.docker.com",
		"auth.docker.io",
		"bedrock-runtime.us-east-1.amazonaws.com",
		"us-east5-aiplatform.googleapis.com",
		"platform.claude.com",
		"downloads.claude.ai",
		"auth.openai.com",
		"files.oaiusercontent.com",
		"cloudcode-pa.googleapis.com",
		"api2.cursor.sh",
		"models.opencode.ai",
		"cdnjs.cloudflare.com",
		"cdn.jsdelivr.net",
		"unpkg.com",
		"static.crates.io",
		"index.crates.io",
		"static.rust-lang.org",
		"proxy.golang.org",
		"sum.golang.org",
		"files.pythonhosted.org",
		"conda.anaconda.org",
		"repo.hex.pm",
		"rubygems.org",
		"api.nuget.org",
		"cdn.playwright.dev",
		"cas-bridge.xethub.hf.co",
	};
	static const char *const no[] = {
		"github.com.evil.example",
		"evilgithub.com",
		"githubusercontent.com.example",
		"evil-githubcopilot.com",
		"evil.s3.amazonaws.com",
		"s3.amazonaws.com",
		"github-cloud.s3.amazonaws.com.example",
		"bedrock-runtime.us-east-1.amazonaws.com.example",
		"evil.cloudfront.net",
		"evil.r2.cloudflarestorage.com",
		"storage.googleapis.com",
		"evil.storage.googleapis.com",
		"firestore.googleapis.com",
		"evil.openai.azure.com",
		"evil-aiplatform.googleapis.com",
		"cloudflare.com",
		"evil.github.io",
		"microsoft.com",
		"nvidia.com",
		"registry.npmjs.org.example",
		"npmjs.co",
		"pypi.org.example",
		"claude.ai.example",
		"claudeusercontent.com",
	};
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	build(&p, "preset: balanced\n", NULL);
	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++) {
		struct hull_target q = target(yes[i], 443, 1);
		if (hull_policy_connect(&p, &q).verdict != HULL_ALLOW)
			fail_msg("%s is denied", yes[i]);
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++) {
		struct hull_target q = target(no[i], 443, 1);
		if (hull_policy_connect(&p, &q).verdict != HULL_DENY)
			fail_msg("%s is allowed", no[i]);
	}
	/* Each name says what asks for it. */
	_cleanup_free_ char *lines = strdup(hull_preset_text("balanced"));
	for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n"))
		if (strncmp(line, "  - ", 4) == 0 && !strstr(line, " # "))
			fail_msg("no reason: %s", line);
}

static void presets(void **state)
{
	static const struct {
		const char *preset, *host;
		uint16_t port;
		uint8_t proto;
		enum hull_verdict want;
	} t[] = {
		{"open", "anything.example", 1234, 1, HULL_ALLOW},
		{"open", "8.8.8.8", 53, 2, HULL_ALLOW},
		{"open", "10.0.0.1", 80, 1, HULL_DENY},
		{"open", "127.0.0.1", 80, 1, HULL_DENY},
		{"open", "host.hull.internal", 80, 1, HULL_DENY},
		{"open", "2606:4700::1111", 443, 1, HULL_ALLOW},
		{"open", "fd00::1", 443, 1, HULL_DENY},
		{"balanced", "deb.debian.org", 80, 1, HULL_ALLOW},
		{"balanced", "registry.npmjs.org", 443, 1, HULL_ALLOW},
		{"balanced", "github.com", 22, 1, HULL_ALLOW},
		{"balanced", "pypi.org", 443, 1, HULL_ALLOW},
		{"balanced", "api.anthropic.com", 443, 1, HULL_ALLOW},
		{"balanced", "registry-1.docker.io", 443, 1, HULL_ALLOW},
		{"balanced", "example.com", 443, 1, HULL_DENY},
		{"balanced", "deb.debian.org", 22, 1, HULL_DENY},
		{"balanced", "8.8.8.8", 443, 1, HULL_DENY},
		{"locked", "github.com", 443, 1, HULL_DENY},
		{"locked", "8.8.8.8", 443, 1, HULL_DENY},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		_cleanup_(hull_policy_free) struct hull_policy p = {0};
		_cleanup_free_ char *text = hull_fmt("preset: %s\n", t[i].preset);
		build(&p, text, NULL);
		struct hull_target q = target(t[i].host, t[i].port, t[i].proto);
		if (hull_policy_connect(&p, &q).verdict != t[i].want)
			fail_msg("%s: %s:%u", t[i].preset, t[i].host, t[i].port);
	}
	assert_null(hull_preset_text("none"));
}

static void sources(void **state)
{
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	const char *used = NULL;
	struct hull_error err;
	assert_int_equal(hull_policy_build(NULL, NULL, &p, &used, &err), 0);
	assert_string_equal(used, "balanced");
	hull_policy_free(&p);
	assert_int_equal(hull_policy_build("preset: open\ndeny: [a.com]\n", "preset: locked\nallow: [a.com, b.com]\n",
					   &p, &used, &err),
			 0);
	assert_string_equal(used, "locked");
	struct hull_target a = target("a.com", 443, HULL_PROTO_TCP), b = target("b.com", 443, HULL_PROTO_TCP),
			   c = target("c.com", 443, HULL_PROTO_TCP);
	struct hull_answer answer = hull_policy_connect(&p, &a);
	assert_int_equal(answer.verdict, HULL_DENY);
	assert_string_equal(answer.rule->source, "global");
	answer = hull_policy_connect(&p, &b);
	assert_int_equal(answer.verdict, HULL_ALLOW);
	assert_string_equal(answer.rule->source, "sandbox");
	assert_int_equal(hull_policy_connect(&p, &c).verdict, HULL_DENY);
}

/* --- editing --- */

static void add_to(const char *text, const char *rule, bool allow, const char *want)
{
	_cleanup_(hull_rule_free) struct hull_rule r = {0};
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	struct hull_error err = {0};
	assert_int_equal(hull_rule_parse(rule, allow, &r, &err), 0);
	if (hull_policy_edit_add(text, &r, &out, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal((char *)hull_buf_bytes(&out), want);
}

static void edits(void **state)
{
	add_to("# mine\npreset: locked # keep\nallow:\n    - a.com # one\n    # two\n\ndeny:\n    - x.com\n",
	       "b.com:443", true,
	       "# mine\npreset: locked # keep\nallow:\n    - a.com # one\n    - \"b.com:443\"\n    # two\n\ndeny:\n    "
	       "- x.com\n");
	add_to("allow:\n- a.com", "**.b.com", true, "allow:\n- a.com\n- \"**.b.com\"\n");
	add_to("preset: open\n", "b.com", false, "preset: open\ndeny:\n  - \"b.com\"\n");
	add_to("allow:\n  - host: a.com\n    methods: [GET]\ndeny: []\n", "b.com", true,
	       "allow:\n  - host: a.com\n    methods: [GET]\n  - \"b.com\"\ndeny: []\n");
	/* Another style: written anew. */
	add_to("{preset: open, allow: [a.com]}\n", "b.com", true,
	       "# Hull's network policy; docs/network.md. `hull policy ls` shows what is in force.\npreset: "
	       "open\nallow:\n"
	       "  - \"a.com\"\n  - \"b.com\"\n");
	_cleanup_(hull_rule_free) struct hull_rule r = {0};
	struct hull_error err = {0};
	assert_int_equal(hull_rule_parse("a.com", true, &r, &err), 0);
	size_t removed = 0;
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	assert_int_equal(
		hull_policy_edit_remove(
			"# c\nallow:\n  - b.com\n  - A.com # gone\n  - host: a.com\n    methods: [GET]\n  # end\n", &r,
			&out, &removed, &err),
		0);
	assert_int_equal(removed, 1);
	assert_string_equal((char *)hull_buf_bytes(&out),
			    "# c\nallow:\n  - b.com\n  - host: a.com\n    methods: [GET]\n  # end\n");
	char *get[] = {(char[]){"GET"}, NULL};
	assert_int_equal(hull_rule_restrict(&r, get, NULL, &err), 0);
	_cleanup_(hull_buf_free) struct hull_buf rest = {0};
	assert_int_equal(hull_policy_edit_remove((char *)hull_buf_bytes(&out), &r, &rest, &removed, &err), 0);
	assert_int_equal(removed, 1);
	assert_string_equal((char *)hull_buf_bytes(&rest), "# c\nallow:\n  - b.com\n  # end\n");
	/* A file without rules says so: one that says nothing is wrong. */
	static const char *const lasts[] = {"allow: [a.com]\n", "allow:\n  - a.com\n", "{allow: [a.com]}"};
	for (size_t i = 0; i < 3; i++) {
		_cleanup_(hull_rule_free) struct hull_rule last = {0};
		_cleanup_(hull_buf_free) struct hull_buf none = {0};
		_cleanup_(hull_policy_free) struct hull_policy p = {0};
		assert_int_equal(hull_rule_parse("a.com", true, &last, &err), 0);
		assert_int_equal(hull_policy_edit_remove(lasts[i], &last, &none, &removed, &err), 0);
		assert_int_equal(removed, 1);
		assert_int_equal(hull_policy_build((char *)hull_buf_bytes(&none), NULL, &p, NULL, &err), 0);
	}
	static const char *const nothing[] = {"", "\n", "# a\n", "---\n", "null\n", "~\n"};
	for (size_t i = 0; i < sizeof(nothing) / sizeof(*nothing); i++) {
		_cleanup_(hull_policy_free) struct hull_policy p = {0};
		int global = hull_policy_build(nothing[i], NULL, &p, NULL, &err);
		int own = hull_policy_build(NULL, nothing[i], &p, NULL, &err);
		if (global >= 0 || own >= 0)
			fail_msg("\"%s\" is a policy", nothing[i]);
	}
	hull_buf_free(&out);
	assert_int_equal(hull_policy_edit_preset("# c\npreset: open\nallow: [a.com]\n", "locked", &out, &err), 0);
	assert_string_equal((char *)hull_buf_bytes(&out), "# c\npreset: locked\nallow: [a.com]\n");
	hull_buf_free(&out);
	assert_int_equal(hull_policy_edit_preset("# c\nallow: [a.com]\n", "locked", &out, &err), 0);
	assert_string_equal((char *)hull_buf_bytes(&out), "# c\npreset: locked\nallow: [a.com]\n");
	/* A file that is wrong is not touched. */
	hull_buf_free(&out);
	assert_true(hull_policy_edit_preset("allow: {\n", "locked", &out, &err) < 0);
}

static void files(void **state)
{
	char dir[] = "/tmp/hull-test-policy.XXXXXX";
	assert_non_null(mkdtemp(dir));
	_cleanup_free_ char *real = hull_fmt("%s/real", dir), *link = hull_fmt("%s/link", dir),
			    *none = hull_fmt("%s/none", dir), *fifo = hull_fmt("%s/fifo", dir);
	_cleanup_close_ int fd = open(real, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "allow: []\n", 10), 10);
	assert_int_equal(symlink(real, link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	struct hull_error err = {0};
	assert_int_equal(hull_policy_read(real, &b, &err), 0);
	assert_string_equal((char *)hull_buf_bytes(&b), "allow: []\n");
	assert_int_equal(hull_policy_read(link, &b, &err), -ELOOP);
	assert_int_equal(hull_policy_read(none, &b, &err), -ENOENT);
	assert_int_equal(hull_policy_read(fifo, &b, &err), -EINVAL);
	assert_int_equal(hull_policy_read(dir, &b, &err), -EINVAL);
	assert_int_equal(fchmod(fd, 0666), 0);
	assert_int_equal(hull_policy_read(real, &b, &err), -EPERM);
	unlink(real);
	unlink(link);
	unlink(fifo);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_rules), cmocka_unit_test(bad_rules), cmocka_unit_test(special_addresses),
		cmocka_unit_test(names),      cmocka_unit_test(connects),  cmocka_unit_test(rebinding),
		cmocka_unit_test(disguises),  cmocka_unit_test(requests),  cmocka_unit_test(bad_files),
		cmocka_unit_test(presets),    cmocka_unit_test(balanced),  cmocka_unit_test(sources),
		cmocka_unit_test(edits),      cmocka_unit_test(files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a rule, read and written; see policy.h for the grammar. */
#include "policy/policy.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "store/store.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PORTS_MAX = 64, GLOBS_MAX = 64, GLOB_MAX = 512 };

static const char *const host_names[] = {"localhost", "host.hull.internal", "host.docker.internal"};

/* --- names --- */

/* Would inet_aton(3) read it as a number? */
static bool numeric(const char *label, size_t n)
{
	if (n >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X')) {
		for (size_t i = 2; i < n; i++)
			if (!isxdigit((unsigned char)label[i]))
				return false;
		return true;
	}
	for (size_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)label[i]))
			return false;
	return true;
}

bool hull_host_name(const char *s, size_t n, char out[HULL_HOST_MAX + 1])
{
	if (n > 0 && s[n - 1] == '.')
		n--;
	if (n == 0 || n > HULL_HOST_MAX)
		return false;
	size_t start = 0;
	for (size_t i = 0; i <= n; i++) {
		char c = i < n ? s[i] : '.';
		if (c != '.') {
			if (!isalnum((unsigned char)c) && c != '-' && c != '_')
				return false;
			out[i] = (char)tolower((unsigned char)c);
			continue;
		}
		if (i == start || i - start > 63 || s[start] == '-' || s[i - 1] == '-')
			return false;
		if (i == n && numeric(s + start, i - start))
			return false;
		if (i < n)
			out[i] = '.';
		start = i + 1;
	}
	out[n] = '\0';
	return true;
}

bool hull_host_is_host(const char *name)
{
	for (size_t i = 0; i < sizeof(host_names) / sizeof(*host_names); i++)
		if (strcmp(name, host_names[i]) == 0)
			return true;
	return false;
}

/* --- parsing --- */

static int bad(const char *text, const char *why, struct hull_error *err)
{
	_cleanup_free_ char *shown = hull_printable(text, strnlen(text, 200));
	return hull_fail(err, -EINVAL, "\"%s\" is not a rule: %s", shown ? shown : "", why);
}

static int parse_ports(const char *text, const char *s, struct hull_rule *r, struct hull_error *err)
{
	if (strcmp(s, "*") == 0)
		return 0;
	_cleanup_free_ char *copy = strdup(s);
	if (!copy)
		return hull_fail(err, -ENOMEM, "out of memory");
	char *rest = copy;
	do {
		char *one = strsep(&rest, ",");
		char *dash = strchr(one, '-');
		uint64_t lo, hi;
		if (dash)
			*dash = '\0';
		if (hull_parse_u64(one, 65535, &lo) < 0 || lo == 0)
			return bad(text, "a port is a number from 1 to 65535", err);
		hi = lo;
		if (dash && (hull_parse_u64(dash + 1, 65535, &hi) < 0 || hi < lo))
			return bad(text, "a range of ports is LOW-HIGH", err);
		if (r->port_count == PORTS_MAX)
			return bad(text, "too many ports", err);
		struct hull_ports *more = realloc(r->ports, (r->port_count + 1) * sizeof(*more));
		if (!more)
			return hull_fail(err, -ENOMEM, "out of memory");
		r->ports = more;
		r->ports[r->port_count++] = (struct hull_ports){(uint16_t)lo, (uint16_t)hi};
	} while (rest);
	return 0;
}

/* An address or network; 0 = it is none. */
static int parse_net(const char *text, const char *s, struct hull_rule *r, struct hull_error *err)
{
	char host[HULL_ADDR_TEXT];
	const char *slash = strchr(s, '/');
	size_t n = slash ? (size_t)(slash - s) : strlen(s);
	if (n >= sizeof(host))
		return 0;
	memcpy(host, s, n);
	host[n] = '\0';
	if (!hull_addr_parse(host, &r->net)) {
		if (slash)
			return bad(text,
				   "what stands in front of / is not an address; a path is given with paths:", err);
		return 0;
	}
	unsigned most = r->net.family == AF_INET ? 32 : 128;
	uint64_t bits = most;
	if (slash && hull_parse_u64(slash + 1, most, &bits) < 0)
		return bad(text, "the prefix length is out of range", err);
	r->kind = HULL_RULE_NET;
	r->bits = (unsigned)bits;
	for (unsigned i = r->bits; i < most; i++)
		if (r->net.b[i / 8] & (0x80 >> (i % 8)))
			return bad(text, "the address has bits set beyond the prefix length", err);
	return 1;
}

static int parse_name(const char *text, const char *s, struct hull_rule *r, struct hull_error *err)
{
	char name[HULL_HOST_MAX + 1];
	if (strcmp(s, "*") == 0 || strcmp(s, "**") == 0) {
		r->kind = HULL_RULE_DEEP;
		r->name = strdup("");
		return r->name ? 0 : hull_fail(err, -ENOMEM, "out of memory");
	}
	r->kind = HULL_RULE_NAME;
	if (hull_starts(s, "**.")) {
		r->kind = HULL_RULE_DEEP;
		s += 3;
	} else if (hull_starts(s, "*.")) {
		r->kind = HULL_RULE_ONE_LABEL;
		s += 2;
	}
	for (const char *c = s; *c; c++)
		if ((unsigned char)*c >= 0x80)
			return bad(text, "write a name that is not ASCII in its xn-- form", err);
	if (strchr(s, '*'))
		return bad(text,
			   "a * stands only in front, as in *.example.com (one label) or **.example.com (any depth)",
			   err);
	if (!hull_host_name(s, strlen(s), name))
		return bad(text, "expected a host name, an address or a network", err);
	if (hull_host_is_host(name)) {
		if (r->kind != HULL_RULE_NAME)
			return bad(text, "localhost has no subdomains", err);
		r->kind = HULL_RULE_HOST;
		strcpy(name, "localhost");
	}
	r->name = strdup(name);
	return r->name ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

static bool cut(char *s, const char *tail)
{
	size_t n = strlen(s), t = strlen(tail);
	if (n < t || strcmp(s + n - t, tail) != 0)
		return false;
	s[n - t] = '\0';
	return true;
}

/* The text without what stands in brackets, ports apart. */
static int split(const char *text, char *s, char **pattern, char **ports, struct hull_error *err)
{
	*pattern = s;
	*ports = NULL;
	if (s[0] == '[') {
		char *end = strchr(s, ']');
		if (!end || (end[1] && end[1] != ':'))
			return bad(text, "an IPv6 address with a port is written [ADDRESS]:PORT", err);
		*ports = end[1] ? end + 2 : NULL;
		*end = '\0';
		*pattern = s + 1;
		if (!strchr(*pattern, ':'))
			return bad(text, "brackets are for IPv6 addresses", err);
		return 0;
	}
	char *first = strchr(s, ':');
	if (first && strchr(first + 1, ':'))
		return 0; /* IPv6 without a port */
	if (first) {
		*first = '\0';
		*ports = first + 1;
	}
	return 0;
}

static int render(struct hull_rule *r, const char *text, struct hull_error *err);

static int parse(const char *text, bool allow, struct hull_rule *r, struct hull_error *err)
{
	if (!text[0] || strlen(text) > 1024)
		return bad(text, text[0] ? "it is too long" : "it is empty", err);
	if (strpbrk(text, " \t\r\n"))
		return bad(text, "it contains a blank", err);
	if (strstr(text, "://"))
		return bad(text, "write only the host and perhaps a port, as example.com:443", err);
	_cleanup_free_ char *s = strdup(text);
	if (!s)
		return hull_fail(err, -ENOMEM, "out of memory");
	r->allow = allow;
	r->protos = allow ? HULL_PROTO_TCP : HULL_PROTO_TCP | HULL_PROTO_UDP;
	if (cut(s, "/tcp"))
		r->protos = HULL_PROTO_TCP;
	else if (cut(s, "/udp"))
		r->protos = HULL_PROTO_UDP;
	else if (cut(s, "/any"))
		r->protos = HULL_PROTO_TCP | HULL_PROTO_UDP;
	char *pattern, *ports;
	int e = split(text, s, &pattern, &ports, err);
	if (e == 0 && ports)
		e = parse_ports(text, ports, r, err);
	if (e < 0)
		return e;
	e = parse_net(text, pattern, r, err);
	if (e == 0)
		e = parse_name(text, pattern, r, err);
	if (e < 0)
		return e;
	if (r->kind == HULL_RULE_HOST && !ports)
		return bad(text, "say which port, as localhost:5432 (localhost:* is all of them)", err);
	return render(r, text, err);
}

int hull_rule_parse(const char *text, bool allow, struct hull_rule *out, struct hull_error *err)
{
	*out = (struct hull_rule){0};
	int r = parse(text, allow, out, err);
	if (r < 0)
		hull_rule_free(out);
	return r;
}

void hull_rule_free(struct hull_rule *r)
{
	free(r->name);
	free(r->ports);
	free(r->text);
	hull_strv_free(r->methods);
	hull_strv_free(r->paths);
	*r = (struct hull_rule){0};
}

/* --- writing --- */

/* The text in its one spelling: what a person finds in ls, log and 403 pages. */
static int render(struct hull_rule *r, const char *text, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	char addr[HULL_ADDR_TEXT];
	int e = 0;
	if (r->kind == HULL_RULE_NET) {
		bool whole = r->bits == (r->net.family == AF_INET ? 32u : 128u);
		bool brackets = r->net.family == AF_INET6 && r->ports;
		hull_addr_text(&r->net, addr);
		e = hull_buf_addf(&b, "%s%s", brackets ? "[" : "", addr);
		if (e == 0 && !whole)
			e = hull_buf_addf(&b, "/%u", r->bits);
		if (e == 0 && brackets)
			e = hull_buf_addstr(&b, "]");
	} else {
		const char *front = r->kind == HULL_RULE_ONE_LABEL ? "*." : r->kind == HULL_RULE_DEEP ? "**" : "";
		e = hull_buf_addf(&b, "%s%s%s", front, r->kind == HULL_RULE_DEEP && r->name[0] ? "." : "", r->name);
	}
	if (e == 0 && r->kind == HULL_RULE_HOST && !r->ports)
		e = hull_buf_addstr(&b, ":*");
	for (size_t i = 0; e == 0 && i < r->port_count; i++) {
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there are port_count of them */
		e = hull_buf_addf(&b, "%s%u", i ? "," : ":", r->ports[i].lo);
		if (e == 0 && r->ports[i].hi != r->ports[i].lo)
			e = hull_buf_addf(&b, "-%u", r->ports[i].hi);
	}
	uint8_t usual = r->allow ? HULL_PROTO_TCP : HULL_PROTO_TCP | HULL_PROTO_UDP;
	if (e == 0 && r->protos != usual)
		e = hull_buf_addstr(&b, r->protos == HULL_PROTO_TCP   ? "/tcp"
					: r->protos == HULL_PROTO_UDP ? "/udp"
								      : "/any");
	if (e == 0)
		e = hull_buf_add(&b, "", 1);
	char *copy = e == 0 ? strdup((char *)hull_buf_bytes(&b)) : NULL;
	if (!copy)
		return hull_fail(err, -ENOMEM, "out of memory");
	free(r->text);
	r->text = copy;
	return 0;
}

static bool is_method(const char *s)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_");
	return n > 0 && n <= 32 && !s[n];
}

int hull_rule_restrict(struct hull_rule *r, char *const *methods, char *const *paths, struct hull_error *err)
{
	if (r->protos == HULL_PROTO_UDP && (hull_strv_count(methods) || hull_strv_count(paths)))
		return bad(r->text, "methods and paths apply to HTTP, which runs over TCP only", err);
	if (hull_strv_count(methods) > GLOBS_MAX || hull_strv_count(paths) > GLOBS_MAX)
		return bad(r->text, "too many methods or paths", err);
	if (hull_strv_count(methods)) {
		r->methods = hull_strv_copy(methods);
		if (!r->methods)
			return hull_fail(err, -ENOMEM, "out of memory");
		for (char **m = r->methods; *m; m++) {
			for (char *c = *m; *c; c++)
				*c = (char)toupper((unsigned char)*c);
			if (!is_method(*m))
				return bad(r->text, "a method is a word, as GET", err);
		}
	}
	if (hull_strv_count(paths)) {
		r->paths = hull_strv_copy(paths);
		if (!r->paths)
			return hull_fail(err, -ENOMEM, "out of memory");
		for (char **p = r->paths; *p; p++)
			if ((*p)[0] != '/' || strlen(*p) > GLOB_MAX)
				return bad(r->text, "a path begins with /, as /v1/**", err);
	}
	if (r->methods || r->paths)
		r->protos = HULL_PROTO_TCP;
	return render(r, r->text, err);
}

/* --- comparing --- */

static bool same_list(char *const *a, char *const *b)
{
	size_t n = hull_strv_count(a);
	if (n != hull_strv_count(b))
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

bool hull_rule_same(const struct hull_rule *a, const struct hull_rule *b)
{
	return a->allow == b->allow && a->protos == b->protos && strcmp(a->text, b->text) == 0 &&
	       same_list(a->methods, b->methods) && same_list(a->paths, b->paths);
}

/* Asking a policy; see policy.h.
 *
 * Everything is a walk over all rules: first for one that denies, then for one that allows. A rule with methods or
 * paths can only be judged request by request, so before that an allow of that kind means "HTTP only", and so does a
 * deny of that kind in front of any allow: what cannot be looked into (TLS) is then refused rather than let through. */
#include "policy/policy.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool port_in(const struct hull_rule *r, uint16_t port)
{
	for (size_t i = 0; i < r->port_count; i++)
		if (port >= r->ports[i].lo && port <= r->ports[i].hi)
			return true;
	return !r->ports;
}

static bool name_in(const struct hull_rule *r, const char *name)
{
	size_t n = strlen(name), t = strlen(r->name);
	switch (r->kind) {
	case HULL_RULE_NAME:
		return strcmp(r->name, name) == 0;
	case HULL_RULE_DEEP:
		if (t == 0)
			return true;
		return n > t + 1 && name[n - t - 1] == '.' && strcmp(name + n - t, r->name) == 0;
	case HULL_RULE_ONE_LABEL:
		if (n <= t + 1 || name[n - t - 1] != '.' || strcmp(name + n - t, r->name) != 0)
			return false;
		return memchr(name, '.', n - t - 1) == NULL;
	default:
		return false;
	}
}

/* A network that is denied is denied in every disguise of its addresses; an allow means what it says. */
static bool net_in(const struct hull_rule *r, const struct hull_addr *a)
{
	struct hull_addr inner;
	if (hull_addr_in(a, &r->net, r->bits))
		return true;
	for (unsigned i = 0; !r->allow && hull_addr_embedded(a, i, &inner); i++)
		if (hull_addr_in(&inner, &r->net, r->bits))
			return true;
	return false;
}

/* Does the rule speak of this target? A name's rules do not see its address here, nor a network's rules a name. */
static bool matches(const struct hull_rule *r, const struct hull_target *t)
{
	if (!(r->protos & t->proto) || !port_in(r, t->port))
		return false;
	bool host = t->name && hull_host_is_host(t->name);
	switch (r->kind) {
	case HULL_RULE_HOST:
		return host;
	case HULL_RULE_NET:
		return !t->name && t->addr.family && net_in(r, &t->addr);
	default:
		/* The host's own services are opened by their own rules only, but closed by `**` as well. */
		return t->name && (!host || !r->allow) && name_in(r, t->name);
	}
}

static bool limited(const struct hull_rule *r)
{
	return r->methods || r->paths;
}

/* Is the literal address one that only a rule for such addresses opens? */
static bool reaches(const struct hull_rule *r, const struct hull_target *t)
{
	return r->kind != HULL_RULE_NET || !hull_addr_special(&t->addr) || hull_net_special(&r->net, r->bits);
}

static struct hull_answer say(enum hull_verdict verdict, const struct hull_rule *rule, const char *why)
{
	return (struct hull_answer){.verdict = verdict, .rule = rule, .why = why};
}

struct hull_answer hull_policy_connect(const struct hull_policy *p, const struct hull_target *t)
{
	const struct hull_rule *some = NULL, *all = NULL, *veto = NULL;
	bool unreached = false;
	for (size_t i = 0; i < p->count; i++) {
		const struct hull_rule *r = &p->rules[i];
		if (!matches(r, t))
			continue;
		if (!r->allow && !limited(r))
			return say(HULL_DENY, r, "a rule denies it");
		if (!r->allow) {
			veto = veto ? veto : r;
			continue;
		}
		if (!reaches(r, t)) {
			unreached = true;
			continue;
		}
		const struct hull_rule **slot = limited(r) ? &some : &all;
		*slot = *slot ? *slot : r;
	}
	if (all && !veto)
		return say(HULL_ALLOW, all, "a rule allows it");
	if (all || some)
		return say(HULL_ALLOW_HTTP, veto ? veto : some, "a rule looks at each request");
	if (unreached)
		return say(HULL_DENY, NULL, hull_addr_special(&t->addr));
	return say(HULL_DENY, NULL, "no rule allows it");
}

struct hull_answer hull_policy_address(const struct hull_policy *p, const struct hull_target *t)
{
	struct hull_target lit = *t;
	lit.name = NULL;
	const struct hull_rule *named = NULL, *net = NULL;
	for (size_t i = 0; i < p->count; i++) {
		const struct hull_rule *r = &p->rules[i];
		if (matches(r, &lit)) {
			if (!r->allow && !limited(r))
				return say(HULL_DENY, r, "a rule denies its address");
			if (r->allow && reaches(r, &lit))
				net = net ? net : r;
		}
		if (r->allow && r->private_ok && t->name && matches(r, t))
			named = named ? named : r;
	}
	const char *special = hull_addr_special(&t->addr);
	if (!special)
		return say(HULL_ALLOW, net, "it is a public address");
	if (named || net)
		return say(HULL_ALLOW, named ? named : net, "a rule names it");
	return say(HULL_DENY, NULL, special);
}

/* --- requests --- */

static bool listed(char *const *list, const char *s)
{
	for (; *list; list++)
		if (strcmp(*list, s) == 0)
			return true;
	return false;
}

static bool globbed(char *const *globs, const char *s)
{
	for (; *globs; globs++)
		if (hull_glob(*globs, s))
			return true;
	return false;
}

/* As servers that know parameters of segments (/a;x=y/b) see a path. Fits where the path fits. */
static void without_parameters(const char *path, char *out)
{
	while (*path) {
		if (*path == ';')
			path += strcspn(path, "/");
		else
			*out++ = *path++;
	}
	*out = '\0';
}

/* Does a rule that denies speak of this request? Some servers read methods in any case. A path that hides what it is
 * may be the denied one. */
static bool denies(const struct hull_rule *r, const char *method, const char *path, const char *normal, bool plain)
{
	bool method_fits = !r->methods;
	for (char **m = r->methods; m && *m; m++)
		method_fits = method_fits || strcasecmp(*m, method) == 0;
	if (!method_fits)
		return false;
	if (!r->paths || !plain || globbed(r->paths, normal) || globbed(r->paths, path))
		return true;
	char bare[8192], again[8192];
	without_parameters(normal, bare);
	return !hull_path_normal(bare, strlen(bare), again, sizeof(again)) || globbed(r->paths, again);
}

const struct hull_rule *hull_policy_veto(const struct hull_policy *p, const struct hull_target *t, const char *method,
					 const char *path)
{
	char normal[8192];
	bool plain = path && hull_path_normal(path, strlen(path), normal, sizeof(normal));
	for (size_t i = 0; i < p->count; i++) {
		const struct hull_rule *r = &p->rules[i];
		if (!r->allow && matches(r, t) && (!method || !path || denies(r, method, path, normal, plain)))
			return r;
	}
	return NULL;
}

bool hull_policy_vetoes(const struct hull_policy *p, uint16_t port, uint8_t proto)
{
	for (size_t i = 0; i < p->count; i++)
		if (!p->rules[i].allow && (p->rules[i].protos & proto) && port_in(&p->rules[i], port))
			return true;
	return false;
}

struct hull_answer hull_policy_request(const struct hull_policy *p, const struct hull_target *t, const char *method,
				       const char *path)
{
	char normal[8192];
	bool plain = hull_path_normal(path, strlen(path), normal, sizeof(normal));
	const struct hull_rule *yes = NULL;
	for (size_t i = 0; i < p->count; i++) {
		const struct hull_rule *r = &p->rules[i];
		if (!matches(r, t))
			continue;
		if (!r->allow) {
			if (denies(r, method, path, normal, plain))
				return say(HULL_DENY, r, "a rule denies the request");
			continue;
		}
		if (r->methods && !listed(r->methods, method))
			continue;
		if (reaches(r, t) && (!r->paths || (plain && globbed(r->paths, normal))))
			yes = yes ? yes : r;
	}
	if (yes)
		return say(HULL_ALLOW, yes, "a rule allows it");
	return say(HULL_DENY, NULL, "no rule allows this method and path");
}

bool hull_policy_names(const struct hull_policy *p, const char *name)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct hull_rule *r = &p->rules[i];
		if (r->allow && r->kind != HULL_RULE_NET && r->kind != HULL_RULE_HOST && r->name[0] && name_in(r, name))
			return true;
	}
	return false;
}

/* --- paths --- */

static int hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0'
	       : c >= 'a' && c <= 'f'    ? c - 'a' + 10
	       : c >= 'A' && c <= 'F'    ? c - 'A' + 10
					 : -1;
}

/* "..;x" and ".;x": dot segments to servers that know parameters of segments, and names to others. */
static bool dots_with_parameters(const char *s, size_t n)
{
	size_t dots = 0;
	while (dots < n && dots < 3 && s[dots] == '.')
		dots++;
	return (dots == 1 || dots == 2) && dots < n && s[dots] == ';';
}

/* Close the segment that begins at `start`: ".." takes the one before with it, "." and an empty one go. */
static size_t close_segment(char *out, size_t start, size_t o, bool last)
{
	size_t n = o - start;
	if (n == 0 && !last)
		return start;
	if (n == 1 && out[start] == '.')
		return start;
	if (n == 2 && out[start] == '.' && out[start + 1] == '.') {
		size_t back = start > 1 ? start - 1 : start;
		while (back > 1 && out[back - 1] != '/')
			back--;
		return start > 1 ? back : start;
	}
	if (!last)
		out[o++] = '/';
	return o;
}

bool hull_path_normal(const char *path, size_t n, char *out, size_t cap)
{
	if (n == 0 || path[0] != '/' || n + 2 > cap)
		return false;
	size_t o = 0, start = 1;
	out[o++] = '/';
	for (size_t i = 1; i <= n; i++) {
		if ((i == n || path[i] == '/') && dots_with_parameters(out + start, o - start))
			return false;
		if (i == n) {
			o = close_segment(out, start, o, true);
			break;
		}
		char c = path[i];
		if (c == '/') {
			o = start = close_segment(out, start, o, false);
			continue;
		}
		if (c == '%') {
			int hi = i + 2 < n ? hex(path[i + 1]) : -1;
			int lo = i + 2 < n ? hex(path[i + 2]) : -1;
			if (hi < 0 || lo < 0)
				return false;
			c = (char)(hi * 16 + lo);
			if (c == '/' || c == '%')
				return false;
			i += 2;
		}
		if ((unsigned char)c < 0x20 || c == 0x7f || c == '\\')
			return false;
		out[o++] = c;
	}
	out[o] = '\0';
	return true;
}

/* Two places to come back to: the last `**`, and the last `*` behind it. Linear in the length of both, times the number
 * of stars at most. */
bool hull_glob(const char *glob, const char *s)
{
	const char *deep = NULL, *deep_s = NULL, *star = NULL, *star_s = NULL;
	while (*s) {
		if (glob[0] == '*' && glob[1] == '*') {
			glob += 2;
			deep = glob;
			deep_s = s;
			star = NULL;
		} else if (*glob == '*') {
			star = ++glob;
			star_s = s;
		} else if (*glob == *s) {
			glob++;
			s++;
		} else if (star && *star_s != '/') {
			glob = star;
			s = ++star_s;
		} else if (deep) {
			glob = deep;
			s = ++deep_s;
			star = NULL;
		} else {
			return false;
		}
	}
	while (*glob == '*')
		glob++;
	return !*glob;
}

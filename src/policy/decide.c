/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a policy; see policy.h.
 *
 * Everything is a walk over all rules: first for one that denies, then for one that allows. A rule with methods or
 * paths can only be judged request by request, so before that an allow of that kind means "HTTP only", and so does a
 * deny of that kind in front of any allow: what cannot be looked into (TLS) is then refused rather than let through. */
#include "policy/path.h"
#include "policy/policy.h"

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

/* Does a rule that denies speak of this request? Some servers read methods in any case. */
static bool denies(const struct hull_rule *r, const char *method, const struct hull_path *path)
{
	bool method_fits = !r->methods;
	for (char **m = r->methods; m && *m; m++)
		method_fits = method_fits || strcasecmp(*m, method) == 0;
	return method_fits && (!r->paths || hull_path_may_match(path, r->paths));
}

const struct hull_rule *hull_policy_veto(const struct hull_policy *p, const struct hull_target *t, const char *method,
					 const char *path)
{
	struct hull_path read;
	hull_path_read(path ? path : "", &read);
	for (size_t i = 0; i < p->count; i++) {
		const struct hull_rule *r = &p->rules[i];
		if (!r->allow && matches(r, t) && (!method || !path || denies(r, method, &read)))
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
	struct hull_path read;
	hull_path_read(path, &read);
	const struct hull_rule *yes = NULL;
	bool doubtful = false;
	for (size_t i = 0; i < p->count; i++) {
		const struct hull_rule *r = &p->rules[i];
		if (!matches(r, t))
			continue;
		if (!r->allow) {
			if (denies(r, method, &read))
				return say(HULL_DENY, r, "a rule denies the request");
			continue;
		}
		if (r->methods && !listed(r->methods, method))
			continue;
		if (!reaches(r, t))
			continue;
		if (!r->paths || hull_path_must_match(&read, r->paths))
			yes = yes ? yes : r;
		else
			doubtful = doubtful || hull_path_may_match(&read, r->paths);
	}
	if (yes)
		return say(HULL_ALLOW, yes, "a rule allows it");
	return say(HULL_DENY, NULL,
		   doubtful ? "servers may read the path in a way that no rule allows"
			    : "no rule allows this method and path");
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

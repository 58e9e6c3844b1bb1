/* SPDX-License-Identifier: Apache-2.0 */
/* The network policy: what a sandbox may reach. The contract.
 *
 * A policy is made of up to four sources: a preset (presets/NAME.yaml), the global file ($XDG_CONFIG_HOME/hull/
 * policy.yaml), the sandbox's own file (sandboxes/NAME/policy.yaml), and rules that Hull itself adds. All rules of all
 * sources count together: one rule that denies beats every rule that allows; what no rule allows is denied. The preset
 * is the sandbox's file's, else the global file's, else `balanced`. docs/network.md is the user's page.
 *
 *     preset: balanced          # open, balanced or locked
 *     allow:
 *       - "**.example.com"      # text of a rule
 *       - host: api.example.com:80
 *         methods: [GET]        # plain HTTP only
 *         paths: [/v1/repos]   # globs: * in a segment, ** across
 *       - host: git.corp
 *         private: true         # may resolve to a private address
 *     deny:
 *       - 192.0.2.0/24:25
 *
 * The text of a rule: PATTERN[:PORTS][/tcp|/udp|/any]. PATTERN is a name (`a.b`, `*.b` one label in front, `**.b` one
 * or more, `**` any name), an address or network (1.2.3.4, 10.0.0.0/8, 2001:db8::/32, [2001:db8::1]:443), or
 * `localhost` for the host's own services. PORTS is a list of numbers and ranges (80,443,8000-8100) or `*`. Without
 * PORTS a rule is for every port (localhost needs them); without a protocol an allow is for TCP, a deny for both.
 *
 * Asking is done in steps, because more is known at each: hull_policy_connect() with what the guest asked for, before
 * any name is looked up; hull_policy_address() for each address it resolved to; hull_policy_request() for each plain
 * HTTP request. */
#ifndef HULL_POLICY_POLICY_H
#define HULL_POLICY_POLICY_H

#include "base/buf.h"
#include "base/error.h"
#include "policy/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HULL_PROTO_TCP = 1,
	HULL_PROTO_UDP = 2,
	HULL_RULES_MAX = 20000,         /* in a policy */
	HULL_POLICY_FILE_MAX = 1 << 20, /* bytes of one file */
	HULL_HOST_MAX = 253,            /* bytes of a name */
};

enum hull_rule_kind { HULL_RULE_NAME, HULL_RULE_ONE_LABEL, HULL_RULE_DEEP, HULL_RULE_NET, HULL_RULE_HOST };

struct hull_ports {
	uint16_t lo, hi;
};

struct hull_rule {
	enum hull_rule_kind kind;
	bool allow;
	bool private_ok;          /* names: may resolve to a special address */
	uint8_t protos;           /* HULL_PROTO_* */
	unsigned line;            /* in its file, 1-based; 0 = none */
	const char *source;       /* "global", "sandbox", "preset balanced"...: borrowed, lives as long as the policy */
	char *name;               /* NAME: the name; ONE_LABEL, DEEP: what stands behind "*." ("" for `**`) */
	struct hull_addr net;     /* NET */
	unsigned bits;            /* NET */
	struct hull_ports *ports; /* NULL = all */
	size_t port_count;
	char **methods, **paths; /* NULL = not restricted; NULL-terminated */
	char *text;              /* as a person would write it */
};

/* Read the text of one rule. Not NULL-terminated input is the caller's business; `text` is a C string. */
int hull_rule_parse(const char *text, bool allow, struct hull_rule *out, struct hull_error *err);
/* Restrict to methods and path globs (copied; either may be NULL or empty). */
int hull_rule_restrict(struct hull_rule *r, char *const *methods, char *const *paths, struct hull_error *err);
void hull_rule_free(struct hull_rule *r);
/* Do both rules mean the same? Order of ports, methods and paths counts. */
bool hull_rule_same(const struct hull_rule *a, const struct hull_rule *b);

/* A name as a rule or a guest says it, into out: lower case, without a final dot. False when it is no host name, or an
 * address in disguise: a name whose last label is a number is what inet_aton(3) would read as an address. */
bool hull_host_name(const char *s, size_t n, char out[HULL_HOST_MAX + 1]);
/* Is it one of the names of the host's own services (host.hull.internal, host.docker.internal, localhost)? */
bool hull_host_is_host(const char *name);

struct hull_policy {
	struct hull_rule *rules;
	size_t count;
	char **sources; /* texts that rules borrow */
	size_t source_count;
};
void hull_policy_free(struct hull_policy *p);
/* Add the rules of a file's text. label names it in messages ("~/.config/hull/policy.yaml"), source in answers. When
 * it has a `preset:`, *preset gets its name (owned by the caller; NULL when it has none). On failure, "LABEL:LINE:
 * COLUMN: what", nothing is added. */
int hull_policy_add(struct hull_policy *p, const char *source, const char *label, const char *text, size_t n,
		    char **preset, struct hull_error *err);
/* The text of a preset that comes with Hull, or NULL. Names: hull_preset_names(), NULL-terminated. */
const char *hull_preset_text(const char *name);
const char *const *hull_preset_names(void);
/* The whole policy of a sandbox out of its files' texts (NULL = no such file). A file that says nothing (empty, only
 * comments) is wrong: -ENODATA. *preset_used gets the preset's name,
 * a static string; may be NULL. */
int hull_policy_build(const char *global, const char *sandbox, struct hull_policy *out, const char **preset_used,
		      struct hull_error *err);
/* Read a policy file: a regular file of ours (or root's) that nobody else can write, not a symlink. NUL-terminated
 * text in out. -ENOENT when there is none. */
int hull_policy_read(const char *path, struct hull_buf *out, struct hull_error *err);

/* --- asking --- */

enum hull_verdict {
	HULL_DENY,
	HULL_ALLOW,
	HULL_ALLOW_HTTP, /* only plain HTTP, each request to be asked about */
};

struct hull_answer {
	enum hull_verdict verdict;
	const struct hull_rule *rule; /* that decided; NULL = no rule allows it */
	const char *why;              /* one phrase for a person; static */
};

struct hull_target {
	const char *name;      /* as hull_host_name() has it; NULL for a literal address */
	struct hull_addr addr; /* literal, or one that the name resolved to; family 0 = not known */
	uint16_t port;
	uint8_t proto;
};

/* Before anything is looked up. */
struct hull_answer hull_policy_connect(const struct hull_policy *p, const struct hull_target *t);
/* For an address that t->name resolved to (after hull_policy_connect allowed it). Not for the host's own services,
 * which have no address but the host's loopback. */
struct hull_answer hull_policy_address(const struct hull_policy *p, const struct hull_target *t);
/* A plain HTTP request. path: the target without query; never NULL. */
struct hull_answer hull_policy_request(const struct hull_policy *p, const struct hull_target *t, const char *method,
				       const char *path);
/* For what is said on a connection to a literal address about whom it is for (a Host, a server name): the rule that
 * denies that, or NULL. method and path as above; NULL where the request cannot be seen, and then a rule that looks at
 * requests denies, too. */
const struct hull_rule *hull_policy_veto(const struct hull_policy *p, const struct hull_target *t, const char *method,
					 const char *path);
/* Could a rule deny by what is said on a connection to this port: is there any that denies for it at all? */
bool hull_policy_vetoes(const struct hull_policy *p, uint16_t port, uint8_t proto);
/* Does any allow rule name this host, on whatever port? So that a single-label name of a container is not answered. */
bool hull_policy_names(const struct hull_policy *p, const char *name);

/* --- editing files (edit.c) --- */

/* The file's text with the rule added under allow: or deny:, comments and order kept where the file is in block style.
 * text may be NULL or empty (a new file). */
int hull_policy_edit_add(const char *text, const struct hull_rule *rule, struct hull_buf *out, struct hull_error *err);
/* Without every rule that means the same; *removed = how many. */
int hull_policy_edit_remove(const char *text, const struct hull_rule *rule, struct hull_buf *out, size_t *removed,
			    struct hull_error *err);
/* With this preset. */
int hull_policy_edit_preset(const char *text, const char *preset, struct hull_buf *out, struct hull_error *err);

#endif

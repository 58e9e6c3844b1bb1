/* SPDX-License-Identifier: Apache-2.0 */
/* Changes several rules of a policy file at once. See rules.c. */
#ifndef HULL_LIB_NETWORK_RULES_H
#define HULL_LIB_NETWORK_RULES_H

#include "lib/handle.h"

/* Add or remove the rules (a NULL-terminated list) in one change of the file: all or none. done(ctx, text) is called
 * for each rule that changes the file; it may be NULL. Otherwise like hull_policy_set_rule() and
 * hull_policy_unset_rule(). */
int rules_set(const struct hull *h, const char *sandbox, const struct hull_rule_spec *const *rules,
	      void (*done)(void *ctx, const struct hull_rule_spec *rule, const char *text), void *ctx,
	      struct hull_error *err);
int rules_unset(const struct hull *h, const char *sandbox, const struct hull_rule_spec *const *rules,
		void (*done)(void *ctx, const struct hull_rule_spec *rule, const char *text), void *ctx,
		struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The network policy's files, as the verbs of `hull policy` use them. See policy.c. */
#ifndef HULL_LIB_NETWORK_POLICY_H
#define HULL_LIB_NETWORK_POLICY_H

#include "lib/handle.h"
#include "policy/policy.h"

#include <jansson.h>

/* Path of the policy file: the global one, or a sandbox's (which must exist). Owned by the caller. */
char *policy_path(const struct hull *h, const char *sandbox, struct hull_error *err);
/* Its text, or NULL when there is no file; owned by the caller. */
int policy_text(const char *path, char **out, struct hull_error *err);
/* Lock for the time from reading a file to replacing it: a lock on its directory, which is created if missing. Close
 * the descriptor when done. */
int policy_lock(const char *path, struct hull_error *err);
/* The content of the files for a sandbox (NULL = the global file only). -ENOENT when the sandbox's own policy file was
 * lost. */
int policy_build(const struct hull *h, const char *sandbox, struct hull_policy *out, const char **preset,
		 struct hull_error *err);

/* --- force.c: what is in force in running sandboxes --- */

enum force_state {
	FORCE_UNKNOWN,    /* it did not answer; `why` */
	FORCE_YES,        /* what the files say */
	FORCE_OTHER,      /* their previous content; `why` */
	FORCE_CLOSED,     /* nothing is allowed; `why` */
	FORCE_NO_NETWORK, /* it has none */
	FORCE_STOPPED,    /* it runs no more */
};
struct policy_force {
	char *name;
	enum force_state state;
	char why[1100];
	json_t *told; /* keeper/api.h, "policy"; NULL = nothing */
};
/* Ask the keepers of all running sandboxes, or of this one if it runs. changed: "global" or "sandbox" to have this file
 * read and wait until it is in force, or NULL. texts: also return the texts in force. The time is limited. */
int policy_force_ask(const struct hull *h, const char *sandbox, const char *changed, bool texts,
		     struct policy_force **out, size_t *count, struct hull_error *err);
void policy_force_free(struct policy_force *f, size_t n);
/* Wait until the changed file (the sandbox's, or NULL: the global one) is in force in every running sandbox that uses
 * it. -EBUSY when it is not, with the reason for each sandbox. */
int policy_force_wait(const struct hull *h, const char *sandbox, struct hull_error *err);

#endif

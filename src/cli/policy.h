/* The network policy's files, as the verbs of `hull policy` use them. See policy.c. */
#ifndef HULL_CLI_POLICY_H
#define HULL_CLI_POLICY_H

#include "cli/cli.h"
#include "policy/policy.h"

/* Path of the policy file: the global one, or a sandbox's (which must exist). Owned by the caller. */
char *policy_path(struct cli *cli, const char *sandbox, struct hull_error *err);
/* Its text, or NULL when there is no file; owned by the caller. */
int policy_text(const char *path, char **out, struct hull_error *err);
/* From reading a file to putting its new text in place nobody else does the same: a lock on its directory, which is
 * made when there is none. A descriptor to be closed when done. */
int policy_lock(const char *path, struct hull_error *err);
/* What is in force for a sandbox (NULL = what the global file says alone). */
int policy_build(struct cli *cli, const char *sandbox, struct hull_policy *out, const char **preset,
		 struct hull_error *err);

extern const struct cli_verb verb_policy_ls, verb_policy_check, verb_policy_log;

#endif

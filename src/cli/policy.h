/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of `hull policy` that are in files of their own. */
#ifndef HULL_CLI_POLICY_H
#define HULL_CLI_POLICY_H

#include "cli/cli.h"
#include "lib/network/policy.h"

extern const struct cli_verb verb_policy_ls, verb_policy_check, verb_policy_log;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* All verbs; each is defined in its verb_NAME.c. */
#ifndef HULL_CLI_VERBS_H
#define HULL_CLI_VERBS_H

#include "cli/cli.h"

extern const struct cli_verb verb_run;
extern const struct cli_verb verb_create;
extern const struct cli_verb verb_exec;
extern const struct cli_verb verb_ls;
extern const struct cli_verb verb_start;
extern const struct cli_verb verb_stop;
extern const struct cli_verb verb_rm;
extern const struct cli_verb verb_wait;
extern const struct cli_verb verb_pause;
extern const struct cli_verb verb_resume;
extern const struct cli_verb verb_fork;
extern const struct cli_verb verb_snapshot;
extern const struct cli_verb verb_template;
extern const struct cli_verb verb_prune;
extern const struct cli_verb verb_df;
extern const struct cli_verb verb_cp;
extern const struct cli_verb verb_mount;
extern const struct cli_verb verb_unmount;
extern const struct cli_verb verb_policy;
extern const struct cli_verb verb_ports;
extern const struct cli_verb verb_set;
extern const struct cli_verb verb_logs;
extern const struct cli_verb verb_ps;
extern const struct cli_verb verb_top;
extern const struct cli_verb verb_kill;
extern const struct cli_verb verb_attach;
extern const struct cli_verb verb_docker;
extern const struct cli_verb verb_image;
extern const struct cli_verb verb_doctor;
extern const struct cli_verb verb_version;
extern const struct cli_verb verb_completion;
extern const struct cli_verb verb_help;

#endif

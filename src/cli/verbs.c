/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verbs, in the order of `hull help`. A new verb is its file and two lines here. */
#include "cli/verbs.h"

const struct cli_verb *const cli_verbs[] = {
	&verb_run,    &verb_create,  &verb_exec,       &verb_ls,      &verb_start,    &verb_stop,     &verb_rm,
	&verb_wait,   &verb_pause,   &verb_resume,     &verb_fork,    &verb_snapshot, &verb_template, &verb_prune,
	&verb_df,     &verb_cp,      &verb_mount,      &verb_unmount, &verb_policy,   &verb_ports,    &verb_set,
	&verb_logs,   &verb_docker,  &verb_ps,         &verb_top,     &verb_kill,     &verb_attach,   &verb_image,
	&verb_doctor, &verb_version, &verb_completion, &verb_help,    NULL,
};

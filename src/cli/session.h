/* SPDX-License-Identifier: Apache-2.0 */
/* A command of a sandbox at this process's standard descriptors: exec, run, docker, attach. See session.c. */
#ifndef HULL_CLI_SESSION_H
#define HULL_CLI_SESSION_H

#include "cli/cli.h"

struct cli_session {
	char *const *argv; /* empty = the user's login shell */
	char *const *env;  /* "K=V"; may be NULL */
	const char *cwd;   /* NULL = home */
	const char *user;  /* NULL = "agent" */
	const char *job;   /* attach to this job instead: none of the above counts */
	bool no_signals;   /* with a job: signals end us, not it */
	bool keep_input;   /* with a job: its stdin stays open when ours ends */
	bool input;        /* pass stdin on; else the command finds it empty */
	bool tty;          /* on a terminal of its own; with input, ours becomes raw */
};

/* Run it in a sandbox, which is started if need be. Returns the exit code, 128 + n when signal n ended the wait, or
 * -errno with err filled. Progress on screen ends when it has started. */
int cli_session_run(struct cli *cli, const char *name, const struct cli_session *s, struct hull_error *err);
/* 126 or 127 for the code of an error that says why a command could not be executed, and the error is told; else 0. */
int cli_session_cannot(const struct hull_error *err);
/* Put TERM and COLORTERM of this terminal in front of *env, so that what -e says wins. */
void cli_session_terminal_env(char ***env);

#endif

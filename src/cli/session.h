/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a command of a sandbox on this process's standard descriptors: for exec, run, docker, attach. See session.c. */
#ifndef HULL_CLI_SESSION_H
#define HULL_CLI_SESSION_H

#include "cli/cli.h"

struct cli_session {
	char *const *argv; /* empty = the user's login shell */
	char *const *env;  /* "K=V"; may be NULL */
	const char *cwd;   /* NULL = home */
	const char *user;  /* NULL = "agent" */
	const char *job;   /* attach to this job instead: the members above are ignored */
	bool no_signals;   /* with a job: signals end this process, not the job */
	bool keep_input;   /* with a job: its stdin stays open when ours ends */
	bool input;        /* forward stdin; otherwise the command's stdin is empty */
	bool tty;          /* on a pseudo-terminal; with input, ours is set to raw mode */
};

/* Run it in a sandbox, which is started if necessary. Returns the exit code, 128 + n when signal n ended the wait, or
 * -errno with err filled. Progress on screen ends when the command has started. */
int cli_session_run(struct cli *cli, const char *name, const struct cli_session *s, struct hull_error *err);
/* 126 or 127 for an error code that says why a command could not be executed, after printing the error; otherwise 0. */
int cli_session_cannot(const struct hull_error *err);
/* Prepend TERM and COLORTERM of this terminal to *env, so that -e overrides them. */
void cli_session_terminal_env(char ***env);

#endif

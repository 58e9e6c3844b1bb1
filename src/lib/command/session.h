/* One command in a sandbox, with this process's standard descriptors: exec, run, docker. See session.c. */
#ifndef HULL_LIB_COMMAND_SESSION_H
#define HULL_LIB_COMMAND_SESSION_H

#include "lib/client.h"

struct session_spec {
	const char *name;  /* the sandbox, for messages */
	char *const *argv; /* empty = the user's login shell */
	char *const *env;  /* "K=V"; may be NULL */
	const char *cwd;   /* NULL = home */
	const char *user;  /* NULL = "agent" */
	const char *job;   /* attach to this job instead: none of the above but name counts */
	bool no_signals;   /* with a job: signals end us, not it */
	bool keep_input;   /* with a job: its stdin stays open when ours ends */
	bool input;        /* pass stdin on; else the command finds it empty */
	bool tty;          /* on a terminal of its own; with input, ours becomes raw */
	int in_fd, out_fd, err_fd;
};

/* Run it over an open connection's socket (taken over). Returns the exit code, 128 + n when signal n ended the wait,
 * or -errno with err filled. progress is shown until the command has started; it may be NULL. */
int session_run(int fd, const struct session_spec *spec, struct cli_progress *progress, struct hull_error *err);

/* What exec exits with for this positive errno of a command that could not be executed: 126, 127, or 0 when it is no
 * such errno. */
int session_cannot(int code);

/* Put TERM and COLORTERM of this terminal in front of *env, so that what -e says wins. */
void session_terminal_env(char ***env);

#endif

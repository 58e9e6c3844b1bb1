/* Detached jobs: `exec -d` and `run -d -- COMMAND`. */
#ifndef HULL_LIB_COMMAND_JOB_H
#define HULL_LIB_COMMAND_JOB_H

#include "lib/client.h"

struct job_spec {
	char *const *argv;
	char *const *env; /* may be NULL */
	const char *cwd, *user;
	bool tty;
	bool input; /* its stdin is what attached clients send; else it is empty */
};
/* Start it in a running sandbox, once its guest takes commands; its id, owned by the caller, in *id. */
int job_begin(const struct hull_paths *p, const char *name, const struct job_spec *job, struct cli_progress *progress,
	      char **id, struct hull_error *err);

#endif

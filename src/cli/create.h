/* SPDX-License-Identifier: Apache-2.0 */
/* Flags and words that describe the sandbox to make, shared by create and run. See create.c. */
#ifndef HULL_CLI_CREATE_H
#define HULL_CLI_CREATE_H

#include "cli/cli.h"

/* The flags of both verbs; their values are in create.c. */
extern const struct cli_opt create_options[];

/* Make a sandbox from the flags and the words [AGENT] [PATH...], with these HULL_CREATE_... in addition to those of the
 * flags. Otherwise like hull_create(). *env = the variables of -e and --env-file, for a session in an existing sandbox;
 * owned by the caller, also after a failure. */
int create_make(struct cli *cli, unsigned flags, char **name, char ***env, struct hull_error *err);

bool create_quiet(void); /* --quiet was given */

/* Parse the flags --memory, --cpus, --disk and --swap; text NULL = the default. host = this machine's memory in bytes,
 * or its number of cpus. */
int create_memory(const char *text, uint64_t host, uint64_t *out, struct hull_error *err);
int create_cpus(const char *text, unsigned host, unsigned *out, struct hull_error *err);
int create_disk(const char *text, uint64_t *out, struct hull_error *err);
int create_swap(const char *text, uint64_t disk, uint64_t *out, struct hull_error *err);

/* Replace the names of struct members in a library error by those of the flags. Returns the code. */
int create_flag_words(struct hull_error *err);

/* Add -e and --env-file as "K=V" to *out. `given`: see reach_given(). */
int create_env(const struct hull_paths *p, char *const *given, char *const *files, char *const *pairs, char ***out,
	       struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The flags and words that say which sandbox to make: what create and run have in common. See create.c. */
#ifndef HULL_CLI_CREATE_H
#define HULL_CLI_CREATE_H

#include "cli/cli.h"

/* The flags both have; their values are kept in create.c. */
extern const struct cli_opt create_options[];

/* Make one of the flags and the words [AGENT] [PATH...], with these HULL_CREATE_... beside those of the flags. As
 * hull_create(). *env is what -e and --env-file say, for a session in one that was there before; owned by the caller,
 * also after a failure. */
int create_make(struct cli *cli, unsigned flags, char **name, char ***env, struct hull_error *err);

bool create_quiet(void); /* --quiet was given */

/* Sizes of the flags --memory, --cpus, --disk and --swap; text NULL = the default. host = bytes of memory, or number of
 * cpus, this machine has. */
int create_memory(const char *text, uint64_t host, uint64_t *out, struct hull_error *err);
int create_cpus(const char *text, unsigned host, unsigned *out, struct hull_error *err);
int create_disk(const char *text, uint64_t *out, struct hull_error *err);
int create_swap(const char *text, uint64_t disk, uint64_t *out, struct hull_error *err);

/* The library speaks of members of a struct: here they are flags. Returns the code. */
int create_flag_words(struct hull_error *err);

/* -e and --env-file as "K=V"; *out grows. `given`: see reach_given(). */
int create_env(const struct hull_paths *p, char *const *given, char *const *files, char *const *pairs, char ***out,
	       struct hull_error *err);

#endif

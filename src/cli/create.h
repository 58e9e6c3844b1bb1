/* Making a sandbox out of flags and words: what create and run have in common. See create.c. */
#ifndef HULL_CLI_CREATE_H
#define HULL_CLI_CREATE_H

#include "cli/cli.h"
#include "cli/out.h"
#include "git/git.h"

/* The flags both have; their values are kept in create.c. */
extern const struct cli_opt create_options[];

/* What the words [AGENT] [PATH...] say. */
struct create_place {
	const char *agent;         /* borrowed */
	char **paths;              /* absolute, "PATH", "PATH:ro", "PATH:git"; owned; may be NULL */
	char **links;              /* names of those by which the person knows them, LINK and TARGET in turn; owned */
	char *workdir;             /* with --clone: the directory of the repository to start in; owned, else NULL */
	struct hull_git_repo repo; /* with --clone */
};
int create_place(struct cli *cli, struct create_place *out, struct hull_error *err);
void create_place_free(struct create_place *p);

/* Make one from the flags; its name, owned by the caller, in *name. `remove` = --rm. */
int create_make(struct cli *cli, const struct create_place *place, bool remove, char **name, struct hull_error *err);
/* Wait until no other command looks for, or makes, what these words stand for: a descriptor that keeps others off while
 * it is open. Signals are to be caught only later, so that they end the wait. */
int create_turn(struct cli *cli, const struct create_place *place, struct hull_error *err);
/* Find the one that the same words made before: its name in *name, or NULL when there is none. Flags that it was not
 * made with are an error. */
int create_again(struct cli *cli, const struct create_place *place, char **name, struct hull_error *err);

bool create_quiet(void); /* --quiet was given */
/* What -e and --env-file say, for a session in a sandbox that was there before. */
int create_session_env(struct cli *cli, const struct create_place *place, char ***out, struct hull_error *err);

/* Sizes with their limits, apart for the tests. host = bytes of memory, or number of cpus, this machine has. */
int create_memory(const char *text, uint64_t host, uint64_t *out, struct hull_error *err);
int create_cpus(const char *text, unsigned host, unsigned *out, struct hull_error *err);

/* A disk's size in bytes, in whole MiB; 64 GiB when text is NULL. */
int create_disk(const char *text, uint64_t *out, struct hull_error *err);
/* Swap in bytes, in whole MiB, at most half of the disk; 0 when text is NULL. */
int create_swap(const char *text, uint64_t disk, uint64_t *out, struct hull_error *err);
/* What this machine has. */
uint64_t create_host_memory(void);
unsigned create_host_cpus(void);

/* The host user's name and email for git, from their own configuration and no repository's; NULL where there is none.
 * Owned by the caller. */
void create_git_identity(char **name, char **email);

/* -e and --env-file as "K=V"; *out grows. `given`: see reach_given(). */
int create_env(const struct hull_paths *p, char *const *given, char *const *files, char *const *pairs, char ***out,
	       struct hull_error *err);

#endif

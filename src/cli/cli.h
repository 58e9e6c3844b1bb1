/* SPDX-License-Identifier: Apache-2.0 */
/* hull, the command: a table of verbs. The contract between main, the parser and the verbs.
 *
 * One verb is one file, verb_NAME.c, that defines `const struct cli_verb verb_NAME`: its words for --help, its flags
 * and where their values go, and what runs. verbs.c lists them; help, completion and the suggestions for a mistyped
 * word all come from that table, so a new verb (mount, cp, policy...) is one file and one line.
 *
 * A verb returns the exit code, or -errno with err filled: main then prints "hull: message" and exits 125. Only
 * main() exits; output goes to stdout, everything about the command itself to stderr. A process runs one verb once,
 * so the flags' values live in static variables of the verb's file. */
#ifndef HULL_CLI_CLI_H
#define HULL_CLI_CLI_H

#include "base/error.h"
#include "lib/handle.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CLI_EXIT_FAIL = 1,   /* it was done, and the answer is no, or not complete */
	CLI_EXIT_HULL = 125, /* hull's own failure, usage errors included */
};

/* The kind of values that completion offers for a word. */
enum cli_complete {
	CLI_ANY, /* nothing */
	CLI_FILE,
	CLI_DIR,
	CLI_SANDBOX,
	CLI_IMAGE,
	CLI_TEMPLATE,
	CLI_VERB,
	CLI_ENGINE,
	CLI_AGENT, /* or a directory in its place */
	CLI_LOG,
	CLI_SHELL,
	CLI_JOB,      /* of the sandbox before it */
	CLI_WAIT,     /* what start --wait takes */
	CLI_WAIT_FOR, /* what wait --for takes */
};

/* A flag. Exactly one of flag, text, list says where the value goes. Tables end with an empty member. */
struct cli_opt {
	char letter;         /* 0 = none */
	const char *name;    /* without the dashes */
	const char *metavar; /* what --help calls the value; NULL for a switch */
	const char *help;
	bool *flag;        /* switch: --x, --x=true, --x=false */
	const char **text; /* last one wins; borrowed from argv */
	char ***list;      /* each one added; owned */
	enum cli_complete complete;
};

enum cli_options_end {
	CLI_OPTIONS_ANYWHERE,       /* up to "--" */
	CLI_OPTIONS_BEFORE_COMMAND, /* up to "--" or the second plain word: NAME [FLAGS] CMD... */
	CLI_OPTIONS_BEFORE_NAME,    /* up to and not past the first plain word: NAME ANYTHING... */
};

struct cli;
struct cli_verb {
	const char *name;
	const char *usage;   /* behind "hull NAME [FLAGS] " */
	const char *summary; /* one line, in the list of verbs */
	const char *about;   /* paragraphs for --help; may be NULL */
	const char *aka;     /* its names in other tools, space-separated: for suggestions; may be NULL */
	const struct cli_opt *options;
	const struct cli_opt *more_options;  /* shared with another verb; may be NULL */
	const struct cli_verb *const *verbs; /* verbs below this one (image build...), NULL-terminated; or NULL */
	unsigned min_words, max_words;       /* plain words wanted; max 0 with min 0 = none */
	enum cli_options_end options_end;
	bool command;                    /* what follows "--" or options_end is a command, in cli->command */
	enum cli_complete complete;      /* the first plain word; all of them when there may be any number */
	enum cli_complete complete_more; /* the kind of the other words, if different */
	int (*run)(struct cli *cli, struct hull_error *err);
};

enum { CLI_WORDS_ANY = 10000 };

/* One invocation, parsed. argv is borrowed. */
struct cli {
	const struct cli_verb *verb;
	const struct cli_verb *parent; /* the parent of a nested verb, otherwise NULL */
	const char **words;            /* plain words, NULL-terminated; owned */
	size_t word_count;
	char **command; /* the rest, NULL-terminated, borrowed from argv; never NULL */
	size_t command_count;
	bool help;                      /* --help was among the flags */
	bool quiet;                     /* no progress and no notices */
	struct hull *hull;              /* after cli_open() */
	const struct hull_paths *paths; /* of it */
};

extern const struct cli_verb *const cli_verbs[]; /* NULL-terminated, in the order of `hull help` */

/* main() without exit: argv as main has it. */
int cli_main(int argc, char **argv);

/* args.c: read argv[1..) of a verb into `cli`. 0 or -EINVAL with the message. cli_free() in any case. */
int cli_parse(struct cli *cli, const struct cli_verb *verb, char **argv, struct hull_error *err);
void cli_free(struct cli *cli);
/* The flag called `name` of a verb (both tables, and --help), or NULL. */
const struct cli_opt *cli_option(const struct cli_verb *verb, const char *name);
/* The verb called `name` in a table, or NULL with err filled (suggests the closest). `below` names the verb above. */
const struct cli_verb *cli_find_verb(const struct cli_verb *const *table, const char *below, const char *name,
				     struct hull_error *err);

/* help.c */
void cli_help_verb(const struct cli_verb *verb, const struct cli_verb *parent);
void cli_help_all(void);
/* completion.c: the script for "bash" or "zsh" on stdout; -EINVAL for another shell. */
int cli_completion(const char *shell, struct hull_error *err);

/* library.c: open the handle, once; the library's notices are shown to the user. */
int cli_open(struct cli *cli, bool quiet, struct hull_error *err);
/* From now on signals are delivered as events (signals.h), and signals that would end the process cancel the library's
 * waits. */
int cli_catch(struct cli *cli, struct hull_error *err);
/* Clear the progress line of `hull cp`. */
void cli_moved_end(struct cli *cli);

#endif

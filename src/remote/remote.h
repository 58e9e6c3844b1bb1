/* git-remote-hull, the helper that git runs for remotes with URLs of hull:: (gitremote-helpers(7)).
 *
 *   git fetch hull-NAME
 *     └─ git-remote-hull hull-NAME NAME               helper.c: talks with git on stdin and stdout
 *          ├─ git ls-remote ... --upload-pack=SELF    what there is
 *          ├─ git fetch-pack ... --upload-pack=SELF   objects, checked before they are kept (fsckObjects)
 *          └─ git send-pack ... --receive-pack=SELF   a push
 *               └─ git-remote-hull --serve upload-pack NAME DIR     serve.c: what `hull exec` does
 *                    └─ in the sandbox: git upload-pack DIR
 *
 * What comes out of the sandbox is the guest's to choose. Its packs and pkt-lines are read by git, which is made for
 * that; the helper reads only lines that git has made of them, takes those of the one form it expects, and prints
 * none of them as they are. So nothing of the guest's reaches git as a word of the helper's protocol ("lock FILE"
 * would have git remove a file), or a terminal as a control sequence. No command is made of it: the one given to git
 * has this program's path and the sandbox's name in it, checked and quoted. */
#ifndef HULL_REMOTE_REMOTE_H
#define HULL_REMOTE_REMOTE_H

#include "base/buf.h"
#include "base/error.h"
#include "cli/cli.h"

/* "NAME" or "NAME/DIR" as in the URL: the sandbox, and the repository's directory in it; owned. An empty path is the
 * sandbox's clone, or the first of its mounts. */
int remote_parse(struct cli *cli, const char *url, char **name, char **dir, struct hull_error *err);

/* serve.c: run the service in the sandbox, which is up, with our standard descriptors. The exit code. */
int remote_serve(struct cli *cli, const char *service, const char *name, const char *dir, struct hull_error *err);

/* lines.c: what git said of a repository, to what the helper tells. Hostile input. */
/* `git ls-remote --symref`: "ID NAME" and "@NAME HEAD" lines. */
int remote_list(const char *text, size_t n, struct hull_buf *out);
/* `git send-pack --helper-status`: "ok NAME" and "error NAME why", of the n_refs names that were pushed. */
int remote_status(const char *text, size_t n, char *const *refs, struct hull_buf *out);
bool remote_ref_ok(const char *name, size_t n);
bool remote_id_ok(const char *id, size_t n);

#endif

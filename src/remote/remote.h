/* SPDX-License-Identifier: Apache-2.0 */
/* git-remote-hull, the helper that git runs for remotes with URLs of hull:: (gitremote-helpers(7)).
 *
 *   git fetch hull-NAME
 *     └─ git-remote-hull hull-NAME NAME       helper.c: talks with git on stdin and stdout
 *          ├─ git-remote-hull --serve upload-pack NAME DIR     serve.c: what `hull exec` does
 *          │    └─ in the sandbox: git upload-pack DIR
 *          └─ git index-pack, in a jail       git/incoming.c: checks what comes, and keeps it
 *
 * What comes out of the sandbox is the guest's to choose. The helper speaks git's protocol itself (version 0, without
 * negotiating in rounds; gitprotocol-pack(5)): it takes lines of a few forms, each within limits (lines.c), and hands
 * the pack on unread, to a git that can do nothing but write objects into a directory made for it. The user's git,
 * which is in no jail, sees references and objects that have been checked, and nothing else: no line of the guest's
 * reaches it as a word of the helper's protocol ("lock FILE" would have it remove a file), nor a terminal as a control
 * sequence.
 *
 *   lines.c   the guest's lines, read and told to git      far.c    the program at the far end, packet by packet
 *   fetch.c   references and objects from it               push.c   to it */
#ifndef HULL_REMOTE_REMOTE_H
#define HULL_REMOTE_REMOTE_H

#include "base/buf.h"
#include "base/error.h"
#include "git/git.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* --- lines.c: hostile input --- */

/* A packet (gitprotocol-common(5)) at the front of n bytes: its whole size in *size, its payload behind the first 4. */
enum remote_pkt { REMOTE_PKT_MORE, REMOTE_PKT_LINE, REMOTE_PKT_FLUSH };
int remote_pkt(const uint8_t *p, size_t n, size_t *size); /* one of them, or -EPROTO */

enum { REMOTE_PKT_MAX = 65520, REMOTE_HEAD = 4, REMOTE_NAME_MAX = 4096, REMOTE_REFS_MAX = 64 << 20 };

/* Append a packet with a line of ours. */
__attribute__((format(printf, 2, 3))) int remote_line(struct hull_buf *out, const char *fmt, ...);

/* What a service says first. */
struct remote_adv {
	struct hull_buf refs; /* "ID NAME" lines */
	char head[REMOTE_NAME_MAX + 1];
	bool told; /* the first line, with what it can do, was there */
	bool sha256, sideband, thin, ofs_delta, no_progress, report, delete_refs, atomic, quiet;
};
/* A line of it. What is no reference is left out. -EPROTO, or -EFBIG for more than REMOTE_REFS_MAX. */
int remote_adv_line(struct remote_adv *a, const char *line, size_t n, struct hull_error *err);
void remote_adv_free(struct remote_adv *a);
/* Its answer to git's "list". */
int remote_list(const struct remote_adv *a, struct hull_buf *out);
/* The id of a reference in lines "ID NAME"; NULL when it is not among them. *n is its length. */
const char *remote_find(const struct hull_buf *refs, const char *name, size_t *n);

/* What receive-pack reports, "ok NAME" and "ng NAME why" lines, as git wants to hear it, of the names in refs. */
int remote_status(const char *text, size_t n, char *const *refs, struct hull_buf *out);
bool remote_ref_ok(const char *name, size_t n);
bool remote_id_ok(const char *id, size_t n);

/* --- far.c --- */

struct remote_far {
	pid_t pid;
	int in, out, words; /* its standard descriptors' other ends */
	int stop_fd;        /* readable = give up; -1 = never */
	int peer_fd;        /* hung up = give up; -1 = never */
	struct hull_buf got, said;
	size_t used; /* of got: the packet that was read last */
	bool cut;    /* it said more than is kept */
};
#define REMOTE_FAR_NONE                                                                   \
	{                                                                                 \
		.pid = -1, .in = -1, .out = -1, .words = -1, .stop_fd = -1, .peer_fd = -1 \
	}
/* Run a program as the far end. */
int remote_far_start(struct remote_far *f, char *const *argv, struct hull_error *err);
/* The next packet: REMOTE_PKT_LINE and its payload, valid until the next call, or REMOTE_PKT_FLUSH. -ENODATA at the
 * end, with what it said about that. */
int remote_far_read(struct remote_far *f, const uint8_t **p, size_t *n, struct hull_error *err);
int remote_far_write(struct remote_far *f, const struct hull_buf *b, struct hull_error *err);
/* Messages of the far end's that came in packets: kept with the others. */
void remote_far_said(struct remote_far *f, const uint8_t *p, size_t n);
/* It is hung up, if it is still there. */
void remote_far_end(struct remote_far *f);
int remote_far_adv(struct remote_far *f, struct remote_adv *a, struct hull_error *err);

/* --- fetch.c, push.c --- */

/* Bring the objects with these ids, and what they lead to, into a repository. *keep as of hull_git_incoming_end().
 * progress is called now and then with the bytes that have come. */
int remote_fetch(struct remote_far *f, const struct hull_git_own *own, char *const *ids,
		 void (*progress)(void *ctx, uint64_t bytes), void *ctx, char **keep, struct hull_error *err);

struct remote_push {
	char *const *specs;          /* "[+]SRC:DST" */
	const struct hull_buf *told; /* what git was told of the references: "ID NAME" lines */
	bool dry_run, atomic;
};
/* The answer is appended also when it fails, as far as something is known. */
int remote_push(struct remote_far *f, const struct hull_git_own *own, const struct remote_push *push,
		struct hull_buf *answer, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* git-remote-hull, the helper that git runs for remotes with hull:: URLs (gitremote-helpers(7)).
 *
 *   git fetch hull-NAME
 *     └─ git-remote-hull hull-NAME NAME       helper.c: speaks the helper protocol on stdin and stdout
 *          ├─ git-remote-hull --serve upload-pack NAME DIR     serve.c: equivalent to `hull exec`
 *          │    └─ in the sandbox: git upload-pack DIR
 *          └─ git index-pack, in a jail       git/incoming.c: verifies and stores the pack
 *
 * Everything from the sandbox is controlled by the guest. The helper itself speaks git's protocol (version 0, single
 * round; gitprotocol-pack(5)):
 *
 * 1. It accepts a few forms of lines, each with limits (lines.c).
 * 2. It passes the pack on unparsed, to a git that can only write objects into a directory created for it.
 * 3. The user's git, which is not jailed, receives only verified references and objects. No line of the guest reaches
 *    it as a command of the helper protocol ("lock FILE" would make it remove a file), and none reaches a terminal as a
 *    control sequence.
 *
 *   lines.c         parses the guest's lines
 *   sandbox_end.c   the program at the far end, packet by packet
 *   fetch.c         references and objects from it
 *   push.c          references and objects to it */
#ifndef HULL_REMOTE_REMOTE_H
#define HULL_REMOTE_REMOTE_H

#include "base/buf.h"
#include "base/error.h"
#include "git/git.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* --- lines.c: hostile input --- */

/* Parses the packet (gitprotocol-common(5)) at the start of n bytes: *size = its total size; its payload follows the
 * first 4 bytes. */
enum remote_pkt { REMOTE_PKT_MORE, REMOTE_PKT_LINE, REMOTE_PKT_FLUSH };
int remote_pkt(const uint8_t *p, size_t n, size_t *size); /* one of them, or -EPROTO */

enum { REMOTE_PKT_MAX = 65520, REMOTE_HEAD = 4, REMOTE_NAME_MAX = 4096, REMOTE_REFS_MAX = 64 << 20 };

/* Append a packet with this line. */
__attribute__((format(printf, 2, 3))) int remote_line(struct hull_buf *out, const char *fmt, ...);

/* What a service says first. */
struct remote_adv {
	struct hull_buf refs; /* "ID NAME" lines */
	char head[REMOTE_NAME_MAX + 1];
	bool told; /* the first line, with the capabilities, was received */
	bool sha256, sideband, thin, ofs_delta, no_progress, report, delete_refs, atomic, quiet;
};
/* Parse one line of the advertisement. Lines that are not references are skipped. -EPROTO, or -EFBIG beyond
 * REMOTE_REFS_MAX. */
int remote_adv_line(struct remote_adv *a, const char *line, size_t n, struct hull_error *err);
void remote_adv_free(struct remote_adv *a);
size_t remote_id_len(const struct remote_adv *a); /* digits of an object's id there */
/* Its answer to git's "list". */
int remote_list(const struct remote_adv *a, struct hull_buf *out);
/* Find the id of a reference in lines "ID NAME"; NULL if it is missing. *n = its length. */
const char *remote_find(const struct hull_buf *refs, const char *name, size_t *n);

/* Convert receive-pack's report ("ok NAME" and "ng NAME why" lines) to the lines that git expects, for the names in
 * refs. */
int remote_status(const char *text, size_t n, char *const *refs, struct hull_buf *out);
bool remote_ref_ok(const char *name, size_t n);
bool remote_id_ok(const char *id, size_t n);

/* --- sandbox_end.c --- */

struct remote_far {
	pid_t pid;
	int in, out, words; /* the other ends of its standard descriptors */
	int stop_fd;        /* readable = cancel; -1 = never */
	int peer_fd;        /* hung up = cancel; -1 = never */
	struct hull_buf got, said;
	size_t used; /* bytes of `got` that belong to the last packet */
	bool cut;    /* it said more than is kept */
};
#define REMOTE_FAR_NONE                                                                   \
	{                                                                                 \
		.pid = -1, .in = -1, .out = -1, .words = -1, .stop_fd = -1, .peer_fd = -1 \
	}
/* Start a program as the far end. */
int remote_far_start(struct remote_far *f, char *const *argv, struct hull_error *err);
/* Receive the next packet: REMOTE_PKT_LINE with its payload (valid until the next call), or REMOTE_PKT_FLUSH. -ENODATA
 * at the end, with the far end's error message. */
int remote_far_read(struct remote_far *f, const uint8_t **p, size_t *n, struct hull_error *err);
int remote_far_write(struct remote_far *f, const struct hull_buf *b, struct hull_error *err);
/* Keep a message that the far end sent in a packet, with those from its standard error. */
void remote_far_said(struct remote_far *f, const uint8_t *p, size_t n);
/* Close it, and kill it if it still runs. */
void remote_far_end(struct remote_far *f);
int remote_far_adv(struct remote_far *f, struct remote_adv *a, struct hull_error *err);

/* --- fetch.c, push.c --- */

/* Fetch the objects with these ids, and all objects reachable from them, into a repository. *keep as in
 * hull_git_incoming_end(). progress is called from time to time with the number of bytes received. */
int remote_fetch(struct remote_far *f, const struct hull_git_own *own, char *const *ids,
		 void (*progress)(void *ctx, uint64_t bytes), void *ctx, char **keep, struct hull_error *err);

struct remote_push {
	char *const *specs;          /* "[+]SRC:DST" */
	const struct hull_buf *told; /* the references that git was given: "ID NAME" lines */
	bool dry_run, atomic;
};
/* The answer for git is appended even after a failure, as far as results are known. */
int remote_push(struct remote_far *f, const struct hull_git_own *own, const struct remote_push *push,
		struct hull_buf *answer, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Fetches objects from a sandbox's repository into one of the host; see remote.h.
 *
 * The negotiation is a single round: wants, haves, "done", then the pack. git's own client negotiates the common
 * history in several rounds. Here the far end's references reveal most of it: the haves are first those of them that
 * exist here with their complete history, then our newest commits. Common objects that were not named are transferred
 * again, which only costs bandwidth.
 *
 * Every have is complete here: haves are taken from what our references reach. An object that merely exists may be left
 * from an interrupted fetch. */
#include "remote/remote.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { NEWEST = 1024, ACKS_MAX = 64, DATA = 1, WORDS = 2, FAILED = 3 };

static int by_id(const void *a, const void *b)
{
	const char *x = *(const char *const *)a, *y = *(const char *const *)b;
	return strncmp(x, y, strcspn(x, " \n"));
}

/* "have" lines. */
static int add_haves(struct hull_buf *out, const struct hull_git_own *own, const struct remote_adv *adv)
{
	static const char *const walk[] = {"rev-list", "--all", "--max-count=65536", NULL};
	_cleanup_(hull_buf_free) struct hull_buf here = {0};
	_cleanup_free_ const char **sorted = NULL;
	size_t id = remote_id_len(adv), n, count = 0;
	/* If the repository cannot be walked, no object counts as complete. */
	if (hull_git_own_run(own, walk, -1, &here, -1, NULL) != 0 || here.len % (id + 1) != 0)
		return 0;
	n = here.len / (id + 1);
	const char *text = (const char *)hull_buf_bytes(&here);
	sorted = calloc(n + 1, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		sorted[i] = text + i * (id + 1);
	qsort(sorted, n, sizeof(*sorted), by_id);
	const char *theirs = (const char *)hull_buf_bytes(&adv->refs),
		   *end = adv->refs.len ? theirs + adv->refs.len : theirs;
	int r = 0;
	while (r == 0 && n && theirs < end && count < 4096) {
		if (bsearch(&theirs, sorted, n, sizeof(*sorted), by_id)) {
			r = remote_line(out, "have %.*s\n", (int)id, theirs);
			count++;
		}
		theirs = (const char *)memchr(theirs, '\n', (size_t)(end - theirs)) + 1;
	}
	for (size_t i = 0; r == 0 && i < n && i < NEWEST; i++)
		r = remote_line(out, "have %.*s\n", (int)id, text + i * (id + 1));
	return r;
}

static int ask(struct remote_far *f, const struct hull_git_own *own, const struct remote_adv *adv, char *const *ids,
	       struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf out = {0}, shallow = {0};
	int r = hull_git_own_shallow(own, &shallow, err);
	if (r < 0)
		return r;
	for (char *const *i = ids; r == 0 && *i; i++)
		r = i != ids ? remote_line(&out, "want %s\n", *i)
			     : remote_line(&out, "want %s side-band-64k%s%s%s%s agent=git/hull\n", *i,
					   adv->thin ? " thin-pack" : "", adv->ofs_delta ? " ofs-delta" : "",
					   adv->no_progress ? " no-progress" : "",
					   adv->sha256 ? " object-format=sha256" : "");
	char *save = NULL;
	if (r == 0)
		r = hull_buf_add(&shallow, "", 1);
	for (char *l = r == 0 ? strtok_r((char *)hull_buf_bytes(&shallow), "\n", &save) : NULL; r == 0 && l;
	     l = strtok_r(NULL, "\n", &save))
		r = remote_line(&out, "shallow %s\n", l);
	if (r == 0)
		r = hull_buf_addstr(&out, "0000");
	if (r == 0)
		r = add_haves(&out, own, adv);
	if (r == 0)
		r = remote_line(&out, "done\n");
	return r < 0 ? hull_fail(err, r, "requesting objects: %s", strerror(-r)) : remote_far_write(f, &out, err);
}

/* Receive the answer, including the whole pack. */
static int take_pack(struct remote_far *f, struct hull_git_incoming *in, void (*progress)(void *ctx, uint64_t bytes),
		     void *ctx, struct hull_error *err)
{
	const uint8_t *p;
	size_t n;
	uint64_t all = 0;
	unsigned acks = 0;
	int r;
	while ((r = remote_far_read(f, &p, &n, err)) == REMOTE_PKT_LINE) {
		if (n == 0)
			continue;
		if (p[0] == DATA) {
			r = hull_git_incoming_add(in, p + 1, n - 1, err);
			if (r < 0)
				return r;
			all += n - 1;
			if (progress)
				progress(ctx, all);
		} else if (p[0] == WORDS) {
			remote_far_said(f, p + 1, n - 1);
		} else if (p[0] == FAILED || (n > 4 && memcmp(p, "ERR ", 4) == 0)) {
			size_t skip = p[0] == FAILED ? 1 : 4;
			_cleanup_free_ char *why = hull_printable((const char *)p + skip, n - skip);
			return hull_fail(err, -EIO, "git in it reported: %.500s", why ? why : "");
		} else if (all || ++acks > ACKS_MAX ||
			   (memcmp(p, "ACK", n < 3 ? n : 3) != 0 && memcmp(p, "NAK", n < 3 ? n : 3) != 0)) {
			return hull_fail(err, -EPROTO, "its answer does not follow git's protocol");
		}
	}
	return r < 0 ? r : 0;
}

int remote_fetch(struct remote_far *f, const struct hull_git_own *own, char *const *ids,
		 void (*progress)(void *ctx, uint64_t bytes), void *ctx, char **keep, struct hull_error *err)
{
	_cleanup_(remote_adv_free) struct remote_adv adv = {0};
	_cleanup_(hull_git_incoming_freep) struct hull_git_incoming *in = NULL;
	*keep = NULL;
	int r = remote_far_adv(f, &adv, err);
	if (r < 0 || !*ids)
		return r;
	if (!adv.sideband)
		return hull_fail(err, -EPROTO, "its git is too old: it has no side-band-64k");
	for (char *const *i = ids; *i; i++)
		if (!remote_id_ok(*i, strlen(*i)) || strlen(*i) != remote_id_len(&adv))
			return hull_fail(err, -EINVAL, "no object has the id %.100s", *i);
	r = ask(f, own, &adv, ids, err);
	if (r == 0)
		r = hull_git_incoming_begin(own, &in, err);
	if (r == 0)
		r = take_pack(f, in, progress, ctx, err);
	return r < 0 ? r : hull_git_incoming_end(in, keep, err);
}

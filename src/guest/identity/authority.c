/* SPDX-License-Identifier: Apache-2.0 */
/* A company's certificate authorities in the system's trust store, without the programs that keep it: those take
 * seconds, and may not be there.
 *
 * A certificate that the store lacks is put where update-ca-certificates would have it and puts it again:
 *
 *     /usr/local/share/ca-certificates/hull-ca-N.crt    the certificate
 *     /etc/ssl/certs/hull-ca-N.pem, HASH.M              symlinks, for OpenSSL's lookup by subject
 *     /etc/ssl/certs/ca-certificates.crt                the bundle, the certificate at its end
 *     /etc/ssl/hull-ca.pem                              all that were given, also those the store has; there as long
 *                                                       as there is anything of ours
 *     /etc/ssl/hull-ca.added                            those that are in the store only by us
 *
 * The last is what the next start takes away first. So a certificate that is the image's own stays when the host gives
 * it no longer, and after a start that was cut short nothing is left over: it is written before anything is added, and
 * shrinks when everything else is done.
 *
 * This runs in PID 1, perhaps while workspaces are mounted: every open goes from the root's descriptor down without
 * entering a mount (own.c), writes are to a new file that takes the name. */
#include "guest/identity/identity.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "guest/core/own.h"
#include "wire/args.h"
#include "wire/service.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCAL  "usr/local/share/ca-certificates"
#define SSL    "etc/ssl"
#define CERTS  "etc/ssl/certs"
#define BUNDLE "ca-certificates.crt"
#define GIVEN  "hull-ca.pem"
#define ADDED  "hull-ca.added"
#define PREFIX "hull-ca-"

enum { COUNT_MAX = 1024, FILE_MAX = 8 * 1024 * 1024, SAME_HASH_MAX = 32 };

static const char BEGIN[] = "-----BEGIN CERTIFICATE-----\n";
static const char END[] = "-----END CERTIFICATE-----\n";

struct block {
	const char *p; /* borrowed; from BEGIN to END */
	size_t n;
	uint32_t hash; /* 0 in what was read from files */
};

struct blocks {
	struct block all[COUNT_MAX];
	size_t count;
};

static bool authority_holds(const struct blocks *b, const char *p, size_t n)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->all[i].n == n && memcmp(b->all[i].p, p, n) == 0)
			return true;
	return false;
}

/* The length of the certificate that begins at p; 0 = none does. */
static size_t block_at(const char *p, size_t n)
{
	if (n < sizeof(BEGIN) - 1 || memcmp(p, BEGIN, sizeof(BEGIN) - 1) != 0)
		return 0;
	const char *end = memmem(p, n, END, sizeof(END) - 1);
	return end ? (size_t)(end - p) + sizeof(END) - 1 : 0;
}

static void authority_add(struct blocks *b, const char *p, size_t n, uint32_t hash)
{
	if (b->count < COUNT_MAX && !authority_holds(b, p, n))
		b->all[b->count++] = (struct block){.p = p, .n = n, .hash = hash};
}

/* Lines of text, from one to the next. */
static size_t line_at(const char *p, size_t n)
{
	const char *end = memchr(p, '\n', n);
	return end ? (size_t)(end - p) + 1 : n;
}

static void find_blocks(const struct hull_buf *text, struct blocks *b)
{
	const char *p = (const char *)hull_buf_bytes(text);
	for (size_t at = 0, n; at < text->len; at += n) {
		n = block_at(p + at, text->len - at);
		if (n)
			authority_add(b, p + at, n, 0);
		else
			n = line_at(p + at, text->len - at);
	}
}

static void read_fields(const uint8_t *args, size_t len, struct blocks *b)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	uint32_t hash = 0;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_CA_HASH)
			hash = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_CA && block_at((const char *)a.p, a.n) == a.n && a.n > 0)
			authority_add(b, (const char *)a.p, a.n, hash);
	}
}

/* --- files --- */

/* What is not there is empty. */
static int authority_read_file(int dir, const char *name, struct hull_buf *out)
{
	int r = hull_own_readat(dir, name, FILE_MAX, out);
	return r == -ENOENT ? 0 : r;
}

/* Whole or not at all for who reads it. */
static int write_file(int dir, const char *name, const struct hull_buf *text)
{
	char tmp[64];
	struct stat st;
	/* A rename onto a mount point fails by itself; a symlink there would be replaced. */
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
		return -EEXIST;
	snprintf(tmp, sizeof(tmp), ".%s.hull-new", name);
	unlinkat(dir, tmp, 0);
	_cleanup_close_ int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	int r = hull_write_full(fd, hull_buf_bytes(text), text->len);
	if (r == 0 && (fchmod(fd, 0644) < 0 || renameat(dir, tmp, dir, name) < 0))
		r = -errno;
	if (r < 0)
		unlinkat(dir, tmp, 0);
	return r;
}

static bool same_text(const struct hull_buf *a, const struct hull_buf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(hull_buf_bytes(a), hull_buf_bytes(b), a->len) == 0);
}

/* A file of these (b: further ones, may be NULL), written only when it is not that already; none when there are none.
 */
static int put_blocks(int dir, const char *name, const struct blocks *a, const struct blocks *b)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	_cleanup_(hull_buf_free) struct hull_buf had = {0};
	int r = 0;
	for (size_t i = 0; r == 0 && i < a->count; i++)
		r = hull_buf_add(&text, a->all[i].p, a->all[i].n);
	for (size_t i = 0; r == 0 && b && i < b->count; i++)
		r = authority_holds(a, b->all[i].p, b->all[i].n) ? 0 : hull_buf_add(&text, b->all[i].p, b->all[i].n);
	if (r == 0 && text.len == 0)
		return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
	if (r == 0)
		r = authority_read_file(dir, name, &had);
	return r < 0 || same_text(&had, &text) ? r : write_file(dir, name, &text);
}

/* Our files in the directory of authorities, and symlinks to them. */
static int take_away(int dir)
{
	_cleanup_close_ int fd = hull_own_openat(dir, ".", O_RDONLY | O_DIRECTORY, 0);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return fd < 0 ? fd : -errno;
	fd = -1;
	for (const struct dirent *e; (e = readdir(d));) {
		char target[sizeof(PREFIX)] = "";
		bool ours = strncmp(e->d_name, PREFIX, sizeof(PREFIX) - 1) == 0;
		if (!ours && readlinkat(dir, e->d_name, target, sizeof(target) - 1) > 0)
			ours = strcmp(target, PREFIX) == 0;
		if (ours && unlinkat(dir, e->d_name, 0) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int put_one(int local, int certs, const struct block *b, size_t number)
{
	char file[64], link[64], path[128], name[32];
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	snprintf(file, sizeof(file), PREFIX "%zu.crt", number);
	snprintf(link, sizeof(link), PREFIX "%zu.pem", number);
	snprintf(path, sizeof(path), "/" LOCAL "/%s", file);
	int r = hull_buf_add(&text, b->p, b->n);
	if (r == 0)
		r = write_file(local, file, &text);
	if (r == 0 && symlinkat(path, certs, link) < 0)
		r = -errno;
	for (unsigned i = 0; r == 0 && i < SAME_HASH_MAX; i++) {
		snprintf(name, sizeof(name), "%08x.%u", b->hash, i);
		if (symlinkat(link, certs, name) == 0)
			break;
		if (errno != EEXIST)
			r = -errno;
	}
	return r;
}

/* The bundle as it is without what we added, and with what we add now. */
static int make_bundle(const struct hull_buf *had, const struct blocks *old, const struct blocks *add_now,
		       struct hull_buf *out)
{
	const char *p = (const char *)hull_buf_bytes(had);
	int r = 0;
	for (size_t at = 0, n; r == 0 && at < had->len; at += n) {
		size_t block = block_at(p + at, had->len - at);
		n = block ? block : line_at(p + at, had->len - at);
		if (!block || !authority_holds(old, p + at, n))
			r = hull_buf_add(out, p + at, n);
	}
	if (r == 0 && out->len && hull_buf_bytes(out)[out->len - 1] != '\n')
		r = hull_buf_addstr(out, "\n");
	for (size_t i = 0; r == 0 && i < add_now->count; i++)
		r = hull_buf_add(out, add_now->all[i].p, add_now->all[i].n);
	return r;
}

struct work {
	struct blocks given, old, own, now; /* own = the store's without us; now = to add */
	struct hull_buf record, bundle, next;
};

static void free_work(struct work **w)
{
	if (!*w)
		return;
	hull_buf_free(&(*w)->record);
	hull_buf_free(&(*w)->bundle);
	hull_buf_free(&(*w)->next);
	free(*w);
}

static int authority_change(struct work *w, int root, int ssl)
{
	_cleanup_close_ int certs = hull_own_make_dir(root, CERTS);
	if (certs < 0)
		return certs;
	int r = authority_read_file(certs, BUNDLE, &w->bundle);
	if (r < 0)
		return r;
	struct blocks *all = &w->own;
	find_blocks(&w->bundle, all);
	for (size_t i = 0; i < w->given.count; i++) {
		const struct block *b = &w->given.all[i];
		if (!authority_holds(all, b->p, b->n) || authority_holds(&w->old, b->p, b->n))
			authority_add(&w->now, b->p, b->n, b->hash);
	}
	r = make_bundle(&w->bundle, &w->old, &w->now, &w->next);
	if (r < 0)
		return r;
	bool same = w->now.count == w->old.count;
	for (size_t i = 0; same && i < w->now.count; i++)
		same = authority_holds(&w->old, w->now.all[i].p, w->now.all[i].n);
	if (same && same_text(&w->bundle, &w->next))
		return put_blocks(ssl, GIVEN, &w->given, NULL);
	_cleanup_close_ int local = hull_own_make_dir(root, LOCAL);
	if (local < 0)
		return local;
	if (w->given.count)
		r = put_blocks(ssl, GIVEN, &w->given, NULL);
	if (r == 0)
		r = put_blocks(ssl, ADDED, &w->now, &w->old);
	if (r == 0)
		r = take_away(certs);
	if (r == 0)
		r = take_away(local);
	for (size_t i = 0; r == 0 && i < w->now.count; i++)
		r = put_one(local, certs, &w->now.all[i], i);
	if (r == 0)
		r = write_file(certs, BUNDLE, &w->next);
	if (r == 0)
		r = put_blocks(ssl, ADDED, &w->now, NULL);
	if (r == 0 && !w->given.count)
		r = put_blocks(ssl, GIVEN, &w->given, NULL);
	return r;
}

int hull_authority_install(int root, const uint8_t *args, size_t len, bool *there, struct hull_error *err)
{
	*there = false;
	/* Without any, and none from before, which is the rule, this is all that is done: no page of work is touched. */
	_cleanup_close_ int had = hull_own_openat(root, SSL "/" GIVEN, O_PATH, 0);
	if (len == 0 && had == -ENOENT)
		return 0;
	_cleanup_(free_work) struct work *w = calloc(1, sizeof(*w));
	if (!w)
		return hull_fail(err, -ENOMEM, "out of memory");
	read_fields(args, len, &w->given);
	if (w->given.count == 0 && had == -ENOENT)
		return 0;
	_cleanup_close_ int ssl = hull_own_make_dir(root, SSL);
	int r = ssl < 0 ? ssl : authority_read_file(ssl, ADDED, &w->record);
	if (r == 0) {
		find_blocks(&w->record, &w->old);
		r = authority_change(w, root, ssl);
	}
	if (r < 0)
		return hull_fail(err, r, "the certificate authorities of the host's user cannot be put in place: %s",
				 strerror(-r));
	*there = w->given.count > 0;
	return 0;
}

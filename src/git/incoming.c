/* SPDX-License-Identifier: Apache-2.0 */
/* Stores an untrusted pack in a repository of the user's.
 *
 * 1. A jailed `git index-pack --strict --fix-thin` verifies every object (fsck), and that every object it refers to
 *    exists in the repository or the pack.
 * 2. It sees the repository read-only and writes to a directory created for this, objects/tmp_objdir-hull-XXXXXX, which
 *    `git prune` removes if we are killed.
 * 3. Its files are used only if it succeeds, and only files with the names of one pack. They are moved to the other
 *    packs in git's own order, the index last: git ignores a pack without an index.
 * 4. A floor of free space stays, whatever the size of the pack and the number of objects it claims. */
#include "git/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/space.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP = 8 << 20, HEAD_SIZE = 12, INDEX_ENTRY = 64 /* index and reverse index, per object */ };

struct hull_git_incoming {
	struct hull_git_child child;
	bool running;
	int in;              /* the pack goes there; does not block */
	int objects;         /* the repository's directory of objects */
	char *dir;           /* the directory created for this; NULL = none */
	const char *name;    /* in it: its last component */
	struct hull_buf out; /* what index-pack prints */
	uint8_t head[HEAD_SIZE];
	size_t head_len;
	uint64_t since; /* bytes since the last check of free space */
};

int hull_git_incoming_begin(const struct hull_git_own *o, struct hull_git_incoming **out, struct hull_error *err)
{
	static const char *const args[] = {"index-pack", "--stdin", "--strict", "--fix-thin", "--keep=hull", NULL};
	_cleanup_(hull_git_incoming_freep) struct hull_git_incoming *i = calloc(1, sizeof(*i));
	_cleanup_free_ char *dir = hull_fmt("%s/tmp_objdir-hull-XXXXXX", o->objects);
	struct stat st;
	int p[2];
	if (!i || !dir)
		return hull_fail(err, -ENOMEM, "out of memory");
	i->in = -1;
	i->objects = open(o->objects, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (i->objects < 0 || fstat(i->objects, &st) < 0)
		return hull_fail_errno(err, "%s", o->objects);
	int r = hull_space_check(i->objects, STEP, 8, err);
	if (r < 0)
		return r;
	if (!mkdtemp(dir))
		return hull_fail_errno(err, "making a directory in %s", o->objects);
	i->dir = hull_steal_ptr(dir);
	i->name = strrchr(i->dir, '/') + 1;
	/* Run by root for another user's repository, git runs as that user. */
	if (geteuid() == 0 && st.st_uid != 0 &&
	    fchownat(i->objects, i->name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return hull_fail_errno(err, "giving %s to its owner", i->dir);
	if (pipe2(p, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "running git");
	i->in = p[1];
	fcntl(p[1], F_SETFL, O_NONBLOCK);
	const struct hull_git_at at = {.own = o, .incoming = i->dir};
	r = hull_git_child_start(&i->child, &at, args, p[0], &i->out, -1, err);
	close(p[0]);
	if (r < 0)
		return r;
	i->running = true;
	*out = hull_steal_ptr(i);
	return 0;
}

/* index-pack's own error explains more than the failed write. */
static int ended_early(struct hull_git_incoming *i, struct hull_error *err)
{
	i->running = false;
	hull_closep(&i->in);
	i->in = -1;
	int r = hull_git_child_end(&i->child, false, err);
	return r < 0 ? r : hull_fail(err, -EIO, r > 0 ? "%s" : "there is more behind the pack", r > 0 ? err->msg : "");
}

int hull_git_incoming_add(struct hull_git_incoming *i, const void *p, size_t n, struct hull_error *err)
{
	if (!i->running)
		return hull_fail(err, -EIO, "git has ended");
	if (i->head_len < HEAD_SIZE) {
		size_t k = HEAD_SIZE - i->head_len < n ? HEAD_SIZE - i->head_len : n;
		memcpy(i->head + i->head_len, p, k);
		i->head_len += k;
		uint64_t objects = (uint64_t)i->head[8] << 24 | (uint64_t)i->head[9] << 16 |
				   (uint64_t)i->head[10] << 8 | i->head[11];
		int r = i->head_len < HEAD_SIZE ? 0 : hull_space_check(i->objects, objects * INDEX_ENTRY, 8, err);
		if (r < 0)
			return r;
	}
	i->since += n;
	if (i->since >= STEP) {
		int r = hull_space_check(i->objects, i->since, 8, err);
		if (r < 0)
			return r;
		i->since = 0;
	}
	int r = hull_git_child_feed(&i->child, i->in, p, n, err);
	return r == -EPIPE ? ended_early(i, err) : r;
}

/* --- what it left --- */

/* The pack's name, "pack-ID", printed by index-pack; NULL when there is none. */
static char *pack_name(const struct hull_buf *out)
{
	static const char tell[] = "keep\t", other[] = "pack\t";
	const char *text = (const char *)hull_buf_bytes(out);
	size_t skip = sizeof(tell) - 1;
	if (out->len <= skip || (memcmp(text, tell, skip) != 0 && memcmp(text, other, skip) != 0))
		return NULL;
	size_t n = 0;
	while (skip + n < out->len && strchr("0123456789abcdef", text[skip + n]) && text[skip + n])
		n++;
	return n == 40 || n == 64 ? hull_fmt("pack-%.*s", (int)n, text + skip) : NULL;
}

/* 1 when it is beside the other packs now, 0 when there is none to move, or the same was there. */
static int move_one(int from, int to, const char *pack, const char *ending, struct hull_error *err)
{
	_cleanup_free_ char *name = hull_fmt("%s%s", pack, ending);
	struct stat st;
	if (!name)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return renameat(from, name, to, name) < 0 ? hull_fail_errno(err, "moving %s into the repository", name) : 1;
}

static int migrate(struct hull_git_incoming *i, const char *pack, bool *kept, struct hull_error *err)
{
	static const char *const endings[] = {".keep", ".pack", ".rev", ".idx"};
	_cleanup_free_ char *below = hull_fmt("%s/pack", i->name);
	_cleanup_close_ int from = below ? openat(i->objects, below, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
					 : -1;
	if (from < 0)
		return hull_fail(err, -EIO, "git wrote no pack");
	if (mkdirat(i->objects, "pack", 0777) < 0 && errno != EEXIST)
		return hull_fail_errno(err, "making objects/pack");
	_cleanup_close_ int to = openat(i->objects, "pack", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0)
		return hull_fail_errno(err, "objects/pack");
	for (size_t k = 0; k < sizeof(endings) / sizeof(*endings); k++) {
		int r = move_one(from, to, pack, endings[k], err);
		if (r < 0)
			return r;
		*kept = *kept || (r == 1 && k == 0);
	}
	fsync(to);
	return 0;
}

int hull_git_incoming_end(struct hull_git_incoming *i, char **keep, struct hull_error *err)
{
	bool kept = false;
	*keep = NULL;
	if (!i->running)
		return hull_fail(err, -EIO, "git has ended");
	i->running = false;
	hull_closep(&i->in);
	i->in = -1;
	int r = hull_git_child_end(&i->child, false, err);
	if (r != 0)
		return r < 0 ? r : -EIO;
	_cleanup_free_ char *pack = pack_name(&i->out);
	r = pack ? migrate(i, pack, &kept, err) : hull_fail(err, -EIO, "git did not print the name of the pack");
	if (r == 0 && kept)
		*keep = hull_fmt("%.*s/pack/%s.keep", (int)(i->name - 1 - i->dir), i->dir, pack);
	return r;
}

void hull_git_incoming_free(struct hull_git_incoming *i)
{
	if (!i)
		return;
	if (i->running)
		hull_git_child_end(&i->child, true, NULL);
	if (i->in >= 0)
		close(i->in);
	if (i->dir)
		hull_remove_tree(i->objects, i->name, NULL);
	if (i->objects >= 0)
		close(i->objects);
	free(i->dir);
	hull_buf_free(&i->out);
	free(i);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Names: looking them up, making, moving and removing them.
 *
 * What the guest may make: all there is. What the host cannot or must not have is kept beside a file (meta.h): owners
 * other than the guest's user, fifos, sockets, device nodes.
 *
 * The replayer (docs/internals/workspace.md, "Watchers") is the one process in the guest whose operations here change nothing:
 * it makes names that exist already and removes names that are gone already, so that the guest's kernel tells its
 * watchers about them. */
#include "share/server.h"

#include "share/attr.h"
#include "share/meta.h"
#include "share/prefetch.h"
#include "share/watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int share_fill_entry(struct share_req *r, struct share_inode *parent, const char *name, const struct share_stat *st,
		     struct fuse_entry_out *out)
{
	struct share_inode *ino = share_inode_enter(r->sh, parent, name, st);
	*out = (struct fuse_entry_out){0};
	if (!ino)
		return -ENFILE;
	out->nodeid = ino->id;
	/* The attributes of a directory can be kept once it is watched itself: first that, then look. */
	struct share_stat again;
	if (ino->type == S_IFDIR && share_watched(r->sh, parent) && !share_watched(r->sh, ino)) {
		int fd = share_pin(r->sh, ino);
		if (fd >= 0)
			share_watch_dir(r->sh, ino, fd);
		if (fd >= 0 && share_statx(fd, "", &again) == 0) {
			/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): share_identify() set it */
			again.generation = st->generation;
			st = &again;
		}
		if (fd >= 0)
			share_unpin(r->sh, ino);
	}
	if (ino->type == S_IFREG && st->x.stx_nlink > 1 && share_watched(r->sh, parent) && !ino->marked) {
		int fd = share_pin(r->sh, parent);
		if (fd >= 0 && share_mark(r->sh, ino, fd, name, &again))
			st = &again;
		if (fd >= 0)
			share_unpin(r->sh, parent);
	}
	share_entry_valid(r->sh, parent, &out->entry_valid, &out->entry_valid_nsec);
	share_attr_valid(r->sh, ino, st, &out->attr_valid, &out->attr_valid_nsec);
	share_fill_attr(r->sh, st, &out->attr);
	share_inode_put(r->sh, ino);
	return 0;
}

static void reply_filled(struct share_req *r, struct fuse_entry_out *out)
{
	if (share_reply_cached(r, SHARE_ENTRY, out, sizeof *out) == -ENOENT)
		share_inode_forget(r->sh, out->nodeid, 1);
}

static void reply_entry(struct share_req *r, struct share_inode *parent, const char *name, const struct share_stat *st)
{
	struct fuse_entry_out out;
	int e = share_fill_entry(r, parent, name, st, &out);
	if (e < 0)
		return share_reply(r, e, NULL, 0);
	reply_filled(r, &out);
}

/* The descriptor of the directory whose name is to be changed, pinned; -errno when it may not be. */
static int pin_for_change(struct share_req *r, struct share_inode *dir, const char *name)
{
	if (dir->type != S_IFDIR)
		return -ENOTDIR;
	if (share_is_ro(r->sh, dir))
		return -EROFS;
	int e = share_guarded(r->sh, dir, name);
	return e < 0 ? e : share_pin(r->sh, dir);
}

/* The replayer finds the file itself that is gone, when the guest knows it: whoever watches the file hears of the
 * removal. The count of links is what it was before. */
static bool show_old(struct share_req *r, struct share_inode *dir, const char *name)
{
	struct hull_share *sh = r->sh;
	struct share_stat st;
	uint64_t node = share_announced_node(sh, dir->id, name);
	struct share_inode *ino = node ? share_inode_get(sh, node) : NULL;
	if (!ino || ino->type == S_IFDIR) {
		share_inode_put(sh, ino);
		return false;
	}
	struct fuse_entry_out out = {.nodeid = node};
	if (share_stat_inode(sh, ino, &st) == 0) {
		share_fill_attr(sh, &st, &out.attr);
		out.attr.nlink++;
	} else {
		out.attr = (struct fuse_attr){.mode = ino->type | 0600, .nlink = 1, .size = ino->advertised_size};
		out.attr.ino = share_guest_ino(sh, ino->key.dev, ino->key.ino);
	}
	share_announced_show(sh, dir->id, name);
	share_inode_nlookup(sh, node, 1);
	share_reply(r, 0, &out, sizeof out);
	share_inode_put(sh, ino);
	return true;
}

/* What the replayer is to find under a name that came or went: for it, the change is yet to happen. */
static bool pretend(struct share_req *r, struct share_inode *dir, const char *name)
{
	enum share_pending gone = share_announced(r->sh, dir->id, name, false, false);
	if (gone == SHARE_PENDING_FILE && show_old(r, dir, name))
		return true;
	if (gone) {
		uint32_t type = gone == SHARE_PENDING_DIR ? S_IFDIR : S_IFREG;
		struct share_inode *ino = share_inode_phantom(r->sh, dir, name, type);
		struct fuse_entry_out out = {.attr = {.mode = type | 0700, .nlink = 1}};
		if (ino) {
			out.nodeid = ino->id;
			out.attr.ino = ino->id;
			share_reply(r, 0, &out, sizeof out);
			share_inode_put(r->sh, ino);
		} else {
			share_reply(r, -ENFILE, NULL, 0);
		}
		return true;
	}
	if (!share_announced(r->sh, dir->id, name, true, false))
		return false;
	share_reply(r, -ENOENT, NULL, 0);
	return true;
}

void share_op_lookup(struct share_req *r, struct share_inode *dir)
{
	int e = 0;
	struct share_stat st;
	const char *name = share_name(r, &e);
	if (!name)
		return share_reply(r, e, NULL, 0);
	if (dir->type != S_IFDIR)
		return share_reply(r, -ENOTDIR, NULL, 0);
	if (r->replayer && pretend(r, dir, name))
		return;
	int fd = share_pin(r->sh, dir);
	if (fd < 0)
		return share_reply(r, fd, NULL, 0);
	share_watch_dir(r->sh, dir, fd); /* first watch, then look: nothing can change in between unseen */
	share_prefetch_siblings(r, dir, name);
	e = share_identify(r->sh, fd, name, &st);
	if (share_meta_ease(r, dir, fd, e))
		e = share_identify(r->sh, fd, name, &st);
	share_unpin(r->sh, dir);
	if (e == 0) {
		share_prefetch_known(r, dir, name, &st);
		return reply_entry(r, dir, name, &st);
	}
	if (e == -ENOENT) {
		struct fuse_entry_out none = {0};
		share_entry_valid(r->sh, dir, &none.entry_valid, &none.entry_valid_nsec);
		if (none.entry_valid)
			none.entry_valid = share_absent(r->sh, dir->id, name);
		share_reply_cached(r, SHARE_ENTRY, &none, sizeof none);
		return;
	}
	share_reply(r, e, NULL, 0);
}

/* Make `name` by `make`, then answer with its entry. */
struct making {
	mode_t mode;
	uint32_t rdev;
	const char *target;       /* symlink */
	struct share_inode *from; /* hard link */
};

static int make_it(struct share_req *r, const struct share_inode *dir, int fd, const char *name, const struct making *m)
{
	struct hull_share *sh = r->sh;
	struct share_meta want;
	int full = share_room(sh, dir, fd, SHARE_ROOM_NAME);
	if (full < 0) {
		struct share_stat st; /* that the name is taken goes first */
		return share_statx(fd, name, &st) == 0 ? -EEXIST : full;
	}
	if (m->from) {
		struct share_at at;
		char number[16];
		int e = share_aim_exact(sh, m->from, &at);
		if (e < 0)
			return e;
		snprintf(number, sizeof number, "%d", at.fd);
		e = linkat(sh->proc_fd, number, fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
		share_at_put(sh, &at);
		return e;
	}
	bool plain = share_meta_new(r, dir, fd, m->mode, &want);
	if (m->target && !plain)
		return share_meta_symlink(sh, fd, name, m->target, &want);
	if (m->target)
		return symlinkat(m->target, fd, name) < 0 ? -errno : 0;
	if (!plain) {
		want.rdev = m->rdev;
		return share_meta_make(sh, fd, name, &want);
	}
	if (S_ISDIR(m->mode))
		return mkdirat(fd, name, m->mode & 01777) < 0 ? -errno : 0;
	return mknodat(fd, name, m->mode & (S_IFMT | 0777), 0) < 0 ? -errno : 0;
}

static void names_make(struct share_req *r, struct share_inode *dir, const char *name, const struct making *m)
{
	struct share_stat st = {0};
	int e;
	bool exists = r->replayer && share_announced(r->sh, dir->id, name, true, true);
	int fd = exists ? share_pin(r->sh, dir) : pin_for_change(r, dir, name);
	if (fd < 0)
		return share_reply(r, fd, NULL, 0);
	e = exists ? 0 : r->replayer ? -EPERM : make_it(r, dir, fd, name, m);
	if (share_meta_ease(r, dir, fd, e))
		e = make_it(r, dir, fd, name, m);
	if (e == 0)
		e = share_identify(r->sh, fd, name, &st);
	share_unpin(r->sh, dir);
	if (e < 0)
		return share_reply(r, e, NULL, 0);
	share_prefetch_attr(r, dir);
	struct fuse_entry_out out;
	e = share_fill_entry(r, dir, name, &st, &out);
	if (e < 0)
		return share_reply(r, e, NULL, 0);
	if (S_ISDIR(m->mode) && !exists)
		share_prefetch_made(r, dir, name, &out);
	reply_filled(r, &out);
}

void share_op_mknod(struct share_req *r, struct share_inode *dir)
{
	int e = -EINVAL;
	const struct fuse_mknod_in *in = share_args(r, sizeof *in);
	const char *name = in ? share_name(r, &e) : NULL;
	if (!name)
		return share_reply(r, e, NULL, 0);
	bool device = S_ISCHR(in->mode) || S_ISBLK(in->mode);
	if (!device && !S_ISREG(in->mode) && !S_ISFIFO(in->mode) && !S_ISSOCK(in->mode))
		return share_reply(r, -EPERM, NULL, 0);
	names_make(r, dir, name, &(struct making){.mode = in->mode & (S_IFMT | 07777), .rdev = device ? in->rdev : 0});
}

void share_op_mkdir(struct share_req *r, struct share_inode *dir)
{
	int e = -EINVAL;
	const struct fuse_mkdir_in *in = share_args(r, sizeof *in);
	const char *name = in ? share_name(r, &e) : NULL;
	if (!name)
		return share_reply(r, e, NULL, 0);
	names_make(r, dir, name, &(struct making){.mode = S_IFDIR | (in->mode & 07777)});
}

void share_op_symlink(struct share_req *r, struct share_inode *dir)
{
	int e = 0;
	const char *name = share_name(r, &e);
	size_t left = hull_cur_left(&r->in);
	const char *target = (const char *)r->in.p;
	if (!name)
		return share_reply(r, e, NULL, 0);
	if (left < 2 || !memchr(target, '\0', left))
		return share_reply(r, left ? -ENOENT : -EINVAL, NULL, 0);
	names_make(r, dir, name, &(struct making){.mode = S_IFLNK | 0777, .target = target});
}

void share_op_link(struct share_req *r, struct share_inode *dir)
{
	int e = -EINVAL;
	const struct fuse_link_in *in = share_args(r, sizeof *in);
	const char *name = in ? share_name(r, &e) : NULL;
	if (!name)
		return share_reply(r, e, NULL, 0);
	struct share_inode *from = share_inode_get(r->sh, in->oldnodeid);
	if (!from)
		return share_reply(r, -ESTALE, NULL, 0);
	if (from->type == S_IFDIR)
		share_reply(r, -EPERM, NULL, 0);
	else if (share_is_ro(r->sh, from))
		share_reply(r, -EROFS, NULL, 0);
	else
		names_make(r, dir, name, &(struct making){.from = from});
	share_inode_put(r->sh, from);
}

/* The inode under a name that goes, NULL when the guest knows none; whether its number means nothing any more then. */
struct loss {
	struct share_inode *ino; /* ref'd */
	bool last;
};

/* Before (fd, name) goes: what it names may have other names, by which the guest keeps using the inode, while this is
 * the one it would be found by. */
static struct loss prepare_loss(struct hull_share *sh, int fd, const char *name)
{
	struct share_stat st;
	struct loss l = {0};
	if (share_identify(sh, fd, name, &st) < 0 || !(l.ino = share_inode_find(sh, &st)))
		return l;
	if (S_ISDIR(st.x.stx_mode) || st.x.stx_nlink == 1)
		l.last = atomic_load(&sh->no_generations);
	else if (share_pin(sh, l.ino) >= 0)
		share_unpin(sh, l.ino); /* it has a descriptor now, until others need theirs more */
	return l;
}

static void lose(struct hull_share *sh, const struct loss *l)
{
	if (l->last)
		share_inode_gone(sh, l->ino);
}

/* The replayer removes what is gone, for the guest's watchers. When something of that name is here again, the guest
 * may have looked it up in between, and a success would make its kernel take the new directory for a dead one: no name
 * in it would ever be found again. So that is refused; the announcement of what is new follows. But not when its kernel
 * has just been shown the old file: it holds the directory from that lookup to this removal, so that is what it means.
 */
static int announce_removal(struct share_req *r, struct share_inode *dir, const char *name)
{
	struct share_stat st;
	bool shown = share_announced_shown(r->sh, dir->id, name);
	if (!share_announced(r->sh, dir->id, name, false, shown))
		return -EPERM;
	if (shown)
		return 0;
	int fd = share_pin(r->sh, dir);
	int e = fd < 0 ? fd : share_identify(r->sh, fd, name, &st);
	if (fd >= 0)
		share_unpin(r->sh, dir);
	/* Its kernel may not have been told yet that what it has under the name is old, and has asked nothing. ESTALE
	 * makes it look the name up and try again, once. */
	if (e == 0 && share_announced_again(r->sh, dir->id, name))
		return -ESTALE;
	share_announced(r->sh, dir->id, name, false, true);
	return e == 0 ? -EBUSY : e == -ENOENT ? 0 : e;
}

static void remove_name(struct share_req *r, struct share_inode *dir, int flags)
{
	int e = 0;
	const char *name = share_name(r, &e);
	if (!name)
		return share_reply(r, e, NULL, 0);
	if (r->replayer)
		return share_reply(r, announce_removal(r, dir, name), NULL, 0);
	int fd = pin_for_change(r, dir, name);
	if (fd < 0)
		return share_reply(r, fd, NULL, 0);
	struct loss loss = prepare_loss(r->sh, fd, name);
	e = unlinkat(fd, name, flags) < 0 ? -errno : 0;
	if (share_meta_ease(r, dir, fd, e))
		e = unlinkat(fd, name, flags) < 0 ? -errno : 0;
	if (e == 0)
		lose(r->sh, &loss);
	share_unpin(r->sh, dir);
	if (e == 0)
		share_prefetch_names(r, (struct share_inode *[2]){dir}, (struct share_inode *[2]){loss.ino});
	share_inode_put(r->sh, loss.ino);
	share_reply(r, e, NULL, 0);
}

void share_op_unlink(struct share_req *r, struct share_inode *dir)
{
	remove_name(r, dir, 0);
}

void share_op_rmdir(struct share_req *r, struct share_inode *dir)
{
	remove_name(r, dir, AT_REMOVEDIR);
}

/* Tell the table where an inode the guest knows has gone: that one (ref'd), or NULL. */
static struct share_inode *moved(struct hull_share *sh, int fd, struct share_inode *dir, const char *name)
{
	struct share_stat st;
	struct share_inode *ino = share_identify(sh, fd, name, &st) < 0 ? NULL : share_inode_find(sh, &st);
	if (ino)
		share_inode_moved(sh, ino, dir, name);
	return ino;
}

/* Both directories must let the name go and come; and a directory that is moved holds `..`, so it must let us write. */
static int names_move(struct share_req *r, struct share_inode *const dirs[2], const int fds[2],
		      const char *const names[2], uint32_t flags)
{
	int e = 0;
	for (int tries = 0; tries < 5; tries++) {
		e = renameat2(fds[0], names[0], fds[1], names[1], flags) < 0 ? -errno : 0;
		if (!share_meta_ease(r, dirs[0], fds[0], e) && !share_meta_ease(r, dirs[1], fds[1], e) &&
		    !share_meta_ease_named(r, fds[0], names[0], e) &&
		    !(flags & RENAME_EXCHANGE && share_meta_ease_named(r, fds[1], names[1], e)))
			break;
	}
	return e;
}

static void do_rename(struct share_req *r, struct share_inode *from, uint64_t to_id, uint32_t flags)
{
	struct hull_share *sh = r->sh;
	int e = 0;
	const char *name = share_name(r, &e);
	const char *to_name = name ? share_name(r, &e) : NULL;
	if (!to_name)
		return share_reply(r, e, NULL, 0);
	if (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE) || r->replayer)
		return share_reply(r, -EINVAL, NULL, 0);
	struct share_inode *to = share_inode_get(sh, to_id);
	if (!to)
		return share_reply(r, -ESTALE, NULL, 0);
	int a = pin_for_change(r, from, name);
	int b = a < 0 ? a : pin_for_change(r, to, to_name);
	if (b < 0) {
		e = b;
	} else {
		bool exchange = flags & RENAME_EXCHANGE;
		struct loss loss = exchange ? (struct loss){0} : prepare_loss(sh, b, to_name);
		e = names_move(r, (struct share_inode *[2]){from, to}, (int[2]){a, b}, (const char *[2]){name, to_name},
			       flags);
		if (e == 0) {
			lose(sh, &loss);
			struct share_inode *there = moved(sh, b, to, to_name);
			struct share_inode *back = exchange ? moved(sh, a, from, name) : NULL;
			share_prefetch_names(r, (struct share_inode *[2]){from, to != from ? to : NULL},
					     (struct share_inode *[2]){there, exchange ? back : loss.ino});
			share_inode_put(sh, there);
			share_inode_put(sh, back);
		}
		share_inode_put(sh, loss.ino);
	}
	if (b >= 0)
		share_unpin(sh, to);
	if (a >= 0)
		share_unpin(sh, from);
	share_inode_put(sh, to);
	share_reply(r, e, NULL, 0);
}

void share_op_rename(struct share_req *r, struct share_inode *dir)
{
	const struct fuse_rename_in *in = share_args(r, sizeof *in);
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	do_rename(r, dir, in->newdir, 0);
}

void share_op_rename2(struct share_req *r, struct share_inode *dir)
{
	const struct fuse_rename2_in *in = share_args(r, sizeof *in);
	if (!in)
		return share_reply(r, -EINVAL, NULL, 0);
	do_rename(r, dir, in->newdir, in->flags);
}

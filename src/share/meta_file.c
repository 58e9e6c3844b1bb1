/* SPDX-License-Identifier: Apache-2.0 */
/* The record beside a file (meta.h): reading, changing, and what is made with one.
 *
 * An attribute is reached by path, because there is no call that takes a directory's descriptor and a name, and none
 * that takes an O_PATH descriptor: /proc/self/fd/N for the file itself, /proc/self/fd/N/NAME for one component in a
 * directory, which is not followed.
 *
 * Order of writes: first the host's mode, then the record, since a user attribute takes the permission to write the
 * file; a record that could not be written leaves the old mode. One that is not needed any more goes before the mode is
 * set. */
#include "share/meta.h"

#include "base/cleanup.h"
#include "share/attr.h"
#include "share/server.h"
#include "share/watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

enum { PATH_SIZE = 32 + NAME_MAX };

static atomic_bool nodes_seen;

static void path_of(int fd, const char *name, char out[PATH_SIZE])
{
	snprintf(out, PATH_SIZE, "/proc/self/fd/%d%s%s", fd, *name ? "/" : "", name);
}

static bool may_have(uint32_t host_mode)
{
	return S_ISREG(host_mode) || S_ISDIR(host_mode);
}

/* --- reading --- */

void share_meta_load(int fd, const char *name, struct share_stat *st)
{
	char path[PATH_SIZE];
	uint8_t value[SHARE_META_SIZE + 1];
	struct share_meta m;
	st->host_mode = st->x.stx_mode;
	st->recorded = false;
	if (S_ISLNK(st->x.stx_mode))
		return share_meta_link_load(st);
	if (!may_have(st->x.stx_mode))
		return;
	path_of(fd, name, path);
	ssize_t n = *name ? lgetxattr(path, SHARE_META_NAME, value, sizeof value)
			  : getxattr(path, SHARE_META_NAME, value, sizeof value);
	if (n <= 0 || !share_meta_parse(value, (size_t)n, &m) || S_ISDIR(m.mode) != S_ISDIR(st->x.stx_mode))
		return;
	if (m.host != (st->x.stx_mode & SHARE_META_HOST_BITS))
		m.mode = (m.mode & S_IFMT) | (st->x.stx_mode & 01777);
	if (!S_ISREG(m.mode) && !S_ISDIR(m.mode))
		atomic_store(&nodes_seen, true);
	st->recorded = true;
	st->meta = m;
	st->x.stx_mode = (uint16_t)m.mode;
}

bool share_meta_nodes_seen(void)
{
	return atomic_load(&nodes_seen);
}

static bool own_group(const struct hull_share *sh, gid_t gid)
{
	for (int i = 0; i < sh->group_count; i++)
		if (sh->groups[i] == gid)
			return true;
	return false;
}

/* What the host's file is in the guest without a record. */
static void view_plain(const struct hull_share *sh, const struct share_stat *st, struct share_meta *out)
{
	*out = (struct share_meta){
		.mode = st->host_mode,
		.uid = st->x.stx_uid == sh->uid ? sh->config.guest_uid : SHARE_NOBODY,
		.gid = own_group(sh, st->x.stx_gid) ? sh->config.guest_gid : SHARE_NOBODY,
	};
}

void share_meta_view(const struct hull_share *sh, const struct share_stat *st, struct share_meta *out)
{
	if (st->recorded)
		*out = st->meta;
	else
		view_plain(sh, st, out);
}

/* --- changing --- */

/* As much of the mode as the host's file can have by itself. */
static uint32_t host_bits(uint32_t mode)
{
	return mode & (S_ISDIR(mode) ? 03777 : 0777);
}

/* What the server needs. */
static uint32_t server_bits(uint32_t mode)
{
	return S_ISDIR(mode) ? 0700 : 0600;
}

static int set_host_mode(struct hull_share *sh, int fd, uint32_t mode)
{
	char name[16];
	snprintf(name, sizeof name, "%d", fd);
	return fchmodat(sh->proc_fd, name, mode & 07777, 0) < 0 ? -errno : 0;
}

static bool same_view(const struct share_meta *a, const struct share_meta *b)
{
	return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->rdev == b->rdev;
}

static int meta_record(int fd, const struct share_meta *m)
{
	char path[PATH_SIZE];
	uint8_t value[SHARE_META_SIZE];
	path_of(fd, "", path);
	share_meta_format(m, value);
	return setxattr(path, SHARE_META_NAME, value, sizeof value, 0) < 0 ? -errno : 0;
}

int share_meta_change(struct hull_share *sh, int fd, const struct share_stat *st, const struct share_meta *want)
{
	struct share_meta plain, kept = *want;
	bool own = st->x.stx_uid == sh->uid;
	uint32_t host = host_bits(want->mode);
	int e = 0;
	view_plain(sh, st, &plain);
	if (S_ISLNK(st->host_mode))
		return share_meta_link_change(fd, st, &plain, want);
	plain.mode = (plain.mode & S_IFMT) | host;
	if (!may_have(st->host_mode) || same_view(&plain, want)) {
		if (st->recorded) {
			/* Removing takes the permission to write, which the new mode may not give. */
			char path[PATH_SIZE];
			path_of(fd, "", path);
			e = removexattr(path, SHARE_META_NAME) < 0 && errno != ENODATA ? -errno : 0;
			if (e == -EACCES && set_host_mode(sh, fd, st->host_mode | server_bits(st->host_mode)) == 0)
				e = removexattr(path, SHARE_META_NAME) < 0 ? -errno : 0;
		}
		/* The owner of what cannot have a record stays (docs/workspace.md). */
		if (e == 0 && ((st->host_mode & 07777) != host || st->recorded))
			e = set_host_mode(sh, fd, host);
		return e;
	}
	/* Somebody else's file keeps its mode: only the owner may change it. */
	uint32_t eased = own ? host | server_bits(st->host_mode) : st->host_mode & 07777;
	if (!own && (want->mode & 07777) != (st->x.stx_mode & 07777))
		return -EPERM;
	if ((st->host_mode & 07777) != eased)
		e = set_host_mode(sh, fd, eased);
	if (e < 0)
		return e;
	kept.host = eased & SHARE_META_HOST_BITS;
	e = meta_record(fd, &kept);
	if (e == -EOPNOTSUPP && (S_ISREG(want->mode) || S_ISDIR(want->mode)))
		return own ? set_host_mode(sh, fd, host) : 0;
	if (e < 0 && (st->host_mode & 07777) != eased)
		set_host_mode(sh, fd, st->host_mode);
	return e == -EACCES || e == -EOPNOTSUPP ? -EPERM : e;
}

int share_meta_kill_setid(struct hull_share *sh, const struct share_inode *ino, int fd)
{
	struct share_stat st;
	struct share_meta want;
	if (!atomic_load(&ino->setid) || ino->type != S_IFREG)
		return 0;
	int e = share_statx(fd, "", &st);
	if (e < 0)
		return e;
	share_meta_view(sh, &st, &want);
	uint32_t before = want.mode;
	want.mode &= ~(uint32_t)S_ISUID;
	if (want.mode & S_IXGRP)
		want.mode &= ~(uint32_t)S_ISGID;
	return want.mode == before ? 0 : share_meta_change(sh, fd, &st, &want);
}

/* --- making --- */

bool share_meta_new(struct share_req *r, const struct share_inode *dir, int fd, uint32_t mode, struct share_meta *want)
{
	const struct hull_share *sh = r->sh;
	struct share_stat st;
	/* An id that the mount's user namespace lacks, or a kernel that sends none. */
	*want = (struct share_meta){
		.mode = mode,
		.uid = r->h->uid != UINT32_MAX ? r->h->uid : sh->config.guest_uid,
		.gid = r->h->gid != UINT32_MAX ? r->h->gid : sh->config.guest_gid,
	};
	bool inherits = atomic_load(&dir->setid) && share_statx(fd, "", &st) == 0 && st.x.stx_mode & S_ISGID;
	if (inherits) {
		struct share_meta parent;
		share_meta_view(sh, &st, &parent);
		want->gid = parent.gid;
		if (S_ISDIR(mode))
			want->mode |= S_ISGID;
	}
	return !inherits && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode)) && want->uid == sh->config.guest_uid &&
	       want->gid == sh->config.guest_gid && (mode & 07777) == host_bits(mode);
}

static int dress(struct hull_share *sh, int fd, const struct share_meta *want)
{
	struct share_stat st;
	int e = share_statx(fd, "", &st);
	return e < 0 ? e : share_meta_change(sh, fd, &st, want);
}

int share_meta_create(struct hull_share *sh, int fd, const char *name, int flags, const struct share_meta *want)
{
	const int always = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
	for (int tries = 0; tries < 3; tries++) {
		int file = openat(fd, name, flags | always | (unnamed ? 0 : O_CREAT | O_EXCL),
				  host_bits(want->mode) | 0600);
		if (file < 0 && errno == EEXIST && !(flags & O_EXCL) && !unnamed) {
			file = openat(fd, name, flags | always);
			if (file >= 0 || errno != ENOENT)
				return file < 0 ? -errno : file;
			continue;
		}
		int e = file < 0 ? -errno : dress(sh, file, want);
		if (e == 0)
			return file;
		if (file >= 0) {
			close(file);
			if (!unnamed)
				unlinkat(fd, name, 0);
		}
		return e;
	}
	return -ESTALE;
}

/* A fifo, a socket or a device. Where the host can, it gets its name when it is complete. */
static int make_node(struct hull_share *sh, int fd, const char *name, const struct share_meta *want)
{
	char number[16];
	struct share_meta plain = *want;
	_cleanup_close_ int file = openat(fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file >= 0) {
		int e = dress(sh, file, want);
		snprintf(number, sizeof number, "%d", file);
		if (e == 0 && linkat(sh->proc_fd, number, fd, name, AT_SYMLINK_FOLLOW) < 0)
			e = -errno;
		if (e != -EPERM)
			return e;
	} else if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL) {
		int made = share_meta_create(sh, fd, name, O_RDWR | O_EXCL, want);
		if (made >= 0) {
			close(made);
			return 0;
		}
		if (made != -EPERM)
			return made;
	} else {
		return -errno;
	}
	/* No attributes here. A fifo and a socket the host has itself. */
	if (!S_ISFIFO(plain.mode) && !S_ISSOCK(plain.mode))
		return -EPERM;
	return mknodat(fd, name, plain.mode & (S_IFMT | 0777), 0) < 0 ? -errno : 0;
}

int share_meta_make(struct hull_share *sh, int fd, const char *name, const struct share_meta *want)
{
	if (S_ISREG(want->mode)) {
		int file = share_meta_create(sh, fd, name, O_RDWR | O_EXCL, want);
		if (file >= 0)
			close(file);
		return file < 0 ? file : 0;
	}
	if (!S_ISDIR(want->mode))
		return make_node(sh, fd, name, want);
	if (mkdirat(fd, name, host_bits(want->mode) | 0700) < 0)
		return -errno;
	_cleanup_close_ int dir = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int e = dir < 0 ? -errno : dress(sh, dir, want);
	if (e < 0)
		unlinkat(fd, name, AT_REMOVEDIR);
	return e;
}

/* --- what root in the guest may do --- */

static bool ease_file(struct hull_share *sh, int fd)
{
	struct share_stat st;
	struct share_meta m;
	if (share_statx(fd, "", &st) < 0 || st.x.stx_uid != sh->uid || !may_have(st.host_mode))
		return false;
	uint32_t more = server_bits(st.host_mode) & ~(uint32_t)st.host_mode;
	if (!more)
		return false; /* it was something else */
	share_meta_view(sh, &st, &m);
	m.host = (st.host_mode | more) & SHARE_META_HOST_BITS;
	if (set_host_mode(sh, fd, st.host_mode | more) < 0)
		return false;
	/* A record that could not be read before is there all the same. */
	if (!st.recorded && share_statx(fd, "", &st) == 0 && st.recorded) {
		uint32_t shown = m.mode;
		m = st.meta;
		m.mode = (m.mode & S_IFMT) | (shown & 07777);
		m.host = st.host_mode & SHARE_META_HOST_BITS;
	}
	if (meta_record(fd, &m) == 0)
		return true;
	set_host_mode(sh, fd, st.host_mode & ~more);
	return false;
}

bool share_meta_ease(struct share_req *r, struct share_inode *ino, int fd, int error)
{
	if (error != -EACCES || r->h->uid != 0 || r->replayer || share_is_ro(r->sh, ino) || !ease_file(r->sh, fd))
		return false;
	share_notify_content(r->sh, ino->id); /* its ctime is another one now */
	return true;
}

bool share_meta_ease_named(struct share_req *r, int fd, const char *name, int error)
{
	struct share_stat st;
	if (error != -EACCES || r->h->uid != 0 || r->replayer)
		return false;
	_cleanup_close_ int file = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0 || share_identify(r->sh, file, "", &st) < 0)
		return false;
	struct share_inode *ino = share_inode_find(r->sh, &st);
	bool eased = ino && share_meta_ease(r, ino, file, error);
	share_inode_put(r->sh, ino);
	return eased;
}

int share_open_for(struct share_req *r, struct share_inode *ino, int flags, struct share_stat *st)
{
	struct share_at at;
	int fd = share_open_inode(r->sh, ino, flags, st);
	if (fd != -EACCES || r->h->uid != 0 || share_aim_exact(r->sh, ino, &at) < 0)
		return fd;
	bool eased = share_meta_ease(r, ino, at.fd, fd);
	share_at_put(r->sh, &at);
	return eased ? share_open_inode(r->sh, ino, flags, st) : fd;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The workspace: the paths of the sandbox, and their way into the guest; see share.h.
 *
 * A path is a `mount`, whose states are in share_internal.h. The guest is asked for one at a time, in the order of
 * sandbox.json, because a path may lie inside another one. The guest counts as configured when the first round is over;
 * a path that cannot be mounted then ends the sandbox, so that nobody works in a directory that only looks like theirs.
 *
 * Each has a `server` (share_server.c). One that dies is replaced, and the guest asked to go on with the new one. After
 * RESTARTS_MAX deaths in a row, each within CALM_MS of its start, the path is given up: a guest that makes its server
 * crash cannot keep the keeper busy.
 *
 * A path is opened once, when it is added, without following a symlink anywhere on the way. Every server of it gets
 * that descriptor, until another directory of the same owner is at the path, opened in the same way (share_place.c).
 * Otherwise whoever can write to a directory above (the guest, by another mount; another sandbox) could put a symlink
 * to anything in its place. For the same reason the server of a path protects the names of all that is mounted below
 * it: it `guards` them. */
#include "keeper/workspace/share_internal.h"
#include "keeper/guest/guest.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { RESTARTS_MAX = 5, CALM_MS = 60 * 1000 };

static const char *const states[] = {"mounting", "mounting",   "mounting",
				     "mounted",  "unmounting", "unmounted in the sandbox"};

static void advance(struct keeper *k);
static void give_up(struct mount *m, int code, const char *why);

/* --- what a server has to guard --- */

static bool lies_in(const struct mount *m, const struct mount *other)
{
	const char *below = hull_path_below(m->path, other->path);
	return below && *below;
}

/* The guard for m in the server of `outer`, the path above it. Through outer it must not be possible to replace m, nor
 * to write to it when it is read-only. Owned by the caller. */
static char *guard_for(const struct mount *m, const struct mount *outer)
{
	return hull_fmt("%s%s", hull_path_below(m->path, outer->path), m->readonly ? "" : "/");
}

static int guards_of(const struct mount *m, char ***out, struct hull_error *err)
{
	if (!(*out = hull_strv_copy(NULL)))
		return hull_fail(err, -ENOMEM, "out of memory");
	for (const char *const *g = share_git_guards(); m->as == HULL_PATH_GIT && *g; g++)
		if (hull_strv_add(out, *g) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
	list_each(it, &m->k->workspace->mounts)
	{
		const struct mount *other = container_of(it, struct mount, in_list);
		if (m->readonly || !lies_in(other, m))
			continue;
		_cleanup_free_ char *guard = guard_for(other, m);
		if (!guard || hull_strv_add(out, guard) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static int start_server(struct mount *m, struct hull_error *err)
{
	char **guards = NULL;
	int r = guards_of(m, &guards, err);
	loop_restarts_started(&m->restarts, keeper_ms(m->k));
	if (r == 0)
		r = server_start(m, (const char *const *)guards, hull_strv_count(guards), err);
	hull_strv_free(guards);
	return r;
}

/* Have the servers of writable paths around it guard it. */
static void mount_guard(struct mount *m)
{
	m->guard_sent = true;
	list_each(it, &m->k->workspace->mounts)
	{
		const struct mount *outer = container_of(it, struct mount, in_list);
		struct server *sv = outer->server;
		if (outer->readonly || !sv || !sv->socket || !lies_in(m, outer))
			continue;
		_cleanup_free_ char *path = guard_for(m, outer);
		m->waits += server_guard(sv, m, path);
	}
}

/* --- mounts --- */

static struct mount *find(struct keeper *k, const char *path)
{
	list_each(n, &k->workspace->mounts)
	{
		struct mount *m = container_of(n, struct mount, in_list);
		if (strcmp(m->path, path) == 0)
			return m;
	}
	return NULL;
}

static void mount_free(struct mount *m)
{
	list_each(it, &m->k->workspace->mounts)
	{
		struct server *sv = container_of(it, struct mount, in_list)->server;
		if (sv && sv->guarding == m) {
			sv->guarding = NULL;
			sv->unclaimed++;
		}
	}
	list_del(&m->in_list);
	m->k->workspace->mount_count--;
	if (m->server)
		server_drop(m->server);
	close(m->fd);
	free(m->path);
	free(m);
}

/* What is at a path, without following a symlink anywhere on the way. */
int share_open_path(const char *path, struct stat *st, struct hull_error *err)
{
	_cleanup_close_ int fd = hull_path_open(AT_FDCWD, path, O_PATH, false);
	if (fd < 0 || fstat(fd, st) < 0)
		return hull_fail(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode))
		return hull_fail(err, -EINVAL, "%s is neither a directory nor a file any more", path);
	return hull_steal_fd(&fd);
}

static int mount_add(struct keeper *k, const char *path, enum hull_path_mode mode, struct mount **out,
		     struct hull_error *err)
{
	struct stat st;
	if (k->workspace->mount_count >= MOUNTS_MAX)
		return hull_fail(err, -ENOSPC,
				 "%s is not mounted: a sandbox can have %d paths; `hull unmount %s PATH` takes one out",
				 path, MOUNTS_MAX, k->sb.name);
	_cleanup_close_ int fd = share_open_path(path, &st, err);
	if (fd < 0)
		return fd;
	struct mount *m = calloc(1, sizeof(*m));
	if (!m || !(m->path = strdup(path))) {
		free(m);
		return hull_fail(err, -ENOMEM, "out of memory");
	}
	m->k = k;
	m->fd = hull_steal_fd(&fd);
	m->mode = st.st_mode;
	m->as = mode;
	m->restarts = (struct loop_restarts){.calm_ms = CALM_MS, .most = RESTARTS_MAX};
	m->readonly = mode == HULL_PATH_READONLY || S_ISREG(st.st_mode);
	list_add(&k->workspace->mounts, &m->in_list);
	k->workspace->mount_count++;
	place_watch(k, path);
	*out = m;
	return 0;
}

void shares_init(struct keeper *k)
{
	list_init(&k->workspace->mounts);
	list_init(&k->workspace->sync.now);
	list_init(&k->workspace->sync.next);
	uv_timer_init(&k->loop.uv, &k->workspace->sync.timer);
	k->workspace->sync.timer.data = k;
	k->workspace->nodes.fd = k->workspace->place.fd = -1;
}

int shares_start(struct keeper *k, struct hull_error *err)
{
	for (size_t i = 0; k->workspace->spawn && k->sb.paths && k->sb.paths[i]; i++) {
		enum hull_path_mode mode;
		size_t n = hull_entry_split(k->sb.paths[i], &mode);
		_cleanup_free_ char *path = strndup(k->sb.paths[i], n);
		struct mount *m;
		if (!path)
			return hull_fail(err, -ENOMEM, "out of memory");
		int r = mount_add(k, path, mode, &m, err);
		if (r == -ENOENT || r == -EACCES || r == -ENOTDIR || r == -ELOOP)
			return hull_fail(
				err, r, "the workspace %s is not there: %s; put it back, or `hull unmount %s %s`", path,
				r == -ELOOP ? "a symlink leads to it now, which did not when it was given to "
					      "the sandbox"
					    : strerror(-r),
				k->sb.name, path);
		if (r < 0)
			return r;
	}
	/* When all are known: the guards of each are the paths below it. */
	list_each(it, &k->workspace->mounts)
	{
		int r = start_server(container_of(it, struct mount, in_list), err);
		if (r < 0)
			return hull_wrap(err, "cannot serve %s", container_of(it, struct mount, in_list)->path);
	}
	return 0;
}

static void send_mount(struct mount *m, uint8_t kind, bool force)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	if (hull_buf_add(&b, &kind, 1) == 0 && hull_args_put_str(&b, HULL_TAG_PATH, m->path) == 0 &&
	    hull_args_put_u32(&b, HULL_TAG_READONLY, m->readonly) == 0 &&
	    hull_args_put_u32(&b, HULL_TAG_MODE, m->mode) == 0 && hull_args_put_u32(&b, HULL_TAG_FORCE, force) == 0)
		loop_stream_message(&m->k->guest->control, hull_buf_bytes(&b), b.len);
}

/* Ask for the next one, or be done. */
static void advance(struct keeper *k)
{
	struct mount *next = NULL;
	if (!k->guest->answered || k->life.phase >= PHASE_STOPPING)
		return;
	list_each(n, &k->workspace->mounts)
	{
		struct mount *m = container_of(n, struct mount, in_list);
		struct hull_error err = {0};
		if (m->state == ASKED)
			return;
		if (m->state == GUARDING) {
			if (!m->guard_sent)
				mount_guard(m);
			if (m->waits)
				return;
			m->state = NEW;
			if (start_server(m, &err) < 0) {
				give_up(m, err.code, err.msg); /* comes back here */
				return;
			}
		}
		if (m->state == NEW && m->server && !next)
			next = m;
	}
	if (next) {
		next->state = ASKED;
		send_mount(next, HULL_MSG_MOUNT, false);
	} else if (!k->guest->configured && !k->workspace->clone) {
		/* What a restored guest still has mounted and nobody serves any more. */
		static const uint8_t rest[] = {HULL_MSG_UNMOUNT};
		loop_stream_message(&k->guest->control, rest, sizeof(rest));
		clone_begin(k);
	}
}

void shares_configured(struct keeper *k)
{
	advance(k);
}

/* It cannot be mounted, or not any longer. */
static void give_up(struct mount *m, int code, const char *why)
{
	struct keeper *k = m->k;
	char text[1200];
	snprintf(text, sizeof(text), "%s cannot be mounted in the sandbox: %s", m->path, why);
	if (!k->guest->configured) {
		keeper_fault(k, "%s", text);
		return;
	}
	keeper_log_guest(k, "%s", text);
	bool was_there = m->state == MOUNTED || m->restarts.failures > 0;
	if (was_there)
		send_mount(m, HULL_MSG_UNMOUNT, true);
	k->events->mounted(k, m->path, code, text);
	mount_free(m);
	advance(k);
}

void mount_server_ended(struct mount *m)
{
	struct keeper *k = m->k;
	struct hull_error err = {0};
	if (k->life.phase >= PHASE_STOPPING || m->state == LEAVING || m->state == GONE)
		return;
	if (loop_restarts_failed(&m->restarts, keeper_ms(k)) < 0) {
		give_up(m, -EIO, "its server died too often in a row: see `hull logs`");
		return;
	}
	if (start_server(m, &err) < 0) {
		give_up(m, err.code, err.msg);
		return;
	}
	keeper_log_guest(k, "%s has a new server", m->path);
	m->state = NEW;
	advance(k);
}

void mount_guarded(struct mount *m, uint32_t code)
{
	m->waits--;
	if (code)
		give_up(m, -(int)(code & 0xfff), "it cannot be guarded in the path around it");
	else
		advance(m->k);
}

void mount_unmounted(struct mount *m)
{
	if (m->state != MOUNTED)
		return;
	m->state = GONE;
	keeper_log_guest(m->k, "%s was unmounted in the sandbox", m->path);
}

void share_opened(struct keeper *k, struct loop_link *l, uint32_t stream, const uint8_t *args, size_t len)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	_cleanup_free_ char *path = NULL;
	uint32_t replayer = 0;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_PATH && !path)
			path = hull_arg_str(&a);
		else if (a.tag == HULL_TAG_PID)
			replayer = hull_arg_u32(&a);
	}
	struct mount *m = path && !cur.bad ? find(k, path) : NULL;
	struct server *sv = m ? m->server : NULL;
	if (sv && server_available(sv))
		server_attach(sv, l, stream, replayer);
	else
		hull_wire_refuse(l->wire, stream, sv ? EBUSY : ENOENT, "this path is not shared");
}

/* --- what the guest answers --- */

void shares_answered(struct keeper *k, bool mounted, struct hull_cur *cur)
{
	struct hull_arg a;
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *text = NULL;
	uint32_t error = 0;
	while (hull_args_next(cur, &a)) {
		if (a.tag == HULL_TAG_PATH && !path)
			path = hull_arg_str(&a);
		else if (a.tag == HULL_TAG_ERRNO)
			error = hull_arg_u32(&a) & 0xfff;
		else if (a.tag == HULL_TAG_TEXT && !text)
			text = hull_printable((const char *)a.p, a.n);
	}
	struct mount *m = path ? find(k, path) : NULL;
	if (!m || m->state != (mounted ? ASKED : LEAVING))
		return;
	const char *why = text && text[0] ? text : strerror((int)error);
	if (!mounted && error == EBUSY) {
		m->state = MOUNTED;
		char busy[1200];
		snprintf(busy, sizeof(busy), "%s is in use in the sandbox: end what works in it, or add --force", path);
		k->events->mounted(k, path, -EBUSY, busy);
	} else if (!mounted) {
		mount_free(m);
		share_forget(k, path);
	} else if (error) {
		give_up(m, -(int)error, why);
	} else {
		bool known = share_known(k, path);
		m->state = MOUNTED;
		if (known)
			k->events->mounted(k, path, 0, NULL);
		else
			share_remember(k, m->path, m->as);
		advance(k);
	}
}

/* --- on a running sandbox --- */

int share_mount(struct keeper *k, const char *path, enum hull_path_mode mode, struct hull_error *err)
{
	struct mount *m = find(k, path);
	if (record_awaited(k, path))
		return hull_fail(err, -EAGAIN, "%s is being mounted or unmounted: try again when that is done", path);
	if (!k->workspace->spawn || !k->guest->configured || k->life.phase >= PHASE_STOPPING)
		return hull_fail(err, -EAGAIN, "the sandbox does not take paths now: try again when it is up");
	if (m && m->state == GONE) {
		mount_free(m);
		m = NULL;
	}
	if (m)
		return hull_fail(err, -EEXIST, "%s is mounted already", path);
	int r = mount_add(k, path, mode, &m, err);
	if (r < 0)
		return r;
	list_each(n, &k->workspace->mounts)
	{
		const struct mount *o = container_of(n, struct mount, in_list);
		if (!o->readonly && lies_in(m, o))
			m->state = GUARDING;
	}
	if (m->state == NEW && (r = start_server(m, err)) < 0) {
		mount_free(m);
		return r;
	}
	advance(k);
	return 0;
}

int share_unmount(struct keeper *k, const char *path, bool force, struct hull_error *err)
{
	struct mount *m = find(k, path);
	if (record_awaited(k, path))
		return hull_fail(err, -EAGAIN, "%s is being mounted or unmounted: try again when that is done", path);
	if (!m)
		return hull_fail(err, -ENOENT, "%s is not mounted in this sandbox", path);
	if (m->state == GONE) {
		mount_free(m);
		share_forget(k, path);
		return 0;
	}
	if (m->state != MOUNTED)
		return hull_fail(err, -EAGAIN, "%s is being mounted or unmounted: try again when that is done", path);
	m->state = LEAVING;
	send_mount(m, HULL_MSG_UNMOUNT, force);
	return 0;
}

json_t *shares_list(struct keeper *k)
{
	json_t *list = json_array();
	list_each(n, &k->workspace->mounts)
	{
		const struct mount *m = container_of(n, struct mount, in_list);
		json_array_append_new(list, json_pack("{s:s+,s:b,s:s,s:i}", "path", m->path, "", "readonly",
						      m->readonly, "state", states[m->state], "pid",
						      m->server ? (int)m->server->process.pid : 0));
	}
	return list;
}

void shares_close(struct keeper *k)
{
	place_close(k);
	list_each(n, &k->workspace->mounts) mount_free(container_of(n, struct mount, in_list));
}

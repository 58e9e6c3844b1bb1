/* SPDX-License-Identifier: Apache-2.0 */
/* Seeing that what a path names has changed; see path_watch.h.
 *
 * The path is walked as the kernel does, and every directory on the way is watched for the one name that leads on: the
 * parents, so that a directory that is replaced (mv, git checkout) is seen, and those of symbolic links (stow,
 * /etc/resolv.conf), so that a link that is pointed elsewhere is. When a name on the way changes, the path is walked
 * anew. Each watch is placed before the walk goes through it, so nothing is missed in between.
 *
 * Of the file itself, only what ends a change counts: a writer's close, a rename to the name, an unlink. An editor that
 * empties the file and then writes it would otherwise be read in between. */
#include "keeper/path_watch.h"

#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LINKS_MAX = 40,
	MOVES = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO,
	SELF = IN_DELETE_SELF | IN_MOVE_SELF,
	ENDS = IN_CLOSE_WRITE | IN_MOVED_TO,
	AWAY = IN_MOVED_FROM | IN_DELETE,
};

/* One name in one directory. */
struct watch_spot {
	int wd;
	unsigned which;
	bool last; /* the file itself */
	char name[NAME_MAX + 1];
};

/* --- placing watches --- */

static int add_spot(struct path_watch *w, unsigned which, const char *dir, const char *name, size_t n, bool last)
{
	uint32_t mask = MOVES | SELF | IN_ONLYDIR | IN_MASK_ADD | (last ? IN_CLOSE_WRITE | IN_ATTRIB : 0);
	int wd = inotify_add_watch(w->fd, dir, mask);
	/* A directory that may be gone through but not read is not watched; the next ones are. */
	if (wd < 0)
		return errno == EACCES && !last ? 0 : -errno;
	struct watch_spot *more = realloc(w->spots, (w->spot_count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	w->spots = more;
	struct watch_spot *s = &more[w->spot_count++];
	*s = (struct watch_spot){.wd = wd, .which = which, .last = last};
	memcpy(s->name, name, n);
	return 0;
}

/* One directory up, textually: `dir` has no links in it. */
static void go_up(char *dir)
{
	char *slash = strrchr(dir, '/');
	slash[slash == dir] = '\0';
}

/* Place the watches of one path as far as it exists. */
static int walk(struct path_watch *w, unsigned which)
{
	char dir[PATH_MAX] = "/", rest[PATH_MAX], target[PATH_MAX], next[PATH_MAX];
	unsigned links = 0;
	if (strlen(w->paths[which]) >= sizeof(rest))
		return -ENAMETOOLONG;
	strcpy(rest, w->paths[which]);
	for (char *at = rest;;) {
		at += strspn(at, "/");
		size_t n = strcspn(at, "/");
		if (n == 0)
			return 0;
		char *behind = at + n;
		bool last = behind[strspn(behind, "/")] == '\0';
		if (n == 1 && at[0] == '.') {
			at = behind;
			continue;
		}
		if (n == 2 && at[0] == '.' && at[1] == '.') {
			go_up(dir);
			at = behind;
			continue;
		}
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		int r = add_spot(w, which, dir, at, n, last);
		if (r < 0)
			return r == -ENOENT || r == -ENOTDIR ? 0 : r; /* it went away: its own watch tells */
		struct stat st;
		if (snprintf(next, sizeof(next), "%s%s%.*s", dir, dir[1] ? "/" : "", (int)n, at) >= (int)sizeof(next))
			return -ENAMETOOLONG;
		if (lstat(next, &st) < 0)
			return 0;
		if (!S_ISLNK(st.st_mode)) {
			strcpy(dir, next);
			at = behind;
			continue;
		}
		ssize_t got = readlink(next, target, sizeof(target) - 1);
		if (got <= 0)
			return 0;
		target[got] = '\0';
		if (++links > LINKS_MAX)
			return -ELOOP;
		if (snprintf(next, sizeof(next), "%s/%s", target, behind) >= (int)sizeof(next))
			return -ENAMETOOLONG;
		if (target[0] == '/')
			strcpy(dir, "/");
		strcpy(rest, next);
		at = rest;
	}
}

static bool watched(const struct path_watch *w, int wd)
{
	for (size_t i = 0; i < w->spot_count; i++)
		if (w->spots[i].wd == wd)
			return true;
	return false;
}

static void drop(struct path_watch *w, unsigned which)
{
	for (size_t i = 0; i < w->spot_count;) {
		if (w->spots[i].which != which) {
			i++;
			continue;
		}
		int wd = w->spots[i].wd;
		w->spots[i] = w->spots[--w->spot_count];
		if (!watched(w, wd))
			inotify_rm_watch(w->fd, wd);
	}
}

static void arm(struct path_watch *w, unsigned which)
{
	drop(w, which);
	int r = walk(w, which), before = w->error[which];
	w->error[which] = -r;
	if (r < 0 && before != -r)
		hull_log("cannot watch %s: %s; changes made by an editor need a restart", w->paths[which],
			 strerror(-r));
}

/* --- events --- */

/* A link, or what is no file, is there as a whole when it is made; a new file is empty yet. */
static bool made_whole(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_nlink > 1);
}

/* What is in its place already told, or tells, of itself. */
static bool gone(const char *path)
{
	struct stat st;
	return lstat(path, &st) < 0;
}

/* What an event means for one name: read again; and walk again. */
static bool concerns(const struct path_watch *w, const struct watch_spot *s, const struct inotify_event *e, bool *again)
{
	if (e->mask & (SELF | IN_IGNORED | IN_UNMOUNT)) {
		*again = true;
		return true;
	}
	if (!e->len || strcmp(e->name, s->name) != 0)
		return false;
	if (e->mask & MOVES)
		*again = true;
	if (!s->last)
		return e->mask & MOVES;
	if (e->mask & IN_ATTRIB) /* who may write it is part of whether it counts */
		return w->bad[s->which];
	const char *path = w->paths[s->which];
	return (e->mask & ENDS) || ((e->mask & AWAY) && gone(path)) || ((e->mask & IN_CREATE) && made_whole(path));
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct path_watch *w = poll->data;
	_Alignas(struct inotify_event) char buf[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
	ssize_t n;
	while (w->started && (n = read(w->fd, buf, sizeof(buf))) > 0) {
		bool fire[PATH_WATCH_MAX] = {false}, again[PATH_WATCH_MAX] = {false};
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *e = (const struct inotify_event *)(void *)p;
			p += sizeof(*e) + e->len;
			for (unsigned i = 0; (e->mask & IN_Q_OVERFLOW) && i < w->count; i++)
				fire[i] = again[i] = true;
			for (size_t i = 0; i < w->spot_count; i++) {
				const struct watch_spot *s = &w->spots[i];
				if (s->wd == e->wd && concerns(w, s, e, &again[s->which]))
					fire[s->which] = true;
			}
		}
		for (unsigned i = 0; i < w->count; i++)
			if (again[i])
				arm(w, i);
		for (unsigned i = 0; i < w->count && w->started; i++)
			if (fire[i])
				w->changed(w->ctx, i);
	}
}

void path_watch_start(struct path_watch *w, uv_loop_t *loop, const char *const *paths, unsigned count, void *ctx,
		      void (*changed)(void *ctx, unsigned which))
{
	w->ctx = ctx;
	w->changed = changed;
	w->count = count;
	w->started = true;
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int e = errno;
	for (unsigned i = 0; i < count; i++) {
		w->paths[i] = paths[i];
		if (w->fd >= 0)
			arm(w, i);
		else
			w->error[i] = e;
	}
	if (w->fd < 0) {
		hull_log("cannot watch files: %s; changes made by an editor need a restart", strerror(e));
		return;
	}
	uv_poll_init(loop, &w->poll, w->fd);
	w->poll.data = w;
	uv_poll_start(&w->poll, UV_READABLE, on_ready);
}

void path_watch_stop(struct path_watch *w)
{
	if (!w->started)
		return;
	w->started = false;
	free(w->spots);
	w->spots = NULL;
	w->spot_count = 0;
	if (w->fd < 0)
		return;
	uv_close((uv_handle_t *)&w->poll, NULL);
	close(w->fd);
}

/* Seeing that the policy's files have changed; see gateway_watch.h.
 *
 * Their directories are watched, so that a file put in place by rename is seen, and only for what ends a change: a
 * writer's close, a rename to the name, an unlink. An editor that empties the file and then writes it would otherwise
 * be read in between, and an empty policy allows more than one that says `locked`. For the same reason a file that is
 * moved away counts as gone only when after AWAY_MS nothing has come in its place: editors keep the old text so. */
#include "keeper/gateway_watch.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	AWAY_MS = 500,
	ENDS = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE,
	MASK = ENDS | IN_CREATE | IN_ATTRIB | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF,
};

static const char *name_of(const char *path)
{
	return strrchr(path, '/') + 1;
}

static void on_later(uv_timer_t *t)
{
	struct policy_watch *w = t->data;
	for (unsigned i = 0; i < WATCH_FILES; i++) {
		struct stat st;
		if (!w->moved[i])
			continue;
		w->moved[i] = false;
		/* What is there by now told, or tells, of itself. */
		if (lstat(w->paths[i], &st) < 0)
			w->changed(w->ctx, i);
	}
}

/* A link, or what is no file, is there as a whole when it is made; a new file is empty yet. */
static bool made_whole(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_nlink > 1);
}

static void on_event(struct policy_watch *w, unsigned i, const struct inotify_event *e)
{
	if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF)) {
		w->changed(w->ctx, i);
		return;
	}
	if (!e->len || strcmp(e->name, name_of(w->paths[i])) != 0)
		return;
	if (e->mask & IN_MOVED_FROM) {
		w->moved[i] = true;
		uv_timer_start(&w->later, on_later, AWAY_MS, 0);
	} else if ((e->mask & ENDS) || ((e->mask & IN_CREATE) && made_whole(w->paths[i]))) {
		w->moved[i] = false;
		w->changed(w->ctx, i);
	} else if (e->mask & IN_ATTRIB) {
		/* Who may write it is part of whether it counts; one that counts goes on to. */
		if (w->bad[i])
			w->changed(w->ctx, i);
	}
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct policy_watch *w = poll->data;
	_Alignas(struct inotify_event) char buf[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
	ssize_t n;
	while ((n = read(w->fd, buf, sizeof(buf))) > 0)
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *e = (const struct inotify_event *)(void *)p;
			p += sizeof(*e) + e->len;
			for (unsigned i = 0; i < WATCH_FILES; i++) {
				if (e->mask & IN_Q_OVERFLOW)
					w->changed(w->ctx, i);
				else if (e->wd == w->wds[i])
					on_event(w, i, e);
			}
		}
}

void policy_watch_start(struct policy_watch *w, uv_loop_t *loop, const char *const paths[WATCH_FILES], void *ctx,
			void (*changed)(void *ctx, unsigned which))
{
	w->ctx = ctx;
	w->changed = changed;
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	w->started = true;
	uv_timer_init(loop, &w->later);
	w->later.data = w;
	for (unsigned i = 0; i < WATCH_FILES; i++) {
		w->paths[i] = paths[i];
		_cleanup_free_ char *dir = strndup(paths[i], (size_t)(name_of(paths[i]) - 1 - paths[i]));
		w->wds[i] = w->fd >= 0 && dir ? inotify_add_watch(w->fd, dir, MASK) : -1;
		if (w->wds[i] < 0)
			hull_log("cannot watch %s: %s; changes of the policy need a restart", dir ? dir : paths[i],
				 strerror(errno));
	}
	if (w->fd < 0)
		return;
	uv_poll_init(loop, &w->poll, w->fd);
	w->poll.data = w;
	uv_poll_start(&w->poll, UV_READABLE, on_ready);
}

void policy_watch_stop(struct policy_watch *w)
{
	if (!w->started)
		return;
	w->started = false;
	uv_close((uv_handle_t *)&w->later, NULL);
	if (w->fd < 0)
		return;
	uv_close((uv_handle_t *)&w->poll, NULL);
	close(w->fd);
}

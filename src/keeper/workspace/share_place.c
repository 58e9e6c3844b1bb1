/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a directory that is mounted is still what is at its path on the host: it may be moved away, or removed and
 * made anew (`rm -rf` and a fresh clone); see workspace/share.h.
 *
 * Every directory on the way to a path is watched by inotify for what appears and disappears in it. When that has the
 * name of a step of some path, all paths are looked at once more. The watches belong to directories, not to
 * names, so they are set again each time; what has happened meanwhile is seen by the look that follows.
 *
 * A path may lie on a network file system whose server is gone, where every system call waits for it. So setting
 * watches and looking are done by a thread, one at a time, and what it saw is judged in the loop. It is no work of
 * libuv's pool, which the process would wait for at its end: this one is left behind. */
#include "keeper/workspace/share_internal.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

/* What a thread is given, and what it saw. Shared by it and the loop; the last one frees it. */
struct place_look {
	atomic_uint holders;
	int inotify, done; /* done: an eventfd, written to at the end */
	int (*open)(const char *path, struct stat *st, struct hull_error *err);
	unsigned generation; /* workspace.place.generation when it began */
	size_t count;
	struct seen {
		char *path;
		bool directory; /* only these are looked at */
		int was,
			is; /* what is served (a descriptor of the look's own), and what is there; -1 = cannot be told */
		struct stat was_st, is_st;
	} seen[];
};

static const uint32_t STEPS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR;

/* Is `name` one of the names in `path`? */
static bool is_step(const char *path, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = path; *p; p += strcspn(p, "/")) {
		p += strspn(p, "/");
		if (strcspn(p, "/") == n && n > 0 && strncmp(p, name, n) == 0)
			return true;
	}
	return false;
}

static bool is_step_of_any(struct keeper *k, const char *name)
{
	list_each(n,
		  &k->workspace->mounts) if (is_step(container_of(n, struct mount, in_list)->path, name)) return true;
	return false;
}

static void look_put(struct place_look *l)
{
	if (atomic_fetch_sub(&l->holders, 1) != 1)
		return;
	for (size_t i = 0; i < l->count; i++) {
		free(l->seen[i].path);
		hull_closep(&l->seen[i].was);
		hull_closep(&l->seen[i].is);
	}
	hull_closep(&l->inotify);
	hull_closep(&l->done);
	free(l);
}

/* --- in the thread --- */

static void watch_steps(int inotify, const char *path)
{
	_cleanup_free_ char *dir = strdup(path);
	for (char *slash; dir && (slash = strrchr(dir, '/'));) {
		slash[slash == dir] = '\0';
		inotify_add_watch(inotify, dir, STEPS); /* what may not be read is not watched */
		if (slash == dir)
			break;
	}
}

static void *look_thread(void *arg)
{
	struct place_look *l = arg;
	for (size_t i = 0; i < l->count; i++) {
		struct seen *s = &l->seen[i];
		watch_steps(l->inotify, s->path);
		if (!s->directory)
			continue;
		s->is = l->open(s->path, &s->is_st, NULL);
		if (s->was >= 0 && fstat(s->was, &s->was_st) < 0) {
			close(s->was);
			s->was = -1;
		}
	}
	(void)eventfd_write(l->done, 1);
	look_put(l);
	return NULL;
}

/* --- in the loop --- */

/* Another directory, of the same owner, is served from now on, by a server of its own; anything else is only told. A
 * file is what it was: editors replace them all the time. */
static void judge(struct mount *m, struct seen *s)
{
	if (!s->directory || s->was < 0)
		return;
	const struct stat *was = &s->was_st, *is = &s->is_st;
	bool same = s->is >= 0 && was->st_dev == is->st_dev && was->st_ino == is->st_ino;
	if (same) {
		m->away = false;
	} else if (s->is < 0 || !S_ISDIR(is->st_mode) || was->st_uid != is->st_uid) {
		if (!m->away)
			hull_log("%s is not on the host any more, or not what it was: the sandbox has what was there, "
				 "until a "
				 "directory of the same owner is there again",
				 m->path);
		m->away = true;
	} else {
		hull_log("%s was replaced on the host: the sandbox has what is there now", m->path);
		m->away = false;
		close(m->fd);
		m->fd = hull_steal_fd(&s->is);
		m->mode = is->st_mode;
		m->restarts.failures = 0;
		if (m->server)
			server_kill(m->server); /* mount_server_ended() follows */
	}
}

static void look(struct keeper *k);

static void handle_gone(uv_handle_t *handle)
{
	free(handle);
}

static void on_looked(uv_poll_t *poll, int status, int events)
{
	struct keeper *k = poll->data;
	struct place_look *l = hull_steal_ptr(k->workspace->place.look);
	bool again = k->workspace->place.again || l->generation != k->workspace->place.generation;
	k->workspace->place.done = NULL;
	uv_close((uv_handle_t *)poll, handle_gone);
	for (size_t i = 0; l->generation == k->workspace->place.generation && i < l->count; i++)
		list_each(n, &k->workspace->mounts)
		{
			struct mount *m = container_of(n, struct mount, in_list);
			if (strcmp(m->path, l->seen[i].path) == 0)
				judge(m, &l->seen[i]);
		}
	look_put(l);
	if (again)
		look(k);
}

/* Set all watches, and see what is at all paths. */
static void look(struct keeper *k)
{
	k->workspace->place.again = k->workspace->place.look != NULL;
	if (k->workspace->place.again || k->workspace->place.fd < 0 || k->workspace->mount_count == 0)
		return;
	struct place_look *l = calloc(1, sizeof(*l) + k->workspace->mount_count * sizeof(*l->seen));
	if (!l)
		return;
	atomic_init(&l->holders, 1);
	l->generation = k->workspace->place.generation;
	l->open = k->workspace->place.open ? k->workspace->place.open : share_open_path;
	l->inotify = fcntl(k->workspace->place.fd, F_DUPFD_CLOEXEC, 0);
	l->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bool ok = l->inotify >= 0 && l->done >= 0;
	list_each(n, &k->workspace->mounts)
	{
		const struct mount *m = container_of(n, struct mount, in_list);
		struct seen *s = &l->seen[l->count++];
		*s = (struct seen){.path = strdup(m->path), .directory = S_ISDIR(m->mode), .was = -1, .is = -1};
		if (s->directory)
			s->was = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
		ok = ok && s->path;
	}
	pthread_t thread;
	pthread_attr_t attr;
	sigset_t all, before;
	uv_poll_t *poll = ok ? calloc(1, sizeof(*poll)) : NULL;
	if (!poll || uv_poll_init(&k->loop.uv, poll, l->done) < 0) {
		free(poll);
		look_put(l);
		return;
	}
	poll->data = k;
	atomic_store(&l->holders, 2);
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop's */
	int r = pthread_create(&thread, &attr, look_thread, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (r != 0) {
		hull_log("cannot see whether a path is replaced on the host: %s", strerror(r));
		uv_close((uv_handle_t *)poll, handle_gone);
		look_put(l);
		look_put(l);
		return;
	}
	k->workspace->place.look = l;
	k->workspace->place.done = poll;
	uv_poll_start(poll, UV_READABLE, on_looked);
}

static void on_steps(uv_poll_t *poll, int status, int events)
{
	struct keeper *k = poll->data;
	_Alignas(struct inotify_event) char buf[16 * 1024];
	bool concerned = false;
	ssize_t n;
	while ((n = read(k->workspace->place.fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(buf + at);
			at += (ssize_t)(sizeof(*e) + e->len);
			concerned |= e->mask & IN_Q_OVERFLOW || (e->len > 0 && is_step_of_any(k, e->name));
		}
	if (concerned)
		look(k);
}

void place_watch(struct keeper *k, const char *path)
{
	if (k->workspace->place.fd < 0) {
		k->workspace->place.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (k->workspace->place.fd < 0 ||
		    uv_poll_init(&k->loop.uv, &k->workspace->place.poll, k->workspace->place.fd) < 0) {
			hull_log("cannot see whether %s is replaced on the host: %s", path, strerror(errno));
			if (k->workspace->place.fd >= 0)
				close(hull_steal_fd(&k->workspace->place.fd));
			return;
		}
		k->workspace->place.poll.data = k;
		uv_poll_start(&k->workspace->place.poll, UV_READABLE, on_steps);
	}
	k->workspace->place.generation++;
	look(k);
}

void place_close(struct keeper *k)
{
	if (k->workspace->place.fd < 0)
		return;
	uv_close((uv_handle_t *)&k->workspace->place.poll, NULL);
	if (k->workspace->place.done)
		uv_close((uv_handle_t *)hull_steal_ptr(k->workspace->place.done), handle_gone);
	if (k->workspace->place.look)
		look_put(hull_steal_ptr(k->workspace->place.look));
	close(hull_steal_fd(&k->workspace->place.fd));
}

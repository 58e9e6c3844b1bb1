/* Whether a directory that is mounted is still what is at its path on the host: it may be moved away, or removed and
 * made anew (`rm -rf` and a fresh clone); see workspace/share.h.
 *
 * Every directory on the way to a path is watched by inotify for what appears and disappears in it. When that has the
 * name of a step of some path, all paths are looked at once more. The watches belong to directories, not to
 * names, so they are set again each time; what has happened meanwhile is seen by the look that follows. */
#include "keeper/workspace/share_internal.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

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

/* Another directory, of the same owner, is served from now on, by a server of its own; anything else is only told. A
 * file is what it was: editors replace them all the time. */
static void look(struct mount *m)
{
	struct hull_error err = {0};
	struct stat was, is;
	_cleanup_close_ int fd = S_ISDIR(m->mode) ? share_open_path(m->path, &is, &err) : -1;
	if (!S_ISDIR(m->mode) || fstat(m->fd, &was) < 0)
		return;
	bool same = fd >= 0 && was.st_dev == is.st_dev && was.st_ino == is.st_ino;
	if (same) {
		m->away = false;
	} else if (fd < 0 || !S_ISDIR(is.st_mode) || was.st_uid != is.st_uid) {
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
		m->fd = hull_steal_fd(&fd);
		m->mode = is.st_mode;
		m->restarts.failures = 0;
		if (m->server)
			server_kill(m->server); /* mount_server_ended() follows */
	}
}

static void look_at_all(struct keeper *k)
{
	list_each(n, &k->workspace->mounts)
	{
		struct mount *m = container_of(n, struct mount, in_list);
		place_watch(k, m->path);
		look(m);
	}
}

static void on_steps(uv_poll_t *poll, int status, int events)
{
	struct keeper *k = poll->data;
	_Alignas(struct inotify_event) char buf[16 * 1024];
	bool look = false;
	ssize_t n;
	while ((n = read(k->workspace->place.fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(buf + at);
			at += (ssize_t)(sizeof(*e) + e->len);
			look |= e->mask & IN_Q_OVERFLOW || (e->len > 0 && is_step_of_any(k, e->name));
		}
	if (look)
		look_at_all(k);
}

void place_watch(struct keeper *k, const char *path)
{
	_cleanup_free_ char *dir = strdup(path);
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
	for (char *slash; dir && (slash = strrchr(dir, '/'));) {
		slash[slash == dir] = '\0';
		inotify_add_watch(k->workspace->place.fd, dir, STEPS); /* what may not be read is not watched */
		if (slash == dir)
			break;
	}
}

void place_close(struct keeper *k)
{
	if (k->workspace->place.fd < 0)
		return;
	uv_close((uv_handle_t *)&k->workspace->place.poll, NULL);
	close(hull_steal_fd(&k->workspace->place.fd));
}

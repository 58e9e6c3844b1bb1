/* SPDX-License-Identifier: Apache-2.0 */
/* Recreates the runtime directory and its sockets when they are removed; see runtime.h and store/runtime.c.
 *
 * A logout may empty or remove $XDG_RUNTIME_DIR, and a tmp cleaner removes old files from /tmp. A sandbox without its
 * sockets could only be reached by a signal. So inotify watches the directory. SETTLE_MS after the last removal, what
 * is missing is created again: the directory (locked as before), the sockets, and the gateway's files. When the parent
 * directory is gone as well, hull_runtime_short() is used instead. The record in NAME/lock says where it is. */
#include "keeper/keeper.h"
#include "keeper/client/runtime.h"
#include "keeper/client/client.h"
#include "keeper/client/docker_socket.h"
#include "keeper/network/gateway.h"

#include "base/io.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { SETTLE_MS = 200, RETRY_SHIFT_MAX = 9 };

int runtime_open(struct keeper *k, struct hull_error *err)
{
	k->runtime_dir = hull_runtime_path(&k->paths, k->sb.name, NULL);
	if (!k->runtime_dir)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_sandbox_record(k->lock_fd, k->runtime_dir, err);
	if (r < 0)
		return r;
	k->runtime_fd = hull_sandbox_runtime(&k->paths, k->sb.name, err);
	return k->runtime_fd < 0 ? k->runtime_fd : 0;
}

static void add_watch(struct keeper *k)
{
	inotify_add_watch(k->runtime->fd, k->runtime_dir,
			  IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
}

static bool same_directory(const struct keeper *k)
{
	return hull_same_file(k->runtime_fd, AT_FDCWD, k->runtime_dir);
}

static bool there(const struct keeper *k, const struct listener *l)
{
	return l->state == LISTENER_CLOSED ||
	       (l->state == LISTENER_OPEN && faccessat(k->runtime_fd, l->file, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
}

/* Take another directory, of this path. */
static int move_to(struct keeper *k, char *path, struct hull_error *err)
{
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	int fd = hull_runtime_hold(path, err);
	if (fd >= 0) {
		int r = hull_sandbox_record(k->lock_fd, path, err);
		if (r < 0) {
			close(fd);
			fd = r;
		}
	}
	if (fd < 0) {
		free(path);
		return fd;
	}
	close(k->runtime_fd);
	k->runtime_fd = fd;
	free(k->runtime_dir);
	k->runtime_dir = path;
	add_watch(k);
	return 0;
}

static void on_settled(uv_timer_t *timer)
{
	struct keeper *k = timer->data;
	struct hull_error err = {0};
	bool moved = !same_directory(k);
	if (k->life.phase == PHASE_ENDED)
		return;
	if (moved && move_to(k, strdup(k->runtime_dir), &err) < 0) {
		hull_log("%s", err.msg);
		if (move_to(k, hull_runtime_short(&k->paths, k->sb.name, NULL), &err) < 0) {
			hull_log("the sandbox cannot be reached: %s", err.msg);
			runtime_retry(k);
			return;
		}
	}
	gateway_runtime_changed(k);
	struct listener *all[] = {&k->clients->listener, &k->docker->listener};
	for (size_t i = 0; i < 2; i++) {
		if (!moved && there(k, all[i]))
			continue;
		hull_log("%s was removed: listening again in %s", all[i]->file ? all[i]->file : "a socket",
			 k->runtime_dir);
		listener_again(all[i]);
	}
}

/* With patience: up to 100 s. */
void runtime_retry(struct keeper *k)
{
	struct runtime *r = k->runtime;
	if (!r->watching)
		return;
	if (r->failures < RETRY_SHIFT_MAX)
		r->failures++;
	uv_timer_start(&r->timer, on_settled, (uint64_t)SETTLE_MS << r->failures, 0);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct keeper *k = poll->data;
	_Alignas(struct inotify_event) char buf[4096];
	bool any = false;
	while (status >= 0 && read(k->runtime->fd, buf, sizeof(buf)) > 0)
		any = true;
	if (!any)
		return;
	k->runtime->failures = 0;
	uv_timer_start(&k->runtime->timer, on_settled, SETTLE_MS, 0);
}

void runtime_watch(struct keeper *k)
{
	struct runtime *r = k->runtime;
	r->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (r->fd < 0 || uv_poll_init(&k->loop.uv, &r->poll, r->fd) < 0) {
		hull_log("cannot watch %s", k->runtime_dir);
		return;
	}
	uv_timer_init(&k->loop.uv, &r->timer);
	r->poll.data = r->timer.data = k;
	r->watching = true;
	add_watch(k);
	uv_poll_start(&r->poll, UV_READABLE, on_event);
}

void runtime_close(struct keeper *k, bool remove)
{
	struct runtime *r = k->runtime;
	if (r->watching) {
		uv_close((uv_handle_t *)&r->poll, NULL);
		uv_close((uv_handle_t *)&r->timer, NULL);
	}
	r->watching = false;
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	if (remove && k->runtime_fd >= 0 && k->runtime_dir && same_directory(k))
		hull_runtime_remove(k->runtime_dir);
	if (k->runtime_fd >= 0)
		close(k->runtime_fd);
	k->runtime_fd = -1;
	free(k->runtime_dir);
	k->runtime_dir = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One server process (hull-share) of a mounted path, and its bytes to and from the guest's SHARE stream; see
 * share_internal.h.
 *
 * The guest opens a stream for the path; from then on bytes pass: from the socket only as much as the stream takes; to
 * the socket what it takes at once, while the rest is kept (at most the window), and credit is granted for what was
 * written. The bytes are not looked at: what they mean is between the guest's kernel and the server.
 *
 * A server serves one stream and ends with it. When its process has exited, sockets and stream are closed; it is freed
 * after that, in another turn of the loop, so never inside server_disconnect().
 *
 * Over the control socket (packets; hull-share's main.c) it is sent paths to guard, one at a time, and asked for a sync
 * (share_sync.c) or to write down what the guest knows (share_nodes.c). The length of an answer says what it answers. */
#include "keeper/workspace/share_internal.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* --- the end --- */

static void server_free(struct server *sv)
{
	if (!sv->freed || sv->stream.id)
		return;
	hull_buf_free(&sv->out);
	free(sv);
}

static void on_process_freed(struct loop_child *p)
{
	struct server *sv = container_of(p, struct server, process);
	sv->freed = true;
	server_free(sv);
}

static void synced(struct server *sv)
{
	bool awaited = sv->syncing && !sv->late;
	sv->syncing = sv->late = false;
	if (awaited)
		share_sync_answered(sv->k);
}

void server_disconnect(struct server *sv)
{
	if (!sv->socket)
		return;
	loop_socket_close(hull_steal_ptr(sv->socket));
	loop_socket_close(hull_steal_ptr(sv->control));
	sv->ending = true;
	hull_closep(&sv->nodes);
	loop_stream_reset(&sv->stream, ECONNRESET, "the server of this path has ended");
	synced(sv);
	share_nodes_answered(sv, false);
	if (!sv->guarding)
		return;
	/* Should this path get another server, that one knows from its start. */
	struct mount *guarded = sv->guarding;
	sv->guarding = NULL;
	mount_guarded(guarded, 0);
}

void server_kill(struct server *sv)
{
	loop_child_kill(&sv->process);
}

void server_drop(struct server *sv)
{
	if (sv->mount)
		sv->mount->server = NULL;
	sv->mount = NULL;
	server_kill(sv);
	server_disconnect(sv);
}

static void on_exited(struct loop_child *p, int status)
{
	struct server *sv = container_of(p, struct server, process);
	struct mount *m = sv->mount;
	if (m && WIFSIGNALED(status))
		keeper_log_guest(sv->k, "the server of %s was killed by signal %d", m->path, WTERMSIG(status));
	server_drop(sv);
	if (m)
		mount_server_ended(m);
}

/* --- bytes --- */

static void rewatch(struct server *sv)
{
	bool room = sv->socket && loop_stream_room(&sv->stream) > 0;
	loop_socket_watch(sv->socket, UV_DISCONNECT | (room ? UV_READABLE : 0) | (sv->out.len ? UV_WRITABLE : 0));
}

static void on_socket(struct loop_socket *s, int events)
{
	struct server *sv = s->owner;
	bool ended = s->failed;
	if (!ended && events & UV_WRITABLE)
		ended = loop_stream_drain(&sv->stream, &sv->out, s->fd) < 0;
	if (!ended && events & UV_READABLE) {
		ssize_t n = loop_stream_fill(&sv->k->loop, &sv->stream, s->fd);
		ended = n <= 0 && n != -EAGAIN;
	} else if (events & UV_DISCONNECT) {
		ended = true;
	}
	if (ended)
		server_disconnect(sv);
	rewatch(sv);
}

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct server *sv = container_of(s, struct server, stream);
	if (!sv->socket)
		return;
	if (sv->out.len == 0) { /* as a rule it takes all at once */
		ssize_t w = send(sv->socket->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (w > 0) {
			loop_stream_grant(s, (size_t)w);
			p += w;
			n -= (size_t)w;
		}
	}
	if (n > 0 && hull_buf_add(&sv->out, p, n) < 0)
		server_disconnect(sv);
	rewatch(sv);
}

static void on_writable(struct loop_stream *s)
{
	rewatch(container_of(s, struct server, stream));
}

static void on_eof(struct loop_stream *s)
{
	loop_stream_reset(s, ECONNRESET, "a share's stream ends in both directions at once: close it instead");
}

static void on_stream_closed(struct loop_stream *s, int code, const char *message)
{
	struct server *sv = container_of(s, struct server, stream);
	/* ECANCELED is how the guest reports that nothing has it mounted any more. */
	if (sv->mount && !sv->ending && code == -ECANCELED)
		mount_unmounted(sv->mount);
	if (sv->socket)
		server_disconnect(sv);
	else
		server_free(sv);
}

static const struct loop_stream_ops OPS = {
	.data = on_data,
	.writable = on_writable,
	.eof = on_eof,
	.closed = on_stream_closed,
};

bool server_available(const struct server *sv)
{
	return sv->socket && !sv->attached;
}

void server_attach(struct server *sv, struct loop_link *l, uint32_t stream, uint32_t replayer)
{
	sv->attached = true;
	loop_stream_adopt(&sv->stream, l, stream);
	loop_stream_accept(&sv->stream, NULL);
	/* Its socket is empty: it takes these four bytes at once. */
	if (hull_buf_le32(&sv->out, replayer) < 0 || loop_stream_drain(&sv->stream, &sv->out, sv->socket->fd) < 0 ||
	    sv->out.len)
		server_disconnect(sv);
	rewatch(sv);
}

/* --- the control socket --- */

bool server_guard(struct server *sv, struct mount *m, const char *path)
{
	if (!path || send(sv->control->fd, path, strlen(path), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		server_disconnect(sv);
		return false;
	}
	sv->guarding = m;
	return true;
}

static void on_control(struct loop_socket *s, int events)
{
	struct server *sv = s->owner;
	struct mount *m = sv->guarding;
	uint8_t raw[4];
	ssize_t n = read(s->fd, raw, sizeof(raw));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 1 && sv->syncing) {
		synced(sv);
		return;
	}
	if (n == 2 && sv->keeping) {
		share_nodes_answered(sv, raw[0] == 0);
		return;
	}
	if (n != (ssize_t)sizeof(raw) || (!m && !sv->unclaimed)) {
		server_disconnect(sv);
		return;
	}
	if (!m) {
		sv->unclaimed--;
		return;
	}
	struct hull_cur cur = hull_cur_make(raw, sizeof(raw));
	sv->guarding = NULL;
	mount_guarded(m, hull_cur_le32(&cur));
}

/* --- the start --- */

int server_start(struct mount *m, const char *const *guards, size_t guard_count, struct hull_error *err)
{
	struct keeper *k = m->k;
	struct hull_jailed child;
	int fd, control;
	struct server *sv = calloc(1, sizeof(*sv));
	if (!sv)
		return hull_fail(err, -ENOMEM, "out of memory");
	sv->k = k;
	sv->stream.ops = &OPS;
	sv->process.exited = on_exited;
	sv->process.freed = on_process_freed;
	sv->nodes = share_nodes_new(m);
	const struct share_spec spec = {.path = m->path,
					.fd = m->fd,
					.nodes = sv->nodes,
					.readonly = m->readonly,
					.guards = guards,
					.guard_count = guard_count};
	int r = k->workspace->spawn(k, &spec, &fd, &control, &child, err);
	if (r < 0) {
		hull_closep(&sv->nodes);
		free(sv);
		return r;
	}
	sv->socket = loop_socket_new(&k->loop, fd, sv, on_socket);
	sv->control = loop_socket_new(&k->loop, control, sv, on_control);
	r = loop_child_watch(&k->loop, &sv->process, child.pid, child.pidfd, err);
	if (r < 0 || !sv->socket || !sv->control) {
		sv->freed = r < 0;
		loop_socket_close(hull_steal_ptr(sv->socket));
		loop_socket_close(hull_steal_ptr(sv->control));
		hull_closep(&sv->nodes);
		server_kill(sv);
		server_free(sv);
		return r < 0 ? r : hull_fail(err, -ENOMEM, "cannot watch a server's socket: out of memory");
	}
	loop_socket_watch(sv->control, UV_READABLE);
	sv->mount = m;
	m->server = sv;
	return 0;
}

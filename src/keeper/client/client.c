/* SPDX-License-Identifier: Apache-2.0 */
/* control.sock: listening, and the clients on it; see client.h.
 *
 * The socket lies in a directory that only its owner may enter, is itself 0600, and the peer's uid is checked again:
 * whoever speaks here owns the sandbox. */
#include "keeper/keeper.h"
#include "keeper/client/client.h"
#include "keeper/client/runtime.h"
#include "keeper/client/service.h"
#include "keeper/session/jobs.h"
#include "keeper/session/relay.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "wire/service.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

struct client {
	struct loop_link link;
	struct list_node in_list;
	bool reserved; /* came when there were CLIENTS_MAX */
};

/* --- listening --- */

bool peer_allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && (cred.uid == geteuid() || cred.uid == 0);
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;
	/* A few at a time, so that a storm of connections does not starve those there are. */
	for (int i = 0; i < 16 && l->fd >= 0; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		if (!peer_allowed(fd)) {
			hull_log("refused a connection from another user");
			close(fd);
			continue;
		}
		l->accepted(l->k, fd);
	}
}

int listener_open(struct keeper *k, struct listener *l, const char *file, struct hull_error *err)
{
	/* By way of the directory's descriptor: a long path would not fit into an address. */
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char made[64];
	snprintf(made, sizeof(made), ".%s", file);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", k->runtime_fd, made);
	unlinkat(k->runtime_fd, made, 0); /* of an attempt that failed */
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return hull_fail_errno(err, "cannot make the socket %s", file);
	mode_t old = umask(0177);
	int r = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	int saved = errno;
	umask(old);
	errno = saved;
	/* It has its name when it can be connected to, so that those who wait for the one have waited for the other. */
	if (r < 0 || listen(fd, 128) < 0 || renameat(k->runtime_fd, made, k->runtime_fd, file) < 0)
		return hull_fail_errno(err, "cannot listen on %s/%s", k->runtime_dir, file);
	r = uv_poll_init(&k->loop.uv, &l->poll, fd);
	if (r < 0)
		return hull_fail(err, r, "cannot watch the socket %s: %s", file, uv_strerror(r));
	l->poll.data = l;
	l->k = k;
	l->fd = hull_steal_fd(&fd);
	l->state = LISTENER_OPEN;
	uv_poll_start(&l->poll, UV_READABLE, on_listen);
	l->file = file;
	return 0;
}

void listener_close(struct listener *l)
{
	l->state = LISTENER_CLOSED;
	if (l->fd < 0)
		return;
	uv_close((uv_handle_t *)&l->poll, NULL);
	close(l->fd);
	l->fd = -1;
}

static void open_again(struct listener *l)
{
	struct hull_error err;
	if (listener_open(l->k, l, l->file, &err) == 0)
		return;
	hull_log("%s", err.msg);
	l->state = LISTENER_LOST;
	runtime_retry(l->k);
}

static void on_again(uv_handle_t *handle)
{
	struct listener *l = handle->data;
	if (l->state == LISTENER_REOPENING && l->k->life.phase != PHASE_ENDED)
		open_again(l);
}

void listener_again(struct listener *l)
{
	if (l->state == LISTENER_LOST) {
		open_again(l);
	} else if (l->state == LISTENER_OPEN) {
		l->state = LISTENER_REOPENING;
		close(l->fd);
		l->fd = -1;
		uv_close((uv_handle_t *)&l->poll, on_again);
	}
}

/* --- clients --- */

static void client_freed(struct loop_link *l)
{
	free(container_of(l, struct client, link));
}

static void client_close(struct client *c)
{
	list_del(&c->in_list);
	keeper_of_link(&c->link)->clients->count--;
	keeper_of_link(&c->link)->clients->reserved -= c->reserved;
	loop_link_close(&c->link);
}

static void client_gone(struct loop_link *l, int code, const char *why)
{
	if (code == -EPROTO)
		hull_log("a client broke the wire protocol: %s", why);
	client_close(container_of(l, struct client, link));
}

static void client_opened(struct loop_link *l, uint32_t stream, uint8_t service, const uint8_t *args, size_t len)
{
	struct keeper *k = l->owner;
	bool reserved = container_of(l, struct client, link)->reserved;
	char text[160];
	if (service == HULL_SVC_KEEPER) {
		service_open(k, l, stream, args, len, reserved);
		return;
	}
	if (reserved) {
		snprintf(text, sizeof(text), "%d clients are connected to %s already: end some of them, or stop it",
			 CLIENTS_MAX, k->sb.name);
		hull_wire_refuse(l->wire, stream, EAGAIN, text);
		return;
	}
	switch (service) {
	case HULL_SVC_EXEC:
	case HULL_SVC_DIAL:
	case HULL_SVC_TAR_IN:
	case HULL_SVC_TAR_OUT:
		relay_open(k, l, stream, service, args, len);
		return;
	case HULL_SVC_ATTACH:
		job_attach(k, l, stream, args, len);
		return;
	default:
		hull_wire_refuse(l->wire, stream, ENOSYS, "no such service");
	}
}

/* Make room for one more client that may want to stop the sandbox or ask for its state: disconnect the oldest reserved
 * one that has no request open. Their requests are short. */
static bool make_room(struct keeper *k)
{
	if (k->clients->reserved < CLIENTS_RESERVED)
		return true;
	list_each(n, &k->clients->list)
	{
		struct client *c = container_of(n, struct client, in_list);
		if (c->reserved && hull_wire_streams(c->link.wire) == 0) {
			client_close(c);
			return true;
		}
	}
	return false;
}

void clients_init(struct keeper *k)
{
	list_init(&k->clients->list);
	k->clients->listener.fd = -1;
}

void client_accepted(struct keeper *k, int fd)
{
	bool reserved = k->clients->count - k->clients->reserved >= CLIENTS_MAX;
	struct client *c = !reserved || make_room(k) ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		hull_log("too many clients: a connection was refused");
		close(fd);
		return;
	}
	static const struct hull_wire_config config = {
		.side = HULL_WIRE_GUEST, .name = "client", .max_inbound = CLIENT_STREAMS_MAX};
	c->link.owner = k;
	c->link.gone = client_gone;
	c->link.opened = client_opened;
	c->link.freed = client_freed;
	struct hull_error err;
	if (loop_link_open(&k->loop, &c->link, fd, true, &config, &err) < 0) {
		hull_log("%s", err.msg);
		close(fd);
		free(c);
		return;
	}
	c->reserved = reserved;
	list_add(&k->clients->list, &c->in_list);
	k->clients->count++;
	k->clients->reserved += reserved;
}

bool clients_drained(struct keeper *k)
{
	bool all = true;
	list_each(n, &k->clients->list) all = loop_link_flush(&container_of(n, struct client, in_list)->link) && all;
	return all;
}

void clients_close(struct keeper *k)
{
	list_each(n, &k->clients->list) client_close(container_of(n, struct client, in_list));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets in the loop; see loop.h. */
#include "loop/loop.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct loop_socket *s = poll->data;
	if (status < 0) {
		s->watching = 0; /* libuv stops watching what reports an error */
		s->failed = true;
	}
	s->ready(s, status < 0 ? UV_READABLE | UV_WRITABLE : events);
}

struct loop_socket *loop_socket_new(struct loop *loop, int fd, void *owner,
				    void (*ready)(struct loop_socket *s, int events))
{
	struct loop_socket *s = calloc(1, sizeof(*s));
	if (!s || uv_poll_init(&loop->uv, &s->poll, fd) < 0) {
		free(s);
		close(fd);
		return NULL;
	}
	s->fd = fd;
	s->owner = owner;
	s->ready = ready;
	s->poll.data = s;
	return s;
}

void loop_socket_watch(struct loop_socket *s, int events)
{
	if (!s || s->watching == events)
		return;
	s->watching = events;
	if (events)
		uv_poll_start(&s->poll, events, on_poll);
	else
		uv_poll_stop(&s->poll);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void loop_socket_close(struct loop_socket *s)
{
	if (!s)
		return;
	uv_close((uv_handle_t *)&s->poll, on_closed);
	close(s->fd);
}

void loop_socket_reset(struct loop_socket *s)
{
	if (!s)
		return;
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	loop_socket_close(s);
}

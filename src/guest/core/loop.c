/* SPDX-License-Identifier: Apache-2.0 */
/* See loop.h. */
#include "guest/core/loop.h"

#include "base/cleanup.h"

#include <sys/timerfd.h>
#include <unistd.h>

enum { BATCH = 64 };

static int epoll_fd = -1;
static struct epoll_event batch[BATCH];
static int batch_next, batch_count;
static void (*after)(void);

int hull_loop_init(struct hull_error *err)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return epoll_fd < 0 ? hull_fail_errno(err, "cannot create the event loop") : 0;
}

void hull_loop_after(void (*fn)(void))
{
	after = fn;
}

int hull_watch_add(struct hull_watch *w, int fd, uint32_t events, void (*ready)(struct hull_watch *, uint32_t))
{
	struct epoll_event e = {.events = events, .data.ptr = w};
	*w = (struct hull_watch){.fd = -1, .events = events, .ready = ready};
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
		return -errno;
	w->fd = fd;
	return 0;
}

void hull_watch_mod(struct hull_watch *w, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = w};
	if (!w->ready || w->fd < 0 || w->events == events)
		return;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, w->fd, &e) == 0)
		w->events = events;
}

void hull_watch_del(struct hull_watch *w)
{
	if (!w->ready || w->fd < 0)
		return;
	epoll_ctl(epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
	for (int i = batch_next; i < batch_count; i++)
		if (batch[i].data.ptr == w)
			batch[i].data.ptr = NULL;
}

void hull_loop_once(int timeout_ms)
{
	int n = epoll_wait(epoll_fd, batch, BATCH, timeout_ms);
	batch_count = n > 0 ? n : 0;
	for (batch_next = 0; batch_next < batch_count;) {
		struct epoll_event *e = &batch[batch_next++];
		struct hull_watch *w = e->data.ptr;
		if (w)
			w->ready(w, e->events);
	}
	batch_count = 0;
	if (after)
		after();
}

static void timer_ready(struct hull_watch *w, uint32_t events)
{
	struct hull_timer *t = container_of(w, struct hull_timer, watch);
	uint64_t count;
	if (read(t->fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
		t->fired(t);
}

int hull_timer_start(struct hull_timer *t, uint64_t ms, void (*fired)(struct hull_timer *))
{
	if (t->fd <= 0) {
		t->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		if (t->fd < 0)
			return -errno;
		int r = hull_watch_add(&t->watch, t->fd, EPOLLIN, timer_ready);
		if (r < 0) {
			close(t->fd);
			t->fd = 0;
			return r;
		}
	}
	t->fired = fired;
	if (ms == 0)
		ms = 1; /* zero would disarm it */
	struct itimerspec when = {.it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000}};
	return timerfd_settime(t->fd, 0, &when, NULL) < 0 ? -errno : 0;
}

void hull_timer_stop(struct hull_timer *t)
{
	if (t->fd <= 0)
		return;
	hull_watch_del(&t->watch);
	close(t->fd);
	t->fd = 0;
}

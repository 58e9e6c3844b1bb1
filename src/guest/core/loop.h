/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop of hull-init: epoll over descriptors and timers, one thread, no allocation per event.
 *
 * A watch is embedded in the object it belongs to and stays the owner's: hull_watch_del() before the memory goes. A
 * callback may delete any watch, its own included, also one whose event is waiting in the same batch. Level-triggered
 * unless EPOLLET is asked for. There is one loop per process, so it has no handle. */
#ifndef HULL_GUEST_LOOP_H
#define HULL_GUEST_LOOP_H

#include "base/error.h"
#include "base/list.h" /* container_of, for what a watch is part of */

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct hull_watch {
	int fd;          /* borrowed; -1 while not watched */
	uint32_t events; /* what it is registered for */
	void (*ready)(struct hull_watch *w, uint32_t events);
};

int hull_loop_init(struct hull_error *err);
/* Watch fd for `events`; 0 registers it for errors and hang-up only. -errno when the kernel refuses. */
int hull_watch_add(struct hull_watch *w, int fd, uint32_t events, void (*ready)(struct hull_watch *, uint32_t));
/* Change what is waited for; nothing is done when that is no change. */
void hull_watch_mod(struct hull_watch *w, uint32_t events);
void hull_watch_del(struct hull_watch *w);

/* A one-shot timer over a timerfd, made when first started. Owned like a watch. */
struct hull_timer {
	struct hull_watch watch;
	int fd; /* owned; 0 in a zeroed timer means none yet */
	void (*fired)(struct hull_timer *t);
};
int hull_timer_start(struct hull_timer *t, uint64_t ms, void (*fired)(struct hull_timer *));
void hull_timer_stop(struct hull_timer *t);

/* Wait for events and hand them out, once. timeout_ms < 0 waits for ever. */
void hull_loop_once(int timeout_ms);
/* Run `fn` after each batch of events, before waiting again: for output gathered from many callbacks. */
void hull_loop_after(void (*fn)(void));

#endif

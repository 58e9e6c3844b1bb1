/* SPDX-License-Identifier: Apache-2.0 */
/* Corrects the guest's clock; see clock.h and guest/machine/clock.c.
 *
 * A round is TIME to the guest and CLOCK back with what its clock says, as NTP does it: the guest's time is compared
 * with the middle between sending and receiving, so the error is at most half of the round trip. A round that took
 * longer than ROUND_TRIP_MS (the machine was not running yet, or is busy) is made again; a difference is sent as
 * OFFSET_NS with the next TIME. At most ROUNDS in a row.
 *
 * There is no timer. A round begins
 * - when the guest is configured, and whenever its machine begins to run again (snapshot, fork, a full disk);
 * - when the host's own clock was set, or the host slept: a timerfd that never expires is cancelled by that
 *   (TFD_TIMER_CANCEL_ON_SET);
 * - when something is opened by a client or by the guest, or the guest sends anything, and the last round is STALE_MS
 *   ago. So a guest that is at work is corrected once a minute, and one that sleeps is not woken.
 *
 * The guest's answer is not trusted: a wrong one affects only the guest's own clock. One that was not asked for is
 * ignored. */
#include "keeper/keeper.h"
#include "keeper/guest/clock.h"
#include "keeper/guest/guest.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "wire/args.h"
#include "wire/service.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 4, ROUND_TRIP_MS = 20, STALE_MS = 60 * 1000 };
static const int64_t FINE_NS = 2 * 1000 * 1000, NEVER_S = (int64_t)1 << 40;

static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void tell(struct keeper *k, int64_t offset)
{
	struct clock *c = k->clock;
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_TIME;
	c->last_ms = uv_hrtime() / 1000000;
	c->asked_ns = now_ns();
	c->asked_hr = uv_hrtime();
	if (hull_buf_add(&b, &kind, 1) == 0 && hull_args_put_u64(&b, HULL_TAG_TIME_NS, (uint64_t)c->asked_ns) == 0 &&
	    (!offset || hull_args_put_u64(&b, HULL_TAG_OFFSET_NS, (uint64_t)offset) == 0))
		loop_stream_message(&k->guest->control, hull_buf_bytes(&b), b.len);
}

void clock_send(struct keeper *k)
{
	struct guest *g = k->guest;
	if (!g->open || !g->answered || !g->control.id || g->link.held)
		return;
	k->clock->rounds = 1;
	tell(k, 0);
}

void clock_active(struct keeper *k)
{
	if (uv_hrtime() / 1000000 - k->clock->last_ms >= STALE_MS)
		clock_send(k);
}

void clock_link_active(struct loop_link *guest)
{
	clock_active(guest->owner);
}

void clock_answered(struct keeper *k, struct hull_cur *cur)
{
	struct clock *c = k->clock;
	struct hull_arg a;
	uint64_t asked = 0, theirs = 0;
	while (hull_args_next(cur, &a)) {
		if (a.tag == HULL_TAG_TIME_NS)
			asked = hull_arg_u64(&a);
		else if (a.tag == HULL_TAG_GUEST_NS)
			theirs = hull_arg_u64(&a);
	}
	if (!c->asked_ns || asked != (uint64_t)c->asked_ns || theirs > INT64_MAX / 2 || k->guest->link.held)
		return;
	uint64_t trip = uv_hrtime() - c->asked_hr;
	int64_t offset = c->asked_ns + (int64_t)(trip / 2) - (int64_t)theirs;
	bool slow = trip > ROUND_TRIP_MS * 1000000ull;
	c->asked_ns = 0;
	if (c->rounds >= ROUNDS || (!slow && offset < FINE_NS && offset > -FINE_NS))
		return;
	c->rounds++;
	tell(k, slow ? 0 : offset);
}

/* --- the host's own clock --- */

static void arm(int fd)
{
	struct itimerspec never = {.it_value.tv_sec = (time_t)NEVER_S};
	timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);
}

static void on_set(uv_poll_t *poll, int status, int events)
{
	struct keeper *k = poll->data;
	uint64_t expired;
	if (status >= 0 && read(k->clock->fd, &expired, sizeof(expired)) < 0 && errno == ECANCELED)
		clock_send(k);
	arm(k->clock->fd);
}

void clock_open(struct keeper *k)
{
	struct clock *c = k->clock;
	c->fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (c->fd < 0 || uv_poll_init(&k->loop.uv, &c->poll, c->fd) < 0) {
		hull_log("cannot watch for changes of the host's clock");
		return;
	}
	c->poll.data = k;
	c->watching = true;
	arm(c->fd);
	uv_poll_start(&c->poll, UV_READABLE, on_set);
}

void clock_close(struct keeper *k)
{
	struct clock *c = k->clock;
	if (c->watching)
		uv_close((uv_handle_t *)&c->poll, NULL);
	c->watching = false;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

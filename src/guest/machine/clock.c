/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's clock, as the host corrects it.
 *
 * The clock of a machine that is paused stands still: for a snapshot, a fork, a full disk of the host's, the sleep of a
 * laptop. No program in the guest can know. So the host tells the time (TIME on control) whenever that may have
 * happened, and once a minute while the guest is at work; see keeper/guest/clock.c, which measures and decides how
 * often.
 *
 * - What TIME_NS says was so when it was sent, so it can only be later now: a clock that is behind it is set to it.
 * - OFFSET_NS is what the host measured over a round trip. A clock that is behind, or far ahead, is set; one that is
 *   slightly ahead is slowed down instead (adjtime(3)), because time that goes back confuses make and databases.
 *
 * Either way CLOCK goes back with the time here, which is how the host measures. */
#include "guest/machine/machine.h"

#include "guest/core/core.h"

#include <string.h>
#include <sys/timex.h>
#include <time.h>

enum { NS = 1000000000 };
#define FINE_NS     (1000 * 1000)       /* less is not corrected */
#define SLEW_MAX_NS (100 * 1000 * 1000) /* a clock that is ahead by more is set back */

/* What to do about a clock that is behind by so much (negative: ahead). */
enum way { LEAVE, SLEW, STEP };

static enum way way_of(int64_t offset_ns)
{
	if (offset_ns >= FINE_NS || offset_ns <= -SLEW_MAX_NS)
		return STEP;
	return offset_ns <= -FINE_NS ? SLEW : LEAVE;
}

int64_t hull_clock_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * NS + t.tv_nsec;
}

void hull_clock_set(int64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / NS), .tv_nsec = (long)(ns % NS)};
	if (ns > 0 && clock_settime(CLOCK_REALTIME, &t) < 0)
		hull_say("cannot set the clock: %s", strerror(errno));
}

static void slew(int64_t offset_ns)
{
	struct timex x = {.modes = ADJ_OFFSET_SINGLESHOT, .offset = (long)(offset_ns / 1000)};
	if (adjtimex(&x) < 0)
		hull_say("cannot correct the clock: %s", strerror(errno));
}

void hull_clock_adjust(int64_t host_ns, int64_t offset_ns)
{
	if (offset_ns <= -INT64_MAX / 4 || offset_ns >= INT64_MAX / 4)
		offset_ns = 0;
	enum way way = way_of(offset_ns);
	if (way == STEP)
		hull_clock_set(hull_clock_now() + offset_ns);
	else if (way == SLEW)
		slew(offset_ns);
	if (way_of(host_ns - hull_clock_now()) == STEP && host_ns > hull_clock_now())
		hull_clock_set(host_ns);
}

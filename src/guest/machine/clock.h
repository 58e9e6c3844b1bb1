/* Setting the guest's clock by what the host says; see clock.c. */
#ifndef HULL_GUEST_CLOCK_H
#define HULL_GUEST_CLOCK_H

#include <stdint.h>

#define HULL_CLOCK_FINE_NS     (1000 * 1000)       /* less is not corrected */
#define HULL_CLOCK_SLEW_MAX_NS (100 * 1000 * 1000) /* a clock that is ahead by more is set back */

enum hull_clock_way { HULL_CLOCK_LEAVE, HULL_CLOCK_SLEW, HULL_CLOCK_STEP };
/* What to do about a clock that is behind by so much (negative: ahead). */
enum hull_clock_way hull_clock_way(int64_t offset_ns);

int64_t hull_clock_now(void);
void hull_clock_set(int64_t ns);
/* It was host_ns on the host when this was sent, and by what it measured we are behind by offset_ns (0 = unknown). */
void hull_clock_tell(int64_t host_ns, int64_t offset_ns);

#endif

/* Swap on the sandbox's disk: see swap.c. */
#ifndef HULL_GUEST_SWAP_H
#define HULL_GUEST_SWAP_H

#include <stdint.h>

/* Have so much swap, 0 = none; goes on beside everything else. A machine that has its swap already keeps it. */
void hull_swap_start(uint64_t bytes);
/* At the very end: nothing is swapped out any more, the user's own swap included, so that the disk can be unmounted. */
void hull_swap_stop(void);

#endif

/* Page cache that nobody uses goes back to the host: see reclaim.c. */
#ifndef HULL_GUEST_RECLAIM_H
#define HULL_GUEST_RECLAIM_H

/* Something was started, has ended, or connects: the sandbox is in use. */
void hull_reclaim_touch(void);

#endif

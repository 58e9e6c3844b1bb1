/* The end of the file systems: see mounts.c. The beginning is in guest.h. */
#ifndef HULL_GUEST_MOUNTS_H
#define HULL_GUEST_MOUNTS_H

/* When no process is left: unmount everything, the root last, so that the disk is clean. */
void hull_leave_root(void);

#endif

/* Identity, beyond what guest.h has: see setup.c. */
#ifndef HULL_GUEST_SETUP_H
#define HULL_GUEST_SETUP_H

/* Make /etc/machine-id when there is none. After the host has given entropy. */
void hull_machine_id(void);

#endif

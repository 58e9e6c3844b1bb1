/* Identity, beyond what guest.h has: see setup.c. */
#ifndef HULL_GUEST_SETUP_H
#define HULL_GUEST_SETUP_H

#include <stdbool.h>

/* Make /etc/machine-id when there is none, or anew in any case. After the host has given entropy. */
void hull_machine_id(bool anew);

#endif

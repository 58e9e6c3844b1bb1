/* Identity, beyond what guest.h has: see setup.c. */
#ifndef HULL_GUEST_SETUP_H
#define HULL_GUEST_SETUP_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Make /etc/machine-id when there is none, or anew in any case. After the host has given entropy. */
void hull_machine_id(bool anew);

/* Replace a file of the root's own, whole or not at all for who reads it; not waited for on the disk. */
int hull_replace_file(const char *path, const void *p, size_t n, mode_t mode, struct hull_error *err);
/* Read one, wherever a workspace is mounted; -ENOENT when there is none. */
int hull_read_own(const char *path, size_t max, struct hull_buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Archives to and from a sandbox: see transfer.c. */
#ifndef HULL_LIB_FILES_TRANSFER_H
#define HULL_LIB_FILES_TRANSFER_H

#include "lib/handle.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct transfer;

/* Over a connected control socket (taken over) of the sandbox `name`: HULL_SVC_TAR_IN sends an archive to be unpacked at
 * `path` (its first entry called `entry`, when not NULL); HULL_SVC_TAR_OUT brings that of `path`. What has been moved is
 * told by lib_moved(). -EINTR when the caller wants to give up. NULL when it fails. */
struct transfer *transfer_open(const struct hull *h, int socket, const char *name, uint8_t service, const char *path,
			       const char *entry, struct hull_error *err);
/* The next bytes, valid until the next call; 0 = there are no more. */
ssize_t transfer_read(struct transfer *t, const void **p, struct hull_error *err);
int transfer_write(struct transfer *t, const void *p, size_t n, struct hull_error *err);
/* No more is sent, none is expected: 0 when the sandbox says that all went well, else what it says. */
int transfer_end(struct transfer *t, struct hull_error *err);
void transfer_close(struct transfer *t); /* wherever it stands; may be NULL */

/* All of it between the sandbox and a descriptor. */
int transfer_run(const struct hull *h, int socket, const char *name, uint8_t service, const char *path, int fd,
		 struct hull_error *err);

#endif

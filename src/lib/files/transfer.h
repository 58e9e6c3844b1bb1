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

/* Opens a transfer over a connected control socket (taken over) of the sandbox `name`. HULL_SVC_TAR_IN sends an archive
 * to be unpacked at `path` (its first entry named `entry`, unless NULL); HULL_SVC_TAR_OUT receives the archive of
 * `path`. lib_moved() reports progress. -EINTR when the caller cancels. Returns NULL on failure. */
struct transfer *transfer_open(const struct hull *h, int socket, const char *name, uint8_t service, const char *path,
			       const char *entry, struct hull_error *err);
/* The next bytes, valid until the next call; 0 at the end. */
ssize_t transfer_read(struct transfer *t, const void **p, struct hull_error *err);
int transfer_write(struct transfer *t, const void *p, size_t n, struct hull_error *err);
/* Ends the transfer: 0 if the sandbox reports success, otherwise the sandbox's error. */
int transfer_end(struct transfer *t, struct hull_error *err);
void transfer_close(struct transfer *t); /* in any state; NULL is allowed */

/* Transfers everything between the sandbox and a descriptor. */
int transfer_run(const struct hull *h, int socket, const char *name, uint8_t service, const char *path, int fd,
		 struct hull_error *err);

#endif

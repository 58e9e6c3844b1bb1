/* Archives to and from a sandbox: see transfer.c. */
#ifndef HULL_CLI_TRANSFER_H
#define HULL_CLI_TRANSFER_H

#include "base/error.h"

#include <stdint.h>

/* Over a connected control socket (taken over): HULL_SVC_TAR_IN sends the archive read from `fd` to be unpacked at
 * `path` (its first entry called `entry`, when not NULL); HULL_SVC_TAR_OUT writes that of `path` to `fd`. */
int transfer_run(int socket, uint8_t service, const char *path, const char *entry, int fd, struct hull_error *err);

#endif

/* Free space, asked before something that others decide about is written: what a guest sends, what a file promises. */
#ifndef HULL_BASE_SPACE_H
#define HULL_BASE_SPACE_H

#include "base/error.h"

#include <stdint.h>

/* May `bytes` more, and `files` more inodes, go to the file system that the descriptor is on? A floor stays free: a
 * twentieth of it, at most 1 GiB (and a twentieth of the inodes, at most 10000). -ENOSPC when not. */
int hull_space_check(int fd, uint64_t bytes, uint64_t files, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the guest's own root, opened in a way that cannot end in a workspace: see own.c. */
#ifndef HULL_GUEST_OWN_H
#define HULL_GUEST_OWN_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>
#include <sys/types.h>

/* open(2) of an absolute path, close-on-exec. -errno; -EXDEV when something is mounted on the way or at the end. */
int hull_own_open(const char *path, int flags, mode_t mode);
/* The same with openat(2). */
int hull_own_openat(int dir, const char *path, int flags, mode_t mode);
/* For what takes a path: that of an open descriptor. */
void hull_own_path(int fd, char path[32]);

/* Open (O_PATH) the directory `path` below another, and make what is missing of it. -errno; -EINVAL for "..". */
int hull_own_make_dir(int root, const char *path);

/* Read a regular one, wherever a workspace is mounted; -ENOENT when there is none. */
int hull_own_read(const char *path, size_t max, struct hull_buf *out);
int hull_own_readat(int dir, const char *path, size_t max, struct hull_buf *out);
/* Replace one, whole or not at all for who reads it; not waited for on the disk. */
int hull_own_replace(const char *path, const void *p, size_t n, mode_t mode, struct hull_error *err);

#endif

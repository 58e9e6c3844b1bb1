/* SPDX-License-Identifier: Apache-2.0 */
/* Paths: containment, and opening without following symlinks. */
#ifndef HULL_BASE_PATH_H
#define HULL_BASE_PATH_H

#include <stdbool.h>

/* Is `path` equal to dir or below it? Compares text: both must be absolute without ".", ".." and "//" (as from
 * realpath(3)), or both relative to the same directory, whose own path is "". */
bool hull_path_in(const char *path, const char *dir);
/* The part of `path` below dir, without the leading slash: "" for dir itself; NULL when it is not below. Points into
 * `path`. */
const char *hull_path_below(const char *path, const char *dir);

/* openat(2) with O_CLOEXEC that follows no symlink in any component (ELOOP). `beneath` also refuses "..", absolute
 * paths and magic links that leave dirfd (EXDEV). Returns the descriptor, or -1 with errno. "" opens dirfd itself. */
int hull_path_open(int dirfd, const char *path, int flags, bool beneath);

#endif

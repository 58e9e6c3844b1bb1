/* SPDX-License-Identifier: Apache-2.0 */
/* Paths: which lies in which, and what is at one without a symlink on the way. */
#ifndef HULL_BASE_PATH_H
#define HULL_BASE_PATH_H

#include <stdbool.h>

/* Is `path` dir itself, or below it? By their text: both absolute and without ".", ".." and "//" (as realpath(3) gives
 * them), or both relative to the same place, whose own path is "". */
bool hull_path_in(const char *path, const char *dir);
/* As it is below dir, without the slash in front: "" for dir itself; NULL when it is not in it. Into `path`. */
const char *hull_path_below(const char *path, const char *dir);

/* openat(2), O_CLOEXEC, that follows no symlink anywhere on the way (ELOOP); with `beneath` also no "..", absolute path
 * or magic link out of dirfd (EXDEV). The descriptor, or -1 with errno. "" is dirfd itself. */
int hull_path_open(int dirfd, const char *path, int flags, bool beneath);

#endif

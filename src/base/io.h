/* SPDX-License-Identifier: Apache-2.0 */
/* Files and descriptors: the few operations every part needs, done once and done right (EINTR, short counts,
 * atomic replacement). Plain libc only: hull-init uses these too. */
#ifndef HULL_BASE_IO_H
#define HULL_BASE_IO_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Write all n bytes to a blocking descriptor; 0 or -errno. */
int hull_write_full(int fd, const void *p, size_t n);
/* Read until n bytes or end of file; the count read, or -errno. */
ssize_t hull_read_full(int fd, void *p, size_t n);
/* The same from an offset on, without moving the descriptor's own. */
ssize_t hull_pread_full(int fd, void *p, size_t n, off_t at);
/* Whether n bytes are all zero, as a hole would read. */
bool hull_all_zero(const void *p, size_t n);
int hull_set_nonblock(int fd, bool on);
int hull_set_cloexec(int fd, bool on);

/* Append a whole file to `out` (which stays NUL-terminated behind its len). At most `max` bytes; a larger file is
 * -EFBIG. dirfd as in openat(2). */
int hull_read_file(int dirfd, const char *path, size_t max, struct hull_buf *out, struct hull_error *err);
/* The same of a file that a stranger may have made: -EINVAL for what is not a regular file (opening a FIFO would never
 * return). */
int hull_read_regular(int dirfd, const char *path, size_t max, struct hull_buf *out, struct hull_error *err);
/* Replace a file so that a reader, or a machine that loses power, sees the old or the new content, never a part:
 * temporary file in the same directory, fsync, rename, fsync of the directory. It gets exactly `mode`, whatever the
 * umask. */
int hull_write_file_atomic(int dirfd, const char *path, const void *p, size_t n, mode_t mode, struct hull_error *err);
/* The same without waiting for the disk: a machine that loses power soon may have the old, the new or an empty file. */
int hull_write_file_unsynced(int dirfd, const char *path, const void *p, size_t n, mode_t mode, struct hull_error *err);

/* mkdir -p; existing directories are fine, anything else in the way is an error. */
int hull_mkdir_all(const char *path, mode_t mode, struct hull_error *err);
/* rm -rf of dirfd/name without following a symlink, staying below dirfd. A missing name is fine. */
int hull_remove_tree(int dirfd, const char *name, struct hull_error *err);
/* Is what fd is open on what has this name? A symlink is itself. */
bool hull_same_file(int fd, int dirfd, const char *name);
/* Copy a file as cheaply as the file system allows: FICLONE where it can, else only the data between holes
 * (SEEK_DATA/SEEK_HOLE, copy_file_range). `to` is an empty writable file; it gets from's size. */
int hull_clone_file(int from, int to, struct hull_error *err);
/* The same by FICLONE alone: false where the file system cannot. */
bool hull_reflink_file(int from, int to);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* File and descriptor operations that every part needs, with EINTR, short counts and atomic replacement handled in one
 * place. Plain libc only: hull-init uses these too. */
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
/* The same from an offset, without moving the file position. */
ssize_t hull_pread_full(int fd, void *p, size_t n, off_t at);
/* hull_write_full at an offset, without moving the file position. */
int hull_pwrite_full(int fd, const void *p, size_t n, off_t at);
/* Are the n bytes all zero, as a hole reads? */
bool hull_all_zero(const void *p, size_t n);
int hull_set_nonblock(int fd, bool on);
int hull_set_cloexec(int fd, bool on);

/* Append a whole file to `out` (which stays NUL-terminated after its len). -EFBIG when it is larger than `max`. dirfd
 * as in openat(2). */
int hull_read_file(int dirfd, const char *path, size_t max, struct hull_buf *out, struct hull_error *err);
/* The same for an untrusted file: -EINVAL when it is not a regular file (opening a FIFO would block). */
int hull_read_regular(int dirfd, const char *path, size_t max, struct hull_buf *out, struct hull_error *err);
/* Replace a file atomically and durably: after a crash or power loss a reader sees the old or the new content, never a
 * part. Temporary file in the same directory, fsync, rename, fsync of the directory. It gets exactly `mode`, regardless
 * of the umask. */
int hull_write_file_atomic(int dirfd, const char *path, const void *p, size_t n, mode_t mode, struct hull_error *err);
/* The same without fsync: after a power loss the file may have the old, the new or no content. */
int hull_write_file_unsynced(int dirfd, const char *path, const void *p, size_t n, mode_t mode, struct hull_error *err);

/* mkdir -p; existing directories are accepted, any other file in the way is an error. */
int hull_mkdir_all(const char *path, mode_t mode, struct hull_error *err);
/* rm -rf of dirfd/name without following symlinks or leaving dirfd. A missing name is not an error. */
int hull_remove_tree(int dirfd, const char *name, struct hull_error *err);
/* Is this the name of the file open on fd? Symlinks are not followed. */
bool hull_same_file(int fd, int dirfd, const char *name);
/* Copy a file by the cheapest method available: FICLONE, otherwise only the data between holes (SEEK_DATA/SEEK_HOLE,
 * copy_file_range). `to` is an empty writable file; it gets the size of `from`. */
int hull_clone_file(int from, int to, struct hull_error *err);
/* FICLONE only: false when the file system does not support it. */
bool hull_reflink_file(int from, int to);

#endif

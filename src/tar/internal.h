/* SPDX-License-Identifier: Apache-2.0 */
/* Making files beneath a directory that somebody else may write in: beneath.c. Every path is relative to `root`,
 * clean (no "", ".", ".."), and its components are never followed when they are symlinks. */
#ifndef HULL_TAR_INTERNAL_H
#define HULL_TAR_INTERNAL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

/* A directory, open for reading; "" is root itself. -ELOOP when there is a symlink on the way. */
int beneath_open(int root, const char *path, struct hull_error *err);
/* Make a directory; 1 when there is one already. */
int beneath_mkdir(int root, const char *path, struct hull_error *err);
/* Is there an entry in the directory, besides "." and ".."? */
bool beneath_empty(int dir);

/* A file that has no name yet. */
struct beneath_file {
	int fd;
	int parent;
	char name[256];   /* the one it is to have */
	char scratch[32]; /* the one it has meanwhile, "" = none */
};
#define BENEATH_FILE_NONE              \
	{                              \
		.fd = -1, .parent = -1 \
	}
int beneath_create(struct beneath_file *f, int root, const char *path, struct hull_error *err);
/* Give it its name; replaces a regular file only. */
int beneath_commit(struct beneath_file *f, const char *shown, struct hull_error *err);
void beneath_drop(struct beneath_file *f); /* in any case */

int beneath_symlink(int root, const char *path, const char *target, struct timespec mtime, struct hull_error *err);
int beneath_fifo(int root, const char *path, mode_t mode, struct timespec mtime, struct hull_error *err);

/* The files that this archive has made, as numbers of inodes: made.c. Not all of a very large archive. */
struct made_file {
	dev_t dev;
	uint64_t ino;
	int64_t born;
	uint32_t born_nsec;
	bool used;
};
struct made {
	struct made_file *slots; /* owned */
	size_t size, count;
};
int made_add(struct made *m, int fd);
bool made_has(const struct made *m, int fd);
void made_free(struct made *m);
/* What is called so now, which was just made. */
int beneath_remember(int root, const char *path, struct made *m, struct hull_error *err);
/* A hard link to what is in `m`, and to nothing else: a link to a file of the host's would put it where the guest can
 * read and write it. */
int beneath_link(int root, const char *path, const char *to, const struct made *m, struct hull_error *err);

#endif

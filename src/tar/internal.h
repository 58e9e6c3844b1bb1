/* SPDX-License-Identifier: Apache-2.0 */
/* Creating files beneath a directory that a guest may write to: beneath.c. Every path is relative to `root` and clean
 * (no "", ".", ".."). No component is followed if it is a symlink. */
#ifndef HULL_TAR_INTERNAL_H
#define HULL_TAR_INTERNAL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

/* Open a directory for reading; "" is root. -ELOOP when there is a symlink on the way. */
int beneath_open(int root, const char *path, struct hull_error *err);
/* Make a directory; 1 if it exists already. */
int beneath_mkdir(int root, const char *path, struct hull_error *err);
/* Does the directory have an entry besides "." and ".."? */
bool beneath_empty(int dir);

/* A file that has no final name yet. */
struct beneath_file {
	int fd;
	int parent;
	char name[256];   /* the one it is to have */
	char scratch[32]; /* its scratch name, "" = none */
};
#define BENEATH_FILE_NONE              \
	{                              \
		.fd = -1, .parent = -1 \
	}
int beneath_create(struct beneath_file *f, int root, const char *path, struct hull_error *err);
/* Give it its name; replaces only a regular file. */
int beneath_commit(struct beneath_file *f, const char *shown, struct hull_error *err);
void beneath_drop(struct beneath_file *f); /* in any case */

int beneath_symlink(int root, const char *path, const char *target, struct timespec mtime, struct hull_error *err);
int beneath_fifo(int root, const char *path, mode_t mode, struct timespec mtime, struct hull_error *err);

/* The set of inodes that this archive has created: made.c. Bounded, so incomplete for a very large archive. */
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
/* Add the file just created under this name. */
int beneath_remember(int root, const char *path, struct made *m, struct hull_error *err);
/* Make a hard link, only to a file in `m`. A link to a file of the host would make it readable and writable for the
 * guest. */
int beneath_link(int root, const char *path, const char *to, const struct made *m, struct hull_error *err);

#endif

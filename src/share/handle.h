/* SPDX-License-Identifier: Apache-2.0 */
/* Open files and directories; see handle.c. */
#ifndef HULL_SHARE_HANDLE_H
#define HULL_SHARE_HANDLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct hull_share;
struct share_inode;

struct share_handle {
	uint64_t id;
	int fd;
	uint32_t refs;
	bool writable, directory;
	bool no_flush;             /* a file opened with FOPEN_NOFLUSH: the guest sends RELEASE, and no FLUSH */
	struct share_inode *inode; /* ref'd */
	struct share_handle *next; /* of the same inode; of the streams, the last used first */
	/* Directories: entries read ahead, and where the next one stands. */
	pthread_mutex_t dir;
	uint8_t *entries;
	uint32_t pos, len;
	uint64_t offset; /* cookie that continues at pos */
};

struct share_handle *share_handle_new(struct hull_share *sh, struct share_inode *ino, int fd, bool writable,
				      bool directory); /* takes fd over; NULL when full (fd closed) */
struct share_handle *share_handle_get(struct hull_share *sh, uint64_t id);
void share_handle_put(struct hull_share *sh, struct share_handle *h);
void share_handle_drop(struct hull_share *sh, uint64_t id); /* the guest's own reference */
/* A directory that is being read, kept until its next part is asked for; the one that nobody asked for longest is
 * forgotten. new takes fd; take: NULL when none stands at the offset; end takes NULL. */
enum { SHARE_STREAMS_MAX = 64 };
struct share_handle *share_stream_new(struct hull_share *sh, struct share_inode *dir, int fd);
struct share_handle *share_stream_take(struct hull_share *sh, const struct share_inode *dir, uint64_t offset);
void share_stream_keep(struct hull_share *sh, struct share_handle *h);
void share_stream_end(struct hull_share *sh, struct share_handle *h);
void share_handles_free(struct hull_share *sh);

#endif

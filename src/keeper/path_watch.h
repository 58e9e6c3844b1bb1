/* SPDX-License-Identifier: Apache-2.0 */
/* Seeing that what a path names has changed, however it is replaced. The contract; path_watch.c. */
#ifndef HULL_KEEPER_PATH_WATCH_H
#define HULL_KEEPER_PATH_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

enum { PATH_WATCH_MAX = 4 };

struct watch_spot;
struct path_watch {
	const char *paths[PATH_WATCH_MAX]; /* absolute; borrowed */
	unsigned count;
	bool bad[PATH_WATCH_MAX];  /* set by the reader: it could not be read, so that a chmod may mend it */
	int error[PATH_WATCH_MAX]; /* errno: this one is not watched as a whole; 0 = it is */
	int fd;
	bool started;
	uv_poll_t poll;
	struct watch_spot *spots;
	size_t spot_count;
	void *ctx;
	void (*changed)(void *ctx, unsigned which);
};

/* Call changed(ctx, which) whenever the file at paths[which] is to be read again. What cannot be watched is said in the
 * log, and in `error`. */
void path_watch_start(struct path_watch *w, uv_loop_t *loop, const char *const *paths, unsigned count, void *ctx,
		      void (*changed)(void *ctx, unsigned which));
void path_watch_stop(struct path_watch *w);

#endif

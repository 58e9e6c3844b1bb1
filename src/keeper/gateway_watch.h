/* Seeing that the policy's files have changed; gateway_watch.c. */
#ifndef HULL_KEEPER_GATEWAY_WATCH_H
#define HULL_KEEPER_GATEWAY_WATCH_H

#include <stdbool.h>
#include <uv.h>

enum { WATCH_FILES = 2 };

struct policy_watch {
	const char *paths[WATCH_FILES]; /* borrowed; with a directory each */
	int wds[WATCH_FILES];           /* -1 = not watched */
	int fd;
	bool moved[WATCH_FILES]; /* away, a moment ago */
	bool bad[WATCH_FILES];   /* set by the reader: it could not be read, so that a chmod may mend it */
	bool started;
	uv_poll_t poll;
	uv_timer_t later;
	void *ctx;
	void (*changed)(void *ctx, unsigned which);
};

/* Call changed(ctx, which) whenever the file at paths[which] is to be read again. A directory that cannot be watched is
 * said in the log. */
void policy_watch_start(struct policy_watch *w, uv_loop_t *loop, const char *const paths[WATCH_FILES], void *ctx,
			void (*changed)(void *ctx, unsigned which));
void policy_watch_stop(struct policy_watch *w);

#endif

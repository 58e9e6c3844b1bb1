/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that do for a mounted workspace what hull-init must not wait for: see helper.c. */
#ifndef HULL_GUEST_SHARE_HELPER_H
#define HULL_GUEST_SHARE_HELPER_H

#include "base/buf.h"
#include "guest/core/child.h"
#include "guest/core/loop.h"

/* A process and the messages for it, in order. */
struct hull_helper {
	struct hull_child child;
	int fd; /* to the process, -1 = it does not run */
	struct hull_watch watch;
	struct hull_buf waiting; /* {u32 length, bytes} that it has not taken yet */
	size_t limit;            /* of `waiting` */
	bool lost;               /* something was dropped for it */
	/* All that waited is passed on (lost: not all), or the process has ended (lost; there is none now). May be
	 * NULL. */
	void (*drained)(struct hull_helper *h, bool lost);
	/* A message came back. */
	void (*heard)(struct hull_helper *h, const uint8_t *p, size_t n);
	struct hull_replayer *replayer; /* of a replayer that runs */
};
/* Writes the server's notifications to the device. */
int hull_notifier_start(struct hull_helper *h, int device);
/* Makes file watchers fire. It waits for its first message before it goes to `path`, which is mounted by then. Messages
 * are {u8 event, u8 directory, path}, see share/relay.h. */
int hull_replayer_start(struct hull_helper *h, const char *path);
/* Is, or was, this process a replayer, of any mount, from which a request can still come? */
bool hull_replayer_is(uint32_t pid);
/* Queue a message. False when it had to be dropped: there is no process, or too much waits already. */
bool hull_helper_send(struct hull_helper *h, const void *p, size_t n);
/* Have `heard` called with what comes back. */
void hull_helper_hear(struct hull_helper *h, void (*heard)(struct hull_helper *h, const uint8_t *p, size_t n));
void hull_helper_stop(struct hull_helper *h);
/* Becomes readable when the process has ended; the caller closes it. -1 = it does not run. */
int hull_helper_pidfd(const struct hull_helper *h);

/* /dev/fuse, or -errno. */
int hull_fuse_open(void);
/* What a child mounts or unmounts: `ctx` of hull_mount_run, which ends with 0 or an errno. */
struct hull_mounting {
	const char *path;
	bool umount, force;
	uint32_t mode;
	int device;
	int replayer; /* its pidfd, or -1: it stands in the mount, and has been told to leave */
};
void hull_mount_run(void *ctx, int status_fd);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The share server: one directory (or one file) of the host, served to a guest by the FUSE protocol. The contract.
 *
 * A `struct hull_share` is one mount: its root, its table of inodes the guest knows, its open files, its locks, and
 * what it watches on the host. It is fed whole FUSE requests and answers with whole FUSE replies; it never learns how
 * they travel. Notifications (the host changed something: drop what you cached) go the same way out.
 *
 * Who may do what: the server acts with the credentials of its process and decides nothing by itself, beyond what
 * `readonly` and `guarded` say. All that the process's user owns appears in the guest as guest_uid/guest_gid, all the
 * rest as nobody (65534). See docs/workspace.md for the semantics, limit by limit.
 *
 * No path of the guest's is ever resolved: every operation is a system call on (descriptor of a directory, one name)
 * where the name holds no '/', is not "." or "..", and is never followed when it is a symlink. An inode without an
 * open descriptor is found again by its parent and last known name, and is used only if it is still the same one
 * (device, number, generation); otherwise the guest gets ESTALE and looks the name up again.
 *
 * Threads: hull_share_handle() may be called from any number of threads. hull_share_serve() brings its own: a pool
 * that receives and handles (each thread receives one request, lets the next thread receive, and handles its own), and
 * one that watches the host and notifies. A lock that must wait gets a thread of its own until it is granted or
 * interrupted, so waiting locks never occupy the pool.
 *
 * Hostile guests: every request is checked against its length before it is looked at; ids are checked against tables;
 * tables are bounded. A request that makes no sense is answered with an error and changes nothing. */
#ifndef HULL_SHARE_SHARE_H
#define HULL_SHARE_SHARE_H

#include "base/buf.h"
#include "base/error.h"
#include "share/relay.h"

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { HULL_SHARE_THREADS = 4 };

struct hull_share_change {
	enum hull_share_event event;
	const char *path; /* relative to the root, "" = the root itself; borrowed */
	bool directory;
};

struct hull_share_config {
	int root_fd;   /* directory, or regular file for a share of one file; borrowed, may be O_PATH */
	bool readonly; /* nothing can be changed; a share of one file always is */
	/* Paths below the root that stay read-only, and whose names and ancestors' names cannot be removed or
	 * replaced, in a writable share. Relative, no "." or "..", not through symlinks. One with a '/' behind it
	 * can be changed, and only keeps its names. Borrowed during new. */
	const char *const *guarded;
	size_t guarded_count;
	uint32_t guest_uid, guest_gid; /* what the process's own user and groups appear as */
	bool no_watch;                 /* do not watch the host: everything is revalidated after 100 ms */
	uint32_t fs_magic;             /* for tests: take all file systems for this one (statfs); 0 = ask */
	/* Another share served by this same process covers some of the same files, so that changes made by this
	 * process are news to this guest mount as well. */
	bool overlapping;
	/* Let the guest's kernel hold written data back (measured; off, see docs/internals/workspace.md). */
	bool writeback;
	bool no_floor; /* the guest may fill the host's file system, see keep_free */
	/* Limits; 0 = the default in brackets. */
	uint64_t keep_free;   /* bytes of the host's file system that stay free [5 %, at most 1 GiB] */
	uint32_t max_inodes;  /* inodes the guest may know at once [2 Mi] */
	uint32_t max_handles; /* files and directories it may have open at once [half of RLIMIT_NOFILE] */
	uint32_t max_dirs;    /* descriptors kept for directories, least recently used dropped [a quarter of it] */
	uint32_t max_waits;   /* locks waiting at once [256] */
	uint32_t
		max_notified; /* notifications in one batch, when all inodes are notified over a paced transport [24576] */
	/* A change on the host, from the watching thread. It must not wait for the guest. */
	void (*changed)(void *ctx, const struct hull_share_change *change);
	void (*synced)(void *ctx); /* hull_share_sync() is through; from the watching thread too */
	void *ctx;
};

struct hull_share;

/* How requests come and replies go. The functions are called from many threads. */
struct hull_share_transport {
	/* The next whole request into buf (8-aligned, cap >= HULL_SHARE_REQUEST_MAX): its length; 0 when the guest has
	 * unmounted or gone; -errno when the transport broke. Only hull_share_serve() calls it. */
	ssize_t (*receive)(void *ctx, void *buf, size_t cap);
	/* Send one whole reply or notification, gathered from iov. 0, or -errno; -ENOENT = nobody waits for it. */
	int (*send)(void *ctx, const struct iovec *iov, int count);
	void *ctx;
	/* A bounded queue of notifications is behind it, in a relay that answers HULL_SHARE_MORE. */
	bool paced;
};

/* Call it in the process that serves, after it has its final credentials, with /proc mounted: it opens /proc/self/fd.
 * It sets the process's umask to 0 (the guest's kernel has applied the umask) and raises RLIMIT_NOFILE to its hard
 * limit. */
int hull_share_new(const struct hull_share_config *config, struct hull_share **out, struct hull_error *err);
/* One more `guarded` path, for good; from any thread, also while it serves: what the guest asks for after this has
 * returned is refused, descriptors that it has open included. */
int hull_share_guard(struct hull_share *share, const char *path, struct hull_error *err);
/* What the guest knows, for the next server of the same directory (keep.c): at most HULL_SHARE_NODES_MAX bytes, more is
 * left out. From any thread. 0 or -ENOMEM. */
enum { HULL_SHARE_NODES_MAX = 63 << 20 };
int hull_share_keep(struct hull_share *share, struct hull_buf *out);
/* Before it serves: take that over. The bytes may be damaged or hostile. 0 also when it is of no use here; -EBADMSG
 * when it is damaged: nothing is taken over then. */
int hull_share_adopt(struct hull_share *share, const void *p, size_t n, struct hull_error *err);
/* Nothing may be running in it any more. */
void hull_share_free(struct hull_share *share);

/* Handle one request of n bytes (8-aligned; borrowed) and send the reply by `t`. For transports with threads of their
 * own. `scratch` is HULL_SHARE_REQUEST_MAX bytes, 8-aligned, private to the calling thread. */
void hull_share_handle(struct hull_share *share, const struct hull_share_transport *t, const void *request, size_t n,
		       void *scratch);

/* Serve until the transport ends; 0, or what receive() failed with. Blocks; uses `threads` threads (0 = 4) besides the
 * watching one. `t` also takes the notifications. */
int hull_share_serve(struct hull_share *share, const struct hull_share_transport *t, unsigned threads,
		     struct hull_error *err);
/* The two halves around the receiving, for transports with threads of their own: watch the host and notify by `t`;
 * stop, and interrupt every waiting lock. */
int hull_share_start(struct hull_share *share, const struct hull_share_transport *t, struct hull_error *err);
void hull_share_stop(struct hull_share *share);

/* The guest is to see what has been changed on the host so far: `synced` is called when the events of it were read, the
 * guest's kernel has been notified, and what it was allowed to keep without being notified is old enough. From any
 * thread; asked again before that, it is called once, for both. */
void hull_share_sync(struct hull_share *share);

/* Notifications did not get there: tell the guest of everything again, from the watching thread. */
void hull_share_lost(struct hull_share *share);
/* The guest's process that makes file watchers fire (docs/internals/workspace.md, "Watchers"): another one, or none (0). Which
 * requests are its own the relay says (hull_share_mark). */
void hull_share_set_replayer(struct hull_share *share, uint32_t pid);

/* --- transports --- */
/* An open /dev/fuse (blocking; borrowed). Ends when the file system is unmounted or its connection aborted. */
struct hull_share_transport hull_share_device(int *fd);

/* A byte stream: requests and replies one after the other, each delimited by the length in its own header. */
struct hull_share_stream;
/* in and out may be the same descriptor (blocking; borrowed). NULL when out of memory. */
struct hull_share_stream *hull_share_stream_new(int in, int out);
void hull_share_stream_free(struct hull_share_stream *s);
struct hull_share_transport hull_share_stream_transport(struct hull_share_stream *s);

#endif

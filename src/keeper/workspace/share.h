/* SPDX-License-Identifier: Apache-2.0 */
/* The workspace: one server process (hull-share) for each path of the sandbox; share.c. */
#ifndef HULL_KEEPER_SHARE_H
#define HULL_KEEPER_SHARE_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "jail/jail.h"
#include "loop/loop.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keeper;
struct clone;

enum { MOUNTS_MAX = 32 /* paths of a sandbox */ };

/* What a server is to serve. */
struct share_spec {
	const char *path;
	int fd;    /* what is at the path, O_PATH */
	int nodes; /* share_nodes.c; -1 = none. Borrowed */
	bool readonly;
	/* Below path, relative: read-only all the same; with a '/' behind it, a path that can be changed but keeps its
	 * name, and so do all before it. */
	const char *const *guards;
	size_t guard_count;
};

struct workspace {
	struct list_node mounts;
	size_t mount_count;
	/* share_child_spawn(), or a test's; NULL = nothing is mounted. */
	int (*spawn)(struct keeper *k, const struct share_spec *spec, int *fd, int *control, struct hull_jailed *child,
		     struct hull_error *err);
	struct { /* share_sync.c */
		uv_timer_t timer;
		struct list_node now, next; /* waiting for the round that is under way, and for the next one */
		unsigned asked;             /* servers that have not answered; 0 = there is no round */
	} sync;
	struct {                /* share_nodes.c */
		int fd;         /* what was kept beside the memory that is restored; -1 = nothing */
		unsigned asked; /* servers that have not answered */
		void (*done)(struct keeper *k);
	} nodes;
	struct { /* share_place.c */
		uv_poll_t poll;
		int fd;                  /* inotify; -1 = nothing is watched */
		struct place_look *look; /* a thread looks at the paths; NULL = none does */
		uv_poll_t *done;         /* that it has */
		unsigned generation;     /* counts the paths that were added */
		bool again;              /* something happened meanwhile */
		/* What tests put in place of opening a path; NULL = that. */
		int (*open)(const char *path, struct stat *st, struct hull_error *err);
	} place;
	struct clone *clone; /* while it is being made */
};

/* --- share.c --- */

void shares_init(struct keeper *k);
/* Start the servers of all paths of sandbox.json. */
int shares_start(struct keeper *k, struct hull_error *err);
/* The guest is up: have it mount them, and call guest_ready() then. */
void shares_configured(struct keeper *k);
void shares_close(struct keeper *k);
/* The guest opened a SHARE stream; answered MOUNTED, or UNMOUNTED. */
void share_opened(struct keeper *k, struct loop_link *l, uint32_t stream, const uint8_t *args, size_t len);
void shares_answered(struct keeper *k, bool mounted, struct hull_cur *cur);
/* On a running sandbox. 0 = under way, service_mounted() reports how it went. */
int share_mount(struct keeper *k, const char *path, enum hull_path_mode mode, struct hull_error *err);
int share_unmount(struct keeper *k, const char *path, bool force, struct hull_error *err);
json_t *shares_list(struct keeper *k);

/* --- share_child.c --- */

/* Start one server in its jail; *fd is our end of its socket, *control that of the one which takes paths to guard. */
int share_child_spawn(struct keeper *k, const struct share_spec *spec, int *fd, int *control, struct hull_jailed *child,
		      struct hull_error *err);

/* --- share_sync.c: the host's changes before what enters the sandbox --- */

struct sync_wait {
	struct list_node in_list;
	void (*passed)(struct sync_wait *w); /* NULL = it never waited */
};
/* True: there is nothing to wait for. Else passed() is called, once, when what was changed on the host before this is
 * seen in the guest, or a share does not answer in time; unless it is cancelled (w zeroed before: at any time). */
bool share_sync(struct keeper *k, struct sync_wait *w, void (*passed)(struct sync_wait *w));
void share_sync_cancel(struct sync_wait *w);
void share_sync_answered(struct keeper *k); /* a server has, or is gone */

/* --- share_nodes.c: what the guest knows of the workspace, beside its saved memory --- */

/* The machine stands still: have every server write it down. How many were asked; done() is called when all have
 * answered, unless it was none. After share_nodes_late() nobody is waited for. */
unsigned share_nodes_ask(struct keeper *k, void (*done)(struct keeper *k));
void share_nodes_late(struct keeper *k);
/* What they wrote, for a worker: how many. nodes is to be freed in any case. */
struct share_nodes {
	char *path;
	int fd;
};
size_t share_nodes_collect(struct keeper *k, struct share_nodes **nodes);
void share_nodes_free(struct share_nodes *nodes, size_t n);
/* 1, or 0 when there was nothing to write. From any thread. */
int share_nodes_write(const struct share_nodes *nodes, size_t n, int to, struct hull_error *err);

/* --- share_place.c: what is at the paths on the host --- */

/* See to it that another directory at this path is served. */
void place_watch(struct keeper *k, const char *path);
void place_close(struct keeper *k);

/* --- share_list.c: sandbox.json's list of paths. Requests about a path are answered once it is changed (remember,
 * forget) --- */

/* What is read-only in one that is HULL_PATH_GIT, as share_spec has it; ends with NULL. */
const char *const *share_git_guards(void);
bool share_known(struct keeper *k, const char *path);
void share_remember(struct keeper *k, const char *path, enum hull_path_mode mode);
void share_forget(struct keeper *k, const char *path);

/* --- clone.c: the private clone of a sandbox made with --clone --- */

/* The mounts are there: make the clone, if there is to be one and there is none yet, and call guest_ready() then. */
void clone_begin(struct keeper *k);
void clone_close(struct keeper *k);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the workspace (share*.c) know of each other. Nobody else includes this. */
#ifndef HULL_KEEPER_SHARE_INTERNAL_H
#define HULL_KEEPER_SHARE_INTERNAL_H

#include "keeper/keeper.h"
#include "keeper/workspace/share.h"

#include <sys/stat.h>

/* Where a path of the sandbox is on its way into the guest. */
enum state {
	NEW,      /* its server runs; the guest is to be asked to mount it */
	GUARDING, /* before that: servers of writable paths around it have to learn of it, see mount_guard() */
	ASKED,    /* the guest was sent MOUNT */
	MOUNTED,
	LEAVING, /* the guest was sent UNMOUNT */
	GONE,    /* somebody in the guest unmounted it */
};

struct mount;
struct server {
	struct keeper *k;
	struct mount *mount; /* NULL once it is no longer its server */
	struct loop_child process;
	bool freed;                           /* the loop has let go of that */
	struct loop_socket *socket, *control; /* both NULL when closed */
	struct mount *guarding;               /* what it was sent to guard and has not answered yet; NULL = nothing */
	unsigned unclaimed;                   /* answers to come that nobody waits for any more */
	bool syncing, late;                   /* asked for a sync (share_sync.c), which nobody waits for any more */
	int nodes;                            /* share_nodes.c: shared with it; -1 = none. Closed with the sockets */
	bool keeping, keep_late;              /* asked what the guest knows, which nobody waits for any more */
	bool kept;                            /* and it is in `nodes` */
	bool attached;                        /* a stream was opened: there is no second */
	bool ending;                          /* the stream is reset by us */
	struct loop_stream stream;
	struct hull_buf out; /* from the stream, not taken by the socket yet */
};

struct mount {
	struct keeper *k;
	struct list_node in_list;
	char *path;
	int fd; /* O_PATH */
	bool readonly;
	enum hull_path_mode as; /* in sandbox.json */
	mode_t mode;
	enum state state;
	struct server *server;
	bool away;       /* what is served is not at the path any more */
	bool guard_sent; /* GUARDING: to the servers */
	unsigned waits;  /* GUARDING: for the answers of that many */
	struct loop_restarts restarts;
};

/* --- share_server.c --- */

/* Start a server of m, which becomes m->server. */
int server_start(struct mount *m, const char *const *guards, size_t guard_count, struct hull_error *err);
/* Nobody has opened its stream, and it can be opened. */
bool server_available(const struct server *sv);
/* The guest has opened it. replayer: the process in the guest that replays inotify events (docs/internals/workspace.md). */
void server_attach(struct server *sv, struct loop_link *l, uint32_t stream, uint32_t replayer);
/* Have it guard m by this path; mount_guarded() follows. False when it cannot be asked: it is disconnected then, and
 * its successor will know. */
bool server_guard(struct server *sv, struct mount *m, const char *path);
/* Close its sockets and its stream; the process ends by itself then. */
void server_disconnect(struct server *sv);
void server_kill(struct server *sv);
/* m does not want it any more. */
void server_drop(struct server *sv);

/* --- share.c: what servers report --- */

void mount_server_ended(struct mount *m);
/* One server around m has answered; code: 0, or an errno. */
void mount_guarded(struct mount *m, uint32_t code);
/* Nothing in the guest has it mounted any more. */
void mount_unmounted(struct mount *m);

/* What is at a path, O_PATH, without following a symlink anywhere on the way. */
int share_open_path(const char *path, struct stat *st, struct hull_error *err);

/* share_nodes.c. For a new server of m, with what was kept for it; -1 = it does without. */
int share_nodes_new(const struct mount *m);
void share_nodes_answered(struct server *sv, bool kept);

#endif

/* What the parts of the workspace (share.c, share_sync.c, share_place.c) know of each other. Nobody else includes this.
 */
#ifndef HULL_KEEPER_SHARE_INTERNAL_H
#define HULL_KEEPER_SHARE_INTERNAL_H

#include "keeper/keeper.h"

#include <sys/stat.h>

enum state { NEW, GUARDING, ASKED, MOUNTED, LEAVING, GONE };

struct mount;
struct server {
	struct keeper *k;
	struct mount *mount; /* NULL once it is no longer its server */
	uv_poll_t socket, control_socket, exit;
	unsigned handles; /* of the loop that hold on to this */
	int fd;           /* -1 = closed, and so is control */
	int control;
	struct mount *guarding;  /* what it was told to guard and has not answered yet; NULL = nothing */
	unsigned unclaimed;      /* answers to come that nobody waits for any more */
	bool syncing, late;      /* asked for a sync (share_sync.c), which nobody waits for any more */
	int nodes;               /* share_nodes.c: shared with it; -1 = none. Closed with fd */
	bool keeping, keep_late; /* asked what the guest knows, which nobody waits for any more */
	bool kept;               /* and it is in `nodes` */
	int watching;
	struct hull_jailed child;
	bool exited;
	bool taken; /* a stream was opened: there is no second */
	bool over;  /* the stream is to end, by us */
	struct loop_stream stream;
	struct hull_buf out;
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
	bool away;      /* what is served is not at the path any more */
	bool told;      /* GUARDING: the servers */
	unsigned waits; /* for the answers of that many */
	unsigned restarts;
	uint64_t restarted_ms;
};

/* What is at a path, O_PATH, without following a symlink anywhere on the way. */
int share_open_path(const char *path, struct stat *st, struct hull_error *err);

/* share_nodes.c. For a new server of m, with what was kept for it; -1 = it does without. */
int share_nodes_new(const struct mount *m);
void share_nodes_answered(struct server *sv, bool kept);

#endif

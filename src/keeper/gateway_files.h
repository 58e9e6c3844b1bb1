/* The host's resolver configuration as hull-egress has it; gateway_files.c. */
#ifndef HULL_KEEPER_GATEWAY_FILES_H
#define HULL_KEEPER_GATEWAY_FILES_H

#include "base/error.h"
#include "keeper/path_watch.h"

enum { HOST_FILES = 2, HOST_FILE_MAX = 4 << 20 };

/* Their names in the sandbox's runtime directory, and where they are on the host and in the jail. */
extern const char *const host_file_names[HOST_FILES], *const host_file_paths[HOST_FILES];

struct host_files {
	struct path_watch watch;
	const char *sources[HOST_FILES]; /* borrowed */
	int dir;                         /* of the copies; borrowed */
	void *ctx;
	void (*changed)(void *ctx);
};

/* Copy the files into the directory, and copy them again whenever they change; changed(ctx) is called then. What cannot
 * be read is said in the log, and the last copy stays. sources: NULL = the host's. */
void host_files_open(struct host_files *h, uv_loop_t *loop, const char *const *sources, int dir, void *ctx,
		     void (*changed)(void *ctx));
void host_files_close(struct host_files *h);

#endif

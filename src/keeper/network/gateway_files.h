/* SPDX-License-Identifier: Apache-2.0 */
/* The host's resolver configuration as hull-egress has it; gateway_files.c. */
#ifndef HULL_KEEPER_GATEWAY_FILES_H
#define HULL_KEEPER_GATEWAY_FILES_H

#include "base/error.h"
#include "keeper/path_watch.h"

struct keeper;

enum { HOST_FILES = 2, HOST_FILE_MAX = 4 << 20 };

/* Their names in the sandbox's runtime directory, and where they are on the host and in the jail. */
extern const char *const host_file_names[HOST_FILES], *const host_file_paths[HOST_FILES];

struct host_files {
	struct path_watch watch;
	const char *sources[HOST_FILES]; /* borrowed */
	const struct keeper *k;          /* the copies lie in its runtime directory, wherever that is now */
	int held[HOST_FILES];            /* the copies that the child has; -1 = none */
	void *ctx;
	void (*changed)(void *ctx);
};

/* Copy the files into the runtime directory whenever they change; changed(ctx) is called then. What cannot be read is
 * said in the log, and the last copy stays. sources: NULL = the host's. */
void host_files_open(struct host_files *h, struct keeper *k, const char *const *sources, void *ctx,
		     void (*changed)(void *ctx));
/* A child is about to be started: make the copies that it gets. They are kept up to date for as long as it lives, also
 * when others have taken their place. */
void host_files_hold(struct host_files *h);
/* The runtime directory is another one, or things were taken out of it: make the copies that are missing. */
void host_files_again(struct host_files *h);
void host_files_close(struct host_files *h);

#endif

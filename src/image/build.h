/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of one image build share. Not for others: image.h is the contract.
 *
 *   build.c      the order of things, the temporary directory, reuse, publishing
 *   bootstrap.c  mmdebstrap: the tree, packed as base.erofs, and the small Debian for Docker; progress and errors
 *   kernel.c     vmlinux and modules.cpio out of the kernel's package
 *   seed.c       the sandbox's disk to start from
 */
#ifndef HULL_IMAGE_BUILD_H
#define HULL_IMAGE_BUILD_H

#include "base/spawn.h"
#include "image/image.h"
#include "image/recipe.h"
#include "image/sources.h"

#define HULL_SUITE "trixie"

enum { HULL_LAST_LINES = 4, HULL_LINE_SHOWN = 200 };

struct hull_builder {
	const struct hull_paths *paths;
	const struct hull_image_build *ask;
	struct hull_recipe recipe;
	struct hull_mirrors mirrors;
	const char *keyring;
	char *images;  /* $HULL_HOME/images */
	char *tmp;     /* images/.tmp-XXXXXX */
	int tmp_fd;    /* on it, holding its lock */
	int log_fd;    /* tmp/build.log */
	int cancel_fd; /* signalfd */
	char *kernel_release;
	char *stage; /* as last reported */
};

/* Report: `stage` NULL goes on with the one before. */
void hull_build_progress(struct hull_builder *b, const char *stage, int percent, const char *detail);
/* -ECANCELED when a signal has come. */
int hull_build_interrupted(struct hull_builder *b, struct hull_error *err);
/* The path of a tool, /usr/sbin and /sbin included; NULL when it is not installed. Owned. */
char *hull_build_tool(const char *name);
/* Run a tool that should exit with 0 or 1..`most`; else the error carries its last words. `line` may be NULL. */
int hull_build_run(struct hull_builder *b, const char *const *argv, const struct hull_spawn_fd *fds, size_t fd_count,
		   int most, struct hull_error *err);
/* "tmp/name"; owned. */
char *hull_build_path(const struct hull_builder *b, const char *name);

/* All the tools, the keyring, the ids, the space a build needs: before anything is downloaded. */
int hull_bootstrap_check(struct hull_builder *b, struct hull_error *err);
/* base.erofs, kernel.deb and modules.dep in tmp. */
int hull_bootstrap_base(struct hull_builder *b, struct hull_error *err);
/* A minimal Debian as a tar file. */
int hull_bootstrap_rootfs(struct hull_builder *b, const char *tar, struct hull_error *err);

/* vmlinux and modules.cpio in tmp, from kernel.deb and modules.dep, which go. */
int hull_build_kernel(struct hull_builder *b, struct hull_error *err);

/* An empty seed.img in tmp. */
int hull_seed_make(struct hull_builder *b, const char *path, struct hull_error *err);
/* After it was used: check it, give back what its file system does not use. */
int hull_seed_finish(struct hull_builder *b, const char *path, struct hull_error *err);
/* Turn zero blocks of a file into holes. */
int hull_punch_zeros(int fd, struct hull_error *err);

#endif

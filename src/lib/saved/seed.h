/* SPDX-License-Identifier: Apache-2.0 */
/* Fills the disk that sandboxes start from, during an image build. See seed.c. */
#ifndef HULL_LIB_SAVED_SEED_H
#define HULL_LIB_SAVED_SEED_H

#include "image/image.h"
#include "lib/handle.h"

/* The `seed` of struct hull_image_build; ctx is a struct hull. */
int seed_disk(void *ctx, const struct hull_image *unfinished, const char *seed_img, const char *rootfs_tar,
	      struct hull_error *err);

/* The environment of a keeper that lives in p, whose runtime directory is runtime_parent/hull; free with
 * hull_strv_free(). */
char **seed_keeper_env(const struct hull_paths *p, const char *runtime_parent);

#endif

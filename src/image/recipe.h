/* SPDX-License-Identifier: Apache-2.0 */
/* A recipe: the packages of an image, and the scripts that finish it. */
#ifndef HULL_IMAGE_RECIPE_H
#define HULL_IMAGE_RECIPE_H

#include "base/error.h"

struct hull_recipe {
	char *path;
	char *name;      /* file name, for image.json */
	char **packages; /* NULL-terminated, in the file's order, each once */
	char *node;      /* shell scripts: their text */
	char *customize;
	char *kernel;
	char *pack;
};
void hull_recipe_free(struct hull_recipe *r); /* members */

/* Names out of a package list: # starts a comment, words are names, a name may have a version ("=1.2-3"). -EINVAL
 * with the line of a word that is no package name, or when there is none. */
int hull_recipe_parse(const char *text, const char *path, char ***packages, struct hull_error *err);
/* Read `path` (NULL = images/debian-trixie.packages beside the program) and the scripts: customize.sh beside the
 * recipe, else the program's; node.sh, kernel.sh and pack.sh always the program's. */
int hull_recipe_load(const char *path, struct hull_recipe *out, struct hull_error *err);

#endif

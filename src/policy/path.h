/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of HTTP requests, as rules see them. The contract.
 *
 * Servers read one path in several ways: some resolve dot segments and join slashes, some do not; some cut parameters
 * (/a;x=y/b) and trailing dots and blanks, ignore case, or take a full-width letter for the ASCII one. A rule that
 * denies holds for every one of these readings. A rule that allows holds only if all of them are allowed, and the path
 * is clear: it has nothing in it that could lead elsewhere. */
#ifndef HULL_POLICY_PATH_H
#define HULL_POLICY_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum { HULL_PATH_MAX = 8192, HULL_PATH_READINGS = 4 };

struct hull_path {
	bool plain; /* `reading` is filled: nothing is hidden in it */
	bool clear; /* no segment is empty, or one of dots; trailing slash aside */
	/* As it was sent; normal; without parameters; as who reads most loosely. */
	char reading[HULL_PATH_READINGS][HULL_PATH_MAX];
};

void hull_path_read(const char *path, struct hull_path *out);
/* Is it surely one that the globs name? For a rule that allows. */
bool hull_path_must_match(const struct hull_path *p, char *const *globs);
/* May it be one? In any case, and DIR itself for DIR/ and everything below. For a rule that denies. */
bool hull_path_may_match(const struct hull_path *p, char *const *globs);

/* A path as most servers see it: %XX decoded, dot segments resolved, slashes joined. False when it is not a path or
 * hides something (an encoded slash, backslash, percent sign or control byte, what is no UTF-8, a character that is
 * folded into a slash, backslash or percent sign). */
bool hull_path_normal(const char *path, size_t n, char *out, size_t cap);
/* `*` within a segment, `**` anything. */
bool hull_glob(const char *glob, const char *s);

#endif

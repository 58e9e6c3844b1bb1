/* SPDX-License-Identifier: Apache-2.0 */
/* Finds this program's directory and Hull's other files relative to it. build/ has everything in one directory; an
 * installation has `hull` in bin/ and the rest in libexec/hull/. */
#ifndef HULL_BASE_BESIDE_H
#define HULL_BASE_BESIDE_H

#include "base/error.h"

/* The path of the running program, owned by the caller; NULL after filling err. */
char *hull_self(struct hull_error *err);
/* The path of Hull's file `name`, owned by the caller. Searched in order:
 *
 * 1. For a program that uses libhull: the library's directory, its ../libexec/hull and its ../../libexec/hull.
 * 2. The directory of the running program, and its ../libexec/hull.
 * 3. The directory that Hull was configured to be installed to.
 *
 * The file must be accessible with `mode` (R_OK, X_OK); otherwise NULL with err filled. */
char *hull_beside(const char *name, int mode, struct hull_error *err);

#endif

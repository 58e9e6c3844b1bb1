/* SPDX-License-Identifier: Apache-2.0 */
/* Where this program lies, and what of Hull's lies beside it: build/ has everything in one folder, an installation has
 * `hull` in bin/ and the rest in libexec/hull/. */
#ifndef HULL_BASE_BESIDE_H
#define HULL_BASE_BESIDE_H

#include "base/error.h"

/* The path of the running program, owned by the caller; NULL after filling err. */
char *hull_self(struct hull_error *err);
/* The path of the file `name` of Hull's, owned by the caller: beside the running program, or in ../libexec/hull; of a
 * program that has libhull, beside that or in its ../libexec/hull or ../../libexec/hull first. Last where Hull was
 * configured to be installed. It has to be accessible as `mode` says (R_OK, X_OK); NULL after filling err when none is. */
char *hull_beside(const char *name, int mode, struct hull_error *err);

#endif

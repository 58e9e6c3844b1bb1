/* SPDX-License-Identifier: Apache-2.0 */
/* Hull's lines in a system-wide git configuration: see gitconfig.c. */
#ifndef HULL_GUEST_GITCONFIG_H
#define HULL_GUEST_GITCONFIG_H

#include "base/buf.h"

/* The file `had` (n bytes, perhaps none) with the lines for this name and email (either may be NULL) in place of those
 * there are. -EINVAL when one has a control character. */
int hull_gitconfig(const void *had, size_t n, const char *name, const char *email, struct hull_buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Where Debian's packages come from: the mirror this machine itself uses. */
#ifndef HULL_IMAGE_SOURCES_H
#define HULL_IMAGE_SOURCES_H

#include "base/error.h"

struct hull_mirrors {
	char *archive;  /* "http://.../debian", no trailing slash */
	char *security; /* the security archive, NULL when none is known */
	char *from;     /* where that was read, for messages: a path, "HULL_MIRROR", "--mirror" */
};
void hull_mirrors_free(struct hull_mirrors *m); /* members */

/* What one file of apt's says; `deb822` for the .sources format, else one-line .list. Adds what `m` lacks. `name` is
 * the file's. Entries of other archives (Docker's, PostgreSQL's, ...) are passed over. -ENOMEM only. */
int hull_sources_parse(const char *text, int deb822, const char *name, struct hull_mirrors *m);
/* `asked` (may be NULL), else HULL_MIRROR (and HULL_MIRROR_SECURITY), else the apt sources under etc_apt ("/etc/apt").
 * -ENOENT when that gives none: the message says how to set one. -EINVAL for an address that is none. */
int hull_sources_find(const char *asked, const char *etc_apt, struct hull_mirrors *out, struct hull_error *err);

#endif

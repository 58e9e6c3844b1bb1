/* SPDX-License-Identifier: Apache-2.0 */
/* Finds what the network policy refused while a command ran, to be reported when the command failed. */
#ifndef HULL_LIB_COMMAND_REFUSED_H
#define HULL_LIB_COMMAND_REFUSED_H

#include "base/buf.h"
#include "store/store.h"

#include <sys/types.h>

/* The end of a sandbox's egress.log. */
struct refused_mark {
	ino_t file; /* 0 = there was none */
	off_t end;
};
struct refused_mark refused_mark(const struct hull_paths *paths, const char *name);
/* The hosts refused since then, in the format of refused_hosts(). */
void refused_since(const struct hull_paths *paths, const char *name, const struct refused_mark *since,
		   struct hull_buf *hosts);
/* The hosts in the `deny` lines of a log's text, as "a:443, b:80"; for refused_since() and tests. */
void refused_hosts(const char *text, size_t n, struct hull_buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the network policy refused while a command ran, told to whoever ran it when the command failed. */
#ifndef HULL_LIB_COMMAND_REFUSED_H
#define HULL_LIB_COMMAND_REFUSED_H

#include "base/buf.h"
#include "store/store.h"

#include <sys/types.h>

/* Where a sandbox's egress.log ended. */
struct refused_mark {
	ino_t file; /* 0 = there was none */
	off_t end;
};
struct refused_mark refused_mark(const struct hull_paths *paths, const char *name);
/* The hosts that were refused since then, as refused_hosts() has them. */
void refused_since(const struct hull_paths *paths, const char *name, const struct refused_mark *since,
		   struct hull_buf *hosts);
/* The hosts, as "a:443, b:80", of the lines that deny in a log's text; for refused_since() and tests. */
void refused_hosts(const char *text, size_t n, struct hull_buf *out);

#endif

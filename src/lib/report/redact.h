/* SPDX-License-Identifier: Apache-2.0 */
/* Removes the user's private data from a text. */
#ifndef HULL_LIB_REPORT_REDACT_H
#define HULL_LIB_REPORT_REDACT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum hull_redact_kind {
	HULL_REDACT_NAME,   /* only as a whole word */
	HULL_REDACT_SECRET, /* wherever it stands */
	HULL_REDACT_PATH,   /* anywhere, including the rest of the path that follows */
};

struct hull_redact_word {
	char *text;
	char *shown; /* what stands in its place */
	enum hull_redact_kind kind;
};

struct hull_redact {
	struct hull_redact_word *words;
	size_t count;
};

/* From now on `text` is replaced by `shown` ("<sandbox 1>"). Words shorter than three bytes are ignored: they occur in
 * ordinary text. 0 or -ENOMEM. */
int hull_redact_word(struct hull_redact *r, const char *text, const char *shown, enum hull_redact_kind kind);
void hull_redact_free(struct hull_redact *r);

/* Append n bytes of text to `out`, redacted:
 *  1. words, longest first;
 *  2. absolute paths that are not of the system (/usr, /lib, /etc, /proc, /sys, /dev, /run/hull): shown as <path>, up to
 *     what ends a path in a message (": ", ", ", ";", quotes, the end of the line), since names may have spaces: rather
 *     too much is taken than too little;
 *  3. e-mail addresses: shown as <mail>;
 *  4. bytes that are not printable: as '?'.
 * 0 or -ENOMEM. */
int hull_redact_text(const struct hull_redact *r, const char *p, size_t n, struct hull_buf *out);

#endif

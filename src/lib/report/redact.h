/* SPDX-License-Identifier: Apache-2.0 */
/* Taking out of a text what belongs to the person and not into a bug report. */
#ifndef HULL_LIB_REPORT_REDACT_H
#define HULL_LIB_REPORT_REDACT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum hull_redact_kind {
	HULL_REDACT_NAME,   /* where it stands alone, and not as a part of a longer word */
	HULL_REDACT_SECRET, /* wherever it stands */
	HULL_REDACT_PATH,   /* wherever it stands, and with it what follows up to the end of the path */
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

/* `text` is shown as `shown` ("<sandbox 1>") from now on. Words shorter than three bytes are not taken: they are in
 * everything. 0 or -ENOMEM. */
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

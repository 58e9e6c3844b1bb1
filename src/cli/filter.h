/* SPDX-License-Identifier: Apache-2.0 */
/* Filters guest text for a terminal: printable text and colours pass. Everything that could control the terminal is
 * removed: cursor movement, overwriting, queries, titles, clipboard, character sets. */
#ifndef HULL_CLI_FILTER_H
#define HULL_CLI_FILTER_H

#include "base/buf.h"

#include <stdbool.h>

struct filter {
	int state;
	unsigned need;    /* missing bytes of a UTF-8 character */
	uint8_t held[64]; /* an incomplete escape sequence or character */
	size_t held_len;
	bool returned; /* \r was read: dropped if the line ends now, otherwise shown */
	bool coloured; /* a colour passed and was not reset */
};
/* Append the permitted part of n bytes to out. State is kept between calls: sequences may be split anywhere. */
int filter_feed(struct filter *f, const void *p, size_t n, struct hull_buf *out);
/* At the end: drop incomplete sequences, reset colours. */
int filter_end(struct filter *f, struct hull_buf *out);

#endif

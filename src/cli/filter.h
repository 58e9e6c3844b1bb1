/* SPDX-License-Identifier: Apache-2.0 */
/* Text that a guest made, on its way to a terminal: letters and colours pass, everything that could steer the terminal
 * (moving, also back over what is there, asking it for answers, titles, clipboard, other character sets) does not. */
#ifndef HULL_CLI_FILTER_H
#define HULL_CLI_FILTER_H

#include "base/buf.h"

#include <stdbool.h>

struct filter {
	int state;
	unsigned need;    /* bytes still to come of a UTF-8 character */
	uint8_t held[64]; /* an escape sequence, or a character, not complete yet */
	size_t held_len;
	bool returned; /* \r was read: nothing when the line ends now, else it is shown */
	bool coloured; /* a colour was passed and not reset since */
};
/* Append what passes of n bytes to out. State is kept between calls: sequences may be cut anywhere. */
int filter_feed(struct filter *f, const void *p, size_t n, struct hull_buf *out);
/* The end: what is incomplete is dropped, colours are reset. */
int filter_end(struct filter *f, struct hull_buf *out);

#endif

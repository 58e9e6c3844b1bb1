/* SPDX-License-Identifier: Apache-2.0 */
/* The filter between a guest's text and a terminal; see filter.h. A state machine over bytes:
 *
 *   TEXT    printable ASCII, \n, \r\n, \t pass; \b and any other \r, which would write over the line, are shown as ^H
 *           and ^M; ESC starts a sequence; a UTF-8 lead byte starts a character
 *   CHAR    bytes of a character; complete and fine, it passes; C1 controls (U+0080..9F) and broken ones become "?"
 *   ESCAPE  after ESC: "[" starts CSI; "]" P X ^ _ start a STRING; another byte ends it, dropped
 *   CSI     parameters are collected; the final byte "m" with digits, ";" and ":" only passes as a whole
 *   STRING  dropped up to BEL, ESC \ or a line end (a log line must not swallow all that follow) */
#include "cli/filter.h"

#include <string.h>

enum { TEXT, CHAR, ESCAPE, CSI, CSI_SKIP, STRING, STRING_ESCAPE };

static int character(struct filter *f, struct hull_buf *out)
{
	const uint8_t *c = f->held;
	uint32_t cp = f->held_len == 2 ? (c[0] & 0x1fU) : f->held_len == 3 ? (c[0] & 0x0fU) : (c[0] & 0x07U);
	for (size_t i = 1; i < f->held_len; i++)
		cp = cp << 6 | (c[i] & 0x3fU);
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	bool bad = cp < least[f->held_len] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000) || cp < 0xa0;
	/* characters that change the direction of the following text */
	bad = bad || (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
	return bad ? hull_buf_add(out, "?", 1) : hull_buf_add(out, c, f->held_len);
}

static int text(struct filter *f, uint8_t b, struct hull_buf *out)
{
	f->held_len = 0;
	f->state = TEXT;
	if (b == 0x1b) {
		f->state = ESCAPE;
		return 0;
	}
	if (b >= 0xc2 && b <= 0xf4) {
		f->state = CHAR;
		f->need = b < 0xe0 ? 1 : b < 0xf0 ? 2 : 3;
		f->held[f->held_len++] = b;
		return 0;
	}
	if (b >= 0x80)
		return hull_buf_add(out, "?", 1);
	if ((b >= 0x20 && b != 0x7f) || b == '\n' || b == '\t')
		return hull_buf_add(out, &b, 1);
	return b == '\b' ? hull_buf_add(out, "^H", 2) : 0;
}

static int colour(struct filter *f, struct hull_buf *out)
{
	int r = hull_buf_add(out, "\033[", 2);
	if (r >= 0)
		r = hull_buf_add(out, f->held, f->held_len);
	if (r >= 0)
		r = hull_buf_add(out, "m", 1);
	f->coloured = f->held_len && !(f->held_len == 1 && f->held[0] == '0');
	return r;
}

static int byte(struct filter *f, uint8_t b, struct hull_buf *out)
{
	switch (f->state) {
	case CHAR:
		if ((b & 0xc0) != 0x80) {
			int r = hull_buf_add(out, "?", 1);
			return r < 0 ? r : text(f, b, out);
		}
		f->held[f->held_len++] = b;
		if (--f->need)
			return 0;
		f->state = TEXT;
		return character(f, out);
	case ESCAPE:
		f->held_len = 0;
		f->state = b == '[' ? CSI : b && strchr("]PX^_", b) ? STRING : b >= 0x20 && b <= 0x2f ? ESCAPE : TEXT;
		return b == 0x1b || b == '\n' ? text(f, b, out) : 0;
	case CSI:
	case CSI_SKIP:
		if (b == 0x1b || b == '\n')
			return text(f, b, out);
		if (b >= 0x40 && b <= 0x7e) {
			bool pass = f->state == CSI && b == 'm';
			f->state = TEXT;
			return pass ? colour(f, out) : 0;
		}
		if (((b >= '0' && b <= '9') || b == ';' || b == ':') && f->held_len < sizeof f->held)
			f->held[f->held_len++] = b;
		else
			f->state = CSI_SKIP;
		return 0;
	case STRING_ESCAPE:
		if (b != '\\' && b != '\n') {
			f->state = STRING;
			return 0;
		}
		f->state = TEXT;
		return b == '\n' ? text(f, b, out) : 0;
	case STRING:
		if (b == '\n')
			return text(f, b, out);
		f->state = b == 0x1b ? STRING_ESCAPE : b == 7 ? TEXT : STRING;
		return 0;
	default:
		return text(f, b, out);
	}
}

int filter_feed(struct filter *f, const void *p, size_t n, struct hull_buf *out)
{
	const uint8_t *bytes = p;
	int r = 0;
	for (size_t i = 0; i < n && r >= 0; i++) {
		if (bytes[i] == '\r' && (f->state == TEXT || f->state == CHAR)) {
			if (f->state == CHAR)
				r = hull_buf_add(out, "?", 1);
			f->state = TEXT;
			f->returned = true;
			continue;
		}
		if (f->returned)
			r = hull_buf_addstr(out, bytes[i] == '\n' ? "\r" : "^M");
		f->returned = false;
		if (r >= 0)
			r = byte(f, bytes[i], out);
	}
	return r;
}

int filter_end(struct filter *f, struct hull_buf *out)
{
	bool coloured = f->coloured;
	*f = (struct filter){0};
	return coloured ? hull_buf_addstr(out, "\033[0m") : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Text from strangers: decoded, checked, and escaped for where it goes. */
#include "guestbook.h"

#include <stdio.h>
#include <string.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool url_decode(char *s)
{
	char *to = s;
	for (; *s; s++) {
		if (*s == '+') {
			*to++ = ' ';
		} else if (*s == '%') {
			int hi = hex(s[1]), lo = hi < 0 ? -1 : hex(s[2]);
			if (lo < 0 || !(hi | lo))
				return false;
			*to++ = (char)(hi << 4 | lo);
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = 0;
	return true;
}

static int put(char *out, size_t cap, size_t *n, const char *s)
{
	size_t len = strlen(s);
	if (cap - *n <= len)
		return -1;
	memcpy(out + *n, s, len + 1);
	*n += len;
	return 0;
}

int html_escape(const char *s, char *out, size_t cap)
{
	size_t n = 0;
	if (!cap)
		return -1;
	out[0] = 0;
	for (; *s; s++) {
		const char one[2] = {*s, 0};
		const char *as = *s == '&'    ? "&amp;"
				 : *s == '<'  ? "&lt;"
				 : *s == '>'  ? "&gt;"
				 : *s == '"'  ? "&quot;"
				 : *s == '\'' ? "&#39;"
					      : one;
		if (put(out, cap, &n, as) < 0)
			return -1;
	}
	return (int)n;
}

int json_string(const char *s, char *out, size_t cap)
{
	size_t n = 0;
	if (!cap || put(out, cap, &n, "\"") < 0)
		return -1;
	for (; *s; s++) {
		char as[8] = {*s, 0};
		if (*s == '"' || *s == '\\')
			snprintf(as, sizeof as, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			snprintf(as, sizeof as, "\\u%04x", (unsigned)*s);
		if (put(out, cap, &n, as) < 0)
			return -1;
	}
	return put(out, cap, &n, "\"") < 0 ? -1 : (int)n;
}

bool text_ok(const char *s)
{
	size_t n = strlen(s);
	if (!n || n > TEXT_MAX)
		return false;
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

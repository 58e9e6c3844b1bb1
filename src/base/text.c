/* SPDX-License-Identifier: Apache-2.0 */
/* See text.h. Parsers take whole strings only: a stray space or sign is an error, never a guess. */
#include "base/text.h"

#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLOSEST_MAX = 64 }; /* longer words have no close match */

char *hull_fmt(const char *fmt, ...)
{
	char *out = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&out, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : out;
}

bool hull_streq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool hull_starts(const char *s, const char *prefix)
{
	return s && prefix && strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Parses the decimal digits at *s and advances *s: -EINVAL when there are none, -ERANGE above `max`. */
static int take_digits(const char **s, uint64_t max, uint64_t *out)
{
	if (!is_digit(**s))
		return -EINVAL;
	uint64_t v = 0;
	bool over = false;
	for (; is_digit(**s); (*s)++)
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(**s - '0'), &v))
			over = true;
	if (over || v > max)
		return -ERANGE;
	*out = v;
	return 0;
}

int hull_parse_u64(const char *s, uint64_t max, uint64_t *out)
{
	uint64_t v;
	if (!s)
		return -EINVAL;
	int r = take_digits(&s, max, &v);
	if (*s)
		return -EINVAL;
	if (r == 0)
		*out = v;
	return r;
}

/* The multiplier of a size suffix; 0 when it is not one. */
static uint64_t size_unit(const char *s)
{
	static const char letters[] = "kmgt";
	if (*s == '\0' || (lower(*s) == 'b' && s[1] == '\0'))
		return 1;
	const char *letter = memchr(letters, lower(*s), sizeof(letters) - 1);
	if (!letter)
		return 0;
	s++;
	if (lower(*s) == 'i' && lower(s[1]) == 'b')
		s++;
	if (lower(*s) == 'b')
		s++;
	return *s ? 0 : (uint64_t)1 << (10 * (letter - letters + 1));
}

static int bad_size(struct hull_error *err, const char *s)
{
	return hull_fail(err, -EINVAL,
			 "size \"%s\" is not understood; write a number and b, k, m, g or t, as in 512m or 1.5g",
			 s ? s : "");
}

int hull_parse_size(const char *s, uint64_t *bytes, struct hull_error *err)
{
	const uint64_t limit = (uint64_t)1 << 62;
	const char *p = s;
	uint64_t whole = 0;
	uint64_t fraction = 0; /* of scale */
	uint64_t scale = 1;
	int r = s ? take_digits(&p, limit, &whole) : -EINVAL;
	if (r == -EINVAL)
		return bad_size(err, s);
	bool has_fraction = *p == '.';
	if (has_fraction && !is_digit(*++p))
		return bad_size(err, s);
	for (; has_fraction && is_digit(*p); p++)
		if (scale < 1000 * 1000) { /* further digits are below a MiB of a TiB: ignored */
			fraction = fraction * 10 + (uint64_t)(*p - '0');
			scale *= 10;
		}
	uint64_t unit = size_unit(p);
	if (unit == 0 || (has_fraction && unit == 1))
		return bad_size(err, s);
	uint64_t total;
	if (r < 0 || __builtin_mul_overflow(whole, unit, &total) ||
	    __builtin_add_overflow(total, fraction * unit / scale, &total) || total > limit)
		return hull_fail(err, -ERANGE, "size \"%s\" is too large", s);
	*bytes = total;
	return 0;
}

int hull_parse_duration(const char *s, uint64_t *seconds, struct hull_error *err)
{
	static const struct {
		char letter;
		uint64_t seconds;
	} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
	uint64_t total = 0;
	if (s && hull_parse_u64(s, UINT64_MAX, &total) == 0) {
		*seconds = total;
		return 0;
	}
	const char *p = s;
	size_t next = 0; /* units in descending order, each at most once */
	bool good = false;
	while (p && *p) {
		uint64_t v;
		int r = take_digits(&p, UINT64_MAX, &v);
		while (r != -EINVAL && next < 4 && units[next].letter != lower(*p))
			next++;
		good = r != -EINVAL && next < 4;
		if (!good)
			break;
		if (r < 0 || __builtin_mul_overflow(v, units[next].seconds, &v) ||
		    __builtin_add_overflow(total, v, &total))
			return hull_fail(err, -ERANGE, "duration \"%s\" is too large", s);
		next++;
		p++;
	}
	if (!good)
		return hull_fail(err, -EINVAL,
				 "duration \"%s\" is not understood; write it as in 90s, 15m, 2h, 3d or 1h30m",
				 s ? s : "");
	*seconds = total;
	return 0;
}

char *hull_format_size(uint64_t bytes, char *out, size_t cap)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned u = 0;
	uint64_t tenths = 0;
	if (bytes < 1024) {
		snprintf(out, cap, "%u B", (unsigned)bytes);
		return out;
	}
	do { /* rounding may turn 1023.96 KiB into 1 MiB */
		u++;
		uint64_t unit = (uint64_t)1 << (10 * u);
		uint64_t rest = bytes % unit; /* in 1024ths of the unit from here: no overflow */
		tenths = bytes / unit * 10 + ((rest >> (10 * u - 10)) * 10 + 512) / 1024;
	} while (tenths >= 10240 && u < 6);
	if (tenths % 10 == 0 || tenths >= 1000)
		snprintf(out, cap, "%u %s", (unsigned)((tenths % 10 ? tenths + 5 : tenths) / 10), names[u]);
	else
		snprintf(out, cap, "%u.%u %s", (unsigned)(tenths / 10), (unsigned)(tenths % 10), names[u]);
	return out;
}

char *hull_format_age(uint64_t seconds, char *out, size_t cap)
{
	if (seconds < 60)
		snprintf(out, cap, "%us", (unsigned)seconds);
	else if (seconds < 3600)
		snprintf(out, cap, "%um", (unsigned)(seconds / 60));
	else if (seconds < 86400)
		snprintf(out, cap, "%uh", (unsigned)(seconds / 3600));
	else
		snprintf(out, cap, "%llud", (unsigned long long)(seconds / 86400));
	return out;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;
	return m < c ? m : c;
}

/* Edits that turn a into b: insert, delete, replace, or swap two neighbours. Both at most CLOSEST_MAX long. */
static size_t edit_distance(const char *a, size_t an, const char *b, size_t bn)
{
	size_t rows[3][CLOSEST_MAX + 1];
	size_t *before = rows[0];
	size_t *above = rows[1];
	size_t *row = rows[2];
	for (size_t j = 0; j <= bn; j++)
		above[j] = j;
	for (size_t i = 1; i <= an; i++) {
		row[0] = i;
		for (size_t j = 1; j <= bn; j++) {
			row[j] = smallest(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = smallest(row[j], row[j], before[j - 2] + 1);
		}
		size_t *spare = before;
		before = above;
		above = row;
		row = spare;
	}
	return above[bn];
}

const char *hull_closest(const char *word, const char *const *candidates, size_t count)
{
	size_t n = word ? strlen(word) : 0;
	if (n == 0 || n > CLOSEST_MAX)
		return NULL;
	size_t best = n / 3 > 1 ? n / 3 : 1;
	const char *found = NULL;
	for (size_t i = 0; i < count; i++) {
		size_t cn = candidates[i] ? strlen(candidates[i]) : 0;
		if (cn == 0 || cn > CLOSEST_MAX)
			continue;
		size_t d = edit_distance(word, n, candidates[i], cn);
		if (d < best || (d == best && !found)) {
			best = d;
			found = candidates[i];
		}
	}
	return found;
}

/* Length of the well-formed UTF-8 sequence at p (1 to 4) and its code point; 0 when malformed. */
static size_t utf8_one(const uint8_t *p, size_t n, uint32_t *cp)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = p[0] < 0x80                   ? 1
		     : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
		     : (p[0] & 0xf0) == 0xe0       ? 3
		     : (p[0] & 0xf8) == 0xf0       ? 4
						   : 0;
	if (len == 0 || len > n)
		return 0;
	*cp = len == 1 ? p[0] : p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (p[i] & 0x3f);
	}
	if (*cp < lowest[len] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp < 0xe000))
		return 0;
	return len;
}

bool hull_one_line(const char *s, size_t max)
{
	size_t n = 0;
	for (; s && s[n]; n++)
		if ((unsigned char)s[n] < ' ' || s[n] == 0x7f)
			return false;
	return n <= max;
}

bool hull_steers(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0xad || cp == 0x61c || (cp >= 0x200b && cp <= 0x200f) ||
	       (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff ||
	       (cp >= 0xfff9 && cp <= 0xfffb) || (cp >= 0xe0000 && cp <= 0xe007f);
}

char *hull_printable(const char *s, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	size_t cap;
	if (__builtin_mul_overflow(n, (size_t)4, &cap) || __builtin_add_overflow(cap, (size_t)1, &cap))
		return NULL;
	char *out = malloc(cap);
	if (!out)
		return NULL;
	const uint8_t *p = (const uint8_t *)s;
	size_t to = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		size_t len = utf8_one(p + i, n - i, &cp);
		bool shown = len > 0 && !hull_steers(cp);
		if (len == 0)
			len = 1;
		for (; len > 0; len--, i++) {
			if (shown) {
				out[to++] = (char)p[i];
				continue;
			}
			out[to++] = '\\';
			out[to++] = 'x';
			out[to++] = hex[p[i] >> 4];
			out[to++] = hex[p[i] & 15];
		}
	}
	out[to] = '\0';
	return out;
}

int hull_yaml_readable(const char *label, const char *text, size_t n, struct hull_error *err)
{
	size_t line = 1;
	for (size_t i = 0, len; i < n; i += len) {
		uint32_t cp = 0;
		len = utf8_one((const uint8_t *)text + i, n - i, &cp);
		if (len == 0 || cp == 0)
			return hull_fail(err, -EINVAL, "%s:%zu:1: this is not UTF-8 text", label, line);
		if (cp == '%' && (i == 0 || text[i - 1] == '\n' || text[i - 1] == '\r'))
			return hull_fail(err, -EINVAL, "%s:%zu:1: a YAML directive has no place here; remove the line",
					 label, line);
		line += cp == '\n';
	}
	return 0;
}

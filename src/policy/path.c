/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of HTTP requests; see path.h.
 *
 * hull_path_normal() decodes and normalises; every other reading is made of its result. What it cannot read is denied
 * by each rule with paths and allowed by none. */
#include "policy/path.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

static int hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0'
	       : c >= 'a' && c <= 'f'    ? c - 'a' + 10
	       : c >= 'A' && c <= 'F'    ? c - 'A' + 10
					 : -1;
}

/* --- characters --- */

/* The character at *s, moved on behind it; -1 when it is not the one UTF-8 form of a character. */
static int32_t next_char(const char **s)
{
	const uint8_t *p = (const uint8_t *)*s;
	static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned n = p[0] < 0x80             ? 1
		     : (p[0] & 0xe0) == 0xc0 ? 2
		     : (p[0] & 0xf0) == 0xe0 ? 3
		     : (p[0] & 0xf8) == 0xf0 ? 4
					     : 0;
	if (n == 0)
		return -1;
	int32_t c = n == 1 ? p[0] : p[0] & (0x7f >> n);
	for (unsigned i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return -1;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return -1;
	*s += n;
	return c;
}

/* The ASCII character that some systems take this one for (full-width forms, other dots and slashes), or 0. */
static char lookalike(int32_t c)
{
	static const struct {
		int32_t c;
		char is;
	} others[] = {
		{0x00a0, ' '},  {0x2024, '.'},  {0x2044, '/'},  {0x2215, '/'}, {0x2216, '\\'},
		{0x29f5, '\\'}, {0x29f8, '/'},  {0x29f9, '\\'}, {0x3000, ' '}, {0x3002, '.'},
		{0xfe52, '.'},  {0xfe68, '\\'}, {0xfe6a, '%'},  {0xff61, '.'},
	};
	if (c >= 0xff01 && c <= 0xff5e)
		return (char)(c - 0xff01 + '!');
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (others[i].c == c)
			return others[i].is;
	return 0;
}

/* Every character is one, and none may be a separator in disguise. */
static bool is_text(const char *s)
{
	while (*s) {
		int32_t c = next_char(&s);
		char as = c < 0 ? 0 : lookalike(c);
		if (c < 0 || as == '/' || as == '\\' || as == '%')
			return false;
	}
	return true;
}

/* --- the normal form --- */

/* "..;x" and ".;x": dot segments to servers that know parameters of segments, and names to others. */
static bool dots_with_parameters(const char *s, size_t n)
{
	size_t dots = 0;
	while (dots < n && dots < 3 && s[dots] == '.')
		dots++;
	return (dots == 1 || dots == 2) && dots < n && s[dots] == ';';
}

/* Close the segment that begins at `start`: ".." takes the one before with it, "." and an empty one go. */
static size_t close_segment(char *out, size_t start, size_t o, bool last)
{
	size_t n = o - start;
	if (n == 0 && !last)
		return start;
	if (n == 1 && out[start] == '.')
		return start;
	if (n == 2 && out[start] == '.' && out[start + 1] == '.') {
		size_t back = start > 1 ? start - 1 : start;
		while (back > 1 && out[back - 1] != '/')
			back--;
		return start > 1 ? back : start;
	}
	if (!last)
		out[o++] = '/';
	return o;
}

/* The byte at path[*i], decoded if it is encoded; -1: not to be decoded. */
static int byte_at(const char *path, size_t n, size_t *i)
{
	if (path[*i] != '%')
		return (unsigned char)path[*i];
	int hi = *i + 2 < n ? hex(path[*i + 1]) : -1;
	int lo = *i + 2 < n ? hex(path[*i + 2]) : -1;
	if (hi < 0 || lo < 0)
		return -1;
	*i += 2;
	return hi * 16 + lo;
}

bool hull_path_normal(const char *path, size_t n, char *out, size_t cap)
{
	if (n == 0 || path[0] != '/' || n + 2 > cap)
		return false;
	size_t o = 0, start = 1;
	out[o++] = '/';
	for (size_t i = 1; i <= n; i++) {
		/* Also of a segment that the next one takes away. */
		if (i == n || path[i] == '/') {
			out[o] = '\0';
			if (dots_with_parameters(out + start, o - start) || !is_text(out + start))
				return false;
		}
		if (i == n) {
			o = close_segment(out, start, o, true);
			break;
		}
		if (path[i] == '/') {
			o = start = close_segment(out, start, o, false);
			continue;
		}
		bool encoded = path[i] == '%';
		int c = byte_at(path, n, &i);
		if (c < 0x20 || c == 0x7f || c == '\\' || (encoded && (c == '/' || c == '%')))
			return false;
		out[o++] = (char)c;
	}
	out[o] = '\0';
	return true;
}

/* --- other readings; each fits where the path fits --- */

/* As who does not decode: only what cannot be sent but encoded (blanks, quotes, what is not ASCII) is decoded. */
static void as_sent(const char *path, char *out)
{
	size_t n = strlen(path);
	for (size_t i = 0; i < n; i++) {
		size_t at = i;
		int c = byte_at(path, n, &i);
		if (at == i || c == ' ' || c >= 0x80 || (c > 0 && strchr("\"<>[]^`{|}#?", c))) {
			*out++ = (char)c;
			continue;
		}
		memcpy(out, path + at, 3);
		out += 3;
	}
	*out = '\0';
}

/* As servers that know parameters of segments. */
static void without_parameters(const char *path, char *out)
{
	while (*path) {
		if (*path == ';')
			path += strcspn(path, "/");
		else
			*out++ = *path++;
	}
	*out = '\0';
}

/* The end of a text without dots and blanks at the end of its last segment. One of dots keeps those: it is another
 * directory. */
static char *trim(const char *begin, char *end)
{
	char *e = end;
	while (e > begin && (e[-1] == ' ' || e[-1] == '.'))
		e--;
	if (e > begin && e[-1] != '/')
		return e;
	while (end > begin && end[-1] == ' ')
		end--;
	return end;
}

/* As who folds characters, decodes before it looks for the query, and cuts dots and blanks off a name. */
static void loosely(const char *path, char *out)
{
	char *begin = out;
	for (;;) {
		const char *s = path;
		int32_t c = *path ? next_char(&path) : 0;
		if (c < 0)
			c = 0;
		char as = lookalike(c);
		bool ends = c == 0 || c == '?' || c == '#' || as == '?' || as == '#';
		if (ends || c == '/')
			out = trim(begin, out);
		if (ends)
			break;
		if (as)
			*out++ = as;
		else
			while (s < path)
				*out++ = *s++;
	}
	*out = '\0';
}

static bool all_dots(const char *s, size_t n)
{
	size_t i = 0;
	while (i < n && (s[i] == '.' || s[i] == ' '))
		i++;
	return i == n;
}

/* Of the path, decoded and with its characters folded: no segment that some reading takes for an empty one or one of
 * dots. */
static bool is_clear(const char *path)
{
	char text[HULL_PATH_MAX];
	size_t n = strlen(path), o = 0;
	for (size_t i = 0; i < n; i++)
		text[o++] = (char)byte_at(path, n, &i);
	text[o] = '\0';
	for (const char *s = text + 1;;) {
		char segment[HULL_PATH_MAX];
		size_t k = 0;
		const char *begin = s;
		while (*s && *s != '/') {
			int32_t c = next_char(&s);
			char as = lookalike(c);
			if (c < 0)
				return false;
			segment[k++] = as ? as : c < 0x80 ? (char)c : 'x';
		}
		size_t named = 0;
		while (named < k && !strchr(";?#", segment[named]))
			named++;
		if (all_dots(segment, named) && !(*s == '\0' && s == begin))
			return false;
		if (!*s++)
			return true;
	}
}

void hull_path_read(const char *path, struct hull_path *out)
{
	char bare[HULL_PATH_MAX];
	size_t n = strlen(path);
	out->clear = false;
	out->plain = hull_path_normal(path, n, out->reading[1], HULL_PATH_MAX);
	if (!out->plain)
		return;
	out->clear = is_clear(path);
	as_sent(path, out->reading[0]);
	without_parameters(out->reading[1], bare);
	/* Nothing is encoded in these any more; hull_path_normal() only puts segments together. */
	out->plain = hull_path_normal(bare, strlen(bare), out->reading[2], HULL_PATH_MAX);
	if (!out->plain)
		return;
	loosely(out->reading[2], bare);
	out->plain = hull_path_normal(bare, strlen(bare), out->reading[3], HULL_PATH_MAX);
}

/* --- matching --- */

static bool same(char a, char b, bool fold)
{
	return a == b || (fold && tolower((unsigned char)a) == tolower((unsigned char)b));
}

/* Two places to come back to: the last `**`, and the last `*` behind it. Linear in the length of both, times the number
 * of stars at most. */
static bool match(const char *glob, const char *end, const char *s, bool fold)
{
	const char *deep = NULL, *deep_s = NULL, *star = NULL, *star_s = NULL;
	while (*s) {
		if (end - glob >= 2 && glob[0] == '*' && glob[1] == '*') {
			glob += 2;
			deep = glob;
			deep_s = s;
			star = NULL;
		} else if (glob < end && *glob == '*') {
			star = ++glob;
			star_s = s;
		} else if (glob < end && same(*glob, *s, fold)) {
			glob++;
			s++;
		} else if (star && *star_s != '/') {
			glob = star;
			s = ++star_s;
		} else if (deep) {
			glob = deep;
			s = ++deep_s;
			star = NULL;
		} else {
			return false;
		}
	}
	while (glob < end && *glob == '*')
		glob++;
	return glob == end;
}

bool hull_glob(const char *glob, const char *s)
{
	return match(glob, glob + strlen(glob), s, false);
}

bool hull_path_must_match(const struct hull_path *p, char *const *globs)
{
	if (!p->plain || !p->clear)
		return false;
	for (size_t i = 0; i < HULL_PATH_READINGS; i++) {
		char *const *g = globs;
		while (*g && !hull_glob(*g, p->reading[i]))
			g++;
		if (!*g)
			return false;
	}
	return true;
}

/* A rule for DIR/, and all below it, is for DIR; a rule for DIR is for DIR/. */
static bool may_be(const char *glob, const char *s)
{
	const char *end = glob + strlen(glob);
	if (match(glob, end, s, true))
		return true;
	size_t n = strlen(s);
	char other[HULL_PATH_MAX + 1];
	if (end - glob > 3 && strcmp(end - 3, "/**") == 0 && match(glob, end - 3, s, true))
		return true;
	if (n < 2)
		return false;
	memcpy(other, s, n + 1);
	if (s[n - 1] == '/')
		n--;
	else
		other[n++] = '/';
	other[n] = '\0';
	return match(glob, end, other, true);
}

bool hull_path_may_match(const struct hull_path *p, char *const *globs)
{
	if (!p->plain)
		return true;
	for (; *globs; globs++)
		for (size_t i = 0; i < HULL_PATH_READINGS; i++)
			if (may_be(*globs, p->reading[i]))
				return true;
	return false;
}

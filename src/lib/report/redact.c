/* SPDX-License-Identifier: Apache-2.0 */
/* See redact.h. One pass over the text. At each position it looks for the longest private word, then for a path, then
 * copies a byte. */
#include "lib/report/redact.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MIN = 3 };

static int longest_first(const void *a, const void *b)
{
	size_t an = strlen(((const struct hull_redact_word *)a)->text);
	size_t bn = strlen(((const struct hull_redact_word *)b)->text);
	return an < bn ? 1 : an > bn ? -1 : 0;
}

int hull_redact_word(struct hull_redact *r, const char *text, const char *shown, enum hull_redact_kind kind)
{
	if (!text || strlen(text) < WORD_MIN)
		return 0;
	struct hull_redact_word *more = reallocarray(r->words, r->count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	r->words = more;
	struct hull_redact_word w = {.text = strdup(text), .shown = strdup(shown), .kind = kind};
	if (!w.text || !w.shown) {
		free(w.text);
		free(w.shown);
		return -ENOMEM;
	}
	r->words[r->count++] = w;
	qsort(r->words, r->count, sizeof(*r->words), longest_first);
	return 0;
}

void hull_redact_free(struct hull_redact *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->words[i].text);
		free(r->words[i].shown);
	}
	free(r->words);
	*r = (struct hull_redact){0};
}

static bool ends_path(const char *p, const char *end)
{
	if (strchr("\n\r\t;\"'`()<>|", *p))
		return true;
	return (*p == ':' || *p == ',') && (p + 1 == end || p[1] == ' ' || p[1] == '\n');
}

static const char *path_end(const char *p, const char *end)
{
	while (p < end && *p && !ends_path(p, end))
		p++;
	return p;
}

static bool word_byte(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.' || c == '/' || (c & 0x80);
}

/* Present on every machine, so not private. */
static bool of_system(const char *p, size_t n)
{
	static const char *const roots[] = {"/usr",  "/lib", "/lib64", "/bin",      "/sbin", "/etc",
					    "/proc", "/sys", "/dev",   "/run/hull", "/boot"};
	for (size_t i = 0; i < sizeof(roots) / sizeof(*roots); i++) {
		size_t m = strlen(roots[i]);
		if (n >= m && !memcmp(p, roots[i], m) && (n == m || !word_byte(p[m]) || p[m] == '/'))
			return true;
	}
	return false;
}

static bool alone(const char *begin, const char *p, size_t n, const char *end)
{
	return (p == begin || !isalnum((unsigned char)p[-1])) && (p + n == end || !isalnum((unsigned char)p[n]));
}

static const struct hull_redact_word *word_at(const struct hull_redact *r, const char *begin, const char *p,
					      const char *end)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct hull_redact_word *w = &r->words[i];
		size_t n = strlen(w->text);
		if (n <= (size_t)(end - p) && !memcmp(p, w->text, n) &&
		    (w->kind != HULL_REDACT_NAME || alone(begin, p, n, end)))
			return w;
	}
	return NULL;
}

/* Length of the NAME@HOST.TLD that begins at p; 0 = none. */
static size_t mail_at(const char *p, const char *end)
{
	const char *q = p;
	while (q < end && (isalnum((unsigned char)*q) || (*q && strchr("._%+-", *q))))
		q++;
	if (q == p || q >= end || *q != '@')
		return 0;
	const char *host = ++q;
	while (q < end && (isalnum((unsigned char)*q) || *q == '.' || *q == '-'))
		q++;
	return memchr(host, '.', (size_t)(q - host)) ? (size_t)(q - p) : 0;
}

static int put(struct hull_buf *out, const char *text)
{
	return hull_buf_add(out, text, strlen(text));
}

int hull_redact_text(const struct hull_redact *r, const char *p, size_t n, struct hull_buf *out)
{
	const char *begin = p, *end = p + n;
	int e = 0;
	while (p < end && e == 0) {
		const struct hull_redact_word *w = word_at(r, begin, p, end);
		size_t mail = p == begin || !word_byte(p[-1]) ? mail_at(p, end) : 0;
		if (w) {
			e = put(out, w->shown);
			p += strlen(w->text);
			if (w->kind == HULL_REDACT_PATH && p < end && *p == '/')
				p = path_end(p, end);
		} else if (mail) {
			e = put(out, "<mail>");
			p += mail;
		} else if (*p == '/' && (p == begin || !word_byte(p[-1])) && p + 1 < end && word_byte(p[1])) {
			const char *stop = path_end(p, end);
			if (of_system(p, (size_t)(stop - p))) {
				/* Only up to its own end: the rest is examined again. */
				const char *q = p + 1;
				while (q < stop && word_byte(*q) && !word_at(r, begin, q, end))
					q++;
				e = hull_buf_add(out, p, (size_t)(q - p));
				p = q;
			} else {
				e = put(out, "<path>");
				p = stop;
			}
		} else {
			char c = *p == '\n' || *p == '\t' || isprint((unsigned char)*p) ? *p : '?';
			e = hull_buf_add(out, &c, 1);
			p++;
		}
	}
	return e;
}

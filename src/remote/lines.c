/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the lines that git's services in a sandbox send. Only the expected forms are accepted; see remote.h. */
#include "remote/remote.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { IDS_SHA1 = 40, IDS_SHA256 = 64 };

size_t remote_id_len(const struct remote_adv *a)
{
	return a->sha256 ? IDS_SHA256 : IDS_SHA1;
}

bool remote_id_ok(const char *id, size_t n)
{
	return (n == IDS_SHA1 || n == IDS_SHA256) && strspn(id, "0123456789abcdef") >= n;
}

int remote_pkt(const uint8_t *p, size_t n, size_t *size)
{
	size_t len = 0;
	if (n < REMOTE_HEAD)
		return REMOTE_PKT_MORE;
	for (size_t i = 0; i < REMOTE_HEAD; i++) {
		int c = p[i] | 0x20;
		int digit = p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (digit < 0)
			return -EPROTO;
		len = len << 4 | (size_t)digit;
	}
	*size = len ? len : REMOTE_HEAD;
	if (len == 0)
		return REMOTE_PKT_FLUSH;
	if (len < REMOTE_HEAD || len > REMOTE_PKT_MAX)
		return -EPROTO;
	return n < len ? REMOTE_PKT_MORE : REMOTE_PKT_LINE;
}

/* git performs the remaining checks (git-check-ref-format(1)). Refused here are characters that could have a meaning
 * beyond the name, and those that steer a terminal, on which git prints names as they are: also those of several bytes
 * (U+009B is ESC [), and bytes that are not UTF-8. */
bool remote_ref_ok(const char *name, size_t n)
{
	static const char head[] = "HEAD", refs[] = "refs/";
	if (n == sizeof(head) - 1 && memcmp(name, head, n) == 0)
		return true;
	if (n < sizeof(refs) || n > REMOTE_NAME_MAX || memcmp(name, refs, sizeof(refs) - 1) != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)name[i];
		if (c <= ' ' || c == 127 || strchr("~^:?*[\\", c))
			return false;
	}
	_cleanup_free_ char *shown = hull_printable(name, n);
	return shown && strlen(shown) == n;
}

/* Returns the next line at *p, without its terminator. */
static bool next_line(const char **p, const char *end, const char **line, size_t *n)
{
	if (*p >= end)
		return false;
	const char *stop = memchr(*p, '\n', (size_t)(end - *p));
	*line = *p;
	*n = (size_t)((stop ? stop : end) - *p);
	*p = stop ? stop + 1 : end;
	return true;
}

int remote_line(struct hull_buf *out, const char *fmt, ...)
{
	char line[REMOTE_NAME_MAX];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	return n < 0 || n >= (int)sizeof(line) ? -EINVAL : hull_buf_addf(out, "%04x%s", n + REMOTE_HEAD, line);
}

static bool is_word(const char *w, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(w, word, n) == 0;
}

static void take_capability(struct remote_adv *a, const char *w, size_t n)
{
	static const char symref[] = "symref=HEAD:";
	const size_t skip = sizeof(symref) - 1;
	if (n > skip && memcmp(w, symref, skip) == 0 && remote_ref_ok(w + skip, n - skip)) {
		memcpy(a->head, w + skip, n - skip);
		a->head[n - skip] = '\0';
	}
	a->sha256 |= is_word(w, n, "object-format=sha256");
	a->sideband |= is_word(w, n, "side-band-64k");
	a->thin |= is_word(w, n, "thin-pack");
	a->ofs_delta |= is_word(w, n, "ofs-delta");
	a->no_progress |= is_word(w, n, "no-progress");
	a->report |= is_word(w, n, "report-status");
	a->delete_refs |= is_word(w, n, "delete-refs");
	a->atomic |= is_word(w, n, "atomic");
	a->quiet |= is_word(w, n, "quiet");
}

int remote_adv_line(struct remote_adv *a, const char *line, size_t n, struct hull_error *err)
{
	if (n && line[n - 1] == '\n')
		n--;
	if (n > 4 && memcmp(line, "ERR ", 4) == 0) {
		_cleanup_free_ char *why = hull_printable(line + 4, n - 4);
		return hull_fail(err, -EIO, "git in it reported: %.500s", why ? why : "");
	}
	const char *end = line + n, *caps = memchr(line, '\0', n);
	if (!a->told && !caps)
		return hull_fail(err, -EPROTO, "its answer does not follow git's protocol, version 0");
	size_t len = caps ? (size_t)(caps - line) : n;
	for (const char *w = caps; !a->told && w && w < end;) {
		w++;
		const char *stop = memchr(w, ' ', (size_t)(end - w));
		take_capability(a, w, (size_t)((stop ? stop : end) - w));
		w = stop;
	}
	a->told = true;
	const char *space = memchr(line, ' ', len);
	size_t id = space ? (size_t)(space - line) : 0, name = space ? len - id - 1 : 0;
	if (!space || id != remote_id_len(a) || !remote_id_ok(line, id) || !remote_ref_ok(space + 1, name))
		return 0;
	if (a->refs.len + len + 1 > REMOTE_REFS_MAX)
		return hull_fail(err, -EFBIG, "its list of references exceeds the limit of %d MiB",
				 REMOTE_REFS_MAX >> 20);
	return hull_buf_addf(&a->refs, "%.*s\n", (int)len, line) < 0 ? hull_fail(err, -ENOMEM, "out of memory") : 0;
}

void remote_adv_free(struct remote_adv *a)
{
	hull_buf_free(&a->refs);
}

int remote_list(const struct remote_adv *a, struct hull_buf *out)
{
	const char *text = (const char *)hull_buf_bytes(&a->refs), *end = a->refs.len ? text + a->refs.len : text,
		   *line;
	size_t len, id = remote_id_len(a);
	int r = a->sha256 ? hull_buf_addstr(out, ":object-format sha256\n") : 0;
	if (r == 0 && *a->head)
		r = hull_buf_addf(out, "@%s HEAD\n", a->head);
	while (r == 0 && a->refs.len && next_line(&text, end, &line, &len))
		if (!*a->head || !is_word(line + id + 1, len - id - 1, "HEAD")) /* said already */
			r = hull_buf_addf(out, "%.*s\n", (int)len, line);
	return r;
}

const char *remote_find(const struct hull_buf *refs, const char *name, size_t *n)
{
	const char *text = (const char *)hull_buf_bytes(refs), *end = refs->len ? text + refs->len : text, *line;
	size_t len;
	while (refs->len && next_line(&text, end, &line, &len)) {
		const char *space = memchr(line, ' ', len);
		if (!space || !is_word(space + 1, len - (size_t)(space + 1 - line), name))
			continue;
		*n = (size_t)(space - line);
		return line;
	}
	return NULL;
}

static const char *wanted(char *const *refs, const char *name, size_t n)
{
	for (; *refs; refs++)
		if (strlen(*refs) == n && memcmp(*refs, name, n) == 0)
			return *refs;
	return NULL;
}

int remote_status(const char *text, size_t n, char *const *refs, struct hull_buf *out)
{
	const char *end = n ? text + n : text, *line;
	size_t len;
	int r = 0;
	while (r == 0 && n && next_line(&text, end, &line, &len)) {
		bool ok = len > 3 && memcmp(line, "ok ", 3) == 0;
		bool bad = len > 3 && memcmp(line, "ng ", 3) == 0;
		if (!ok && !bad)
			continue;
		const char *name = line + 3;
		const char *space = memchr(name, ' ', len - (size_t)(name - line));
		size_t name_len = space ? (size_t)(space - name) : len - (size_t)(name - line);
		const char *ref = wanted(refs, name, name_len);
		if (!ref)
			continue;
		_cleanup_free_ char *why = space ? hull_printable(space + 1, len - (size_t)(space + 1 - line)) : NULL;
		if (ok)
			r = hull_buf_addf(out, "ok %s\n", ref);
		else
			r = hull_buf_addf(out, "error %s %.500s\n", ref, why ? why : "refused");
	}
	return r;
}

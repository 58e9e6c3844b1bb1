/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of plain HTTP/1, as they pass; see http.h. RFC 9112 is the grammar. */
#include "egress/http.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	S_HEAD,      /* collecting a head */
	S_WAIT,      /* a head was handed out */
	S_BODY,      /* `left` bytes */
	S_SIZE,      /* digits of a chunk's size */
	S_EXTENSION, /* behind them, to CR */
	S_SIZE_LF,
	S_CHUNK, /* `left` bytes */
	S_CHUNK_CR,
	S_CHUNK_LF,
	S_TRAILER,    /* beginning of a trailer line */
	S_TRAILER_IN, /* within one */
	S_TRAILER_LF,
	S_END_LF, /* the empty line's LF */
	S_BAD,
};

static bool is_token(uint8_t c)
{
	return isalnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* What some server takes for a blank: C's isspace, and what Python splits at. */
static bool is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f) || c == 0x85 || c == 0xa0;
}

static bool starts(const uint8_t *p, size_t n, const char *word)
{
	return n >= strlen(word) && strncasecmp((const char *)p, word, strlen(word)) == 0;
}

/* The whole first line: the method is p[0..m), a blank is behind it. */
static enum http_look look_line(const uint8_t *p, size_t n, size_t m)
{
	bool upper = true, some = false, last = false;
	for (size_t i = 0; i < m; i++)
		upper = upper && !islower(p[i]);
	for (size_t i = m; i < n;) {
		while (i < n && is_blank(p[i]))
			i++;
		if (i == n)
			break;
		last = starts(p + i, n - i, "HTTP/");
		some = some || last;
		while (i < n && !is_blank(p[i]))
			i++;
	}
	if (n == 14 && memcmp(p, "PRI * HTTP/2.0", 14) == 0)
		return HTTP_TWO;
	return last || (some && upper) ? HTTP_YES : HTTP_NO;
}

/* No server reads that long a line as anything else, if it is one. */
static enum http_look look_long(const uint8_t *p, size_t n, size_t m)
{
	size_t i = m;
	while (i < n && is_blank(p[i]))
		i++;
	if (i == n || p[i] == '/' || p[i] == '*' || starts(p, m, "CONNECT"))
		return HTTP_YES;
	while (i < n && (isalnum(p[i]) || p[i] == '+' || p[i] == '-' || p[i] == '.'))
		i++;
	return i < n && p[i] == ':' ? HTTP_YES : HTTP_NO;
}

enum http_look http_look(const uint8_t *p, size_t n)
{
	size_t start = 0, m = 0, end;
	while (start < n && is_blank(p[start]))
		start++;
	p += start;
	n -= start;
	while (m < n && is_token(p[m]))
		m++;
	if (m < n && (m == 0 || !is_blank(p[m])))
		return HTTP_NO;
	for (end = m; end < n && p[end] != '\r' && p[end] != '\n';)
		end++;
	if (end < n)
		return look_line(p, end, m);
	return start + n < HTTP_LINE_MAX ? HTTP_MAYBE : look_long(p, n, m);
}

static enum http_event broken(struct http *h, const char *why)
{
	h->state = S_BAD;
	h->bad = why;
	return HTTP_BAD;
}

static void forget(struct http *h)
{
	free(h->method);
	free(h->target);
	free(h->path);
	free(h->host);
	free(h->authority);
	h->method = h->target = h->path = h->host = h->authority = NULL;
	h->v10 = h->upgrade = h->upgrade_h2 = h->connect = h->chunked = false;
	h->length = 0;
	h->target_at = 0;
}

void http_free(struct http *h)
{
	forget(h);
	hull_buf_free(&h->head);
}

/* --- a head --- */

/* What the target asks for. */
static const char *read_target(struct http *h)
{
	const char *t = h->target;
	if (strchr(t, '#'))
		return "a fragment in the target";
	if (h->connect) {
		h->authority = strdup(t);
		h->path = strdup("");
	} else if (strcmp(t, "*") == 0) {
		h->path = strdup("*");
	} else if (t[0] == '/') {
		h->path = strndup(t, strcspn(t, "?"));
	} else if (strncasecmp(t, "http://", 7) == 0) {
		t += 7;
		size_t n = strcspn(t, "/?");
		h->authority = strndup(t, n);
		t += n;
		h->path = *t == '/' ? strndup(t, strcspn(t, "?")) : strdup("/");
		if (!h->authority)
			return "out of memory";
	} else {
		return "the target is neither a path nor an http URL";
	}
	return h->path ? NULL : "out of memory";
}

static const char *request_line(struct http *h, const char *line, size_t n, size_t at)
{
	const char *sp = memchr(line, ' ', n);
	size_t m = sp ? (size_t)(sp - line) : 0;
	if (!m || m > 40 || n < m + 11)
		return "not a request line";
	for (size_t i = 0; i < m; i++)
		if (!is_token((uint8_t)line[i]))
			return "not a method";
	const char *version = line + n - 8;
	if (memcmp(version, "HTTP/1.", 7) != 0 || (version[7] != '0' && version[7] != '1') || version[-1] != ' ')
		return "not HTTP/1.0 or HTTP/1.1";
	const char *target = sp + 1;
	size_t t = (size_t)(version - 1 - target);
	for (size_t i = 0; i < t; i++)
		if ((uint8_t)target[i] <= ' ' || target[i] == 0x7f)
			return "a blank or control byte in the target";
	if (t == 0)
		return "no target";
	h->v10 = version[7] == '0';
	h->method = strndup(line, m);
	h->target = strndup(target, t);
	if (!h->method || !h->target)
		return "out of memory";
	h->target_at = at + m + 1;
	h->connect = strcmp(h->method, "CONNECT") == 0;
	return read_target(h);
}

static bool has_word(const char *v, size_t n, const char *word)
{
	size_t w = strlen(word);
	for (size_t i = 0; i < n;) {
		while (i < n && (v[i] == ' ' || v[i] == '\t' || v[i] == ','))
			i++;
		size_t s = i;
		while (i < n && v[i] != ',' && v[i] != ' ' && v[i] != '\t')
			i++;
		if (i - s == w && strncasecmp(v + s, word, w) == 0)
			return true;
	}
	return false;
}

static bool is(const char *name, size_t n, const char *want)
{
	return n == strlen(want) && strncasecmp(name, want, n) == 0;
}

static const char *field(struct http *h, const char *line, size_t n, bool *has_length)
{
	size_t k = 0;
	while (k < n && is_token((uint8_t)line[k]))
		k++;
	if (k == 0 || k == n || line[k] != ':')
		return "not a header field";
	const char *v = line + k + 1;
	size_t len = n - k - 1;
	for (size_t i = 0; i < len; i++)
		if (((uint8_t)v[i] < ' ' && v[i] != '\t') || v[i] == 0x7f)
			return "a control byte in a header field";
	while (len && (*v == ' ' || *v == '\t'))
		v++, len--;
	while (len && (v[len - 1] == ' ' || v[len - 1] == '\t'))
		len--;
	if (is(line, k, "host")) {
		if (h->host)
			return "two Host fields";
		h->host = strndup(v, len);
		return h->host ? NULL : "out of memory";
	}
	if (is(line, k, "content-length")) {
		char digits[24];
		if (*has_length || len == 0 || len >= sizeof(digits))
			return "two or no lengths of the body";
		memcpy(digits, v, len);
		digits[len] = '\0';
		if (strspn(digits, "0123456789") != len || hull_parse_u64(digits, INT64_MAX, &h->length) < 0)
			return "the length of the body is not a number";
		*has_length = true;
	}
	if (is(line, k, "transfer-encoding")) {
		if (h->chunked || !is(v, len, "chunked"))
			return "an unknown transfer coding";
		h->chunked = true;
	}
	if (is(line, k, "upgrade")) {
		h->upgrade = true;
		if (has_word(v, len, "h2c"))
			h->upgrade_h2 = true;
	}
	return NULL;
}

/* The whole head is in h->head. */
static const char *read_head(struct http *h)
{
	const char *all = (const char *)hull_buf_bytes(&h->head);
	size_t at = 0, total = h->head.len;
	bool first = true, has_length = false;
	if (memchr(all, '\0', total))
		return "a NUL byte in the head";
	while (at < total) {
		const char *line = all + at;
		const char *lf = memchr(line, '\n', total - at);
		size_t n = lf ? (size_t)(lf - line) : 0;
		if (!lf || n == 0 || line[n - 1] != '\r' || memchr(line, '\r', n - 1))
			return "a line that does not end in CR LF";
		n--;
		const char *why = NULL;
		if (first)
			why = request_line(h, line, n, at);
		else if (n > 0)
			why = field(h, line, n, &has_length);
		if (why)
			return why;
		first = false;
		at += n + 2;
	}
	if (has_length && h->chunked)
		return "two lengths of the body";
	if (h->v10 && (h->chunked || h->upgrade))
		return "a transfer coding in HTTP/1.0";
	if (!h->v10 && !h->host)
		return "no Host field";
	if (h->connect && (has_length || h->chunked))
		return "a body for CONNECT";
	return NULL;
}

/* Take what belongs to the head; true when it is complete. */
static enum http_event collect(struct http *h, const uint8_t *p, size_t n, size_t *used)
{
	for (size_t i = 0; i < n; i++) {
		/* Empty lines in front of a request are dropped, as servers do. */
		if (h->head.len == 0 && (p[i] == '\r' || p[i] == '\n'))
			continue;
		const uint8_t *lf = memchr(p + i, '\n', n - i);
		size_t take = lf ? (size_t)(lf - (p + i)) + 1 : n - i;
		if (h->head.len + take > HTTP_HEAD_MAX)
			return broken(h, "the head is too long");
		size_t before = h->head.len;
		if (hull_buf_add(&h->head, p + i, take) < 0)
			return broken(h, "out of memory");
		i += take - 1;
		if (!lf)
			continue;
		const uint8_t *b = hull_buf_bytes(&h->head);
		size_t len = h->head.len;
		bool empty = (len >= 4 && memcmp(b + len - 4, "\r\n\r\n", 4) == 0) ||
			     (len >= 2 && b[len - 1] == '\n' && b[len - 2] == '\n');
		if (!empty || before == 0)
			continue;
		*used = i + 1;
		const char *why = read_head(h);
		if (why)
			return broken(h, why);
		h->state = S_WAIT;
		return HTTP_HEAD;
	}
	*used = n;
	return HTTP_MORE;
}

void http_strip_upgrade(struct http *h)
{
	char *all = (char *)hull_buf_bytes(&h->head);
	size_t kept = 0, total = h->head.len;
	for (size_t at = 0; at < total;) {
		const char *line = all + at, *lf = memchr(line, '\n', total - at);
		size_t n = lf ? (size_t)(lf - line) + 1 : total - at;
		const char *colon = at ? memchr(line, ':', n) : NULL; /* not the request line */
		size_t k = colon ? (size_t)(colon - line) : 0;
		if (!is(line, k, "upgrade") && !is(line, k, "http2-settings")) {
			memmove(all + kept, line, n);
			kept += n;
		}
		at += n;
	}
	h->head.len = kept;
	h->upgrade = h->upgrade_h2 = false;
}

void http_go_on(struct http *h)
{
	if (h->state != S_WAIT)
		return;
	h->left = h->length;
	h->state = h->chunked ? S_SIZE : h->left ? S_BODY : S_HEAD;
	h->digits = 0;
	hull_buf_drain(&h->head, h->head.len);
	forget(h);
}

/* --- a chunked body: one byte of its frame --- */

static const char *frame(struct http *h, uint8_t c)
{
	switch (h->state) {
	case S_SIZE:
		if (isxdigit(c)) {
			if (++h->digits > 15)
				return "the size of a chunk is too large";
			h->left = h->left * 16 + ((uint64_t)(isdigit(c) ? c - '0' : tolower(c) - 'a' + 10));
			return NULL;
		}
		h->line = 0;
		h->state = c == '\r' ? S_SIZE_LF : S_EXTENSION;
		return h->digits && (c == '\r' || c == ';') ? NULL : "not the size of a chunk";
	case S_EXTENSION:
		if (c == '\r')
			h->state = S_SIZE_LF;
		return (c < ' ' && c != '\r' && c != '\t') || ++h->line > 1024 ? "not a chunk extension" : NULL;
	case S_SIZE_LF:
		h->state = h->left ? S_CHUNK : S_TRAILER;
		h->digits = 0;
		h->line = 0;
		return c == '\n' ? NULL : "a line that does not end in CR LF";
	case S_CHUNK_CR:
		h->state = S_CHUNK_LF;
		return c == '\r' ? NULL : "a chunk longer than its size";
	case S_CHUNK_LF:
		h->state = S_SIZE;
		return c == '\n' ? NULL : "a chunk longer than its size";
	case S_TRAILER:
		h->state = c == '\r' ? S_END_LF : S_TRAILER_IN;
		return c == '\r' || is_token(c) ? NULL : "not a trailer field";
	case S_TRAILER_IN:
		if (c == '\r')
			h->state = S_TRAILER_LF;
		return (c < ' ' && c != '\r' && c != '\t') || ++h->line > 16384 ? "not a trailer field" : NULL;
	case S_TRAILER_LF:
		h->state = S_TRAILER;
		return c == '\n' ? NULL : "a line that does not end in CR LF";
	case S_END_LF:
		h->state = S_HEAD;
		return c == '\n' ? NULL : "a line that does not end in CR LF";
	default:
		return "unexpected";
	}
}

enum http_event http_feed(struct http *h, const uint8_t *p, size_t n, size_t *used)
{
	*used = 0;
	if (h->state == S_BAD)
		return HTTP_BAD;
	if (n == 0 || h->state == S_WAIT)
		return HTTP_MORE;
	if (h->state == S_HEAD)
		return collect(h, p, n, used);
	size_t i = 0;
	while (i < n && h->state != S_HEAD) {
		if (h->state == S_BODY || h->state == S_CHUNK) {
			size_t take = n - i < h->left ? n - i : (size_t)h->left;
			h->left -= take;
			i += take;
			if (h->left == 0)
				h->state = h->state == S_BODY ? S_HEAD : S_CHUNK_CR;
			continue;
		}
		const char *why = frame(h, p[i]);
		if (why)
			return broken(h, why);
		i++;
	}
	*used = i;
	return HTTP_BODY;
}

bool http_authority_split(const char *authority, char host[HULL_HOST_MAX + 2], uint16_t *port)
{
	bool brackets = authority[0] == '[';
	const char *begin = authority + brackets;
	const char *end = brackets ? strchr(begin, ']') : strrchr(begin, ':');
	if (brackets && !end)
		return false;
	size_t n = end ? (size_t)(end - begin) : strlen(begin);
	const char *colon = brackets ? end + 1 : end;
	uint64_t said = 0;
	*port = 0;
	if (colon && *colon && *colon != ':')
		return false;
	if (colon && *colon && colon[1] && (hull_parse_u64(colon + 1, 65535, &said) < 0 || said == 0))
		return false;
	if (n > HULL_HOST_MAX + 1)
		return false;
	memcpy(host, begin, n);
	host[n] = '\0';
	*port = (uint16_t)said;
	return true;
}

bool http_authority_is_addr(const char *authority, const struct hull_addr *addr, uint16_t port)
{
	char host[HULL_HOST_MAX + 2];
	uint16_t said;
	struct hull_addr a;
	return http_authority_split(authority, host, &said) && (!said || said == port) && hull_addr_parse(host, &a) &&
	       hull_addr_equal(&a, addr);
}

bool http_authority_is(const char *authority, const char *name, uint16_t port)
{
	char said_host[HULL_HOST_MAX + 2], host[HULL_HOST_MAX + 1];
	uint16_t said;
	if (!http_authority_split(authority, said_host, &said) || (said && said != port))
		return false;
	bool own = hull_host_is_host(name);
	if (own && (strcmp(said_host, "127.0.0.1") == 0 || strcmp(said_host, "::1") == 0))
		return true;
	if (!hull_host_name(said_host, strlen(said_host), host))
		return false;
	return strcmp(host, name) == 0 || (own && hull_host_is_host(host));
}

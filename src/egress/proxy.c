/* SPDX-License-Identifier: Apache-2.0 */
/* Upstream proxies: which one for which destination, and the handshakes with them; see proxy.h.
 *
 * Supported are http://[USER[:PASSWORD]@]HOST:PORT (CONNECT, and whole URLs for plain HTTP on port 80) and
 * socks5://... (names are given to the proxy, as with socks5h). The proxy's own address is the user's choice and not
 * subject to the policy; everything that goes through it is. */
#include "egress/internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { ANSWER_MAX = 16 * 1024 };

void proxy_free(struct proxy *p)
{
	free(p->host);
	free(p->user);
	free(p->password);
	free(p->bad);
	*p = (struct proxy){0};
}

static int unhex(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
					    : -1;
}

/* Owned copy of n bytes, %XX decoded. */
static char *decoded(const char *s, size_t n)
{
	char *out = malloc(n + 1);
	size_t o = 0;
	for (size_t i = 0; out && i < n; i++) {
		int hi = s[i] == '%' && i + 2 < n ? unhex(s[i + 1]) : -1;
		int lo = hi >= 0 ? unhex(s[i + 2]) : -1;
		if (lo >= 0)
			i += 2;
		out[o++] = lo >= 0 ? (char)(hi * 16 + lo) : s[i];
	}
	if (out)
		out[o] = '\0';
	return out;
}

int proxy_parse(const char *url, struct proxy *out)
{
	_cleanup_(proxy_free) struct proxy p = {.set = true};
	if (!strncasecmp(url, "socks5://", 9) || !strncasecmp(url, "socks5h://", 10))
		p.socks = true;
	else if (strstr(url, "://") && strncasecmp(url, "http://", 7) != 0)
		return -EINVAL;
	const char *s = strstr(url, "://");
	s = s ? s + 3 : url;
	size_t n = strcspn(s, "/?#");
	const char *at = memrchr(s, '@', n);
	if (at) {
		size_t u = strcspn(s, ":");
		bool both = u < (size_t)(at - s);
		p.user = decoded(s, both ? u : (size_t)(at - s));
		p.password = both ? decoded(s + u + 1, (size_t)(at - s) - u - 1) : strdup("");
		if (!p.user || !p.password || strlen(p.user) > 255 || strlen(p.password) > 255 ||
		    strpbrk(p.user, ":\r\n"))
			return -EINVAL;
		n -= (size_t)(at + 1 - s);
		s = at + 1;
	}
	bool brackets = n && s[0] == '[';
	const char *end = brackets ? memchr(s, ']', n) : memchr(s, ':', n);
	size_t host = end ? (size_t)(end - s) : n;
	p.host = brackets ? end ? strndup(s + 1, host - 1) : NULL : strndup(s, host);
	const char *colon = end && brackets ? end + 1 : end;
	uint64_t port = p.socks ? 1080 : 3128;
	if (colon && colon < s + n) {
		_cleanup_free_ char *digits = strndup(colon + 1, n - (size_t)(colon + 1 - s));
		if (*colon != ':' || !digits || hull_parse_u64(digits, 65535, &port) < 0 || port == 0)
			return -EINVAL;
	}
	if (!p.host || !p.host[0])
		return -EINVAL;
	p.port = (uint16_t)port;
	*out = p;
	p = (struct proxy){0};
	return 0;
}

/* NO_PROXY: names (with everything below them), addresses and networks, "*"; separated by commas. */
static bool excepted(const char *list, const char *host)
{
	struct hull_addr a;
	bool literal = hull_addr_parse(host, &a);
	size_t n = strlen(host);
	while (list && *list) {
		list += strspn(list, ", \t");
		size_t len = strcspn(list, ", \t");
		char word[300];
		if (len > 0 && len < sizeof(word)) {
			memcpy(word, list, len);
			word[len] = '\0';
			_cleanup_(hull_rule_free) struct hull_rule r = {0};
			const char *w = word[0] == '*' && word[1] == '.' ? word + 2 : word[0] == '.' ? word + 1 : word;
			size_t t = strlen(w);
			if (strcmp(word, "*") == 0)
				return true;
			if (literal && hull_rule_parse(word, true, &r, NULL) == 0 && r.kind == HULL_RULE_NET &&
			    hull_addr_in(&a, &r.net, r.bits))
				return true;
			if (!literal && n >= t && strcasecmp(host + n - t, w) == 0 &&
			    (n == t || host[n - t - 1] == '.'))
				return true;
		}
		list += len;
	}
	return false;
}

const struct proxy *proxy_for(const struct egress *g, const char *host, uint16_t port)
{
	const struct proxy *p = port == 80 ? &g->http_proxy : &g->https_proxy;
	if (!p->set)
		p = &g->all_proxy;
	return p->set && !hull_host_is_host(host) && !excepted(g->no_proxy, host) ? p : NULL;
}

/* --- handshakes --- */

static char *base64(const char *s)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(s), o = 0;
	char *out = malloc((n + 2) / 3 * 4 + 1);
	for (size_t i = 0; out && i < n; i += 3) {
		uint32_t v = (uint32_t)(uint8_t)s[i] << 16;
		v |= i + 1 < n ? (uint32_t)(uint8_t)s[i + 1] << 8 : 0;
		v |= i + 2 < n ? (uint8_t)s[i + 2] : 0;
		out[o++] = set[v >> 18];
		out[o++] = set[v >> 12 & 63];
		out[o++] = i + 1 < n ? set[v >> 6 & 63] : '=';
		out[o++] = i + 2 < n ? set[v & 63] : '=';
	}
	if (out)
		out[o] = '\0';
	return out;
}

char *proxy_authorization(const struct proxy *p)
{
	if (!p->user)
		return strdup("");
	_cleanup_free_ char *both = hull_fmt("%s:%s", p->user, p->password);
	_cleanup_free_ char *coded = both ? base64(both) : NULL;
	return coded ? hull_fmt("Proxy-Authorization: Basic %s\r\n", coded) : NULL;
}

static int fail(struct handshake *h, int code, const char *fmt, int value)
{
	snprintf(h->why, sizeof(h->why), fmt, value);
	return code;
}

static int http_step(struct handshake *h, struct hull_buf *heard, struct hull_buf *say)
{
	if (h->state == 0) {
		_cleanup_free_ char *auth = proxy_authorization(h->proxy);
		bool six = strchr(h->host, ':') != NULL;
		const char *l = six ? "[" : "", *r = six ? "]" : "";
		h->state = 1;
		if (!auth || hull_buf_addf(say, "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n%s\r\n", l, h->host,
					   r, h->port, l, h->host, r, h->port, auth) < 0)
			return -ENOMEM;
		return 0;
	}
	const uint8_t *p = hull_buf_bytes(heard);
	const uint8_t *end = heard->len ? memmem(p, heard->len, "\r\n\r\n", 4) : NULL;
	if (!end)
		return heard->len > ANSWER_MAX
			       ? fail(h, -EPROTO, "the upstream proxy sent an answer that is not of its protocol (%d)",
				      0)
			       : 0;
	int status = 0;
	if (heard->len >= 12 && memcmp(p, "HTTP/1.", 7) == 0)
		for (int i = 9; i < 12; i++)
			status = isdigit(p[i]) ? status * 10 + p[i] - '0' : -1000;
	hull_buf_drain(heard, (size_t)(end - p) + 4);
	if (status >= 200 && status < 300)
		return 1;
	return fail(h, -ECONNREFUSED, "the upstream proxy refused the connection (HTTP status %d)", status);
}

static int socks_request(struct handshake *h, struct hull_buf *say)
{
	struct hull_addr a;
	uint8_t head[4] = {5, 1, 0, 3}, port[2] = {(uint8_t)(h->port >> 8), (uint8_t)h->port};
	size_t n = strlen(h->host);
	uint8_t len = (uint8_t)n;
	bool literal = hull_addr_parse(h->host, &a);
	if (literal)
		head[3] = a.family == AF_INET ? 1 : 4;
	int r = n > 255 ? -EINVAL : hull_buf_add(say, head, 4);
	if (r == 0 && literal)
		r = hull_buf_add(say, a.b, a.family == AF_INET ? 4 : 16);
	else if (r == 0 && (r = hull_buf_add(say, &len, 1)) == 0)
		r = hull_buf_add(say, h->host, n);
	return r == 0 ? hull_buf_add(say, port, 2) : r;
}

static int socks_step(struct handshake *h, struct hull_buf *heard, struct hull_buf *say)
{
	const uint8_t *p = hull_buf_bytes(heard);
	size_t n = heard->len, want;
	int r;
	switch (h->state) {
	case 0:
		h->state = 1;
		return hull_buf_add(say, h->proxy->user ? "\5\2\0\2" : "\5\1\0", h->proxy->user ? 4 : 3);
	case 1:
		if (n < 2)
			return 0;
		if (p[0] != 5 || (p[1] != 0 && !(p[1] == 2 && h->proxy->user)))
			return fail(h, -EACCES,
				    "the upstream proxy requires an authentication method that is not supported (%d)",
				    p[1]);
		h->state = p[1] == 2 ? 2 : 3;
		hull_buf_drain(heard, 2);
		if (h->state == 3)
			return socks_request(h, say);
		uint8_t u = (uint8_t)strlen(h->proxy->user), w = (uint8_t)strlen(h->proxy->password);
		r = hull_buf_add(say, "\1", 1);
		r = r ? r : hull_buf_add(say, &u, 1);
		r = r ? r : hull_buf_add(say, h->proxy->user, u);
		r = r ? r : hull_buf_add(say, &w, 1);
		return r ? r : hull_buf_add(say, h->proxy->password, w);
	case 2:
		if (n < 2)
			return 0;
		if (p[1] != 0)
			return fail(h, -EACCES, "the upstream proxy rejected the user name or password (%d)", p[1]);
		h->state = 3;
		hull_buf_drain(heard, 2);
		return socks_request(h, say);
	default:
		if (n < 5)
			return 0;
		if (p[0] != 5 || p[1] != 0)
			return fail(h, -ECONNREFUSED, "the upstream proxy refused the connection (SOCKS reply %d)",
				    p[1]);
		want = 6 + (p[3] == 1 ? 4u : p[3] == 4 ? 16u : 1u + p[4]);
		if (n < want)
			return 0;
		hull_buf_drain(heard, want);
		return 1;
	}
}

int proxy_step(struct handshake *h, struct hull_buf *heard, struct hull_buf *say)
{
	return h->proxy->socks ? socks_step(h, heard, say) : http_step(h, heard, say);
}

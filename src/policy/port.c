/* SPDX-License-Identifier: Apache-2.0 */
/* A published port as text; see port.h. */
#include "policy/port.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <string.h>

static int bad(const char *text, const char *why, struct hull_error *err)
{
	_cleanup_free_ char *shown = hull_printable(text, strnlen(text, 100));
	return hull_fail(err, -EINVAL, "\"%s\" is not a port to publish: %s; it is [[IP:]HOST:]PORT[/tcp|/udp]",
			 shown ? shown : "", why);
}

static bool number(const char *s, uint64_t least, uint16_t *out)
{
	uint64_t v;
	if (hull_parse_u64(s, 65535, &v) < 0 || v < least)
		return false;
	*out = (uint16_t)v;
	return true;
}

int hull_port_parse(const char *text, struct hull_port *out, struct hull_error *err)
{
	struct hull_port p = {0};
	struct hull_addr a;
	_cleanup_free_ char *copy = strdup(text);
	if (!copy)
		return hull_fail(err, -ENOMEM, "out of memory");
	char *s = copy, *slash = strchr(s, '/');
	if (slash) {
		*slash = '\0';
		p.udp = strcmp(slash + 1, "udp") == 0;
		if (!p.udp && strcmp(slash + 1, "tcp") != 0)
			return bad(text, "the protocol is tcp or udp", err);
	}
	char *guest = strrchr(s, ':');
	if (!number(guest ? guest + 1 : s, 1, &p.guest))
		return bad(text, "a port is a number from 1 to 65535", err);
	if (guest) {
		*guest = '\0';
		char *host = strrchr(s, ':');
		/* "[::1]" without a port of the host's is an address still. */
		if (s[0] == '[' && host && strchr(host, ']'))
			return bad(text, "an address is followed by the host's port", err);
		if (host) {
			*host++ = '\0';
			size_t n = strlen(s);
			if (s[0] == '[' && n > 2 && s[n - 1] == ']') {
				s[n - 1] = '\0';
				s++;
			}
			if (!hull_addr_parse(s, &a))
				return bad(text, "the part before the first colon is not an IP address", err);
			hull_addr_text(&a, p.ip);
		} else {
			host = s;
		}
		if (*host && !number(host, 0, &p.host))
			return bad(text, "a port is a number from 1 to 65535", err);
	}
	*out = p;
	return 0;
}

char *hull_port_text(const struct hull_port *p)
{
	bool six = strchr(p->ip, ':') != NULL;
	if (p->ip[0])
		return hull_fmt("%s%s%s:%u:%u/%s", six ? "[" : "", p->ip, six ? "]" : "", p->host, p->guest,
				p->udp ? "udp" : "tcp");
	return hull_fmt("%u:%u/%s", p->host, p->guest, p->udp ? "udp" : "tcp");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A remote's URL without what is secret in it.
 *
 * In SCHEME://USER:PASSWORD@HOST/... the user is needed for ssh, where it is no secret; with http(s) and whatever else
 * it may be a token, as the query may, and goes. HELPER::REST is REST with something before it. USER@HOST:PATH and
 * paths have nothing secret. */
#include "git/git.h"

#include "base/text.h"

#include <string.h>

static bool scheme_is_ssh(const char *url, size_t n)
{
	static const char *const ssh[] = {"ssh", "git+ssh", "ssh+git", "sftp"};
	for (size_t i = 0; i < sizeof(ssh) / sizeof(*ssh); i++)
		if (strlen(ssh[i]) == n && strncasecmp(url, ssh[i], n) == 0)
			return true;
	return false;
}

char *hull_git_plain_url(const char *url)
{
	const char *start = url;
	for (const char *helper; (helper = strstr(start, "::")) != NULL;) {
		const char *scheme = strstr(start, "://");
		if ((scheme && scheme < helper) || memchr(start, '/', (size_t)(helper - start)) || start[0] == '[')
			break; /* an IPv6 address, or part of a path */
		start = helper + 2;
	}
	const char *scheme = strstr(start, "://");
	if (!scheme || memchr(start, '/', (size_t)(scheme - start)))
		return strdup(url);
	bool ssh = scheme_is_ssh(start, (size_t)(scheme - start));
	const char *host = scheme + 3;
	size_t n = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', n);
	const char *colon = at ? memchr(host, ':', (size_t)(at - host)) : NULL;
	const char *rest = at ? at + 1 : host;
	int head = (int)(host - url), user = 0;
	if (ssh && at)
		user = (int)((colon ? colon : at) - host);
	size_t tail = ssh ? strlen(rest) : strcspn(rest, "?#");
	return hull_fmt("%.*s%.*s%s%.*s", head, url, user, host, user ? "@" : "", (int)tail, rest);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Explains why a command had no network, because few clients show the reason of a refusal and TLS cannot carry it; see
 * refused.h.
 *
 * hull-egress writes a line to egress.log before the command sees the refusal. So every `deny` line appended while a
 * command ran concerns this command or one that ran concurrently. The names in it are the guest's: they are passed
 * through hull_printable(), and only a few are shown. */
#include "lib/command/refused.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_MAX = 256 * 1024, HOSTS_MAX = 4, HOST_SHOWN = 100 };

static int open_log(const struct hull_paths *paths, const char *name, struct stat *st)
{
	_cleanup_free_ char *path = hull_sandbox_path(paths, name, "egress.log");
	_cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0 || fstat(fd, st) < 0 || !S_ISREG(st->st_mode))
		return -1;
	return hull_steal_fd(&fd);
}

struct refused_mark refused_mark(const struct hull_paths *paths, const char *name)
{
	struct stat st;
	_cleanup_close_ int fd = open_log(paths, name, &st);
	return fd < 0 ? (struct refused_mark){0} : (struct refused_mark){.file = st.st_ino, .end = st.st_size};
}

/* The "host:port" of a `deny` line, owned; NULL for any other line. */
static char *denied_host(const char *line, size_t n)
{
	json_t *j = json_loadb(line, n, 0, NULL);
	const char *verdict = json_string_value(json_object_get(j, "verdict"));
	const char *host = json_string_value(json_object_get(j, "name"));
	char *one = NULL;
	if (!host)
		host = json_string_value(json_object_get(j, "address"));
	if (host && verdict && strcmp(verdict, "deny") == 0) {
		_cleanup_free_ char *shown = hull_printable(host, strnlen(host, HOST_SHOWN));
		bool six = strchr(host, ':') != NULL;
		if (shown)
			one = hull_fmt("%s%s%s:%lld", six ? "[" : "", shown, six ? "]" : "",
				       (long long)json_integer_value(json_object_get(j, "port")));
	}
	json_decref(j);
	return one;
}

void refused_hosts(const char *text, size_t n, struct hull_buf *out)
{
	char *hosts[HOSTS_MAX] = {0};
	size_t count = 0;
	bool others = false;
	for (const char *nl; n > 0 && (nl = memchr(text, '\n', n)); n -= (size_t)(nl - text) + 1, text = nl + 1) {
		char *one = denied_host(text, (size_t)(nl - text));
		bool known = !one;
		for (size_t i = 0; i < count && !known; i++)
			known = strcmp(hosts[i], one) == 0;
		if (!known && count < HOSTS_MAX) {
			hull_buf_addf(out, "%s%s", count ? ", " : "", one);
			hosts[count++] = one;
			continue;
		}
		others = others || !known;
		free(one);
	}
	if (others)
		hull_buf_addf(out, " and others");
	for (size_t i = 0; i < count; i++)
		free(hosts[i]);
}

void refused_since(const struct hull_paths *paths, const char *name, const struct refused_mark *since,
		   struct hull_buf *hosts)
{
	struct stat st;
	_cleanup_close_ int fd = open_log(paths, name, &st);
	if (fd < 0)
		return;
	off_t from = st.st_ino == since->file && st.st_size >= since->end ? since->end : 0;
	size_t n = st.st_size - from < READ_MAX ? (size_t)(st.st_size - from) : READ_MAX;
	_cleanup_free_ char *text = n ? malloc(n) : NULL;
	ssize_t got = text ? pread(fd, text, n, from) : 0;
	if (got > 0)
		refused_hosts(text, (size_t)got, hosts);
}

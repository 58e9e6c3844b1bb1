/* SPDX-License-Identifier: Apache-2.0 */
/* May dockerd be frozen? Only while a connection to its socket, which wakes it, is the one way to need it:
 *
 *     daemon.json      has neither "hosts" nor "metrics-addr"
 *     its sockets      none listens on TCP (a swarm's does)
 *     its cgroup       holds nothing else (docker-proxy, which carries a published port)
 *     containerd's     holds nothing but containerd: every container has a shim in it, and may ask dockerd's DNS
 *
 * Whatever cannot be read or is too large counts as a reason not to freeze it. daemon.json is searched as text: words
 * that mean something else cost an idle dockerd, nothing more. */
#include "guest/docker/idle.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CONFIG_MAX = 256 << 10, TABLE_MAX = 1 << 20, PROCS_MAX = 64 << 10, TCP_LISTEN = 0x0a };

/* Is this a key of the text: the word, quoted, and a colon? */
static bool has_key(const char *text, const char *quoted)
{
	for (const char *at = text; (at = strstr(at, quoted)); at++)
		if (at[strlen(quoted) + strspn(at + strlen(quoted), " \t\r\n")] == ':')
			return true;
	return false;
}

struct hull_docker_config hull_docker_config_read(int fd)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	if (fd == -ENOENT)
		return (struct hull_docker_config){0};
	uint8_t *to = fd < 0 ? NULL : hull_buf_room(&text, CONFIG_MAX + 1);
	ssize_t n = to ? hull_read_full(fd, to, CONFIG_MAX) : -1;
	if (n < 0 || n == CONFIG_MAX)
		return (struct hull_docker_config){.more = true};
	to[n] = '\0';
	const char *t = (const char *)to;
	return (struct hull_docker_config){
		.hosts = has_key(t, "\"hosts\""),
		/* Keys are matched whatever their case, and may be written with escapes. */
		.more = strlen(t) != (size_t)n || strcasestr(t, "hosts") || strcasestr(t, "metrics-addr") ||
			strcasestr(t, "\\u"),
	};
}

/* Add the inodes of a table's listening sockets, " N" each and a space at the end. */
static int listening(int proc, const char *table, struct hull_buf *out)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	char *save = NULL;
	int r = hull_read_file(proc, table, TABLE_MAX, &text, NULL);
	if (r == -ENOENT)
		return 0; /* a kernel without IPv6 */
	if (r < 0 || text.len == 0)
		return r;
	for (char *l = strtok_r((char *)hull_buf_bytes(&text), "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		unsigned state;
		unsigned long inode;
		char word[32];
		if (sscanf(l, " %*u: %*s %*s %x %*s %*s %*s %*s %*s %lu", &state, &inode) != 2 || state != TCP_LISTEN)
			continue;
		snprintf(word, sizeof(word), " %lu ", inode);
		if (hull_buf_addstr(out, word) < 0)
			return -ENOMEM;
	}
	return 0;
}

bool hull_listens_on_tcp(int proc)
{
	_cleanup_(hull_buf_free) struct hull_buf inodes = {0};
	if (listening(proc, "net/tcp", &inodes) < 0 || listening(proc, "net/tcp6", &inodes) < 0)
		return true;
	if (inodes.len == 0)
		return false;
	int fd = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return true;
	for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
		char target[64] = "", word[32];
		unsigned long inode;
		if (readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1) < 0 ||
		    sscanf(target, "socket:[%lu]", &inode) != 1)
			continue;
		snprintf(word, sizeof(word), " %lu ", inode);
		if (memmem(hull_buf_bytes(&inodes), inodes.len, word, strlen(word)))
			return true;
	}
	return false;
}

bool hull_cgroup_has_more(int dir, int pid)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	char *save = NULL;
	int others = 0;
	if (hull_read_file(dir, "cgroup.procs", PROCS_MAX, &text, NULL) < 0)
		return true;
	if (text.len == 0)
		return false;
	for (char *l = strtok_r((char *)hull_buf_bytes(&text), "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		others += atoi(l) != pid;
	return others > (pid == 0);
}

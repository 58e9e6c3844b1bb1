/* SPDX-License-Identifier: Apache-2.0 */
/* The store: entries in a file, one a line, appended and synced before the answer. */
#include "guestbook.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Send the file, or only count its lines (out < 0); the number of lines, or -1. */
static long each_line(int file, int out)
{
	char buf[4096];
	long lines = 0;
	off_t at = 0;
	for (ssize_t n; (n = pread(file, buf, sizeof buf, at)) != 0; at += n) {
		if (n < 0 || (out >= 0 && write_all(out, buf, (size_t)n) < 0))
			return -1;
		for (ssize_t i = 0; i < n; i++)
			lines += buf[i] == '\n';
	}
	return lines;
}

static int answer(int out, const char *s)
{
	return write_all(out, s, strlen(s));
}

int store_command(int file, const char *line, int out)
{
	if (strcmp(line, "LIST") == 0)
		return each_line(file, out) < 0 ? -1 : answer(out, ".\n");
	if (strncmp(line, "ADD ", 4) != 0)
		return answer(out, "ERROR unknown command\n");
	if (!text_ok(line + 4))
		return answer(out, "ERROR not fit for a guestbook\n");
	char entry[TEXT_MAX + 2];
	int n = snprintf(entry, sizeof entry, "%s\n", line + 4);
	if (write_all(file, entry, (size_t)n) < 0 || fsync(file) < 0)
		return answer(out, "ERROR cannot write\n");
	char ok[32];
	snprintf(ok, sizeof ok, "OK %ld\n", each_line(file, -1));
	return answer(out, ok);
}

int store_main(const char *path, int port)
{
	int file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (file < 0) {
		perror(path);
		return 1;
	}
	int listener = tcp_listen(port);
	if (listener < 0) {
		perror("listen");
		return 1;
	}
	printf("store: %ld entries in %s, listening on port %d\n", each_line(file, -1), path, port);
	fflush(stdout);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		struct timeval limit = {.tv_sec = 10};
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
		char line[TEXT_MAX + 16];
		if (read_line(fd, line, sizeof line) >= 0)
			store_command(file, line, fd);
		close(fd);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* As much of HTTP/1.1 as a guestbook needs: one request a connection. */
#include "guestbook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int http_parse(const char *p, size_t n, struct request *out)
{
	const char *end = memmem(p, n, "\r\n\r\n", 4);
	if (!end)
		return n >= REQUEST_MAX ? -1 : 0;
	*out = (struct request){.head_length = (size_t)(end - p) + 4};
	char head[REQUEST_MAX + 1];
	if (out->head_length > REQUEST_MAX || memchr(p, 0, out->head_length))
		return -1;
	memcpy(head, p, out->head_length);
	head[out->head_length] = 0;

	char *save, *line = strtok_r(head, "\r\n", &save);
	char version[16];
	if (!line || sscanf(line, "%7[A-Z] %255[^ ] %15s", out->method, out->path, version) != 3 ||
	    strncmp(version, "HTTP/1.", 7) != 0 || out->path[0] != '/')
		return -1;
	while ((line = strtok_r(NULL, "\r\n", &save))) {
		if (strncasecmp(line, "Content-Length:", 15) != 0)
			continue;
		char *rest;
		unsigned long length = strtoul(line + 15, &rest, 10);
		if (*rest || length > REQUEST_MAX)
			return -1;
		out->body_length = length;
	}
	return 1;
}

int http_respond(int fd, int status, const char *type, const char *body, size_t n)
{
	const char *reason = status == 200   ? "OK"
			     : status == 201 ? "Created"
			     : status == 404 ? "Not Found"
			     : status == 400 ? "Bad Request"
					     : "Service Unavailable";
	char head[256];
	int len = snprintf(head, sizeof head,
			   "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
			   status, reason, type, n);
	return write_all(fd, head, (size_t)len) < 0 ? -1 : write_all(fd, body, n);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The web service: a page for people, JSON for programs, and a health check that asks the store.
 *
 *   GET /            the page          GET /entries    ["...", ...]
 *   POST /entries    text=... (a form) GET /healthz    "ok" when the store answers */
#include "guestbook.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct backend {
	const char *host;
	int port;
};

/* Send one command; the connection to read the answer from, or -1. */
static int ask(const struct backend *b, const char *command)
{
	int fd = tcp_connect(b->host, b->port);
	if (fd >= 0 && (write_all(fd, command, strlen(command)) < 0 || write_all(fd, "\n", 1) < 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Every entry through `escape`, put between `before` and `after`, those parted by `between`. */
static char *list(const struct backend *b, int (*escape)(const char *, char *, size_t), const char *before,
		  const char *between, const char *after)
{
	int fd = ask(b, "LIST");
	if (fd < 0)
		return NULL;
	char *text = NULL, line[TEXT_MAX + 16], escaped[6 * TEXT_MAX + 16];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int n = -1;
	if (out) {
		fputs(before, out);
		for (int i = 0; (n = read_line(fd, line, sizeof line)) >= 0 && strcmp(line, ".") != 0; i++)
			if (escape(line, escaped, sizeof escaped) >= 0)
				fprintf(out, "%s%s", i ? between : "", escaped);
		fputs(after, out);
		fclose(out);
	}
	close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	return text;
}

static int unavailable(int fd)
{
	static const char text[] = "the store does not answer\n";
	return http_respond(fd, 503, "text/plain", text, sizeof text - 1);
}

static int show(int fd, const char *type, char *body)
{
	if (!body)
		return unavailable(fd);
	int r = http_respond(fd, 200, type, body, strlen(body));
	free(body);
	return r;
}

static int add(const struct backend *b, int fd, char *body)
{
	static const char bad[] = "send text=... of at most 500 characters\n";
	if (strncmp(body, "text=", 5) != 0 || !url_decode(body) || !text_ok(body + 5))
		return http_respond(fd, 400, "text/plain", bad, sizeof bad - 1);
	char command[TEXT_MAX + 8], line[64];
	snprintf(command, sizeof command, "ADD %.*s", TEXT_MAX, body + 5);
	int store = ask(b, command);
	int n = store < 0 ? -1 : read_line(store, line, sizeof line - 1);
	if (store >= 0)
		close(store);
	if (n < 0 || strncmp(line, "OK ", 3) != 0)
		return unavailable(fd);
	strcat(line, "\n");
	return http_respond(fd, 201, "text/plain", line + 3, strlen(line + 3));
}

static int route(const struct backend *b, int fd, const struct request *r, char *body)
{
	static const char page[] =
		"<!doctype html><title>Guestbook</title><h1>Guestbook</h1>"
		"<form method=post action=/entries><input name=text><button>Sign</button></form><ul><li>";
	if (strcmp(r->method, "GET") == 0 && strcmp(r->path, "/") == 0)
		return show(fd, "text/html; charset=utf-8", list(b, html_escape, page, "</li>\n<li>", "</li></ul>\n"));
	if (strcmp(r->method, "GET") == 0 && strcmp(r->path, "/entries") == 0)
		return show(fd, "application/json", list(b, json_string, "[", ",", "]\n"));
	if (strcmp(r->method, "POST") == 0 && strcmp(r->path, "/entries") == 0)
		return add(b, fd, body);
	if (strcmp(r->method, "GET") == 0 && strcmp(r->path, "/healthz") == 0) {
		char *all = list(b, json_string, "", "", "");
		if (!all)
			return unavailable(fd);
		free(all);
		return http_respond(fd, 200, "text/plain", "ok\n", 3);
	}
	return http_respond(fd, 404, "text/plain", "no such page\n", 13);
}

static void serve(const struct backend *b, int fd)
{
	char buf[2 * REQUEST_MAX + 1];
	size_t n = 0;
	struct request r;
	for (int state = 0; n < sizeof buf - 1;) {
		ssize_t got = read(fd, buf + n, sizeof buf - 1 - n);
		if (got <= 0)
			return;
		n += (size_t)got;
		if (!state)
			state = http_parse(buf, n, &r);
		if (state < 0) {
			http_respond(fd, 400, "text/plain", "not HTTP\n", 9);
			return;
		}
		if (state && n >= r.head_length + r.body_length) {
			buf[r.head_length + r.body_length] = 0;
			route(b, fd, &r, buf + r.head_length);
			return;
		}
	}
}

int web_main(const char *store_host, int store_port, int port)
{
	struct backend b = {store_host, store_port};
	int listener = tcp_listen(port);
	if (listener < 0) {
		perror("listen");
		return 1;
	}
	printf("web: listening on port %d, store at %s:%d\n", port, store_host, store_port);
	fflush(stdout);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		struct timeval limit = {.tv_sec = 10};
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
		serve(&b, fd);
		close(fd);
	}
}

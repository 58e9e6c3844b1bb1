/* SPDX-License-Identifier: Apache-2.0 */
/* A guestbook in two services: `web` speaks HTTP to people, `store` keeps the entries in a file on a volume.
 *
 * The store's protocol is lines over TCP: "ADD <text>\n" is answered "OK <number>\n" once the entry is on disk (fsync),
 * "LIST\n" with every entry on a line of its own and then ".\n"; anything else with "ERROR <why>\n". A text is one
 * line of at most TEXT_MAX bytes without control characters. */
#ifndef GUESTBOOK_H
#define GUESTBOOK_H

#include <stdbool.h>
#include <stddef.h>

enum { TEXT_MAX = 500, REQUEST_MAX = 8192, STORE_PORT = 7070, WEB_PORT = 8080 };

/* text.c */
/* Undo application/x-www-form-urlencoded in place ('+' and %XX); false when a %XX is malformed. */
bool url_decode(char *s);
/* Write s with & < > " ' replaced for HTML; the length written, or -1 when cap is too small. */
int html_escape(const char *s, char *out, size_t cap);
/* Write s as a JSON string with its quotes; the length written, or -1 when cap is too small. */
int json_string(const char *s, char *out, size_t cap);
/* Is it fit to be an entry: not empty, not too long, no control characters? */
bool text_ok(const char *s);

/* http.c */
struct request {
	char method[8];
	char path[256];
	size_t body_length; /* from Content-Length; 0 without */
	size_t head_length; /* bytes up to and with the empty line */
};
/* Read a request's head out of n bytes: 1 = complete, 0 = more bytes needed, -1 = not HTTP. */
int http_parse(const char *p, size_t n, struct request *out);
/* Send a whole response; 0 or -1. */
int http_respond(int fd, int status, const char *type, const char *body, size_t n);

/* net.c */
int tcp_listen(int port);
int tcp_connect(const char *host, int port);
int write_all(int fd, const void *p, size_t n);
/* Read up to and without the next '\n' into out, at most cap - 1 bytes; the length, or -1 at the end. */
int read_line(int fd, char *out, size_t cap);

/* The roles; each serves until it is killed and returns an exit code only on failure. */
int store_main(const char *file, int port);
int web_main(const char *store_host, int store_port, int port);

/* One command of the store's protocol, against an open file: its answer goes to `out` (a descriptor). */
int store_command(int file, const char *line, int out);

#endif

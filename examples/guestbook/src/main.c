/* SPDX-License-Identifier: Apache-2.0 */
/* One program, three uses: `guestbook store FILE`, `guestbook web STORE_HOST`, `guestbook check` (for Docker's
 * health check: is the web service of this container well?). */
#include "guestbook.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int check(void)
{
	static const char ask[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
	char line[64];
	int fd = tcp_connect("127.0.0.1", WEB_PORT);
	if (fd < 0 || write_all(fd, ask, sizeof ask - 1) < 0 || read_line(fd, line, sizeof line) < 0)
		return 1;
	close(fd);
	return strncmp(line, "HTTP/1.1 200 ", 13) != 0;
}

/* As PID 1 of a container, a signal without a handler is ignored: leave at once, everything answered is on disk. */
static void leave(int sig)
{
	(void)sig;
	_exit(0);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, leave);
	signal(SIGINT, leave);
	if (argc == 3 && strcmp(argv[1], "store") == 0)
		return store_main(argv[2], STORE_PORT);
	if (argc == 3 && strcmp(argv[1], "web") == 0)
		return web_main(argv[2], STORE_PORT, WEB_PORT);
	if (argc == 2 && strcmp(argv[1], "check") == 0)
		return check();
	fprintf(stderr, "usage: guestbook store FILE | web STORE_HOST | check\n");
	return 2;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See log.h. A line is put together on the stack and leaves in one write(2), so lines of several processes on one
 * O_APPEND file never mix. A log that cannot be written is dropped silently: logging must not stop the work. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

static int log_fd = 2;
static char log_who[32] = "hull";

void hull_log_open(int fd, const char *who)
{
	log_fd = fd;
	snprintf(log_who, sizeof(log_who), "%s", who);
}

void hull_log(const char *fmt, ...)
{
	int saved = errno;
	char line[LINE_MAX_BYTES];
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	used += (size_t)snprintf(line + used, sizeof(line) - used,
				 ".%03uZ %s: ", (unsigned)(now.tv_nsec / 1000000) % 1000, log_who);
	size_t start = used;
	va_list ap;
	va_start(ap, fmt);
	errno = saved; /* for %m */
	int n = vsnprintf(line + used, sizeof(line) - used - 1, fmt, ap);
	va_end(ap);
	size_t room = sizeof(line) - used - 2;
	if (n > 0)
		used += (size_t)n < room ? (size_t)n : room;
	for (size_t i = start; i < used; i++)
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	line[used++] = '\n';
	ssize_t written;
	do
		written = write(log_fd, line, used);
	while (written < 0 && errno == EINTR);
	errno = saved;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What hull-init tells a person: one line on the console, and in the keeper's log when the wire is up. */
#include "guest/core/core.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

uint64_t hull_uptime_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void hull_say(const char *fmt, ...)
{
	char line[1024];
	uint64_t ms = hull_uptime_ms();
	int head = snprintf(line, sizeof(line), "hull-init: [%llu.%03llu] ", (unsigned long long)(ms / 1000),
			    (unsigned long long)(ms % 1000));
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line + head, sizeof(line) - (size_t)head - 2, fmt, ap);
	va_end(ap);
	hull_report_log(line + head);

	strcat(line, "\n");
	/* Not kept open: the console is a terminal, and PID 1 must not get it as its own. */
	_cleanup_close_ int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0) {
		ssize_t n = write(fd, line, strlen(line));
		(void)n;
	}
}

int hull_put(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

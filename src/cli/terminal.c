/* SPDX-License-Identifier: Apache-2.0 */
/* Raw mode and size of the terminal. One terminal at a time; the saved modes are static so that an exit handler can
 * restore them. Signals that would end the process are caught (signals.c) while it is raw. */
#include "cli/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved, raw;
static int raw_fd = -1;

int terminal_raw(int fd)
{
	static bool registered;
	if (tcgetattr(fd, &saved) < 0)
		return -errno;
	if (!registered)
		atexit(terminal_restore);
	registered = true;
	raw = saved;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
		return -errno;
	raw_fd = fd;
	return 0;
}

void terminal_restore(void)
{
	if (raw_fd >= 0)
		tcsetattr(raw_fd, TCSADRAIN, &saved);
	raw_fd = -1;
}

void terminal_again(void)
{
	if (raw_fd >= 0)
		tcsetattr(raw_fd, TCSADRAIN, &raw);
}

bool terminal_size(int fd, uint32_t *rows, uint32_t *cols)
{
	struct winsize ws;
	if (ioctl(fd, TIOCGWINSZ, &ws) < 0 || !ws.ws_row || !ws.ws_col)
		return false;
	*rows = ws.ws_row;
	*cols = ws.ws_col;
	return true;
}

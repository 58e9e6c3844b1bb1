/* SPDX-License-Identifier: Apache-2.0 */
/* See pty.h. The slave belongs to the session's user and the group tty with mode 0620, as a login leaves it. */
#include "guest/session/pty.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { TTY_GROUP = 5, SIZE_MAX_CELLS = 4096 };

static struct winsize size_of(unsigned rows, unsigned cols)
{
	return (struct winsize){
		.ws_row = (unsigned short)(rows == 0 || rows > SIZE_MAX_CELLS ? 24 : rows),
		.ws_col = (unsigned short)(cols == 0 || cols > SIZE_MAX_CELLS ? 80 : cols),
	};
}

int hull_pty_open(uid_t uid, unsigned rows, unsigned cols, int *master, int *slave, struct hull_error *err)
{
	int unlock = 0;
	_cleanup_close_ int m = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (m < 0 || ioctl(m, TIOCSPTLCK, &unlock) < 0)
		return hull_fail_errno(err, "cannot make a terminal");
	_cleanup_close_ int s = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct winsize w = size_of(rows, cols);
	if (s < 0 || fchown(s, uid, TTY_GROUP) < 0 || fchmod(s, 0620) < 0 || ioctl(m, TIOCSWINSZ, &w) < 0)
		return hull_fail_errno(err, "cannot set up a terminal");
	*master = hull_steal_fd(&m);
	*slave = hull_steal_fd(&s);
	return 0;
}

void hull_pty_resize(int master, unsigned rows, unsigned cols)
{
	struct winsize w = size_of(rows, cols);
	ioctl(master, TIOCSWINSZ, &w);
}

int hull_pty_adopt(int slave)
{
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave, fd) < 0)
			return -errno;
	return 0;
}

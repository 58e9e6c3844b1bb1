/* A disk that became larger while the guest runs: its file system is grown to it.
 *
 * The host has told the device its new size and says so on control (GROW), but the two travel by different ways: the
 * device's interrupt may come after the message. So the size is waited for, by the kernel's uevent about it. That wait,
 * and the growing itself (seconds for terabytes), are done by a child: PID 1 goes on. GROWN tells how it ended; the
 * child's words come through a pipe, which holds them until it has ended. */
#include "guest/core/core.h"

#include "base/cleanup.h"
#include "guest/core/child.h"
#include "guest/machine/grow.h"
#include "guest/core/uevent.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

enum { SIZE_WAIT_MS = 10000, TEXT_MAX = 512 };

static struct hull_child child;
static int words = -1; /* what the child says; the end that is read */
static int said = -1;  /* the child's end */
static uint64_t wanted;

static bool has_size(void *ctx)
{
	return hull_disk_bytes() >= *(uint64_t *)ctx;
}

static void run(void *ctx, int status_fd)
{
	struct hull_error err = {0};
	hull_child_keep(said, status_fd);
	if (!hull_wait_device(has_size, &wanted, SIZE_WAIT_MS))
		hull_fail(&err, -ETIMEDOUT, "the disk's device has not got its new size");
	else
		hull_grow_disk(&err);
	if (err.code && write(said, err.msg, strlen(err.msg)) < 0)
		_exit(1);
	_exit(err.code ? -err.code & 0x7f : 0);
}

static void ended(struct hull_child *c, int status)
{
	char text[TEXT_MAX + 1];
	ssize_t n = read(words, text, TEXT_MAX);
	text[n > 0 ? n : 0] = '\0';
	close(words);
	words = -1;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
	if (code)
		hull_say("%s", text[0] ? text : "growing the disk failed");
	hull_control_grown(code, text);
}

void hull_grow_begin(uint64_t bytes)
{
	struct hull_error err = {0};
	int ends[2];
	if (child.pid) {
		hull_control_grown(EBUSY, "the disk is being grown already");
		return;
	}
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
		hull_control_grown(errno, "cannot make a pipe");
		return;
	}
	words = ends[0];
	said = ends[1];
	wanted = bytes;
	int r = hull_spawn(&child, -1, run, NULL, NULL, ended, &err);
	close(said);
	said = -1;
	if (r < 0) {
		close(words);
		words = -1;
		hull_control_grown(-r, err.msg);
	}
}

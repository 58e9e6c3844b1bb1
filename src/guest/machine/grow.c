/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that became larger while the guest runs: its file system is grown to it.
 *
 * The host has told the device its new size and says so on control (GROW), but the two travel by different ways: the
 * device's interrupt may come after the message. So the size is waited for, by the kernel's uevent about it. That wait,
 * and the growing itself (seconds for terabytes), are done by a child: PID 1 goes on. GROWN tells how it ended; the
 * child's words come through a pipe, which holds them until it has ended. */
#include "guest/machine/machine.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/core/uevent.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE_WAIT_MS = 10000, TEXT_MAX = 512 };

/* From the kernel's fs/ext4/ext4.h: grow a mounted file system to this many blocks. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

static char device[64]; /* "" = none */
static struct hull_child child;
static int words = -1; /* what the child says; the end that is read */
static int said = -1;  /* the child's end */
static uint64_t wanted;

void hull_disk_set(const char *dev)
{
	snprintf(device, sizeof(device), "%s", dev);
}

static uint64_t device_bytes(void)
{
	uint64_t bytes;
	_cleanup_close_ int dev = device[0] ? open(device, O_RDONLY | O_CLOEXEC) : -1;
	return dev >= 0 && ioctl(dev, BLKGETSIZE64, &bytes) == 0 ? bytes : 0;
}

int hull_disk_grow(struct hull_error *err)
{
	if (!device[0])
		return 0;
	_cleanup_close_ int dev = open(device, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int fs = open("/run/hull/disk", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint8_t super[1024];
	uint64_t bytes;
	if (dev < 0 || fs < 0 || ioctl(dev, BLKGETSIZE64, &bytes) < 0 ||
	    pread(dev, super, sizeof(super), 1024) != (ssize_t)sizeof(super))
		return hull_fail_errno(err, "cannot look at the size of the sandbox's disk");
	struct hull_cur low = hull_cur_make(super + 0x04, 4);
	struct hull_cur high = hull_cur_make(super + 0x150, 4);
	struct hull_cur shift = hull_cur_make(super + 0x18, 4);
	uint64_t blocks = hull_cur_le32(&low) | (uint64_t)hull_cur_le32(&high) << 32;
	uint64_t want = bytes / (1024U << (hull_cur_le32(&shift) & 7));
	if (want <= blocks)
		return 0;
	if (ioctl(fs, EXT4_IOC_RESIZE_FS, &want) < 0)
		return hull_fail_errno(err, "cannot grow the sandbox's file system to its disk");
	return 0;
}

static bool has_size(void *ctx)
{
	return device_bytes() >= *(uint64_t *)ctx;
}

static void grow_run(void *ctx, int status_fd)
{
	struct hull_error err = {0};
	hull_child_keep(said, status_fd);
	if (!hull_wait_device(has_size, &wanted, SIZE_WAIT_MS))
		hull_fail(&err, -ETIMEDOUT, "the disk's device has not got its new size");
	else
		hull_disk_grow(&err);
	if (err.code && write(said, err.msg, strlen(err.msg)) < 0)
		_exit(1);
	_exit(err.code ? -err.code & 0x7f : 0);
}

static void grow_ended(struct hull_child *c, int status)
{
	char text[TEXT_MAX + 1];
	ssize_t n = read(words, text, TEXT_MAX);
	text[n > 0 ? n : 0] = '\0';
	close(words);
	words = -1;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
	if (code)
		hull_say("%s", text[0] ? text : "growing the disk failed");
	hull_report_grown(code, text);
}

void hull_disk_grow_to(uint64_t bytes)
{
	struct hull_error err = {0};
	int ends[2];
	if (child.pid) {
		hull_report_grown(EBUSY, "the disk is being grown already");
		return;
	}
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
		hull_report_grown(errno, "cannot make a pipe");
		return;
	}
	words = ends[0];
	said = ends[1];
	wanted = bytes;
	int r = hull_spawn(&child, -1, grow_run, NULL, NULL, grow_ended, &err);
	close(said);
	said = -1;
	if (r < 0) {
		close(words);
		words = -1;
		hull_report_grown(-r, err.msg);
	}
}

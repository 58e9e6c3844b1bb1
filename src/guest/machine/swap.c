/* SPDX-License-Identifier: Apache-2.0 */
/* Swap: a file on the sandbox's ext4 disk, beside the overlay's directories. (On the overlay that is the root the
 * kernel takes none.) Its blocks are allocated and not written, so that the host's disk holds what was swapped out and
 * no more.
 *
 * It is made anew at each boot, by a child: allocating may take its time. A machine that is restored has what it had
 * when it was saved; a template of Hull's has none, and so the first CONFIGURE after the restore makes it.
 *
 * At the end all swap is switched off, whoever switched it on: a file in use keeps its file system busy. */
#include "guest/machine/machine.h"

#include "base/cleanup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#define SWAP_FILE "/run/hull/disk/swap"
enum { PAGE = 4096, HEADER_AT = 1024, SWAP_VERSION = 1, PAGES_MIN = 10 };

static struct hull_child child;
static bool begun;
static uint64_t size;

/* The kernel's struct swap_header (v2), at 1024: version, last page, bad pages; the signature ends the page. */
static void header(uint8_t page[PAGE], uint64_t bytes)
{
	uint32_t info[3] = {SWAP_VERSION, (uint32_t)(bytes / PAGE - 1), 0};
	memset(page, 0, PAGE);
	memcpy(page + HEADER_AT, info, sizeof(info));
	memcpy(page + PAGE - 10, "SWAPSPACE2", 10);
}

static void swap_run(void *ctx, int status_fd)
{
	uint8_t page[PAGE];
	hull_child_keep(-1, status_fd);
	unlink(SWAP_FILE);
	if (size == 0)
		_exit(0);
	_cleanup_close_ int fd = open(SWAP_FILE, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	header(page, size);
	bool made = fd >= 0 && fallocate(fd, 0, 0, (off_t)size) == 0 && pwrite(fd, page, PAGE, 0) == PAGE &&
		    fsync(fd) == 0 && swapon(SWAP_FILE, SWAP_FLAG_DISCARD) == 0;
	int code = errno;
	if (!made)
		unlink(SWAP_FILE);
	_exit(made ? 0 : code & 0x7f);
}

static void swap_ended(struct hull_child *c, int status)
{
	if (status != 0)
		hull_say("there is no swap: %s",
			 WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "its maker was killed");
}

void hull_swap_start(uint64_t bytes)
{
	struct hull_error err;
	bool left = bytes == 0 && access(SWAP_FILE, F_OK) == 0; /* of a machine that ended without hull_swap_stop() */
	if (begun || (bytes / PAGE < PAGES_MIN && !left))
		return;
	begun = true;
	size = bytes / PAGE * PAGE;
	if (size / PAGE > UINT32_MAX)
		size = (uint64_t)UINT32_MAX * PAGE;
	if (hull_spawn(&child, -1, swap_run, NULL, NULL, swap_ended, &err) < 0)
		hull_say("there is no swap: %s", err.msg);
}

/* As in /proc/mounts, a space in a name is \040 and so on. */
static void unescape(char *s)
{
	char *to = s;
	for (; *s; s++) {
		unsigned v = 0;
		int n = 0;
		if (s[0] == '\\' && sscanf(s + 1, "%3o%n", &v, &n) == 1 && n == 3) {
			*to++ = (char)v;
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

void hull_swap_stop(void)
{
	char *line = NULL;
	size_t cap = 0;
	_cleanup_fclose_ FILE *f = fopen("/proc/swaps", "re");
	while (f && getline(&line, &cap, f) > 0) {
		if (line[0] != '/')
			continue; /* the heading */
		line[strcspn(line, " \t\n")] = '\0';
		unescape(line);
		if (swapoff(line) < 0)
			hull_say("cannot switch the swap %s off: %s", line, strerror(errno));
	}
	free(line);
	if (begun)
		unlink(SWAP_FILE);
}

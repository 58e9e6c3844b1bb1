/* SPDX-License-Identifier: Apache-2.0 */
/* Log files that cannot fill the disk; see logs.h.
 *
 * Each has a cap and one older generation: when it is full it is renamed to NAME.1, replacing what was there. (What
 * the machine itself writes, serial.log and engine.log, is capped by the engine.) Writing is to the page cache; a full
 * disk loses lines, never the sandbox. */
#include "keeper/keeper.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int reopen(struct logfile *f)
{
	int fd = open(f->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	struct stat st;
	f->size = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	/* In place, because others may know the file by this number. */
	if (f->fd >= 0) {
		dup3(fd, f->fd, O_CLOEXEC);
		close(fd);
	} else {
		f->fd = fd;
	}
	return 0;
}

static int rotate(struct logfile *f)
{
	if (rename(f->path, f->old) < 0 && errno != ENOENT)
		return -errno;
	return reopen(f);
}

int logfile_open(struct logfile *f, const char *path, uint64_t cap, bool fresh, struct hull_error *err)
{
	*f = (struct logfile){.fd = -1, .cap = cap, .path = strdup(path), .old = hull_fmt("%s.1", path)};
	if (!f->path || !f->old) {
		logfile_close(f);
		return hull_fail(err, -ENOMEM, "out of memory");
	}
	struct stat st;
	bool there = lstat(path, &st) == 0 && st.st_size > 0;
	int r = there && (fresh || (uint64_t)st.st_size >= cap) ? rotate(f) : reopen(f);
	if (r < 0) {
		hull_fail(err, r, "cannot open the log %s: %s", path, strerror(-r));
		logfile_close(f);
	}
	return r;
}

void logfile_write(struct logfile *f, const void *p, size_t n)
{
	if (f->fd < 0 || n == 0)
		return;
	if (f->size + n > f->cap && f->size > 0)
		rotate(f);
	if (hull_write_full(f->fd, p, n) == 0)
		f->size += n;
}

void logfile_close(struct logfile *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	free(f->old);
	*f = (struct logfile){.fd = -1};
}

/* --- the keeper's own ---
 *
 * Lines that the guest can cause get a share of keeper.log in each run, and guest.log after that: so a guest cannot
 * push the keeper's own lines out of keeper.log. */

enum { LINE_HEAD = 40 /* time and name in front of a line, about */ };

int keeper_log_open(struct keeper *k, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_sandbox_path(&k->paths, k->sb.name, "keeper.log");
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = logfile_open(&k->logs.keeper, path, LOG_CAP, false, err);
	if (r == 0)
		hull_log_open(k->logs.keeper.fd, "keeper");
	return r;
}

/* A line into one of the two, rotated when it is full. */
static void line_to(struct logfile *f, const char *line)
{
	struct stat st;
	if (f->fd >= 0 && fstat(f->fd, &st) == 0 && (uint64_t)st.st_size > f->cap)
		rotate(f); /* keeps the number that base/log.h was given */
	hull_log("%s", line);
}

static int open_guest_log(struct keeper *k)
{
	_cleanup_free_ char *path = hull_sandbox_path(&k->paths, k->sb.name, "guest.log");
	return path ? logfile_open(&k->logs.guest, path, LOG_CAP, false, NULL) : -ENOMEM;
}

void keeper_log_guest(struct keeper *k, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (k->logs.guest_bytes < GUEST_LOG_SHARE) {
		k->logs.guest_bytes += LINE_HEAD + (n < 0                      ? 0
						    : (size_t)n < sizeof(line) ? (size_t)n
									       : sizeof(line) - 1);
		line_to(&k->logs.keeper, line);
		return;
	}
	if (k->logs.guest.fd < 0) {
		int r = open_guest_log(k);
		if (r == 0)
			line_to(&k->logs.keeper, "the guest's lines have used up their share of this log: further ones "
						 "are in guest.log");
		if (r < 0)
			return;
	}
	hull_log_open(k->logs.guest.fd, "keeper");
	line_to(&k->logs.guest, line);
	hull_log_open(k->logs.keeper.fd, "keeper");
}

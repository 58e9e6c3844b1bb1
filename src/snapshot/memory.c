/* SPDX-License-Identifier: Apache-2.0 */
/* Copies the RAM of a stopped machine from outside its process.
 *
 * The engine holds the guest's RAM in one mapping of exactly its size: anonymous if the machine was booted, a private
 * mapping of the saved memory file if it was restored. /proc/PID/pagemap shows which pages are anonymous (resident or
 * swapped out). Only these pages differ from the original content of the mapping. They are read with
 * process_vm_readv(2), which copies once, or else through /proc/PID/mem. The engine, which a guest may have
 * compromised, does not take part: at worst it makes its own guest's saved memory wrong.
 *
 * Pages of zeros become holes. An unprivileged user may read the memory because the engine's user namespace belongs to
 * that user. */
#include "snapshot/snapshot.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

enum { PAGE = 4096, BATCH = 65536 /* pages per look at pagemap */, RUN_MAX = 256 /* pages per read */ };

#define PM_PRESENT (1ull << 63)
#define PM_SWAPPED (1ull << 62)
#define PM_FILE    (1ull << 61)

struct copy {
	pid_t pid;
	int mem, map, to;
	uint64_t start; /* address of the mapping in the process */
	bool over;      /* `to` has content already */
	uint64_t copied;
	uint8_t *buf;
	struct hull_error *err;
};

/* Finds the start of the only private writable mapping of this size (and of this file, if there is one). */
static int find(pid_t pid, uint64_t size, const struct stat *base, uint64_t *start, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_fmt("/proc/%d/maps", pid);
	_cleanup_fclose_ FILE *f = path ? fopen(path, "re") : NULL;
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;
	unsigned found = 0;
	if (!f)
		return hull_fail_errno(err, "cannot read the engine's memory map");
	while (getline(&line, &cap, f) > 0) {
		uint64_t from, to, inode;
		unsigned major, minor;
		char perms[5];
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %x:%x %" SCNu64, &from, &to, perms, &major, &minor,
			   &inode) != 6)
			continue;
		if (to - from != size || strncmp(perms, "rw-p", 4) != 0)
			continue;
		/* The device number may differ here (btrfs, overlayfs); inode and size identify the file. */
		if (base ? inode != base->st_ino : inode != 0)
			continue;
		*start = from;
		found++;
	}
	return found == 1 ? 0
			  : hull_fail(err, -EPROTO,
				      "cannot find the machine's memory: expected one mapping of its size in the "
				      "engine, found %u",
				      found);
}

static int write_at(struct copy *c, const uint8_t *p, size_t n, uint64_t at)
{
	int r = hull_pwrite_full(c->to, p, n, (off_t)at);
	return r < 0 ? hull_fail(c->err, r, "cannot write the memory file: %s", strerror(-r)) : 0;
}

/* A page of zeros: nothing to do in an empty file; otherwise punch a hole. */
static int clear_at(struct copy *c, uint64_t at)
{
	static const uint8_t zeros[PAGE];
	if (!c->over || fallocate(c->to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, PAGE) == 0)
		return 0;
	return write_at(c, zeros, PAGE, at);
}

/* Copy `pages` pages, at most RUN_MAX, from offset `at`. */
static int copy_run(struct copy *c, uint64_t at, size_t pages)
{
	size_t bytes = pages * PAGE, got = 0;
	while (got < bytes) {
		struct iovec to = {c->buf + got, bytes - got};
		struct iovec from = {(void *)(uintptr_t)(c->start + at + got), bytes - got};
		ssize_t n = process_vm_readv(c->pid, &to, 1, &from, 1, 0);
		if (n <= 0)
			n = pread(c->mem, c->buf + got, bytes - got, (off_t)(c->start + at + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return hull_fail_errno(c->err, "cannot read the machine's memory");
		got += (size_t)n;
	}
	c->copied += bytes;
	for (size_t i = 0; i < pages;) {
		size_t first = i;
		while (i < pages && !hull_all_zero(c->buf + i * PAGE, PAGE))
			i++;
		int r = i > first ? write_at(c, c->buf + first * PAGE, (i - first) * PAGE, at + first * PAGE)
				  : clear_at(c, at + i++ * PAGE);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool own(uint64_t entry)
{
	return (entry & (PM_PRESENT | PM_SWAPPED)) && !(entry & PM_FILE);
}

static int copy_all(struct copy *c, uint64_t *entries, uint64_t pages)
{
	for (uint64_t first = 0; first < pages; first += BATCH) {
		size_t n = pages - first < BATCH ? (size_t)(pages - first) : BATCH;
		size_t want = n * sizeof(*entries);
		ssize_t got = pread(c->map, entries, want, (off_t)((c->start / PAGE + first) * sizeof(*entries)));
		if (got != (ssize_t)want)
			return hull_fail(c->err, got < 0 ? -errno : -EIO, "cannot read the machine's page map");
		for (size_t i = 0; i < n;) {
			size_t run = 0;
			while (i + run < n && run < RUN_MAX && own(entries[i + run]))
				run++;
			int r = run ? copy_run(c, (first + i) * PAGE, run) : 0;
			if (r < 0)
				return r;
			i += run ? run : 1;
		}
	}
	return 0;
}

int hull_memory_save(pid_t pid, uint64_t size, int base_fd, int to, uint64_t *copied, struct hull_error *err)
{
	struct stat base;
	struct copy c = {.pid = pid, .to = to, .over = base_fd >= 0, .err = err};
	if (base_fd >= 0 && fstat(base_fd, &base) < 0)
		return hull_fail_errno(err, "cannot stat the memory it was restored from");
	int r = find(pid, size, base_fd >= 0 ? &base : NULL, &c.start, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *mem_path = hull_fmt("/proc/%d/mem", pid);
	_cleanup_free_ char *map_path = hull_fmt("/proc/%d/pagemap", pid);
	_cleanup_free_ uint8_t *buf = malloc((size_t)RUN_MAX * PAGE);
	_cleanup_free_ uint64_t *entries = malloc(BATCH * sizeof(uint64_t));
	if (!mem_path || !map_path || !buf || !entries)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int mem = open(mem_path, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int map = open(map_path, O_RDONLY | O_CLOEXEC);
	if (mem < 0 || map < 0)
		return hull_fail_errno(err, "cannot open the machine's memory");
	c.mem = mem;
	c.map = map;
	c.buf = buf;
	if (ftruncate(to, (off_t)size) < 0)
		return hull_fail_errno(err, "cannot size the memory file");
	r = copy_all(&c, entries, size / PAGE);
	*copied = c.copied;
	return r;
}

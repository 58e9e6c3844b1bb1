/* SPDX-License-Identifier: Apache-2.0 */
/* share-fsx [-s SEED] [-n OPERATIONS] [-o OTHER] FILE: random operations on one file, compared with a copy in memory.
 *
 * Every operation (read, write, truncate, mapped read and write, punch, zero, append by a second descriptor, copy
 * within, reopen, fsync) is done on the file and on the copy, and every read is compared. The seed is printed, and the
 * same seed repeats the same run. With -o, OTHER is the same file by another path (the host's, when FILE is in the
 * share): now and then the other side is compared with the copy, and writes through it too, after which this side has
 * to see it. */
#include "base/cleanup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

enum { MAX = 512 * 1024, LOG = 32 };

static uint8_t copy[MAX], buf[MAX];
static size_t size;
static int fd, appender;
static const char *path, *other;
static uint64_t state;
static char history[LOG][96];
static unsigned long step;

static uint32_t rnd(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below ? (uint32_t)(state >> 20) % below : 0;
}

__attribute__((format(printf, 1, 2))) static void note(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(history[step % LOG], sizeof history[0], fmt, ap);
	va_end(ap);
}

static void fail(const char *what)
{
	printf("# step %lu: %s: %s\n", step, what, strerror(errno));
	for (unsigned long i = step >= LOG ? step - LOG + 1 : 0; i <= step; i++)
		printf("#   %lu: %s\n", i, history[i % LOG]);
	printf("not ok 1 - fsx\n1..1\n");
	exit(1);
}

static void compare(const uint8_t *got, size_t n, size_t at, const char *what)
{
	for (size_t i = 0; i < n; i++) {
		if (got[i] != copy[at + i]) {
			printf("# offset %zu: %02x, not %02x\n", at + i, got[i], copy[at + i]);
			errno = 0;
			fail(what);
		}
	}
}

static void grow(size_t to)
{
	if (to > size) {
		memset(copy + size, 0, to - size);
		size = to;
	}
}

static void range(size_t *at, size_t *n, bool inside)
{
	size_t limit = inside ? size : MAX;
	*at = rnd((uint32_t)(limit ? limit : 1));
	*n = 1 + rnd(rnd(4) ? 5000 : 100000);
	if (rnd(8) == 0)
		*at &= ~(size_t)4095;
	if (*n > limit - *at)
		*n = limit - *at;
}

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(rnd(255) + 1);
}

static void op_write(void)
{
	size_t at, n;
	range(&at, &n, false);
	note("write %zu at %zu", n, at);
	grow(at + n);
	fill(copy + at, n);
	if (pwrite(fd, copy + at, n, (off_t)at) != (ssize_t)n)
		fail("write");
}

static void op_read(void)
{
	size_t at, n;
	range(&at, &n, true);
	note("read %zu at %zu", n, at);
	if (pread(fd, buf, n, (off_t)at) != (ssize_t)n)
		fail("read");
	compare(buf, n, at, "read");
}

static void op_truncate(void)
{
	size_t to = rnd(MAX);
	note("truncate %zu -> %zu", size, to);
	if (rnd(2) ? ftruncate(fd, (off_t)to) : truncate(path, (off_t)to))
		fail("truncate");
	grow(to);
	size = to;
}

static void op_map(bool write)
{
	size_t at, n;
	range(&at, &n, true);
	if (n == 0)
		return;
	note("mapped %s %zu at %zu", write ? "write" : "read", n, at);
	size_t from = at & ~(size_t)4095;
	int prot = PROT_READ | (write ? PROT_WRITE : 0);
	uint8_t *p = mmap(NULL, at - from + n, prot, MAP_SHARED, fd, (off_t)from);
	if (p == MAP_FAILED)
		fail("mmap");
	if (write) {
		fill(copy + at, n);
		memcpy(p + (at - from), copy + at, n);
		if (rnd(2) && msync(p, at - from + n, MS_SYNC) < 0)
			fail("msync");
	} else {
		compare(p + (at - from), n, at, "mapped read");
	}
	if (munmap(p, at - from + n) < 0)
		fail("munmap");
}

static void op_zero(int mode)
{
	size_t at, n;
	range(&at, &n, mode & FALLOC_FL_KEEP_SIZE);
	if (n == 0)
		return;
	note("fallocate mode %d, %zu at %zu", mode, n, at);
	if (fallocate(fd, mode, (off_t)at, (off_t)n) < 0) {
		if (errno == EOPNOTSUPP)
			return;
		fail("fallocate");
	}
	grow(at + n);
	if (mode)
		memset(copy + at, 0, n);
}

static void op_append(void)
{
	size_t n = 1 + rnd(5000);
	if (size + n > MAX)
		return;
	note("append %zu at %zu", n, size);
	size_t at = size;
	grow(size + n);
	fill(copy + at, n);
	if (write(appender, copy + at, n) != (ssize_t)n)
		fail("append");
}

static void op_copy(void)
{
	size_t at, n;
	range(&at, &n, true);
	size_t to = rnd(MAX);
	if (n > MAX - to)
		n = MAX - to;
	if (n == 0 || (to < at + n && at < to + n))
		return;
	note("copy %zu from %zu to %zu", n, at, to);
	off_t a = (off_t)at, b = (off_t)to;
	ssize_t done = copy_file_range(fd, &a, fd, &b, n, 0);
	if (done <= 0)
		fail("copy_file_range");
	grow(to + (size_t)done);
	memcpy(copy + to, copy + at, (size_t)done);
}

static void op_reopen(void)
{
	note("reopen");
	if (close(fd) < 0 || close(appender) < 0)
		fail("close");
	fd = open(path, O_RDWR | O_CLOEXEC);
	appender = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0 || appender < 0)
		fail("open");
}

static void op_size(void)
{
	struct stat st;
	note("fstat");
	if (fstat(fd, &st) < 0 || st.st_size != (off_t)size) {
		printf("# %jd bytes, not %zu\n", (intmax_t)st.st_size, size);
		fail("size");
	}
}

/* The other side has what we wrote, as of a close. */
static void op_other(void)
{
	struct stat st;
	if (!other)
		return;
	op_reopen();
	note("the other side");
	_cleanup_close_ int o = open(other, O_RDWR | O_CLOEXEC);
	if (o < 0 || fstat(o, &st) < 0 || st.st_size != (off_t)size || pread(o, buf, MAX, 0) != (ssize_t)size)
		fail("the other side's size");
	compare(buf, size, 0, "the other side");
	size_t at, n;
	range(&at, &n, false);
	grow(at + n);
	fill(copy + at, n);
	if (pwrite(o, copy + at, n, (off_t)at) != (ssize_t)n)
		fail("the other side's write");
	note("the other side wrote %zu at %zu", n, at);
	/* It has 100 ms to become known here. */
	struct timespec ms = {.tv_nsec = 1000 * 1000};
	for (int i = 0;; i++) {
		if (pread(fd, buf, MAX, 0) == (ssize_t)size && !memcmp(buf, copy, size))
			break;
		if (i == 2000)
			fail("the other side's write is not seen");
		nanosleep(&ms, NULL);
	}
}

int main(int argc, char **argv)
{
	unsigned long operations = 20000;
	uint64_t seed = (uint64_t)time(NULL);
	for (int c; (c = getopt(argc, argv, "s:n:o:")) != -1;) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'n')
			operations = strtoul(optarg, NULL, 10);
		else if (c == 'o')
			other = optarg;
	}
	path = argv[optind];
	if (!path) {
		fprintf(stderr, "usage: share-fsx [-s SEED] [-n OPERATIONS] [-o OTHER] FILE\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("# seed %" PRIu64 ", %lu operations\n", seed, operations);
	state = seed * 0x9e3779b97f4a7c15u + 1;
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	appender = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0 || appender < 0)
		fail("open");
	for (step = 0; step < operations; step++) {
		switch (rnd(16)) {
		case 0:
		case 1:
		case 2:
			op_write();
			break;
		case 3:
		case 4:
		case 5:
			op_read();
			break;
		case 6:
			op_truncate();
			break;
		case 7:
		case 8:
			op_map(true);
			break;
		case 9:
			op_map(false);
			break;
		case 10:
			op_zero(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
			break;
		case 11:
			op_zero(rnd(2) ? FALLOC_FL_ZERO_RANGE : 0);
			break;
		case 12:
			op_append();
			break;
		case 13:
			op_copy();
			break;
		case 14:
			if (rnd(8) == 0)
				op_reopen();
			else if (rnd(8) == 0)
				op_other();
			else
				op_size();
			break;
		default:
			note("fsync");
			if (rnd(16) == 0 && fsync(fd) < 0)
				fail("fsync");
			break;
		}
	}
	if (pread(fd, buf, MAX, 0) != (ssize_t)size)
		fail("final size");
	compare(buf, size, 0, "final");
	close(fd);
	close(appender);
	printf("ok 1 - fsx, %lu operations, seed %" PRIu64 "\n1..1\n", operations, seed);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Saved machines: what is written is what is read, and nothing else is taken for it: bits flipped in any file, files
 * cut off, other versions. A machine's memory is copied from a live process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "snapshot/snapshot.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

enum { MIB = 1 << 20 };
#define MEMORY ((uint64_t)64 * MIB)

static char root[64];

static int setup(void **state)
{
	snprintf(root, sizeof(root), "/tmp/hull-test-snapshot.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	_cleanup_close_ int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return hull_remove_tree(tmp, root + 5, NULL);
}

static char *in(const char *dir, const char *name)
{
	char *p = hull_fmt("%s/%s", dir, name);
	assert_non_null(p);
	return p;
}

static void put(const char *dir, const char *name, uint64_t size, const char *text, off_t at)
{
	_cleanup_free_ char *path = in(dir, name);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(pwrite(fd, text, strlen(text), at), (ssize_t)strlen(text));
}

static struct hull_snapshot about(void)
{
	return (struct hull_snapshot){.image = strdup("0123456789abcdef0123456789abcdef"),
				      .identity = strdup("qemu /usr/bin/x 1 bytes of 2.3, state 1"),
				      .engine = strdup("qemu 10.0.2 (tcg)"),
				      .accel = strdup("tcg"),
				      .cpu = strdup("emulated"),
				      .initramfs = strdup("initramfs-0123"),
				      .hull = strdup("1.0"),
				      .source = strdup("box"),
				      .cpus = 2,
				      .memory = MEMORY,
				      .disk = 8 * MIB,
				      .swap = 2 * MIB,
				      .names = json_pack("[[i,s]]", 256, "web.test")};
}

/* A saved machine at root/NAME. */
static char *make(const char *name)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = about();
	struct hull_error err = {0};
	char *dir = in(root, name);
	assert_int_equal(mkdir(dir, 0700), 0);
	put(dir, "memory", MEMORY, "memory of a guest", 5 * MIB + 77);
	put(dir, "device", 4096, "devices", 0);
	put(dir, "disk.img", 8 * MIB, "disk", 3 * MIB);
	assert_int_equal(hull_snapshot_finish(dir, &s, &err), 0);
	return dir;
}

static int open_file(const char *dir, const char *file)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	struct hull_error err = {0};
	int r = hull_snapshot_load(dir, &s, &err);
	if (r < 0)
		return r;
	int fd = hull_snapshot_open(dir, &s, file, NULL, &err);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static unsigned slow_calls;
static void slow(const char *text)
{
	slow_calls++;
}

static void test_round_trip(void **state)
{
	_cleanup_free_ char *dir = make("round");
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	struct hull_error err = {0};
	assert_int_equal(hull_snapshot_load(dir, &s, &err), 0);
	assert_string_equal(s.engine, "qemu 10.0.2 (tcg)");
	assert_string_equal(s.source, "box");
	assert_string_equal(json_string_value(json_array_get(json_array_get(s.names, 0), 1)), "web.test");
	assert_int_equal(s.cpus, 2);
	assert_true(s.memory == MEMORY);
	assert_int_equal(s.swap, 2 * MIB);
	assert_string_equal(s.initramfs, "initramfs-0123");
	assert_string_equal(s.hull, "1.0");
	static const char engine[] = "qemu /usr/bin/x 1 bytes of 2.3, state 1";
	assert_int_equal(hull_snapshot_fits(&s, engine, "tcg", &err), 0);
	assert_int_equal(hull_snapshot_fits(&s, "qemu /usr/bin/x 1 bytes of 2.4, state 1", "tcg", &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "another engine"));
	assert_int_equal(hull_snapshot_fits(&s, engine, "kvm", &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "without hardware virtualization"));
	/* Virtualized, its programs may have looked at what the host's processor can. */
	free(s.accel);
	free(s.cpu);
	s.accel = strdup("kvm");
	s.cpu = hull_snapshot_cpu("kvm");
	assert_int_equal(hull_snapshot_fits(&s, engine, "kvm", &err), 0);
	s.cpu[5] ^= 1;
	assert_int_equal(hull_snapshot_fits(&s, engine, "kvm", &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "another processor"));
	/* Once it has been read in full it is not read again, until something could have changed it. */
	usleep(50 * 1000);
	for (int i = 0; i < 2; i++) {
		slow_calls = 0;
		int fd = hull_snapshot_open(dir, &s, "memory", slow, &err);
		assert_true(fd >= 0);
		close(fd);
	}
	assert_int_equal(slow_calls, 0);
	_cleanup_free_ char *memory = in(dir, "memory");
	assert_int_equal(chmod(memory, 0640), 0);
	int fd = hull_snapshot_open(dir, &s, "memory", slow, &err);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(slow_calls, 1);
	assert_int_equal(hull_snapshot_open(dir, &s, "kernel", NULL, &err), -ENOENT);
	_cleanup_free_ char *none = in(root, "none");
	assert_int_equal(open_file(none, "memory"), -ENOENT);
}

/* One bit, and the dates put back as they were: the ctime gives it away. */
static void flip(const char *path, off_t at)
{
	struct stat st;
	uint8_t byte;
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	struct timespec times[2] = {st.st_atim, st.st_mtim};
	assert_int_equal(futimens(fd, times), 0);
}

static void test_damage(void **state)
{
	static const struct {
		const char *file;
		off_t at;
	} flips[] = {{"memory", 5 * MIB + 80}, {"memory", 0}, {"memory", 64 * MIB - 1}, {"device", 3}, {"disk.img", 7}};
	_cleanup_free_ char *dir = make("damage");
	usleep(50 * 1000);
	for (size_t i = 0; i < sizeof(flips) / sizeof(*flips); i++) {
		_cleanup_free_ char *path = in(dir, flips[i].file);
		assert_int_equal(open_file(dir, flips[i].file), 0);
		flip(path, flips[i].at);
		assert_int_equal(open_file(dir, flips[i].file), -EBADMSG);
		flip(path, flips[i].at);
		assert_int_equal(open_file(dir, flips[i].file), 0);
		struct stat st;
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(truncate(path, st.st_size - 1), 0);
		assert_int_equal(open_file(dir, flips[i].file), -EBADMSG);
		assert_int_equal(truncate(path, st.st_size), 0);
	}
	_cleanup_free_ char *device = in(dir, "device");
	unlink(device);
	assert_int_equal(open_file(dir, "memory"), -EBADMSG);
	assert_int_equal(symlink("/etc/passwd", device), 0);
	assert_int_equal(open_file(dir, "device"), -EBADMSG);
}

static void test_damaged_description(void **state)
{
	_cleanup_free_ char *dir = make("json");
	_cleanup_free_ char *path = in(dir, "snapshot.json");
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	assert_int_equal(hull_read_file(AT_FDCWD, path, MIB, &text, NULL), 0);
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = hull_buf_bytes(&text)[i];
		if (c == ' ' || c == '\n') /* layout is no content */
			continue;
		_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
		flip(path, (off_t)i);
		int r = hull_snapshot_load(dir, &s, NULL);
		flip(path, (off_t)i);
		if (r != -EBADMSG && r != -ENOTSUP)
			fail_msg("a flip of byte %zu gave %d", i, r);
	}
	assert_int_equal(open_file(dir, "memory"), 0);
	char *format = strstr((char *)hull_buf_bytes(&text), "\"format\": 2");
	assert_non_null(format);
	format[10] = '1';
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, hull_buf_bytes(&text), text.len, 0600, NULL), 0);
	assert_int_equal(hull_snapshot_load(dir, &s, NULL), -ENOTSUP);
	for (size_t n = 0; n < text.len; n += 17) {
		assert_int_equal(truncate(path, (off_t)n), 0);
		assert_int_equal(hull_snapshot_load(dir, &s, NULL), -EBADMSG);
		assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, hull_buf_bytes(&text), text.len, 0600, NULL),
				 0);
	}
}

static void digest_of(const char *path, char hex[65])
{
	uint64_t stored;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(hull_snapshot_digest(fd, hex, &stored, NULL), 0);
}

static void test_holes_make_no_difference(void **state)
{
	char a[65], b[65], zeros[4096] = {0};
	put(root, "a", 8 * MIB, "x", 5 * MIB);
	put(root, "b", 8 * MIB, "x", 5 * MIB);
	_cleanup_free_ char *pa = in(root, "a"), *pb = in(root, "b");
	_cleanup_close_ int fd = open(pb, O_RDWR | O_CLOEXEC);
	for (off_t at = 0; at < 2 * MIB; at += 4096)
		assert_int_equal(pwrite(fd, zeros, 4096, at), 4096);
	digest_of(pa, a);
	digest_of(pb, b);
	assert_string_equal(a, b);
	assert_int_equal(pwrite(fd, "y", 1, MIB), 1);
	digest_of(pb, b);
	assert_string_not_equal(a, b);
	/* The same bytes elsewhere, and a longer file of the same data, are something else. */
	put(root, "c", 8 * MIB, "x", 4 * MIB);
	put(root, "d", 9 * MIB, "x", 5 * MIB);
	_cleanup_free_ char *pc = in(root, "c"), *pd = in(root, "d");
	digest_of(pc, b);
	assert_string_not_equal(a, b);
	digest_of(pd, b);
	assert_string_not_equal(a, b);
}

/* --- memory --- */

/* A size that nothing else in a process has: stacks of threads, and what an allocator or a sanitizer maps. */
enum { PAGE = 4096, SIZE = 12 * MIB + 13 * PAGE };

/* What the "machine" does to its memory. */
static void scribble(uint8_t *m, bool over)
{
	memset(m + 3 * PAGE, 'a', PAGE);
	memset(m + 700 * PAGE, 'b', (size_t)300 * PAGE);
	m[SIZE - 1] = 'z';
	if (over)
		memset(m + 10 * PAGE, 0, (size_t)2 * PAGE); /* had data: becomes zeros */
	m[20 * PAGE] = 0;
}

/* A process that holds `m`-like memory and stands still. base < 0: anonymous. */
static pid_t machine(int base)
{
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int flags = base >= 0 ? MAP_PRIVATE : MAP_PRIVATE | MAP_ANONYMOUS;
		/* Between guards, as an engine has it: a neighbour must not be joined to it. */
		uint8_t *area = mmap(NULL, SIZE + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		uint8_t *m = mmap(area + PAGE, SIZE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, base, 0);
		if (m != area + PAGE)
			_exit(1);
		scribble(m, base >= 0);
		/* Some of it read only: clean pages of the file are not the process's own. */
		volatile uint8_t sum = 0;
		for (size_t i = 0; i < SIZE; i += PAGE)
			sum = (uint8_t)(sum + m[i]);
		(void)sum;
		ssize_t n = write(ready[1], "r", 1);
		(void)n;
		for (;;)
			pause();
	}
	char c;
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void check_memory(bool over)
{
	struct hull_error err = {0};
	static uint8_t front[40 * PAGE];
	uint64_t copied = 0;
	_cleanup_close_ int base = -1;
	if (over) {
		_cleanup_free_ char *path = in(root, "base");
		put(root, "base", SIZE, "from the file", 9 * PAGE);
		base = open(path, O_RDWR | O_CLOEXEC);
		memset(front, 'f', sizeof(front));
		assert_int_equal(pwrite(base, front, sizeof(front), 0), sizeof(front));
	}
	/* Before anything of its size is allocated here, which it would inherit. */
	pid_t pid = machine(base);
	uint8_t *want = calloc(1, SIZE), *got = malloc(SIZE);
	assert_true(want && got);
	if (over)
		memcpy(want, front, sizeof(front));
	_cleanup_free_ char *path = in(root, over ? "over" : "fresh");
	_cleanup_close_ int to = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (over)
		assert_int_equal(hull_clone_file(base, to, &err), 0);
	scribble(want, over);
	int r = hull_memory_save(pid, SIZE, base, to, &copied, &err);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (r < 0)
		fail_msg("%s", err.msg);
	struct stat st;
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_int_equal(pread(to, got, SIZE, 0), SIZE);
	assert_memory_equal(got, want, SIZE);
	assert_true(copied >= (uint64_t)302 * PAGE && copied <= (uint64_t)320 * PAGE + (over ? 0 : SIZE));
	free(want);
	free(got);
}

static void test_memory_of_a_booted_machine(void **state)
{
	check_memory(false);
}

static void test_memory_of_a_restored_machine(void **state)
{
	check_memory(true);
}

static void test_memory_of_something_else(void **state)
{
	uint64_t copied;
	struct hull_error err = {0};
	_cleanup_free_ char *path = in(root, "other");
	_cleanup_close_ int to = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(hull_memory_save(getpid(), (uint64_t)123 << 30, -1, to, &copied, &err) < 0);
}

/* --- disks --- */

enum { UNIT = 64 * 1024, UNITS = 80 };

static void put_unit(int fd, int unit, int with, size_t n)
{
	static uint8_t bytes[UNIT];
	memset(bytes, with, n);
	assert_int_equal(pwrite(fd, bytes, n, (off_t)unit * UNIT), (ssize_t)n);
}

/* What an engine does before it changes a unit: the whole of it goes to `kept`, a hole as a zeroed range. */
static void change(int disk, int kept, int unit, int with)
{
	static uint8_t was[UNIT];
	off_t at = (off_t)unit * UNIT, data = lseek(disk, at, SEEK_DATA);
	if (data < 0 || data >= at + UNIT) {
		if (fallocate(kept, FALLOC_FL_ZERO_RANGE, at, UNIT) < 0)
			assert_int_equal(pwrite(kept, was, 0, at), 0);
	} else {
		assert_int_equal(pread(disk, was, UNIT, at), UNIT);
		assert_int_equal(pwrite(kept, was, UNIT, at), UNIT);
	}
	put_unit(disk, unit, with, UNIT);
}

static void test_disk_of_a_moment(void **state)
{
	struct hull_error err = {0};
	_cleanup_(hull_disk_map_free) struct hull_disk_map map = {0};
	_cleanup_free_ char *path = in(root, "d"), *kept_path = in(root, "k"), *to_path = in(root, "t");
	const off_t size = (off_t)UNITS * UNIT + 5000;
	_cleanup_close_ int disk = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	_cleanup_close_ int kept = open(kept_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	_cleanup_close_ int to = open(to_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(disk >= 0 && kept >= 0 && to >= 0);
	assert_int_equal(ftruncate(disk, size), 0);
	assert_int_equal(ftruncate(kept, size), 0);
	for (int i = 0; i < UNITS; i += i % 7 ? 1 : 3)
		put_unit(disk, i, 'a' + i % 20, i % 5 ? UNIT : 4096);
	put_unit(disk, 30, 0, UNIT); /* zeros that are written are data */
	assert_int_equal(pwrite(disk, "end", 3, size - 3), 3);
	uint8_t *want = malloc((size_t)size), *got = malloc((size_t)size);
	assert_true(want && got && pread(disk, want, (size_t)size, 0) == size);

	assert_int_equal(hull_disk_map(disk, &map, &err), 0);
	/* Changes before the copy, which reads what came later; of data, of a hole, of zeros, and a discard. */
	for (int i = 3; i < 50; i += 4)
		change(disk, kept, i, 'Z');
	change(disk, kept, 30, 'Z');
	change(disk, kept, 8, 'Z');
	assert_int_equal(fallocate(disk, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)8 * UNIT, UNIT), 0);
	/* A unit that passed for data by its zeros in the page cache, and for a hole when it was kept. */
	int odd = 3;
	while (want[(size_t)odd * UNIT] == 0 || odd % 4 != 3)
		odd++;
	memset(want + (size_t)odd * UNIT, 0, UNIT);
	assert_int_equal(fallocate(kept, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)odd * UNIT, UNIT), 0);
	bool told = fallocate(kept, FALLOC_FL_ZERO_RANGE, (off_t)odd * UNIT, UNIT) == 0;
	volatile bool stop = true;
	assert_int_equal(hull_disk_copy(disk, &map, to, &stop, &err), -ECANCELED);
	stop = false;
	assert_int_equal(hull_disk_copy(disk, &map, to, &stop, &err), 0);
	/* Changes after it do no harm. */
	for (int i = 51; i < UNITS; i += 3)
		change(disk, kept, i, 'Y');
	uint64_t merged = 0;
	assert_int_equal(hull_disk_merge(kept, &map, to, &merged, &err), 0);
	assert_true(merged > 0 && merged < (uint64_t)size);
	assert_int_equal(pread(to, got, (size_t)size, 0), size);
	if (!told)
		memcpy(got + (size_t)odd * UNIT, want + (size_t)odd * UNIT, UNIT); /* tmpfs; it cannot happen there */
	for (off_t i = 0; i < size; i++)
		if (want[i] != got[i])
			fail_msg("byte %lld of unit %lld differs", (long long)(i % UNIT), (long long)(i / UNIT));
	struct stat st;
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, size);
	assert_true(lseek(to, UNIT, SEEK_DATA) > UNIT); /* what was a hole is one */
	free(want);
	free(got);
}

/* --- a sandbox's own disk --- */

static void test_own_disk(void **state)
{
	_cleanup_free_ char *dir = make("saved");
	_cleanup_free_ char *home = in(root, "sandbox");
	_cleanup_free_ char *disk = in(home, "disk.img");
	_cleanup_(hull_snapshot_free) struct hull_snapshot snap = {0};
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1}, again = {.fd = -1};
	struct hull_paths paths = {.home = root};
	struct hull_error err = {0};
	struct stat st;
	char got[4];
	assert_int_equal(mkdir(home, 0700), 0);
	assert_int_equal(hull_snapshot_load(dir, &snap, &err), 0);
	struct hull_sandbox s = {.restore = (char *)"saved", .restore_id = snap.digest};
	_cleanup_close_ int from = hull_disk_source(&paths, &s, &err);
	assert_true(from >= 0);
	/* It is there when it is whole, as long as was asked for, and holes stay holes. */
	assert_int_equal(hull_disk_clone(from, 64 * MIB, home, &scratch, &err), 0);
	assert_int_equal(access(disk, F_OK), -1);
	assert_int_equal(hull_disk_place(&scratch, home, &err), 0);
	assert_int_equal(stat(disk, &st), 0);
	assert_int_equal(st.st_size, 64 * MIB);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(st.st_blocks * 512 < MIB);
	_cleanup_close_ int fd = open(disk, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, got, 4, 3 * MIB), 4);
	assert_memory_equal(got, "disk", 4);
	/* Another one takes its place. */
	_cleanup_close_ int fresh = hull_disk_new(home, &again, &err);
	assert_true(fresh >= 0);
	assert_int_equal(hull_disk_place(&again, home, &err), 0);
	assert_int_equal(stat(disk, &st), 0);
	assert_int_equal(st.st_size, 0);
	/* Of another save than the sandbox is of, or of none, there is none to be had. */
	s.restore_id = (char *)"another";
	assert_int_equal(hull_disk_source(&paths, &s, &err), -ENOENT);
	s.restore = (char *)"nowhere";
	assert_int_equal(hull_disk_source(&paths, &s, &err), -ENOENT);
}

/* --- scratch directories --- */

static void test_scratch(void **state)
{
	_cleanup_free_ char *parent = in(root, "parent");
	_cleanup_free_ char *name = in(root, "parent/name");
	struct hull_scratch a = {.fd = -1}, b = {.fd = -1};
	struct hull_error err = {0};
	assert_int_equal(hull_saved_scratch(parent, &a, &err), 0);
	put(a.path, "one", 1, "1", 0);
	/* One that is held survives a sweep, one whose maker died does not. */
	_cleanup_free_ char *left = in(parent, ".tmp-dead00");
	assert_int_equal(mkdir(left, 0700), 0);
	assert_int_equal(hull_saved_scratch(parent, &b, &err), 0);
	assert_int_equal(access(a.path, F_OK), 0);
	assert_int_equal(access(left, F_OK), -1);
	put(b.path, "two", 1, "2", 0);
	assert_int_equal(hull_scratch_commit(&a, parent, "name", false, &err), 0);
	assert_null(a.path);
	assert_int_equal(hull_scratch_commit(&b, parent, "name", false, &err), -EEXIST);
	_cleanup_free_ char *one = in(name, "one");
	_cleanup_free_ char *two = in(name, "two");
	assert_int_equal(access(one, F_OK), 0);
	assert_int_equal(hull_scratch_commit(&b, parent, "name", true, &err), 0);
	assert_int_equal(access(one, F_OK), -1);
	assert_int_equal(access(two, F_OK), 0);
	assert_int_equal(hull_saved_remove(parent, "name", &err), 0);
	assert_int_equal(access(name, F_OK), -1);
	assert_int_equal(hull_saved_remove(parent, "name", &err), -ENOENT);
	assert_int_equal(rmdir(parent), 0); /* nothing is left */
}

/* --- keys and names --- */

static void test_build_locks(void **state)
{
	const struct hull_paths p = {.home = root};
	struct hull_error err = {0};
	static const char key[] = "0123456789abcdef0123456789abcdef", other[] = "f123456789abcdef0123456789abcdef";
	_cleanup_free_ char *path = in(root, "templates/.build-0123456789abcdef0123456789abcdef");
	_cleanup_free_ char *left = in(root, "templates/.build-f123456789abcdef0123456789abcdef");
	int fd = hull_template_build_lock(&p, key, false, &err);
	assert_true(fd >= 0);
	assert_int_equal(hull_template_build_lock(&p, key, false, &err), -EAGAIN);
	/* A sweep leaves alone what is held, and takes what a killed builder left. */
	int dead = hull_template_build_lock(&p, other, false, &err);
	close(dead);
	assert_int_equal(access(left, F_OK), 0);
	hull_template_build_sweep(&p);
	assert_int_equal(access(left, F_OK), -1);
	assert_int_equal(access(path, F_OK), 0);
	/* Whoever waits for a file that is taken away meanwhile gets the next one, and alone. */
	pid_t pid = fork();
	if (pid == 0) {
		close(fd); /* the lock is the parent's alone, or the child waits for itself */
		int got = hull_template_build_lock(&p, key, true, NULL);
		_exit(got >= 0 && hull_template_build_lock(&p, key, false, NULL) == -EAGAIN ? 0 : 1);
	}
	hull_template_build_done(&p, key);
	assert_int_equal(access(path, F_OK), -1);
	close(fd);
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_keys(void **state)
{
	struct hull_template_shape shapes[11];
	char keys[11][HULL_KEY_HEX + 1];
	for (size_t i = 0; i < 11; i++)
		shapes[i] = (struct hull_template_shape){.image = "i",
							 .initramfs = "r",
							 .identity = "q",
							 .accel = "tcg",
							 .machine = "m",
							 .warm_up = "w",
							 .cpus = 2,
							 .memory = MIB,
							 .disk = MIB};
	shapes[1].image = "j";
	shapes[2].initramfs = "s";
	shapes[3].identity = "p";
	shapes[4].accel = "kvm";
	shapes[5].cpus = 3;
	shapes[6].memory = 2 * MIB;
	shapes[7].disk = 2 * MIB;
	shapes[8].no_docker = true;
	shapes[9].machine = "n";
	shapes[10].warm_up = "x";
	for (size_t i = 0; i < 11; i++) {
		assert_int_equal(hull_template_key(&shapes[i], keys[i], NULL), 0);
		assert_true(hull_template_is_key(keys[i]));
		_cleanup_free_ char *rel = hull_fmt("templates/%s", keys[i]);
		assert_true(hull_template_is_hulls(rel));
		assert_false(hull_template_is_hulls(keys[i]));
		assert_int_equal(hull_template_name_check(keys[i], NULL), -EINVAL);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(keys[i], keys[k]);
	}
	assert_int_equal(hull_template_name_check("mine", NULL), 0);
	assert_true(hull_template_name_check("../x", NULL) < 0);
}

/* --- archives --- */

static bool same_description(const char *a, const char *b)
{
	_cleanup_(hull_buf_free) struct hull_buf x = {0}, y = {0};
	_cleanup_free_ char *p = in(a, "snapshot.json");
	_cleanup_free_ char *q = in(b, "snapshot.json");
	return hull_read_file(AT_FDCWD, p, MIB, &x, NULL) == 0 && hull_read_file(AT_FDCWD, q, MIB, &y, NULL) == 0 &&
	       x.len == y.len && memcmp(hull_buf_bytes(&x), hull_buf_bytes(&y), x.len) == 0;
}

static void test_archive(void **state)
{
	_cleanup_free_ char *dir = make("source");
	_cleanup_free_ char *file = in(root, "archive");
	_cleanup_free_ char *to = in(root, "imported");
	struct hull_error err = {0};
	struct stat st;
	_cleanup_close_ int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(hull_archive_export(dir, fd, &err), 0);
	assert_int_equal(mkdir(to, 0700), 0);
	lseek(fd, 0, SEEK_SET);
	if (hull_archive_import(fd, to, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(open_file(to, "memory"), 0);
	assert_int_equal(open_file(to, "device"), 0);
	assert_int_equal(open_file(to, "disk.img"), 0);
	/* Holes are holes again. */
	_cleanup_free_ char *memory = in(to, "memory");
	assert_int_equal(stat(memory, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 <= 2 * MIB);
	/* Every bit counts, and every length. A compressed stream has a few bits without a meaning: what it says is
	 * then the same, to the last byte. */
	assert_int_equal(fstat(fd, &st), 0);
	_cleanup_close_ int tmp = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (off_t i = 0; i < st.st_size; i += st.st_size / 60 + 1) {
		assert_int_equal(hull_remove_tree(tmp, "imported", NULL), 0);
		assert_int_equal(mkdir(to, 0700), 0);
		flip(file, i);
		lseek(fd, 0, SEEK_SET);
		int r = hull_archive_import(fd, to, &err);
		flip(file, i);
		if (r >= 0 && (!same_description(dir, to) || open_file(to, "memory") < 0 ||
			       open_file(to, "device") < 0 || open_file(to, "disk.img") < 0))
			fail_msg("a flip of byte %lld went unseen", (long long)i);
		_cleanup_free_ char *cut = in(root, "cut");
		_cleanup_close_ int part = open(cut, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_int_equal(hull_clone_file(fd, part, NULL), 0);
		assert_int_equal(ftruncate(part, i), 0);
		assert_int_equal(hull_remove_tree(tmp, "imported", NULL), 0);
		assert_int_equal(mkdir(to, 0700), 0);
		lseek(part, 0, SEEK_SET);
		assert_true(hull_archive_import(part, to, &err) < 0);
	}
}

static void test_archive_with_a_tail(void **state)
{
	_cleanup_free_ char *dir = make("tail");
	_cleanup_free_ char *file = in(root, "tailed");
	_cleanup_free_ char *to = in(root, "tail-imported");
	struct hull_error err = {0};
	_cleanup_close_ int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(hull_archive_export(dir, fd, &err), 0);
	assert_int_equal(write(fd, "x", 1), 1);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(mkdir(to, 0700), 0);
	assert_int_equal(hull_archive_import(fd, to, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "there is data after its end"));
}

/* What a stranger's template says of directories of the host is not for anybody here. */
static void test_archive_with_nodes(void **state)
{
	_cleanup_free_ char *dir = make("with-nodes");
	_cleanup_free_ char *file = in(root, "nodes-archive");
	_cleanup_free_ char *to = in(root, "nodes-imported");
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = about();
	struct hull_error err = {0};
	put(dir, "nodes", 100, "nodes", 0);
	assert_int_equal(hull_snapshot_finish(dir, &s, &err), 0);
	assert_int_equal(open_file(dir, "nodes"), 0);
	_cleanup_close_ int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(hull_archive_export(dir, fd, &err), 0);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(mkdir(to, 0700), 0);
	assert_int_equal(hull_archive_import(fd, to, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "which no template has"));
}

static void test_archive_of_another_version(void **state)
{
	uint8_t plain[64] = "HULLSAVE\x02", packed[256];
	struct hull_error err = {0};
	_cleanup_free_ char *to = in(root, "other-version");
	_cleanup_free_ char *file = in(root, "other-archive");
	assert_int_equal(mkdir(to, 0700), 0);
	for (int known = 0; known < 2; known++) {
		plain[0] = known ? 'H' : 'X';
		size_t n = ZSTD_compress(packed, sizeof(packed), plain, sizeof(plain), 1);
		_cleanup_close_ int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, packed, n), (ssize_t)n);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(hull_archive_import(fd, to, &err), known ? -ENOTSUP : -EBADMSG);
		assert_non_null(strstr(err.msg, known ? "another version of Hull (format 2)" : "expected a template"));
	}
	/* And something that is no archive at all. */
	_cleanup_close_ int none = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_int_equal(hull_archive_import(none, to, &err), -EBADMSG);
}

/* What was noted as checked decides only whether a file is read again, and noted nonsense does not decide. */
static void test_damaged_notes(void **state)
{
	static const char *const notes[] = {"", "{", "[]", "{\"boot\": 1}", "{\"boot\": \"x\", \"memory\": {}}"};
	_cleanup_free_ char *dir = make("notes");
	_cleanup_free_ char *path = in(dir, "verified");
	_cleanup_free_ char *memory = in(dir, "memory");
	for (size_t i = 0; i < sizeof(notes) / sizeof(*notes); i++) {
		assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, notes[i], strlen(notes[i]), 0600, NULL), 0);
		assert_int_equal(open_file(dir, "memory"), 0);
		flip(memory, 5 * MIB);
		assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, notes[i], strlen(notes[i]), 0600, NULL), 0);
		assert_int_equal(open_file(dir, "memory"), -EBADMSG);
		flip(memory, 5 * MIB);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_damaged_description),
		cmocka_unit_test(test_holes_make_no_difference),
		cmocka_unit_test(test_memory_of_a_booted_machine),
		cmocka_unit_test(test_memory_of_a_restored_machine),
		cmocka_unit_test(test_memory_of_something_else),
		cmocka_unit_test(test_disk_of_a_moment),
		cmocka_unit_test(test_own_disk),
		cmocka_unit_test(test_scratch),
		cmocka_unit_test(test_build_locks),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_archive),
		cmocka_unit_test(test_archive_with_nodes),
		cmocka_unit_test(test_archive_with_a_tail),
		cmocka_unit_test(test_archive_of_another_version),
		cmocka_unit_test(test_damaged_notes),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of machines that promise or unfold to more than they are: nothing of it may fill a disk. The archives are
 * made by hand, with descriptions that are right in themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "snapshot/internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { MIB = 1 << 20 };
#define MEMORY ((uint64_t)64 * MIB)

static char root[64], to[80];
static struct hull_error err;

static int setup(void **state)
{
	snprintf(root, sizeof(root), "/tmp/hull-test-bomb.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(to, sizeof(to), "%s/to", root);
	return mkdir(to, 0700);
}

static int teardown(void **state)
{
	return hull_remove_tree(AT_FDCWD, root, NULL);
}

static json_t *file(uint64_t size, uint64_t stored)
{
	char hex[65];
	memset(hex, '0', 64);
	hex[64] = '\0';
	return json_pack("{s:I, s:I, s:s}", "size", (json_int_t)size, "stored", (json_int_t)stored, "sha256", hex);
}

/* The records up to the files: the description of a machine whose memory has `stored` bytes that are not zero. */
static void begin(struct hull_buf *b, uint64_t stored)
{
	char hex[65];
	json_t *j = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:b, s:I, s:{s:o, s:o}}",
			      "format", HULL_SNAPSHOT_FORMAT, "image", "0123456789abcdef0123456789abcdef", "identity",
			      "x", "engine", "x", "accel", "tcg", "cpu", "x", "initramfs", "x", "hull", "x", "cpus", 1,
			      "memory", (json_int_t)MEMORY, "disk", (json_int_t)MIB, "no_docker", 1, "created",
			      (json_int_t)1, "files", "memory", file(MEMORY, stored), "device", file(4096, 4096));
	assert_non_null(j);
	_cleanup_free_ char *bare = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
	assert_int_equal(hull_snapshot_sha256(bare, strlen(bare), hex, &err), 0);
	json_object_set_new(j, "digest", json_string(hex));
	_cleanup_free_ char *text = json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS);
	json_decref(j);
	hull_buf_addstr(b, "HULLSAVE");
	hull_buf_le32(b, 1);
	hull_buf_add(b, "J", 1);
	hull_buf_le32(b, (uint32_t)strlen(text));
	hull_buf_addstr(b, text);
}

static void begin_memory(struct hull_buf *b)
{
	hull_buf_add(b, "F\x06memory", 8);
	hull_buf_le64(b, MEMORY);
}

static int import(struct hull_buf *b)
{
	size_t cap = ZSTD_compressBound(b->len);
	_cleanup_free_ void *packed = malloc(cap);
	size_t n = ZSTD_compress(packed, cap, hull_buf_bytes(b), b->len, 1);
	_cleanup_close_ int fd = open(root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, packed, n), (ssize_t)n);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(hull_remove_tree(AT_FDCWD, to, NULL), 0);
	assert_int_equal(mkdir(to, 0700), 0);
	return hull_archive_import(fd, to, &err);
}

static uint64_t written(void)
{
	struct stat st;
	_cleanup_free_ char *path = hull_fmt("%s/memory", to);
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void extents(struct hull_buf *b, int fill)
{
	static uint8_t chunk[MIB];
	memset(chunk, fill, sizeof(chunk));
	for (uint64_t at = 0; at < MEMORY; at += MIB) {
		hull_buf_add(b, "X", 1);
		hull_buf_le64(b, at);
		hull_buf_le32(b, MIB);
		hull_buf_add(b, chunk, sizeof(chunk));
	}
}

static void test_zeros_are_holes(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	begin(&b, MEMORY);
	begin_memory(&b);
	extents(&b, 0);
	hull_buf_add(&b, "E", 1);
	assert_true(import(&b) < 0); /* not what the description says */
	assert_true(written() < MIB);
}

/* A byte in each block would take a block for each, and none of that be counted. */
static void test_an_extent_is_a_whole_chunk(void **state)
{
	static const struct {
		uint64_t at;
		uint32_t n;
	} wrong[] = {{0, 1}, {4096, 1}, {4096, MIB}, {0, MIB - 1}, {MEMORY - MIB, MIB + 1}, {MEMORY, 1}};
	static uint8_t ones[MIB + 1];
	memset(ones, 1, sizeof(ones));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		_cleanup_(hull_buf_free) struct hull_buf b = {0};
		begin(&b, MEMORY);
		begin_memory(&b);
		hull_buf_add(&b, "X", 1);
		hull_buf_le64(&b, wrong[i].at);
		hull_buf_le32(&b, wrong[i].n);
		hull_buf_add(&b, ones, wrong[i].n);
		hull_buf_add(&b, "E", 1);
		assert_int_equal(import(&b), -EBADMSG);
		assert_non_null(strstr(err.msg, "an extent is out of order, unaligned or beyond the end of its file"));
		assert_int_equal(written(), 0);
	}
}

static void test_space_is_asked_for_first(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	begin(&b, 15ULL << 40);
	begin_memory(&b);
	extents(&b, 1);
	assert_int_equal(import(&b), -ENOSPC);
	assert_non_null(strstr(err.msg, "not enough space to unpack it"));
	assert_int_equal(written(), 0);
	/* Sums that wrap around, and what is less than nothing. */
	static const uint64_t wrong[] = {INT64_MAX, UINT64_MAX, 1ULL << 63};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		_cleanup_(hull_buf_free) struct hull_buf w = {0};
		begin(&w, wrong[i]);
		assert_true(import(&w) < 0);
	}
}

static void test_a_file_comes_once(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	begin(&b, MEMORY);
	begin_memory(&b);
	begin_memory(&b);
	assert_int_equal(import(&b), -EBADMSG);
	assert_non_null(strstr(err.msg, "twice"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zeros_are_holes),
		cmocka_unit_test(test_an_extent_is_a_whole_chunk),
		cmocka_unit_test(test_space_is_asked_for_first),
		cmocka_unit_test(test_a_file_comes_once),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

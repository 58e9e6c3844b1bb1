/* SPDX-License-Identifier: Apache-2.0 */
/* The base: buffers, text, files. */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void test_buffer_keeps_bytes_in_order(void **state)
{
	struct hull_buf b = {0};
	uint8_t next_in = 0;
	uint8_t next_out = 0;
	for (unsigned round = 1; round < 2000; round++) {
		for (unsigned i = 0; i < round % 97; i++, next_in++)
			assert_int_equal(hull_buf_add(&b, &next_in, 1), 0);
		size_t drop = b.len < round % 89 ? b.len : round % 89;
		for (size_t i = 0; i < drop; i++, next_out++)
			assert_int_equal(hull_buf_bytes(&b)[i], next_out);
		hull_buf_drain(&b, drop);
	}
	assert_null(hull_buf_room(&b, SIZE_MAX));
	hull_buf_drain(&b, SIZE_MAX);
	assert_int_equal(b.len, 0);
	hull_buf_free(&b);
}

static void test_cursor_never_passes_the_end(void **state)
{
	const uint8_t raw[] = {1, 2, 3, 4, 5};
	struct hull_cur c = hull_cur_make(raw, sizeof(raw));
	assert_int_equal(hull_cur_le32(&c), 0x04030201);
	assert_int_equal(hull_cur_le16(&c), 0);
	assert_true(c.bad);
	assert_int_equal(hull_cur_u8(&c), 0);
	assert_null(hull_cur_take(&c, 0));
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
		int r;
	} cases[] = {
		{"0", 0, 0},
		{"1048576", 1048576, 0},
		{"512m", 512ULL << 20, 0},
		{"2g", 2ULL << 30, 0},
		{"2G", 2ULL << 30, 0},
		{"1.5GiB", 3ULL << 29, 0},
		{"1.5gb", 3ULL << 29, 0},
		{"7b", 7, 0},
		{"1k", 1024, 0},
		{"0.5k", 512, 0},
		{"4t", 4ULL << 40, 0},
		{"4194304t", 1ULL << 62, 0},
		{"4194305t", 0, -ERANGE},
		{"99999999999999999999", 0, -ERANGE},
		{"99999999999999999999x", 0, -EINVAL},
		{"", 0, -EINVAL},
		{" 1", 0, -EINVAL},
		{"-1", 0, -EINVAL},
		{"1.", 0, -EINVAL},
		{".5g", 0, -EINVAL},
		{"1.5", 0, -EINVAL},
		{"1i", 0, -EINVAL},
		{"1bb", 0, -EINVAL},
		{"1kk", 0, -EINVAL},
		{"1p", 0, -EINVAL},
		{"1 g", 0, -EINVAL},
		{"0x10", 0, -EINVAL},
		{NULL, 0, -EINVAL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t got = 0;
		struct hull_error err = {0};
		assert_int_equal(hull_parse_size(cases[i].text, &got, &err), cases[i].r);
		assert_int_equal(got, cases[i].bytes);
		assert_int_equal(err.code, cases[i].r);
	}
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t seconds;
		int r;
	} cases[] = {
		{"90s", 90, 0},
		{"15m", 900, 0},
		{"2h", 7200, 0},
		{"3d", 259200, 0},
		{"1h30m", 5400, 0},
		{"1d1s", 86401, 0},
		{"45", 45, 0},
		{"0", 0, 0},
		{"", 0, -EINVAL},
		{"1h30", 0, -EINVAL},
		{"30m1h", 0, -EINVAL},
		{"1h1h", 0, -EINVAL},
		{"h", 0, -EINVAL},
		{"1w", 0, -EINVAL},
		{"-1s", 0, -EINVAL},
		{NULL, 0, -EINVAL},
		{"999999999999999999d", 0, -ERANGE},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t got = 0;
		assert_int_equal(hull_parse_duration(cases[i].text, &got, NULL), cases[i].r);
		assert_int_equal(got, cases[i].seconds);
	}
}

static void test_numbers_printed(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1 KiB"},
		{1536, "1.5 KiB"},
		{1048575, "1 MiB"},
		{(uint64_t)5 << 30, "5 GiB"},
		{UINT64_MAX, "16 EiB"},
	};
	char out[16];
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		assert_string_equal(hull_format_size(sizes[i].bytes, out, sizeof(out)), sizes[i].text);
	assert_string_equal(hull_format_age(5, out, sizeof(out)), "5s");
	assert_string_equal(hull_format_age(200, out, sizeof(out)), "3m");
	assert_string_equal(hull_format_age(3700, out, sizeof(out)), "1h");
	assert_string_equal(hull_format_age(200000, out, sizeof(out)), "2d");
	uint64_t v = 7;
	assert_int_equal(hull_parse_u64("65535", 65535, &v), 0);
	assert_int_equal(v, 65535);
	assert_int_equal(hull_parse_u64("65536", 65535, &v), -ERANGE);
	assert_int_equal(hull_parse_u64("+1", 65535, &v), -EINVAL);
	assert_int_equal(v, 65535);
}

static void test_closest(void **state)
{
	static const char *const verbs[] = {"run", "exec", "ls", "start", "stop", "rm", "image", "--memory"};
	const size_t n = sizeof(verbs) / sizeof(verbs[0]);
	assert_string_equal(hull_closest("exce", verbs, n), "exec");
	assert_string_equal(hull_closest("strat", verbs, n), "start");
	assert_string_equal(hull_closest("--memroy", verbs, n), "--memory");
	assert_string_equal(hull_closest("imgae", verbs, n), "image");
	assert_null(hull_closest("teleport", verbs, n));
	assert_null(hull_closest("", verbs, n));
}

static void check_printable(const char *in, size_t n, const char *wanted)
{
	_cleanup_free_ char *out = hull_printable(in, n);
	assert_string_equal(out, wanted);
}

static void test_yaml_readable(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		const char *told; /* NULL: it may be read */
	} t[] = {
		{"", 0, NULL},
		{"a: b # 5%\n% \xe2\x82\xac", 15, "f:2:1: a YAML directive"},
		{"a: \"%\xe2\x82\xac\"\n", 9, NULL},
		{"%YAML 9\n", 8, "f:1:1: a YAML directive"},
		{"a\r%TAG", 6, "f:1:1: a YAML directive"},
		{"a\nb\0", 4, "f:2:1: this is not UTF-8 text"},
		{"\xa4\xa4", 2, "f:1:1: this is not UTF-8 text"},
		{"\xe2\x82", 2, "f:1:1: this is not UTF-8 text"},
		{"\xed\xa0\x80", 3, "f:1:1: this is not UTF-8 text"},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct hull_error err = {0};
		int r = hull_yaml_readable("f", t[i].text, t[i].n, &err);
		assert_int_equal(r, t[i].told ? -EINVAL : 0);
		assert_true(!t[i].told || hull_starts(err.msg, t[i].told));
	}
}

static void test_printable(void **state)
{
	check_printable("plain", 5, "plain");
	check_printable("a\x1b[31m\n", 7, "a\\x1b[31m\\x0a");
	check_printable("gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f");
	check_printable("\xc2\x9b", 2, "\\xc2\\x9b");          /* C1: a one-byte CSI */
	check_printable("\xe2\x80\xae", 3, "\\xe2\\x80\\xae"); /* right-to-left override */
	check_printable("\xc0\x8a\xff\xe2\x80", 5, "\\xc0\\x8a\\xff\\xe2\\x80");
	check_printable("\0x", 2, "\\x00x");
}

/* --- files --- */

struct place {
	char path[64];
	int fd;
};

static int make_place(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	strcpy(p->path, "/tmp/hull-test-base-XXXXXX");
	if (!p || !mkdtemp(p->path))
		return -1;
	p->fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return p->fd < 0 ? -1 : 0;
}

static int drop_place(void **state)
{
	struct place *p = *state;
	close(p->fd);
	int r = hull_remove_tree(AT_FDCWD, p->path, NULL);
	free(p);
	return r;
}

static void test_atomic_file(void **state)
{
	struct place *p = *state;
	struct hull_error err = {0};
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	assert_int_equal(hull_write_file_atomic(p->fd, "f", "old", 3, 0600, &err), 0);
	assert_int_equal(hull_write_file_atomic(p->fd, "f", "newer", 5, 0600, &err), 0);
	assert_int_equal(hull_read_file(p->fd, "f", 5, &b, &err), 0);
	assert_int_equal(b.len, 5);
	assert_string_equal((char *)hull_buf_bytes(&b), "newer");
	hull_buf_drain(&b, 5);
	assert_int_equal(hull_read_file(p->fd, "f", 4, &b, &err), -EFBIG);
	assert_int_equal(hull_read_file(p->fd, "absent", 4, &b, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "absent"));
	/* Failing leaves neither a temporary file nor a change. */
	assert_int_equal(mkdirat(p->fd, "d", 0700), 0);
	assert_int_equal(hull_write_file_atomic(p->fd, "d", "x", 1, 0600, &err), -EISDIR);
	unsigned entries = 0;
	_cleanup_closedir_ DIR *dir = opendir(p->path);
	while (readdir(dir))
		entries++;
	assert_int_equal(entries, 4); /* . .. f d */
	_cleanup_free_ char *deep = hull_fmt("%s/d/g", p->path);
	assert_int_equal(hull_write_file_atomic(AT_FDCWD, deep, "x", 1, 0600, &err), 0);
	_cleanup_(hull_buf_free) struct hull_buf proc = {0};
	assert_int_equal(hull_read_file(AT_FDCWD, "/proc/self/status", 65536, &proc, &err), 0);
	assert_true(proc.len > 0);
}

static void test_trees(void **state)
{
	struct place *p = *state;
	struct hull_error err = {0};
	_cleanup_free_ char *deep = hull_fmt("%s/a/b//c/", p->path);
	_cleanup_free_ char *file = hull_fmt("%s/a/file", p->path);
	_cleanup_free_ char *under_file = hull_fmt("%s/a/file/x", p->path);
	assert_int_equal(hull_mkdir_all(deep, 0755, &err), 0);
	assert_int_equal(hull_mkdir_all(deep, 0755, &err), 0);
	assert_int_equal(hull_write_file_atomic(AT_FDCWD, file, "x", 1, 0600, &err), 0);
	assert_int_equal(hull_mkdir_all(file, 0755, &err), -ENOTDIR);
	assert_true(hull_mkdir_all(under_file, 0755, &err) < 0);
	/* A symlink is removed, what it points to stays. */
	assert_int_equal(mkdirat(p->fd, "kept", 0755), 0);
	assert_int_equal(hull_write_file_atomic(p->fd, "kept/f", "x", 1, 0600, &err), 0);
	assert_int_equal(symlinkat("../kept", p->fd, "a/link"), 0);
	assert_int_equal(symlinkat("kept", p->fd, "link"), 0);
	assert_int_equal(hull_remove_tree(p->fd, "a", &err), 0);
	assert_int_equal(hull_remove_tree(p->fd, "link", &err), 0);
	assert_int_equal(hull_remove_tree(p->fd, "absent", &err), 0);
	assert_int_equal(faccessat(p->fd, "a", F_OK, 0), -1);
	assert_int_equal(faccessat(p->fd, "kept/f", F_OK, 0), 0);
	/* Many entries, and one that may not be entered. */
	assert_int_equal(mkdirat(p->fd, "many", 0755), 0);
	for (unsigned i = 0; i < 3000; i++) {
		_cleanup_free_ char *name = hull_fmt("many/%u", i);
		assert_int_equal(mkdirat(p->fd, name, i == 7 ? 0 : 0755), 0);
	}
	assert_int_equal(hull_remove_tree(p->fd, "many", &err), 0);
	assert_int_equal(faccessat(p->fd, "many", F_OK, 0), -1);
}

static void test_clone_keeps_holes(void **state)
{
	struct place *p = *state;
	struct hull_error err = {0};
	_cleanup_close_ int from = openat(p->fd, "from", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	_cleanup_close_ int to = openat(p->fd, "to", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	const off_t size = 64 << 20;
	assert_int_equal(ftruncate(from, size), 0);
	assert_int_equal(pwrite(from, "begin", 5, 4096), 5);
	assert_int_equal(pwrite(from, "end", 3, size - 8192), 3);
	assert_int_equal(hull_clone_file(from, to, &err), 0);
	struct stat st;
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, size);
	assert_true(st.st_blocks * 512 < 1 << 20);
	char got[8] = {0};
	assert_int_equal(pread(to, got, 5, 4096), 5);
	assert_string_equal(got, "begin");
	assert_int_equal(pread(to, got, 4, size - 8192), 4);
	assert_string_equal(got, "end");
}

static void test_log_lines(void **state)
{
	struct place *p = *state;
	_cleanup_close_ int fd = openat(p->fd, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_free_ char *big = malloc(10000);
	memset(big, 'x', 9999);
	big[9999] = '\0';
	hull_log_open(fd, "keeper");
	hull_log("two\nlines %d", 7);
	hull_log("%s", big);
	hull_log_open(2, "hull");
	assert_int_equal(hull_read_file(p->fd, "log", 65536, &b, NULL), 0);
	char *text = (char *)hull_buf_bytes(&b);
	assert_non_null(strstr(text, "Z keeper: two lines 7\n20"));
	assert_int_equal(text[10], 'T');
	assert_int_equal(text[b.len - 1], '\n');
	assert_true(b.len < 5000);
}

static void test_one_line(void **state)
{
	assert_true(hull_one_line(NULL, 0) && hull_one_line("", 0) && hull_one_line("A <b@c.d>", 9));
	assert_true(hull_one_line("\xc3\xa9", 2));
	assert_false(hull_one_line("ab", 1) || hull_one_line("a\nb", 9) || hull_one_line("\x7f", 9) ||
		     hull_one_line("\t", 9));
}

static void test_errors(void **state)
{
	struct hull_error err = {0};
	errno = ENOENT;
	assert_int_equal(hull_fail_errno(&err, "cannot open %s", "x"), -ENOENT);
	assert_int_equal(hull_wrap(&err, "sandbox %s", "a"), -ENOENT);
	assert_string_equal(err.msg, "sandbox a: cannot open x: No such file or directory");
	assert_int_equal(hull_fail(NULL, 0, "x"), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buffer_keeps_bytes_in_order),
		cmocka_unit_test(test_cursor_never_passes_the_end),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_numbers_printed),
		cmocka_unit_test(test_closest),
		cmocka_unit_test(test_yaml_readable),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_one_line),
		cmocka_unit_test(test_errors),
		cmocka_unit_test_setup_teardown(test_atomic_file, make_place, drop_place),
		cmocka_unit_test_setup_teardown(test_trees, make_place, drop_place),
		cmocka_unit_test_setup_teardown(test_clone_keeps_holes, make_place, drop_place),
		cmocka_unit_test_setup_teardown(test_log_lines, make_place, drop_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

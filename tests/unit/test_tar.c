/* SPDX-License-Identifier: Apache-2.0 */
/* Archives between host and sandbox (src/tar): what a guest may send, and what becomes of it here. The archives are
 * made with libarchive, as a guest that lies would; what is packed here is read by the system's tar. */
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
#include "tar/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A member says what is told of it. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

static char base[64];
static struct hull_error err;

static int setup(void **state)
{
	snprintf(base, sizeof(base), "/tmp/hull-test-tar-XXXXXX");
	umask(022);
	return mkdtemp(base) ? 0 : -1;
}

static int teardown(void **state)
{
	return hull_remove_tree(AT_FDCWD, base, NULL);
}

__attribute__((format(printf, 1, 2))) static int sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(cmd, sizeof cmd, fmt, ap);
	va_end(ap);
	_cleanup_free_ char *all = hull_fmt("cd %s && %s", base, cmd);
	return system(all);
}

/* --- archives of a guest --- */

struct member {
	const char *name;
	mode_t type;
	const char *content; /* of a file; the target of a symlink */
	const char *link;    /* a hard link to this */
	mode_t mode;
};

struct feed {
	struct hull_buf bytes;
	size_t at, cut;
	int ended;
	int verdict;
	size_t when; /* `between` is called when this much was read */
	void (*between)(void);
};

static la_ssize_t collect(struct archive *a, void *ctx, const void *p, size_t n)
{
	return hull_buf_add(ctx, p, n) == 0 ? (la_ssize_t)n : -1;
}

static void make(struct feed *f, const struct member *m, size_t count)
{
	*f = (struct feed){.cut = SIZE_MAX};
	struct archive *a = archive_write_new();
	archive_write_set_format_gnutar(a);
	archive_write_open(a, &f->bytes, NULL, collect, NULL);
	for (size_t i = 0; i < count; i++) {
		struct archive_entry *e = archive_entry_new();
		size_t n = m[i].type == S_IFREG && m[i].content ? strlen(m[i].content) : 0;
		archive_entry_copy_pathname(e, m[i].name);
		archive_entry_set_filetype(e, m[i].type);
		archive_entry_set_perm(e, m[i].mode ? m[i].mode : m[i].type == S_IFDIR ? 0755 : 0644);
		archive_entry_set_mtime(e, 981173106, 0);
		archive_entry_set_size(e, (la_int64_t)n);
		if (m[i].type == S_IFLNK)
			archive_entry_copy_symlink(e, m[i].content);
		if (m[i].link)
			archive_entry_copy_hardlink(e, m[i].link);
		assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
		if (n)
			archive_write_data(a, m[i].content, n);
		archive_entry_free(e);
	}
	archive_write_free(a);
}

static ssize_t feed_read(void *ctx, const void **p, struct hull_error *e)
{
	struct feed *f = ctx;
	size_t end = f->bytes.len < f->cut ? f->bytes.len : f->cut;
	size_t n = end - f->at < 512 ? end - f->at : 512;
	if (f->between && f->at >= f->when) {
		f->between();
		f->between = NULL;
	}
	*p = hull_buf_bytes(&f->bytes) + f->at;
	f->at += n;
	return (ssize_t)n;
}

static int feed_end(void *ctx, struct hull_error *e)
{
	struct feed *f = ctx;
	f->ended++;
	return f->verdict ? hull_fail(e, f->verdict, "no such file") : 0;
}

static char *const *apart;

static int unpack(struct feed *f, const char *into, const char *entry, const char *name)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", base, into);
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY);
	const struct hull_unpack u = {
		.dir = dir, .entry = entry, .name = name, .apart = apart, .read = feed_read, .end = feed_end, .ctx = f};
	assert_true(dir >= 0);
	int r = hull_unpack(&u, &err);
	hull_buf_free(&f->bytes);
	return r;
}

#define SEND(f, into, entry, name, ...)                            \
	({                                                         \
		const struct member sent_[] = {__VA_ARGS__};       \
		make(&(f), sent_, sizeof(sent_) / sizeof(*sent_)); \
		unpack(&(f), into, entry, name);                   \
	})

/* --- one entry --- */

static void test_the_host_gives_the_name(void **state)
{
	struct feed f;
	sh("mkdir d && echo mine >d/.bashrc");
	assert_int_equal(SEND(f, "d", "report.txt", "report.txt", {".bashrc", S_IFREG, "pwned\n"}), -EPROTO);
	assert_non_null(strstr(err.msg, "not what was requested"));
	assert_int_equal(sh("[ \"$(cat d/.bashrc)\" = mine ] && [ \"$(ls -A d)\" = .bashrc ]"), 0);
	/* Also behind what was asked for, in front of it, below it and beside it. */
	assert_int_equal(SEND(f, "d", "r", "r", {"r", S_IFREG, "x"}, {".bashrc", S_IFREG, "pwned"}), -EPROTO);
	assert_int_equal(SEND(f, "d", "r", "r", {".bashrc", S_IFREG, "pwned"}, {"r", S_IFREG, "x"}), -EPROTO);
	assert_int_equal(SEND(f, "d", "r", "r", {"r/x", S_IFREG, "x"}), -EPROTO);
	assert_int_equal(SEND(f, "d", "r", "r", {"rx", S_IFREG, "x"}), -EPROTO);
	assert_int_equal(SEND(f, "d", "r", "r", {"r/../.bashrc", S_IFREG, "x"}), -EPROTO);
	assert_int_equal(SEND(f, "d", "r", "r", {"/r", S_IFREG, "x"}), -EPROTO);
	assert_int_equal(SEND(f, "d", "r", "r", {"r", S_IFREG, "x"}, {"r", S_IFREG, "y"}), -EPROTO);
	assert_int_equal(SEND(f, "d", "r", "r", {"r", S_IFDIR}, {".bashrc", S_IFREG, "x"}), -EPROTO);
	assert_int_equal(SEND(f, "d", "r", "r", {"r", S_IFDIR}, {"r", S_IFLNK, "/etc"}), -EPROTO);
	assert_int_equal(SEND(f, "d", "r", "r", {"r", S_IFREG, NULL, "r"}), -EPROTO);
	assert_int_equal(sh("[ \"$(cat d/.bashrc)\" = mine ] && [ \"$(ls -A d)\" = .bashrc ]"), 0);
	assert_int_equal(SEND(f, "d", "sent", "named", {"./sent", S_IFREG, "good\n", NULL, 06755}), 0);
	assert_int_equal(f.ended, 1);
	assert_int_equal(sh("[ \"$(cat d/named)\" = good ] && [ \"$(stat -c '%%a %%Y' d/named)\" = '755 981173106' ]"),
			 0);
	sh("rm -rf d");
}

/* A file gets its name at the very end, and takes the place of a file only. */
static void test_what_is_there(void **state)
{
	struct feed f;
	sh("mkdir d && echo old >d/file && ln -s file d/link && mkdir d/dir && mkfifo d/fifo");
	assert_int_equal(SEND(f, "d", "x", "link", {"x", S_IFREG, "new\n"}), -EEXIST);
	assert_non_null(strstr(err.msg, "symlink"));
	assert_int_equal(SEND(f, "d", "x", "dir", {"x", S_IFREG, "new\n"}), -EEXIST);
	assert_int_equal(SEND(f, "d", "x", "fifo", {"x", S_IFREG, "new\n"}), -EEXIST);
	assert_int_equal(SEND(f, "d", "x", "file", {"x", S_IFDIR}), -EEXIST);
	assert_int_equal(SEND(f, "d", "x", "file", {"x", S_IFLNK, "/etc/passwd"}), -EEXIST);
	assert_int_equal(SEND(f, "d", "x", "link", {"x", S_IFDIR}, {"x/y", S_IFREG, "y"}), -EEXIST);
	const struct member one = {"x", S_IFREG, "new\n"};
	make(&f, &one, 1);
	f.verdict = -EIO; /* the guest's tar says that it failed */
	assert_int_equal(unpack(&f, "d", "x", "file"), -EIO);
	make(&f, &one, 1);
	f.cut = 515;
	assert_int_equal(unpack(&f, "d", "x", "file"), -EPROTO);
	assert_int_equal(sh("[ \"$(cat d/file)\" = old ] && [ \"$(ls -A d | wc -l)\" = 4 ]"), 0);
	assert_int_equal(SEND(f, "d", "x", "file", {"x", S_IFREG, "new\n"}), 0);
	assert_int_equal(SEND(f, "d", "x", "link", {"x", S_IFLNK, "elsewhere"}), 0);
	assert_int_equal(sh("[ \"$(cat d/file)\" = new ] && [ \"$(readlink d/link)\" = elsewhere ] && "
			    "[ \"$(ls -A d | wc -l)\" = 4 ]"),
			 0);
	/* No device, no file that is nothing. */
	assert_int_equal(SEND(f, "d", "x", "dev", {"x", S_IFCHR}), -EPERM);
	make(&f, &one, 0);
	assert_int_equal(unpack(&f, "d", "x", "nothing"), -EPROTO);
	make(&f, &one, 0);
	f.cut = 0;
	f.verdict = -ENOENT;
	assert_int_equal(unpack(&f, "d", "x", "nothing"), -ENOENT);
	assert_int_equal(sh("[ \"$(ls -A d | wc -l)\" = 4 ]; rm -rf d"), 0);
}

/* --- trees --- */

static void test_a_tree(void **state)
{
	struct feed f;
	sh("mkdir d");
	assert_int_equal(SEND(f, "d", "t", "named", {"t/", S_IFDIR, NULL, NULL, 0555}, {"t/sub/", S_IFDIR},
			      {"t/sub/f", S_IFREG, "1\n", NULL, 0640}, {"t/sub/link", S_IFLNK, "../../../etc"},
			      {"t/hard", S_IFREG, NULL, "t/sub/f"}, {"t/fifo", S_IFIFO}),
			 0);
	assert_int_equal(sh("cd d/named && [ \"$(cat sub/f)\" = 1 ] && [ \"$(stat -c '%%a %%h' hard)\" = '640 2' ] && "
			    "[ -p fifo ] && [ \"$(readlink sub/link)\" = ../../../etc ] && "
			    "[ \"$(stat -c '%%a %%Y' .)\" = '555 981173106' ]"),
			 0);
	/* Into a directory that is not empty only as DIR/. */
	assert_int_equal(SEND(f, "d", "t", "named", {"t", S_IFDIR}), -EEXIST);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./", S_IFDIR, NULL, NULL, 0700}, {"./named", S_IFDIR},
			      {"./named/sub/f", S_IFREG, "2\n"}),
			 0);
	assert_int_equal(sh("[ \"$(cat d/named/sub/f)\" = 2 ] && [ \"$(cat d/named/hard)\" = 1 ] && "
			    "[ \"$(stat -c %%a d)\" = 755 ]"),
			 0);
	/* What fails leaves no tree behind. */
	assert_int_equal(SEND(f, "d", "t", "half", {"t", S_IFDIR}, {"t/a", S_IFDIR, NULL, NULL, 0555},
			      {"t/a/b", S_IFREG, "1"}, {"t/dev", S_IFBLK}),
			 -EPERM);
	assert_int_equal(sh("[ ! -e d/half ]"), 0);
	assert_int_equal(SEND(f, "d", "t", "half", {"t", S_IFDIR}, {"t/a", S_IFREG, "1"}, {"t/dev", S_IFBLK}), -EPERM);
	assert_int_equal(SEND(f, "d", "t", "half", {"t", S_IFDIR}, {"t/a", S_IFREG, NULL, "../d/named/hard"}), -EPROTO);
	assert_int_equal(sh("[ ! -e d/half ]; chmod 755 d/named; rm -rf d"), 0);
}

/* Symlinks in the target: of an earlier copy, or the user's own. */
static void test_symlinks_are_not_followed(void **state)
{
	struct feed f;
	sh("mkdir -p d out d/t && ln -s ../out d/data && ln -s ../../out d/t/in && ln -s %s/out d/abs", base);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./data/pwn", S_IFREG, "x"}), -ELOOP);
	assert_non_null(strstr(err.msg, "symlink"));
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./abs/pwn", S_IFREG, "x"}), -ELOOP);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./t/in/pwn", S_IFREG, "x"}), -ELOOP);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./data", S_IFDIR}, {"./data/pwn", S_IFREG, "x"}), -EEXIST);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./l", S_IFLNK, "../out"}, {"./l/pwn", S_IFREG, "x"}), -ELOOP);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./l/pwn", S_IFREG, "x"}), -ELOOP);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./h", S_IFREG, NULL, "./data/pwn"}), -ELOOP);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./../out/pwn", S_IFREG, "x"}), -EPROTO);
	assert_int_equal(SEND(f, "d", NULL, NULL, {".", S_IFLNK, "../out"}), -EPROTO);
	assert_int_equal(SEND(f, "d", "x", "x", {"x", S_IFDIR}, {"x/l", S_IFLNK, "../../out"}, {"x/l/pwn", S_IFREG}),
			 -ELOOP);
	/* One that is there counts as a symlink, wherever it leads. */
	sh("echo safe >out/file; ln -s ../out/file d/tofile");
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./tofile", S_IFREG, "x"}), -EEXIST);
	assert_int_equal(sh("[ \"$(ls -A out)\" = file ] && [ \"$(cat out/file)\" = safe ] && [ ! -e d/x ]; rm -rf d "
			    "out"),
			 0);
}

/* A hard link leads to what came in the same archive, never to a file that was there: where a part of the target is a
 * workspace, the guest would get at it. */
static void test_hard_links_to_what_came(void **state)
{
	struct feed f;
	sh("mkdir -p d/ws && echo secret >d/key && ln -s key d/l && mkfifo d/p");
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./ws/got", S_IFREG, NULL, "./key"}), -EPERM);
	assert_non_null(strstr(err.msg, "ws/got is a hard link to key"));
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./key", S_IFREG, NULL, "./key"}), -EPERM);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./ws/a", S_IFREG, "a"}, {"./ws/got", S_IFREG, NULL, "./key"}),
			 -EPERM);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./ws/got", S_IFREG, NULL, "./l"}), -EPERM);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./ws/got", S_IFREG, NULL, "./p"}), -EPERM);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./ws/got", S_IFREG, NULL, "./ws"}), -EPERM);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./ws/got", S_IFREG, NULL, "./ws/none"}), -ENOENT);
	assert_int_equal(sh("[ ! -e d/ws/got ] && [ \"$(stat -c %%h d/key)\" = 1 ]"), 0);
	/* What was replaced is not what came. */
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./key", S_IFREG, "new"}, {"./ws/got", S_IFREG, NULL, "./key"},
			      {"./s", S_IFLNK, "x"}, {"./s2", S_IFLNK, NULL, "./s"}, {"./q", S_IFIFO},
			      {"./q2", S_IFREG, NULL, "./q"}, {"./ws/got2", S_IFREG, NULL, "./ws/got"}),
			 0);
	assert_int_equal(
		sh("[ \"$(cat d/ws/got2)\" = new ] && [ \"$(stat -c %%h d/key)\" = 3 ] && "
		   "[ \"$(readlink d/s2)\" = x ] && [ d/s -ef d/s2 -o \"$(stat -c %%h d/s)\" = 2 ] && [ -p d/q2 ]; "
		   "e=$?; rm -rf d; exit $e"),
		0);
}

/* Neither into a workspace nor out of it: what is in it the guest can write in later. */
static void test_hard_links_stay_in_a_workspace(void **state)
{
	static char *const shared[] = {"ws", "ws/sub", NULL};
	struct feed f;
	sh("mkdir -p d/ws/sub d/wso");
	apart = shared;
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./a", S_IFREG, "a"}, {"./ws/a", S_IFREG, NULL, "./a"}), -EPERM);
	assert_non_null(strstr(err.msg, "ws/a is a hard link to a,"));
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./ws/b", S_IFREG, "b"}, {"./b", S_IFREG, NULL, "./ws/b"}), -EPERM);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./ws/b", S_IFREG, "b"}, {"./ws/sub/b", S_IFREG, NULL, "./ws/b"}),
			 -EPERM);
	assert_int_equal(SEND(f, "d", NULL, NULL, {"./ws/c", S_IFREG, "c"}, {"./ws/c2", S_IFREG, NULL, "./ws/c"},
			      {"./c", S_IFREG, "c"}, {"./wso/c2", S_IFREG, NULL, "./c"}),
			 0);
	apart = NULL;
	assert_int_equal(sh("[ \"$(find d -type f -links 2 | wc -l)\" = 4 ] && [ ! -e d/ws/a ] && [ ! -e d/b ]; "
			    "e=$?; rm -rf d; exit $e"),
			 0);
}

static void swap_in_key(void)
{
	sh("mv d/ws/a d/ws/b && mv d/key d/ws/a");
}

/* And it is the same file, not what has its name by then. */
static void test_a_file_put_in_the_way_of_a_link(void **state)
{
	struct feed f;
	sh("mkdir -p d/ws && echo secret >d/key");
	const struct member m[] = {
		{"./ws/a", S_IFREG, "1"}, {"./ws/pad", S_IFREG, "1"}, {"./got", S_IFREG, NULL, "./ws/a"}};
	make(&f, m, 3);
	f.when = 4 * 512;
	f.between = swap_in_key;
	assert_int_equal(unpack(&f, "d", NULL, NULL), -EPERM);
	assert_null(f.between);
	assert_int_equal(sh("[ ! -e d/got ]; e=$?; rm -rf d; exit $e"), 0);
}

/* More than the table of what was made has at first. */
static void test_many_links(void **state)
{
	enum { N = 1000 };
	struct feed f;
	static char names[2 * N][24];
	static struct member m[2 * N];
	for (int i = 0; i < N; i++) {
		snprintf(names[i], sizeof(names[i]), "./f%d", i);
		snprintf(names[N + i], sizeof(names[i]), "./l%d", i);
		m[i] = (struct member){names[i], S_IFREG, "x"};
		m[N + i] = (struct member){names[N + i], S_IFREG, NULL, names[i]};
	}
	sh("mkdir d");
	make(&f, m, 2 * N);
	assert_int_equal(unpack(&f, "d", NULL, NULL), 0);
	assert_int_equal(sh("[ \"$(find d -type f -links 2 | wc -l)\" = 2000 ]; e=$?; rm -rf d; exit $e"), 0);
}

static void swap_in_link(void)
{
	sh("mv d/t/sub d/t/gone && ln -s ../../out d/t/sub");
}

/* The guest writes in the target (a workspace) while the copy is made. */
static void test_a_link_put_in_the_way(void **state)
{
	struct feed f;
	sh("mkdir d out");
	const struct member m[] = {
		{"t", S_IFDIR}, {"t/sub", S_IFDIR}, {"t/pad", S_IFREG, "1"}, {"t/sub/pwn", S_IFREG, "x"}};
	make(&f, m, 4);
	f.when = 4 * 512; /* the last header is to come */
	f.between = swap_in_link;
	assert_int_equal(unpack(&f, "d", "t", "t"), -ELOOP);
	assert_null(f.between);
	assert_int_equal(sh("[ -z \"$(ls -A out)\" ]; rm -rf d out"), 0);
}

/* --- space --- */

/* A file that does not end: a header that promises 1 GiB, and zeros for ever. */
static ssize_t endless(void *ctx, const void **p, struct hull_error *e)
{
	static const uint8_t zeros[1 << 16];
	struct feed *f = ctx;
	*p = f->at ? zeros : hull_buf_bytes(&f->bytes);
	ssize_t n = f->at ? (ssize_t)sizeof(zeros) : 512;
	f->at += (size_t)n;
	return n;
}

/* A header without libarchive's help. */
static void header(struct hull_buf *b, const char *name, char type, uint64_t size)
{
	char h[512] = {0};
	unsigned sum = 0;
	snprintf(h, 100, "%s", name);
	snprintf(h + 100, 8, "%07o", 0644);
	snprintf(h + 108, 8, "%07o", 0);
	snprintf(h + 116, 8, "%07o", 0);
	snprintf(h + 124, 12, "%011llo", (unsigned long long)size);
	snprintf(h + 136, 12, "%011o", 0);
	memset(h + 148, ' ', 8);
	h[156] = type;
	if (type == '1')
		strcpy(h + 157, "./a");
	memcpy(h + 257, "ustar\00000", 8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	assert_int_equal(hull_buf_add(b, h, sizeof(h)), 0);
}

static void padded(struct hull_buf *b, const char *text)
{
	char block[512] = {0};
	memcpy(block, text, strlen(text));
	assert_int_equal(hull_buf_add(b, block, sizeof(block)), 0);
}

/* The bytes, and 100 MB of the two lines of an entry in a sparse file's map. */
static ssize_t on_and_on(void *ctx, const void **p, struct hull_error *e)
{
	static char lines[1 << 16];
	struct feed *f = ctx;
	size_t start = f->at;
	for (size_t i = 0; i < sizeof(lines) && !lines[sizeof(lines) - 1]; i++)
		lines[i] = i % 2 ? '\n' : '0';
	*p = start ? (void *)lines : hull_buf_bytes(&f->bytes);
	f->at += start ? sizeof(lines) : f->bytes.len;
	return f->at > 100 << 20 ? 0 : (ssize_t)(f->at - start);
}

static int unpack_on_and_on(struct feed *f)
{
	_cleanup_free_ char *path = hull_fmt("%s/d", base);
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY);
	const struct hull_unpack u = {.dir = dir, .read = on_and_on, .end = feed_end, .ctx = f};
	int r = hull_unpack(&u, &err);
	hull_buf_free(&f->bytes);
	return r;
}

/* Bytes of which nothing is made: they would be kept in memory, or read for ever. */
static void test_much_that_is_nothing(void **state)
{
	static const char sparse[] = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n24 GNU.sparse.name=./map\n"
				     "30 GNU.sparse.realsize=999999\n";
	struct feed f = {0};
	sh("mkdir d");
	header(&f.bytes, "pax", 'x', strlen(sparse));
	padded(&f.bytes, sparse);
	header(&f.bytes, "./map", '0', UINT64_C(1) << 32);
	hull_buf_add(&f.bytes, "999999999\n", 10);
	assert_int_equal(unpack_on_and_on(&f), -EPROTO);
	assert_string_equal(err.msg, "the sandbox sent an archive with a header but no entry");
	assert_true(f.at < 17 << 20);
	/* The data of a link. */
	f = (struct feed){0};
	header(&f.bytes, "./a", '0', 0);
	header(&f.bytes, "pax", 'x', strlen("16 comment=none\n"));
	padded(&f.bytes, "16 comment=none\n");
	header(&f.bytes, "./b", '1', 1 << 30);
	assert_int_equal(unpack_on_and_on(&f), -EPROTO);
	assert_string_equal(err.msg, "the sandbox sent an archive with a header but no entry");
	assert_true(f.at < 17 << 20);
	assert_int_equal(sh("[ ! -e d/map ]; e=$?; rm -rf d; exit $e"), 0);
}

static int fill_small_disk(char *said)
{
	struct feed f;
	const struct member one = {"x", S_IFREG, ""};
	struct stat st;
	uid_t uid = geteuid();
	gid_t gid = getegid();
	if (unshare(CLONE_NEWNS) < 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
			return 77;
		_cleanup_free_ char *maps = hull_fmt(
			"echo deny >/proc/$PPID/setgroups && echo 0 %u 1 >/proc/$PPID/uid_map && "
			"echo 0 %u 1 >/proc/$PPID/gid_map",
			uid, gid);
		if (system(maps) != 0)
			return 77;
	}
	_cleanup_free_ char *path = hull_fmt("%s/disk", base);
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (mount("small", path, "tmpfs", 0, "size=64m") < 0)
		return 77;
	make(&f, &one, 1);
	char *header = (char *)hull_buf_bytes(&f.bytes);
	snprintf(header + 124, 12, "%011o", 1 << 30);
	unsigned sum = 0;
	memset(header + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)header[i];
	snprintf(header + 148, 8, "%06o", sum);
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY);
	const struct hull_unpack u = {
		.dir = dir, .entry = "x", .name = "x", .read = endless, .end = feed_end, .ctx = &f};
	int r = hull_unpack(&u, &err);
	hull_buf_free(&f.bytes);
	snprintf(said, 4096, "%d: %s", r, err.msg);
	return r == -ENOSPC && strstr(err.msg, "kept free") && f.at < 62 << 20 && fstatat(dir, "x", &st, 0) < 0 ? 0 : 1;
}

static void test_a_floor_of_space(void **state)
{
	char *said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	sh("mkdir disk");
	pid_t pid = fork();
	if (pid == 0)
		_exit(fill_small_disk(said));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	sh("rmdir disk");
	if (WEXITSTATUS(status) == 77)
		skip();
	if (status != 0)
		fail_msg("%s", said);
}

/* --- packing --- */

static int to_file(void *ctx, const void *p, size_t n, struct hull_error *e)
{
	return hull_write_full(*(int *)ctx, p, n);
}

static void pack(const char *dir, const char *entry, int expected)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", base, dir), *file = hull_fmt("%s/packed.tar", base);
	_cleanup_close_ int at = open(path, O_RDONLY | O_DIRECTORY);
	int out = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	const struct hull_pack p = {.dir = at, .entry = entry, .uid = 1000, .gid = 1000, .write = to_file, .ctx = &out};
	int r = hull_pack(&p, &err);
	if (r != expected)
		fail_msg("%d: %s", r, err.msg);
	close(out);
}

static void test_pack(void **state)
{
	sh("mkdir -p s/tree/sub u && cd s/tree && echo 1 >f && ln f h && ln -s /etc sub/l && chmod 4751 f && "
	   "mkfifo p && printf x >$(printf '\\303\\251\\377') && "
	   "truncate -s 64M holes && echo data | dd of=holes bs=1M seek=32 conv=notrunc status=none && "
	   "truncate -s 1T hole && touch -d '2001-02-03 04:05:06.123456789 UTC' f sub && "
	   "mkdir -p $(printf 'd%%0200d/' 1 2 3) && echo deep >$(printf 'd%%0200d/' 1 2 3)f");
	pack("s", "tree", 0);
	assert_int_equal(sh("[ $(stat -c %%s packed.tar) -lt 1000000 ] && "
			    "tar --numeric-owner -tvf packed.tar >list 2>words && ! grep -v hdrcharset words && "
			    "! grep -v ' 1000/1000 ' list && tar -xpf packed.tar -C u --no-same-owner && "
			    "cd u/tree && [ \"$(stat -c '%%h %%y' f)\" = \"$(stat -c '%%h %%y' ../../s/tree/f)\" ] && "
			    "[ \"$(stat -c %%y sub)\" = \"$(stat -c %%y ../../s/tree/sub)\" ] && [ -p p ] && "
			    "[ \"$(stat -c %%s hole)\" = 1099511627776 ] && [ \"$(stat -c %%b hole)\" -lt 100 ] && "
			    "[ \"$(stat -c %%b holes)\" -lt 8192 ] && rm hole ../../s/tree/hole p ../../s/tree/p && "
			    "diff -r --no-dereference . ../../s/tree"),
			 0);
	/* What is in it, and single things. */
	pack("s/tree", NULL, 0);
	assert_int_equal(sh("tar -tf packed.tar | head -n 1 | grep -qxF ./ && tar -tf packed.tar | grep -qxF ./sub/l"),
			 0);
	pack("s/tree/sub", "l", 0);
	assert_int_equal(sh("[ \"$(tar -tvf packed.tar | grep -c -- '^l.* l -> /etc$')\" = 1 ]"), 0);
	pack("s/tree", "none", -ENOENT);
	sh("rm -rf s u");
}

/* What the guest's tar sends. */
static void test_gnu_tar(void **state)
{
	struct feed f = {.cut = SIZE_MAX};
	sh("mkdir -p s/t/sub d && echo 1 >s/t/sub/f && truncate -s 64M s/t/holes s/t/one && "
	   "echo x | dd of=s/t/holes bs=1M seek=32 conv=notrunc status=none && "
	   "tar -C s -c -f packed.tar --numeric-owner --sparse -- t");
	_cleanup_free_ char *file = hull_fmt("%s/packed.tar", base);
	assert_int_equal(hull_read_file(AT_FDCWD, file, 1 << 24, &f.bytes, &err), 0);
	assert_int_equal(unpack(&f, "d", "t", "u"), 0);
	assert_int_equal(sh("diff -r s/t d/u && [ \"$(stat -c %%b d/u/holes)\" -lt 64 ]; rm -rf s d"), 0);
}

/* Both ends of ours. */
static void test_round_trip(void **state)
{
	struct feed f = {.cut = SIZE_MAX};
	sh("mkdir -p s/t/sub d && echo 1 >s/t/sub/f && truncate -s 8M s/t/holes && echo x >>s/t/holes");
	pack("s", "t", 0);
	_cleanup_free_ char *file = hull_fmt("%s/packed.tar", base);
	assert_int_equal(hull_read_file(AT_FDCWD, file, 1 << 24, &f.bytes, &err), 0);
	assert_int_equal(unpack(&f, "d", "t", "u"), 0);
	assert_int_equal(sh("diff -r s/t d/u && [ \"$(stat -c %%b d/u/holes)\" -lt 64 ]; rm -rf s d"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_host_gives_the_name),
		cmocka_unit_test(test_what_is_there),
		cmocka_unit_test(test_a_tree),
		cmocka_unit_test(test_symlinks_are_not_followed),
		cmocka_unit_test(test_hard_links_to_what_came),
		cmocka_unit_test(test_hard_links_stay_in_a_workspace),
		cmocka_unit_test(test_a_file_put_in_the_way_of_a_link),
		cmocka_unit_test(test_many_links),
		cmocka_unit_test(test_a_link_put_in_the_way),
		cmocka_unit_test(test_much_that_is_nothing),
		cmocka_unit_test(test_a_floor_of_space),
		cmocka_unit_test(test_pack),
		cmocka_unit_test(test_gnu_tar),
		cmocka_unit_test(test_round_trip),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

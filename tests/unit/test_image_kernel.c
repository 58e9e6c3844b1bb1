/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel out of a bzImage, made-up ones: every packing, every field wrong, every length cut short. And running
 * programs (base/spawn.h), which building images rests on. */
#include "image/bzimage.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/spawn.h"
#include "base/text.h"

#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <zstd.h>

#include <cmocka.h>

enum { SETUP_SECTS = 2, PAYLOAD_OFFSET = 100, START = (SETUP_SECTS + 1) * 512 + PAYLOAD_OFFSET, SIZE_MAX_ = 1 << 20 };

/* A 64-bit ELF with one PT_NOTE that holds the PVH entry. */
static void make_elf(struct hull_buf *out)
{
	const uint32_t note[] = {4, 4, 18, 0x006e6558, 0x1000000};
	Elf64_Ehdr e = {
		.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_phoff = sizeof(e), .e_phentsize = sizeof(Elf64_Phdr)};
	memcpy(e.e_ident, ELFMAG, SELFMAG);
	e.e_ident[EI_CLASS] = ELFCLASS64;
	e.e_ident[EI_DATA] = ELFDATA2LSB;
	e.e_phnum = 1;
	Elf64_Phdr p = {.p_type = PT_NOTE, .p_offset = sizeof(e) + sizeof(p), .p_filesz = sizeof(note)};
	assert_int_equal(hull_buf_add(out, &e, sizeof(e)), 0);
	assert_int_equal(hull_buf_add(out, &p, sizeof(p)), 0);
	assert_int_equal(hull_buf_add(out, note, sizeof(note)), 0);
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void make_bzimage(struct hull_buf *out, const void *payload, size_t n)
{
	uint8_t head[START] = {0};
	head[0x1f1] = SETUP_SECTS;
	head[0x1fe] = 0x55;
	head[0x1ff] = 0xaa;
	memcpy(head + 0x202, "HdrS", 4);
	head[0x206] = 0x0f;
	head[0x207] = 0x02;
	put32(head + 0x248, PAYLOAD_OFFSET);
	put32(head + 0x24c, (uint32_t)n);
	assert_int_equal(hull_buf_add(out, head, sizeof(head)), 0);
	assert_int_equal(hull_buf_add(out, payload, n), 0);
}

static void make_zstd(struct hull_buf *out)
{
	_cleanup_(hull_buf_free) struct hull_buf elf = {0};
	make_elf(&elf);
	uint8_t packed[4096];
	size_t n = ZSTD_compress(packed, sizeof(packed), hull_buf_bytes(&elf), elf.len, 3);
	assert_false(ZSTD_isError(n));
	put32(packed + n, (uint32_t)elf.len); /* as the kernel's build does */
	make_bzimage(out, packed, n + 4);
}

static int extract(const struct hull_buf *image, size_t max, struct hull_buf *out, struct hull_error *err)
{
	struct hull_bzimage bz;
	int r = hull_bzimage_parse(hull_buf_bytes(image), image->len, &bz, err);
	return r < 0 ? r : hull_bzimage_extract(&bz, "/tmp", max, out, err);
}

static void expect_elf(const struct hull_buf *image)
{
	_cleanup_(hull_buf_free) struct hull_buf elf = {0};
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	struct hull_error err = {0};
	make_elf(&elf);
	if (extract(image, SIZE_MAX_, &out, &err) != 0)
		fail_msg("%s", err.msg);
	assert_int_equal(out.len, elf.len);
	assert_memory_equal(hull_buf_bytes(&out), hull_buf_bytes(&elf), elf.len);
}

static void zstd_and_plain(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf elf = {0};
	_cleanup_(hull_buf_free) struct hull_buf plain = {0};
	_cleanup_(hull_buf_free) struct hull_buf packed = {0};
	make_elf(&elf);
	make_bzimage(&plain, hull_buf_bytes(&elf), elf.len);
	expect_elf(&plain);
	make_zstd(&packed);
	expect_elf(&packed);
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	assert_int_equal(extract(&packed, 64, &out, NULL), -EBADMSG); /* more than allowed */
}

static void xz_and_gzip(void **state)
{
	static const char *const tools[] = {"xz", "gzip"};
	for (size_t i = 0; i < 2; i++) {
		_cleanup_(hull_buf_free) struct hull_buf elf = {0};
		_cleanup_(hull_buf_free) struct hull_buf packed = {0};
		_cleanup_(hull_buf_free) struct hull_buf image = {0};
		char dir[] = "/tmp/hull-test-kernel.XXXXXX";
		assert_non_null(mkdtemp(dir));
		make_elf(&elf);
		_cleanup_free_ char *in = hull_fmt("%s/in", dir);
		_cleanup_free_ char *command = hull_fmt("%s -c <%s >%s.packed", tools[i], in, in);
		_cleanup_free_ char *made = hull_fmt("%s.packed", in);
		assert_int_equal(hull_write_file_atomic(AT_FDCWD, in, hull_buf_bytes(&elf), elf.len, 0600, NULL), 0);
		assert_int_equal(system(command), 0);
		assert_int_equal(hull_read_file(AT_FDCWD, made, SIZE_MAX_, &packed, NULL), 0);
		/* xz's kernels have the size behind the stream, which xz dislikes; gzip's have it inside. */
		assert_int_equal(hull_buf_le32(&packed, (uint32_t)elf.len), 0);
		make_bzimage(&image, hull_buf_bytes(&packed), packed.len);
		expect_elf(&image);
		hull_remove_tree(AT_FDCWD, dir, NULL);
	}
}

static void every_prefix(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf image = {0};
	make_zstd(&image);
	for (size_t n = 0; n < image.len; n++) {
		/* Exactly n bytes of memory, so that a sanitizer sees a read past them. */
		uint8_t *cut = malloc(n ? n : 1);
		assert_non_null(cut);
		memcpy(cut, hull_buf_bytes(&image), n);
		struct hull_bzimage bz;
		struct hull_error err = {0};
		assert_int_equal(hull_bzimage_parse(cut, n, &bz, &err), -EBADMSG);
		assert_true(err.msg[0] != '\0');
		free(cut);
	}
}

static void wrong_fields(void **state)
{
	static const struct {
		size_t offset;
		uint8_t value;
	} wrong[] = {
		{0x1fe, 0},
		{0x1ff, 0},
		{0x202, 'h'},
		{0x205, 0},
		{0x206, 0x07}, /* with 0x207: 0x0207 */
		{0x24b, 0xff},
		{0x24f, 0x7f},
		{0x1f1, 255 /* past */},
		{START, 0 /* no packing, no ELF */},
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		_cleanup_(hull_buf_free) struct hull_buf image = {0};
		_cleanup_(hull_buf_free) struct hull_buf out = {0};
		make_zstd(&image);
		hull_buf_bytes(&image)[wrong[i].offset] = wrong[i].value;
		assert_int_equal(extract(&image, SIZE_MAX_, &out, NULL), -EBADMSG);
	}
	/* A length of nothing, and sums that would wrap. */
	_cleanup_(hull_buf_free) struct hull_buf image = {0};
	make_zstd(&image);
	put32(hull_buf_bytes(&image) + 0x24c, 0);
	struct hull_bzimage bz;
	assert_int_equal(hull_bzimage_parse(hull_buf_bytes(&image), image.len, &bz, NULL), -EBADMSG);
	put32(hull_buf_bytes(&image) + 0x248, UINT32_MAX);
	put32(hull_buf_bytes(&image) + 0x24c, UINT32_MAX);
	assert_int_equal(hull_bzimage_parse(hull_buf_bytes(&image), image.len, &bz, NULL), -EBADMSG);
}

static void damaged_elf(void **state)
{
	_cleanup_(hull_buf_free) struct hull_buf elf = {0};
	make_elf(&elf);
	assert_int_equal(hull_vmlinux_check(hull_buf_bytes(&elf), elf.len, NULL), 0);
	for (size_t n = 0; n < elf.len; n++) {
		uint8_t *cut = malloc(n ? n : 1);
		assert_non_null(cut);
		memcpy(cut, hull_buf_bytes(&elf), n);
		assert_int_equal(hull_vmlinux_check(cut, n, NULL), -EBADMSG);
		free(cut);
	}
	static const struct {
		size_t offset;
		uint8_t value;
	} wrong[] = {
		{EI_CLASS, ELFCLASS32},
		{EI_DATA, ELFDATA2MSB},
		{offsetof(Elf64_Ehdr, e_machine), EM_386},
		{offsetof(Elf64_Ehdr, e_type), ET_REL},
		{offsetof(Elf64_Ehdr, e_phoff) + 7, 0xff},
		{offsetof(Elf64_Ehdr, e_phentsize), 8},
		{offsetof(Elf64_Ehdr, e_phnum), 0},
		{offsetof(Elf64_Ehdr, e_phnum) + 1, 0xff},
		{sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_filesz) + 7, 0xff},
		{sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr), 200},     /* the note's name runs past its end */
		{sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + 3, 255}, /* far past */
		{sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + 8, 17},  /* another note */
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		_cleanup_(hull_buf_free) struct hull_buf bad = {0};
		make_elf(&bad);
		hull_buf_bytes(&bad)[wrong[i].offset] = wrong[i].value;
		assert_int_equal(hull_vmlinux_check(hull_buf_bytes(&bad), bad.len, NULL), -EBADMSG);
	}
}

/* Running programs */

struct heard {
	char lines[8][64];
	size_t count;
	int cancel; /* set on the first line */
};

static void hear(void *ctx, const char *line)
{
	struct heard *h = ctx;
	if (h->count < 8)
		snprintf(h->lines[h->count], sizeof(h->lines[0]), "%s", line);
	h->count++;
	if (h->cancel >= 0)
		eventfd_write(h->cancel, 1);
}

static int shell(const char *script, struct heard *h, int *status, struct hull_error *err)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	const char *const add[] = {"HULL_TEST=added", "HOME=/changed", NULL};
	struct hull_spawn s = {.argv = (char *const *)argv,
			       .setenv = add,
			       .log_fd = -1,
			       .cancel_fd = h->cancel,
			       .line = hear,
			       .ctx = h};
	return hull_spawn_run(&s, status, err);
}

static void spawn_runs(void **state)
{
	struct heard h = {.cancel = -1};
	int status = 0;
	assert_int_equal(shell("echo $HULL_TEST $HOME; echo two >&2; printf 'no end'; cat; exit 7", &h, &status, NULL),
			 0);
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(h.count, 3);
	assert_string_equal(h.lines[0], "added /changed");
	assert_string_equal(h.lines[1], "two");
	assert_string_equal(h.lines[2], "no end");
	h = (struct heard){.cancel = -1};
	assert_int_equal(shell("kill -KILL $$", &h, &status, NULL), 0);
	assert_true(WIFSIGNALED(status));
	/* An endless line comes in pieces. */
	assert_int_equal(shell("head -c 100000 /dev/zero | tr '\\0' x", &h, &status, NULL), 0);
	assert_true(h.count >= 100000 / 4096);
}

static void spawn_has_no_such_program(void **state)
{
	const char *const argv[] = {"hull-no-such-program", NULL};
	struct hull_spawn s = {.argv = (char *const *)argv, .log_fd = -1, .cancel_fd = -1};
	struct hull_error err = {0};
	int status;
	assert_int_equal(hull_spawn_run(&s, &status, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "hull-no-such-program"));
}

static void spawn_is_called_off(void **state)
{
	/* The whole family goes, also one that does not hear SIGTERM once its parent is gone. */
	struct heard h = {.cancel = eventfd(0, EFD_CLOEXEC)};
	struct hull_error err = {0};
	int status = 0;
	assert_int_equal(shell("sh -c 'trap \"\" TERM; exec sleep 1000' & echo $!; wait", &h, &status, &err),
			 -ECANCELED);
	pid_t child = (pid_t)strtol(h.lines[0], NULL, 10);
	assert_true(child > 1);
	/* It was killed; somebody else's init reaps it, so all that is to be seen may be a zombie. */
	_cleanup_free_ char *cmd = hull_fmt("/proc/%d/cmdline", (int)child);
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	for (int i = 0; i < 1000 && hull_read_file(AT_FDCWD, cmd, 4096, &text, NULL) == 0 && text.len > 0; i++) {
		usleep(1000);
		hull_buf_free(&text);
	}
	assert_int_equal(text.len, 0);
	close(h.cancel);
}

static void spawn_is_not_held(void **state)
{
	/* A grandchild that keeps the output open does not keep us. */
	struct heard h = {.cancel = -1};
	int status = 1;
	assert_int_equal(shell("setsid sleep 3 & echo done", &h, &status, NULL), 0);
	assert_int_equal(status, 0);
	assert_string_equal(h.lines[0], "done");
}

static void spawn_passes_descriptors(void **state)
{
	char path[] = "/tmp/hull-test-spawn.XXXXXX";
	_cleanup_close_ int fd = mkostemp(path, O_CLOEXEC);
	const char *const argv[] = {"sh", "-c", "echo through >/dev/fd/107; ls /proc/self/fd | wc -l", NULL};
	const struct hull_spawn_fd fds[] = {{fd, 107}};
	struct heard h = {.cancel = -1};
	struct hull_spawn s = {.argv = (char *const *)argv,
			       .fds = fds,
			       .fd_count = 1,
			       .log_fd = -1,
			       .cancel_fd = -1,
			       .line = hear,
			       .ctx = &h};
	int status = 1;
	assert_int_equal(hull_spawn_run(&s, &status, NULL), 0);
	assert_int_equal(status, 0);
	assert_string_equal(h.lines[0], "5"); /* 0 1 2, 107, and ls's own of the directory */
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	assert_int_equal(hull_read_file(AT_FDCWD, path, 64, &text, NULL), 0);
	assert_string_equal((const char *)hull_buf_bytes(&text), "through\n");
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zstd_and_plain),
		cmocka_unit_test(xz_and_gzip),
		cmocka_unit_test(every_prefix),
		cmocka_unit_test(wrong_fields),
		cmocka_unit_test(damaged_elf),
		cmocka_unit_test(spawn_runs),
		cmocka_unit_test(spawn_has_no_such_program),
		cmocka_unit_test(spawn_is_called_off),
		cmocka_unit_test(spawn_is_not_held),
		cmocka_unit_test(spawn_passes_descriptors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

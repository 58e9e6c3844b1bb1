/* SPDX-License-Identifier: Apache-2.0 */
/* See bzimage.h. Layout: the kernel's Documentation/arch/x86/boot.rst.
 *
 *   0x1f1  setup_sects    512-byte sectors of real-mode code behind the first; 0 stands for 4
 *   0x1fe  0xaa55         boot sector signature
 *   0x202  "HdrS"         header magic
 *   0x206  version        2.08 and later have the two fields we need
 *   0x248  payload_offset counted from the protected-mode code, which starts after the setup sectors
 *   0x24c  payload_length with the unpacked size (4 bytes) at the payload's end, except for formats that have it inside
 *
 * Debian's kernels have been packed with xz and, from 6.x on, zstd. The file came from a signed package, but it is
 * read like any other file that may be damaged: through the checked cursor, sizes bounded. */
#include "image/bzimage.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/spawn.h"
#include "base/text.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <zstd.h>

enum {
	SECTOR = 512,
	OFF_SETUP_SECTS = 0x1f1,
	OFF_BOOT_FLAG = 0x1fe,
	OFF_HEADER = 0x202,
	OFF_VERSION = 0x206,
	OFF_PAYLOAD = 0x248,
	BOOT_FLAG = 0xaa55,
	VERSION_WITH_PAYLOAD = 0x0208,
	DEFAULT_SETUP_SECTS = 4,
	NOTE_PVH_ENTRY = 18, /* XEN_ELFNOTE_PHYS32_ENTRY */
	PHDRS_MAX = 128,
};

static struct hull_cur at(const void *p, size_t n, uint64_t offset)
{
	struct hull_cur c = hull_cur_make(p, n);
	if (offset > n)
		c.bad = true, c.p = c.end;
	else
		hull_cur_take(&c, (size_t)offset);
	return c;
}

static enum hull_packing packing_of(const uint8_t *p, size_t n)
{
	if (n >= 2 && memcmp(p, "\x1f\x8b", 2) == 0)
		return HULL_PACKING_GZIP;
	if (n >= 6 && memcmp(p, "\xfd\x37zXZ", 6) == 0)
		return HULL_PACKING_XZ;
	if (n >= 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0)
		return HULL_PACKING_ZSTD;
	return HULL_PACKING_NONE;
}

int hull_bzimage_parse(const void *image, size_t n, struct hull_bzimage *out, struct hull_error *err)
{
	struct hull_cur c = at(image, n, OFF_SETUP_SECTS);
	unsigned setup_sects = hull_cur_u8(&c);
	c = at(image, n, OFF_BOOT_FLAG);
	unsigned boot_flag = hull_cur_le16(&c);
	c = at(image, n, OFF_HEADER);
	const uint8_t *magic = hull_cur_take(&c, 4);
	unsigned version = hull_cur_le16(&c);
	if (c.bad || !magic || boot_flag != BOOT_FLAG || memcmp(magic, "HdrS", 4) != 0)
		return hull_fail(err, -EBADMSG, "this is not a Linux bzImage");
	if (version < VERSION_WITH_PAYLOAD)
		return hull_fail(err, -EBADMSG, "the kernel's boot protocol %u.%02u is too old (2.08 or later)",
				 version >> 8, version & 0xff);
	c = at(image, n, OFF_PAYLOAD);
	uint32_t offset = hull_cur_le32(&c);
	uint32_t length = hull_cur_le32(&c);
	uint64_t start = ((uint64_t)(setup_sects ? setup_sects : DEFAULT_SETUP_SECTS) + 1) * SECTOR + offset;
	struct hull_cur payload = at(image, n, start);
	const uint8_t *p = hull_cur_take(&payload, length);
	if (c.bad || !p || length == 0)
		return hull_fail(err, -EBADMSG,
				 "the bzImage is damaged: %u bytes of kernel at %llu, but the file has %zu", length,
				 (unsigned long long)start, n);
	*out = (struct hull_bzimage){.payload = p, .length = length, .packing = packing_of(p, length)};
	return 0;
}

static int unpack_zstd(const struct hull_bzimage *bz, size_t max, struct hull_buf *out, struct hull_error *err)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	if (!z)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = 0;
	ZSTD_inBuffer in = {.src = bz->payload, .size = bz->length, .pos = 0};
	size_t chunk = ZSTD_DStreamOutSize();
	for (;;) {
		uint8_t *room = hull_buf_room(out, chunk);
		if (!room) {
			r = hull_fail(err, -ENOMEM, "out of memory unpacking the kernel");
			break;
		}
		ZSTD_outBuffer to = {.dst = room, .size = chunk, .pos = 0};
		size_t left = ZSTD_decompressStream(z, &to, &in);
		if (ZSTD_isError(left)) {
			r = hull_fail(err, -EBADMSG, "the kernel does not unpack: %s", ZSTD_getErrorName(left));
			break;
		}
		hull_buf_added(out, to.pos);
		if (out->len > max) {
			r = hull_fail(err, -EBADMSG, "the kernel unpacks to more than %zu bytes", max);
			break;
		}
		if (left == 0) /* the frame's end; the unpacked size follows, which is not ours to read */
			break;
		if (in.pos == in.size && to.pos < to.size) {
			r = hull_fail(err, -EBADMSG, "the kernel does not unpack: it is cut short");
			break;
		}
	}
	ZSTD_freeDStream(z);
	return r;
}

/* xz and gzip complain about the size field behind the stream, after they have written everything; so what counts is
 * the ELF check, not their exit status. */
static int unpack_with_tool(const struct hull_bzimage *bz, const char *tool, const char *dir, size_t max,
			    struct hull_buf *out, struct hull_error *err)
{
	_cleanup_free_ char *packed = hull_fmt("%s/kernel.packed", dir);
	_cleanup_free_ char *unpacked = hull_fmt("%s/kernel.unpacked", dir);
	if (!packed || !unpacked)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int to = open(packed, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (to < 0)
		return hull_fail_errno(err, "cannot write %s", packed);
	int r = hull_write_full(to, bz->payload, bz->length);
	if (r < 0)
		return hull_fail(err, r, "cannot write %s: %s", packed, strerror(-r));
	_cleanup_free_ char *limit = hull_fmt("%zu", max);
	const char *const argv[] = {"sh",  "-c",     "\"$1\" -dc \"$2\" 2>/dev/null | head -c \"$3\" >\"$4\"",
				    "sh",  tool,     packed,
				    limit, unpacked, NULL};
	struct hull_spawn s = {.argv = (char *const *)argv, .log_fd = -1, .cancel_fd = -1};
	int status = 0;
	r = hull_spawn_run(&s, &status, err);
	if (r == 0)
		r = hull_read_file(AT_FDCWD, unpacked, max, out, err);
	unlink(packed);
	unlink(unpacked);
	if (r == 0 && out->len == 0)
		return hull_fail(err, -EBADMSG, "the kernel does not unpack with %s; is that program installed?", tool);
	return r;
}

/* A PVH kernel says so with a note "Xen", type 18, whose value is the entry point. */
static bool has_pvh_note(const void *elf, size_t n, uint64_t offset, uint64_t size)
{
	if (offset > n || size > n - offset)
		return false;
	struct hull_cur c = hull_cur_make((const uint8_t *)elf + offset, (size_t)size);
	while (hull_cur_left(&c) > 0 && !c.bad) {
		uint32_t name_size = hull_cur_le32(&c);
		uint32_t value_size = hull_cur_le32(&c);
		uint32_t type = hull_cur_le32(&c);
		const uint8_t *name = hull_cur_take(&c, ((size_t)name_size + 3) & ~(size_t)3);
		hull_cur_take(&c, ((size_t)value_size + 3) & ~(size_t)3);
		if (!c.bad && name_size == 4 && memcmp(name, "Xen", 4) == 0 && type == NOTE_PVH_ENTRY &&
		    value_size >= 4)
			return true;
	}
	return false;
}

int hull_vmlinux_check(const void *elf, size_t n, struct hull_error *err)
{
	struct hull_cur c = hull_cur_make(elf, n);
	const uint8_t *ident = hull_cur_take(&c, EI_NIDENT);
	unsigned type = hull_cur_le16(&c);
	unsigned machine = hull_cur_le16(&c);
	if (c.bad || memcmp(ident, ELFMAG, SELFMAG) != 0 || ident[EI_CLASS] != ELFCLASS64 ||
	    ident[EI_DATA] != ELFDATA2LSB || machine != EM_X86_64 || (type != ET_EXEC && type != ET_DYN))
		return hull_fail(err, -EBADMSG, "the kernel is not a 64-bit x86 ELF program");
	c = at(elf, n, offsetof(Elf64_Ehdr, e_phoff));
	uint64_t phoff = hull_cur_le64(&c);
	c = at(elf, n, offsetof(Elf64_Ehdr, e_phentsize));
	unsigned phentsize = hull_cur_le16(&c);
	unsigned phnum = hull_cur_le16(&c);
	if (c.bad || phentsize < sizeof(Elf64_Phdr) || phnum == 0 || phnum > PHDRS_MAX)
		return hull_fail(err, -EBADMSG, "the kernel's ELF program headers are damaged");
	bool pvh = false;
	for (unsigned i = 0; i < phnum; i++) {
		uint64_t where;
		if (__builtin_add_overflow(phoff, (uint64_t)i * phentsize, &where))
			return hull_fail(err, -EBADMSG, "the kernel's ELF program headers are damaged");
		c = at(elf, n, where);
		uint32_t ptype = hull_cur_le32(&c);
		hull_cur_le32(&c); /* flags */
		uint64_t offset = hull_cur_le64(&c);
		hull_cur_le64(&c); /* virtual address */
		hull_cur_le64(&c); /* physical address */
		uint64_t filesz = hull_cur_le64(&c);
		if (c.bad || offset > n || filesz > n - offset)
			return hull_fail(err, -EBADMSG,
					 "the kernel's ELF program headers are damaged or the file is cut short");
		if (ptype == PT_NOTE && has_pvh_note(elf, n, offset, filesz))
			pvh = true;
	}
	if (!pvh)
		return hull_fail(err, -EBADMSG, "the kernel has no PVH entry point (CONFIG_PVH)");
	return 0;
}

int hull_bzimage_extract(const struct hull_bzimage *bz, const char *scratch_dir, size_t max, struct hull_buf *out,
			 struct hull_error *err)
{
	int r = -EIO;
	switch (bz->packing) {
	case HULL_PACKING_ZSTD:
		r = unpack_zstd(bz, max, out, err);
		break;
	case HULL_PACKING_XZ:
		r = unpack_with_tool(bz, "xz", scratch_dir, max, out, err);
		break;
	case HULL_PACKING_GZIP:
		r = unpack_with_tool(bz, "gzip", scratch_dir, max, out, err);
		break;
	case HULL_PACKING_NONE:
		if (bz->length > max)
			return hull_fail(err, -EBADMSG, "the kernel has more than %zu bytes", max);
		r = hull_buf_add(out, bz->payload, bz->length);
		if (r < 0)
			hull_fail(err, r, "out of memory");
		break;
	}
	if (r < 0)
		return r;
	return hull_vmlinux_check(hull_buf_bytes(out), out->len, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A saved machine as one file: a zstd stream (with its own checksum) of little-endian records:
 *
 *     "HULLSAVE" u32 version
 *     u8 'J' u32 length, bytes                    snapshot.json; the first record, exactly once
 *     u8 'F' u8 length, name, u64 size            start of a file; ranges without an extent are zero
 *     u8 'X' u64 offset, u32 length, bytes        an extent of it: CHUNK bytes at a multiple of CHUNK, or the rest of the
 *                                                 file; offsets ascend
 *     u8 'E'                                      the end; nothing follows
 *
 * snapshot.json carries the SHA-256 of every file and of itself. An import succeeds only if all of them match. Until
 * they have been checked, the reader enforces these limits:
 *
 * 1. A file name is one of the known names and appears once.
 * 2. An extent lies inside its file.
 * 3. No more bytes are written than snapshot.json says are stored.
 * 4. There is free space for those bytes before the first one is written.
 * 5. Zeros are not written, and an extent is a whole chunk: it takes no more disk space than it has bytes in the
 *    archive, so a small archive cannot fill the disk. */
#include "snapshot/internal.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/space.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

enum { VERSION = 1, CHUNK = 1 << 20, LEVEL = 3, NAME_MAX_ = 32 };
static const char magic[] = "HULLSAVE";

/* --- writing --- */

struct writer {
	ZSTD_CCtx *ctx;
	int fd;
	uint8_t *out;
	size_t cap;
	struct hull_error *err;
};

static int put(struct writer *w, const void *p, size_t n, ZSTD_EndDirective mode)
{
	ZSTD_inBuffer in = {.src = p, .size = n};
	size_t left;
	do {
		ZSTD_outBuffer out = {.dst = w->out, .size = w->cap};
		left = ZSTD_compressStream2(w->ctx, &out, &in, mode);
		if (ZSTD_isError(left))
			return hull_fail(w->err, -EIO, "compressing: %s", ZSTD_getErrorName(left));
		int r = hull_write_full(w->fd, w->out, out.pos);
		if (r < 0)
			return hull_fail(w->err, r, "writing the archive: %s", strerror(-r));
	} while (mode == ZSTD_e_end ? left > 0 : in.pos < in.size);
	return 0;
}

static int put_buf(struct writer *w, struct hull_buf *b)
{
	int r = put(w, hull_buf_bytes(b), b->len, ZSTD_e_continue);
	hull_buf_drain(b, b->len);
	return r;
}

static int put_file(struct writer *w, int fd, const char *name)
{
	_cleanup_(hull_buf_free) struct hull_buf head = {0};
	_cleanup_free_ uint8_t *chunk = malloc(CHUNK);
	struct stat st;
	if (!chunk || fstat(fd, &st) < 0)
		return hull_fail_errno(w->err, "%s", name);
	uint8_t tag[2] = {'F', (uint8_t)strlen(name)};
	hull_buf_add(&head, tag, 2);
	hull_buf_addstr(&head, name);
	hull_buf_le64(&head, (uint64_t)st.st_size);
	int r = put_buf(w, &head);
	for (off_t at = 0; r == 0 && at < st.st_size; at += CHUNK) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0)
			break;
		at = data - data % CHUNK;
		size_t want = st.st_size - at < CHUNK ? (size_t)(st.st_size - at) : CHUNK;
		ssize_t n = lseek(fd, at, SEEK_SET) < 0 ? -errno : hull_read_full(fd, chunk, want);
		if (n != (ssize_t)want)
			return hull_fail(w->err, n < 0 ? (int)n : -EIO, "cannot read %s", name);
		if (hull_all_zero(chunk, want))
			continue;
		uint8_t kind = 'X';
		hull_buf_add(&head, &kind, 1);
		hull_buf_le64(&head, (uint64_t)at);
		hull_buf_le32(&head, (uint32_t)want);
		r = put_buf(w, &head);
		if (r == 0)
			r = put(w, chunk, want, ZSTD_e_continue);
	}
	return r;
}

static int export_all(struct writer *w, const char *dir, const struct hull_snapshot *s)
{
	_cleanup_(hull_buf_free) struct hull_buf json = {0};
	_cleanup_(hull_buf_free) struct hull_buf head = {0};
	_cleanup_free_ char *path = hull_fmt("%s/snapshot.json", dir);
	int r = path ? hull_read_file(AT_FDCWD, path, HULL_SNAPSHOT_JSON_MAX, &json, w->err) : -ENOMEM;
	uint8_t kind = 'J';
	if (r < 0)
		return r;
	hull_buf_addstr(&head, magic);
	hull_buf_le32(&head, VERSION);
	hull_buf_add(&head, &kind, 1);
	hull_buf_le32(&head, (uint32_t)json.len);
	r = put_buf(w, &head);
	if (r == 0)
		r = put_buf(w, &json);
	for (size_t i = 0; r == 0 && hull_snapshot_files[i]; i++) {
		if (!json_object_get(s->files, hull_snapshot_files[i]))
			continue;
		_cleanup_close_ int fd = hull_snapshot_open(dir, s, hull_snapshot_files[i], NULL, w->err);
		r = fd < 0 ? fd : put_file(w, fd, hull_snapshot_files[i]);
	}
	return r == 0 ? put(w, "E", 1, ZSTD_e_end) : r;
}

int hull_archive_export(const char *dir, int to, struct hull_error *err)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	int r = hull_snapshot_load(dir, &s, err);
	if (r < 0)
		return r;
	struct writer w = {.ctx = ZSTD_createCCtx(), .fd = to, .cap = ZSTD_CStreamOutSize(), .err = err};
	w.out = malloc(w.cap);
	if (!w.ctx || !w.out)
		r = hull_fail(err, -ENOMEM, "out of memory");
	if (r == 0) {
		ZSTD_CCtx_setParameter(w.ctx, ZSTD_c_compressionLevel, LEVEL);
		ZSTD_CCtx_setParameter(w.ctx, ZSTD_c_checksumFlag, 1);
		r = export_all(&w, dir, &s);
	}
	ZSTD_freeCCtx(w.ctx);
	free(w.out);
	return r;
}

/* --- reading --- */

struct reader {
	ZSTD_DCtx *ctx;
	int fd;
	uint8_t *raw;
	size_t cap;
	ZSTD_inBuffer in;
	bool ended; /* the frame is complete and its checksum is correct */
	struct hull_error *err;
};

static int damaged(struct reader *r, const char *what)
{
	return hull_fail(r->err, -EBADMSG, "the archive is damaged: %s", what);
}

/* Read exactly n decompressed bytes. */
static int get(struct reader *r, void *p, size_t n)
{
	ZSTD_outBuffer out = {.dst = p, .size = n};
	while (out.pos < n) {
		if (r->ended)
			return damaged(r, "it ends too early");
		if (r->in.pos == r->in.size) {
			ssize_t got = read(r->fd, r->raw, r->cap);
			if (got < 0 && errno == EINTR)
				continue;
			if (got < 0)
				return hull_fail_errno(r->err, "reading the archive");
			if (got == 0)
				return damaged(r, "it is cut off");
			r->in = (ZSTD_inBuffer){.src = r->raw, .size = (size_t)got};
		}
		size_t left = ZSTD_decompressStream(r->ctx, &out, &r->in);
		if (ZSTD_isError(left))
			return damaged(r, ZSTD_getErrorName(left));
		r->ended = left == 0;
	}
	return 0;
}

/* After the last record: the frame must end here with the correct checksum, and the file must end with the frame. */
static int get_end(struct reader *r)
{
	uint8_t none;
	while (!r->ended) {
		ZSTD_outBuffer out = {.dst = &none, .size = 1};
		if (r->in.pos == r->in.size) {
			ssize_t got = read(r->fd, r->raw, r->cap);
			if (got <= 0)
				return damaged(r, "it is cut off");
			r->in = (ZSTD_inBuffer){.src = r->raw, .size = (size_t)got};
		}
		size_t left = ZSTD_decompressStream(r->ctx, &out, &r->in);
		if (ZSTD_isError(left) || out.pos > 0)
			return damaged(r, out.pos ? "there is data after its end" : ZSTD_getErrorName(left));
		r->ended = left == 0;
	}
	ssize_t more = r->in.pos < r->in.size ? 1 : read(r->fd, r->raw, 1);
	if (more < 0)
		return hull_fail_errno(r->err, "reading the archive");
	return more ? damaged(r, "there is data after its end") : 0;
}

static int get_header(struct reader *r, const char *dir, struct hull_snapshot *s)
{
	uint8_t head[8 + 4 + 1 + 4];
	int rc = get(r, head, sizeof(head));
	if (rc < 0)
		return rc;
	struct hull_cur cur = hull_cur_make(head + 8, sizeof(head) - 8);
	uint32_t version = hull_cur_le32(&cur);
	uint8_t kind = hull_cur_u8(&cur);
	uint32_t n = hull_cur_le32(&cur);
	if (memcmp(head, magic, 8) != 0)
		return hull_fail(r->err, -EBADMSG, "expected a template written by `hull template export`");
	if (version != VERSION)
		return hull_fail(r->err, -ENOTSUP, "it was exported by another version of Hull (format %u)", version);
	if (kind != 'J' || n == 0 || n > HULL_SNAPSHOT_JSON_MAX)
		return damaged(r, "it has no snapshot.json of a permitted size");
	_cleanup_free_ char *json = malloc(n);
	_cleanup_free_ char *path = hull_fmt("%s/snapshot.json", dir);
	if (!json || !path)
		return hull_fail(r->err, -ENOMEM, "out of memory");
	rc = get(r, json, n);
	if (rc == 0)
		rc = hull_write_file_atomic(AT_FDCWD, path, json, n, 0600, r->err);
	if (rc < 0)
		return rc;
	/* Create the files empty, with their sizes, so that hull_snapshot_load() can check the description. */
	json_t *j = json_loadb(json, n, JSON_REJECT_DUPLICATES, NULL);
	for (size_t i = 0; rc == 0 && hull_snapshot_files[i]; i++) {
		const json_t *f = json_object_get(json_object_get(j, "files"), hull_snapshot_files[i]);
		const json_t *size = json_object_get(f, "size");
		_cleanup_free_ char *file = hull_fmt("%s/%s", dir, hull_snapshot_files[i]);
		if (!f)
			continue;
		_cleanup_close_ int fd = file ? open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
		if (!json_is_integer(size) || json_integer_value(size) < 0)
			rc = damaged(r, "its snapshot.json is not valid");
		else if (fd < 0 || ftruncate(fd, (off_t)json_integer_value(size)) < 0)
			rc = hull_fail_errno(r->err, "cannot make %s", hull_snapshot_files[i]);
	}
	/* The nodes file names files of the host to look up. An imported one is not trusted. */
	if (rc == 0 && json_object_get(json_object_get(j, "files"), HULL_SNAPSHOT_NODES))
		rc = damaged(r, "it has a file of workspace nodes, which no template has");
	json_decref(j);
	return rc < 0 ? rc : hull_snapshot_load(dir, s, r->err);
}

/* Write one extent to fd. *left = number of bytes that may still be written. */
static int get_extent(struct reader *r, int fd, uint64_t size, uint64_t *next, uint64_t *left, uint8_t *chunk)
{
	uint8_t head[12];
	int rc = get(r, head, sizeof(head));
	if (rc < 0)
		return rc;
	struct hull_cur cur = hull_cur_make(head, sizeof(head));
	uint64_t at = hull_cur_le64(&cur);
	uint32_t n = hull_cur_le32(&cur);
	if (at % CHUNK || at < *next || at >= size || n != (size - at < CHUNK ? size - at : CHUNK) || n > *left)
		return damaged(r, "an extent is out of order, unaligned or beyond the end of its file");
	*next = at + n;
	*left -= n;
	rc = get(r, chunk, n);
	if (rc == 0 && hull_all_zero(chunk, n))
		return 0; /* the file is all holes yet */
	for (size_t done = 0; rc == 0 && done < n;) {
		ssize_t w = pwrite(fd, chunk + done, n - done, (off_t)(at + done));
		if (w < 0 && errno != EINTR)
			return hull_fail_errno(r->err, "cannot write the imported template");
		done += w > 0 ? (size_t)w : 0;
	}
	return rc;
}

/* The index of a known file name; -1 for any other. */
static int file_number(const char *name)
{
	for (int i = 0; hull_snapshot_files[i]; i++)
		if (strcmp(hull_snapshot_files[i], name) == 0)
			return i;
	return -1;
}

static int get_files(struct reader *r, const char *dir, const struct hull_snapshot *s)
{
	_cleanup_free_ uint8_t *chunk = malloc(CHUNK);
	_cleanup_close_ int fd = -1;
	uint64_t size = 0, next = 0, left = 0;
	unsigned seen = 0;
	if (!chunk)
		return hull_fail(r->err, -ENOMEM, "out of memory");
	for (;;) {
		uint8_t kind, len, raw[8];
		char name[NAME_MAX_ + 1] = "";
		int rc = get(r, &kind, 1);
		if (rc == 0 && kind == 'E')
			return get_end(r);
		if (rc == 0 && kind == 'X' && fd >= 0) {
			rc = get_extent(r, fd, size, &next, &left, chunk);
		} else if (rc == 0 && kind == 'F') {
			rc = get(r, &len, 1);
			if (rc == 0 && (len == 0 || len > NAME_MAX_))
				rc = damaged(r, "a file's name is empty or too long");
			if (rc == 0)
				rc = get(r, name, len);
			if (rc == 0)
				rc = get(r, raw, sizeof(raw));
			const json_t *f = rc == 0 ? json_object_get(s->files, name) : NULL;
			struct hull_cur cur = hull_cur_make(raw, sizeof(raw));
			size = hull_cur_le64(&cur);
			if (rc == 0 && (!f || size != (uint64_t)json_integer_value(json_object_get(f, "size"))))
				rc = damaged(r, "a file's name or size is not in snapshot.json");
			int number = rc == 0 ? file_number(name) : -1;
			if (rc == 0 && (number < 0 || (seen & 1U << number)))
				rc = damaged(r, "a file appears twice");
			if (rc < 0)
				return rc;
			seen |= 1U << number;
			left = (uint64_t)json_integer_value(json_object_get(f, "stored"));
			next = 0;
			_cleanup_free_ char *path = hull_fmt("%s/%s", dir, name);
			hull_closep(&fd);
			fd = path ? open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1;
			if (fd < 0)
				return hull_fail_errno(r->err, "cannot open %s", name);
		} else if (rc == 0) {
			rc = damaged(r, "it has a record of an unknown type");
		}
		if (rc < 0)
			return rc;
	}
}

/* Check that there is space for all bytes that the archive says are stored. */
static int ask_for_space(const char *dir, const struct hull_snapshot *s, struct hull_error *err)
{
	uint64_t total = 0;
	for (size_t i = 0; hull_snapshot_files[i]; i++) {
		const json_t *f = json_object_get(s->files, hull_snapshot_files[i]);
		json_int_t stored = json_integer_value(json_object_get(f, "stored"));
		if (stored < 0 || __builtin_add_overflow(total, (uint64_t)stored, &total))
			return hull_fail(err, -EBADMSG, "the archive is damaged: its snapshot.json is not valid");
	}
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return hull_fail_errno(err, "%s", dir);
	return hull_space_check(fd, total, 0, err) < 0 ? hull_wrap(err, "not enough space to unpack it") : 0;
}

int hull_archive_import(int from, const char *dir, struct hull_error *err)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	struct reader r = {.ctx = ZSTD_createDCtx(), .fd = from, .cap = ZSTD_DStreamInSize(), .err = err};
	r.raw = malloc(r.cap);
	int rc = r.ctx && r.raw ? get_header(&r, dir, &s) : hull_fail(err, -ENOMEM, "out of memory");
	if (rc == 0)
		rc = ask_for_space(dir, &s, err);
	if (rc == 0)
		rc = get_files(&r, dir, &s);
	ZSTD_freeDCtx(r.ctx);
	free(r.raw);
	for (size_t i = 0; rc == 0 && hull_snapshot_files[i]; i++) {
		if (!json_object_get(s.files, hull_snapshot_files[i]))
			continue;
		_cleanup_close_ int fd = hull_snapshot_open(dir, &s, hull_snapshot_files[i], NULL, err);
		if (fd < 0)
			rc = fd;
		else if (fsync(fd) < 0)
			rc = hull_fail_errno(err, "cannot write %s", hull_snapshot_files[i]);
	}
	return rc;
}

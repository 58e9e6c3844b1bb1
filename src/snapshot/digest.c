/* SPDX-License-Identifier: Apache-2.0 */
/* The digest of a sparse file; see snapshot.h. The file is read in chunks of 1 MiB. Holes are skipped without being
 * read, and a chunk of zeros counts as a hole: a copy made by a tool that does not preserve holes has the same digest.
 */
#include "snapshot/snapshot.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 1 << 20 };

static void free_ctx(EVP_MD_CTX **c)
{
	EVP_MD_CTX_free(*c);
}

static int add_number(EVP_MD_CTX *ctx, uint64_t v)
{
	uint8_t raw[8];
	for (int i = 0; i < 8; i++)
		raw[i] = (uint8_t)(v >> (8 * i));
	return EVP_DigestUpdate(ctx, raw, sizeof(raw)) == 1 ? 0 : -EIO;
}

/* The start of the first chunk at or after `at` that has data, or `size`. */
static off_t next_chunk(int fd, off_t at, off_t size)
{
	off_t data = lseek(fd, at, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? size : at; /* a file system without SEEK_DATA: read everything */
	data -= data % CHUNK;
	return data > at ? data : at;
}

int hull_snapshot_digest(int fd, char hex[65], uint64_t *stored, struct hull_error *err)
{
	_cleanup_(free_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	_cleanup_free_ uint8_t *buf = malloc(CHUNK);
	struct stat st;
	*stored = 0;
	if (!ctx || !buf || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (fstat(fd, &st) < 0)
		return hull_fail_errno(err, "cannot stat a file");
	for (off_t at = next_chunk(fd, 0, st.st_size); at < st.st_size; at = next_chunk(fd, at + CHUNK, st.st_size)) {
		size_t want = st.st_size - at < CHUNK ? (size_t)(st.st_size - at) : CHUNK;
		ssize_t got = hull_pread_full(fd, buf, want, at);
		if (got >= 0 && got != (ssize_t)want)
			return hull_fail(err, -EBADMSG, "a file became shorter while it was read");
		if (got < 0) {
			errno = (int)-got;
			return hull_fail_errno(err, "cannot read a file");
		}
		if (hull_all_zero(buf, want))
			continue;
		*stored += want;
		if (add_number(ctx, (uint64_t)at) < 0 || EVP_DigestUpdate(ctx, buf, want) != 1)
			return hull_fail(err, -EIO, "cannot compute a digest");
	}
	uint8_t raw[32];
	unsigned n = 0;
	if (add_number(ctx, (uint64_t)st.st_size) < 0 || EVP_DigestFinal_ex(ctx, raw, &n) != 1 || n != sizeof(raw))
		return hull_fail(err, -EIO, "cannot compute a digest");
	for (unsigned i = 0; i < n; i++)
		snprintf(hex + (size_t)2 * i, 3, "%02x", raw[i]);
	return 0;
}

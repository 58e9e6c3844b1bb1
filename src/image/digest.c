/* SPDX-License-Identifier: Apache-2.0 */
/* See digest.h. */
#include "image/digest.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "image/image.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

enum { SPARSE_BLOCK = 64 * 1024, READ_SIZE = 1024 * 1024 };

const char *const hull_image_parts[] = {"base.erofs", "vmlinux", "modules.cpio", "seed.img", NULL};

bool hull_part_is_sparse(const char *name)
{
	return strcmp(name, "seed.img") == 0;
}

static void ctx_free(EVP_MD_CTX **c)
{
	EVP_MD_CTX_free(*c);
}

static int finish(EVP_MD_CTX *c, char *hex, struct hull_error *err)
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (EVP_DigestFinal_ex(c, raw, &n) != 1 || n * 2 != HULL_SHA256_HEX)
		return hull_fail(err, -EIO, "libcrypto cannot make a SHA-256");
	for (unsigned i = 0; i < n; i++)
		snprintf(hex + (size_t)i * 2, 3, "%02x", raw[i]);
	return 0;
}

int hull_sha256(const void *p, size_t n, char *hex, struct hull_error *err)
{
	_cleanup_(ctx_free) EVP_MD_CTX *c = EVP_MD_CTX_new();
	if (!c || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1 || EVP_DigestUpdate(c, p, n) != 1)
		return hull_fail(err, -EIO, "libcrypto cannot make a SHA-256");
	return finish(c, hex, err);
}

/* Feed the file's data from `start` to `end`, block by block with the blocks' numbers. */
static int feed_blocks(EVP_MD_CTX *c, int fd, uint8_t *buf, off_t start, off_t end)
{
	for (off_t block = start / SPARSE_BLOCK; block * SPARSE_BLOCK < end; block++) {
		size_t want = (size_t)(end - block * SPARSE_BLOCK < SPARSE_BLOCK ? end - block * SPARSE_BLOCK
										 : SPARSE_BLOCK);
		ssize_t n = hull_pread_full(fd, buf, want, block * SPARSE_BLOCK);
		if (n != (ssize_t)want)
			return n < 0 ? (int)n : -EIO;
		if (hull_all_zero(buf, want))
			continue;
		uint8_t number[8];
		for (unsigned i = 0; i < sizeof(number); i++)
			number[i] = (uint8_t)((uint64_t)block >> (8 * i));
		if (EVP_DigestUpdate(c, number, sizeof(number)) != 1 || EVP_DigestUpdate(c, buf, want) != 1)
			return -EIO;
	}
	return 0;
}

static int feed_sparse(EVP_MD_CTX *c, int fd, uint8_t *buf)
{
	off_t size = lseek(fd, 0, SEEK_END);
	off_t done = 0; /* everything below has been fed */
	while (size > 0 && done < size) {
		off_t data = lseek(fd, done, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		off_t hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		/* Whole blocks, none twice. */
		off_t start = data - data % SPARSE_BLOCK;
		off_t end = (hole + SPARSE_BLOCK - 1) / SPARSE_BLOCK * SPARSE_BLOCK;
		if (start < done)
			start = done;
		if (end > size)
			end = size;
		int r = feed_blocks(c, fd, buf, start, end);
		if (r < 0)
			return r;
		done = end;
	}
	return size < 0 ? -errno : 0;
}

static int feed_all(EVP_MD_CTX *c, int fd, uint8_t *buf)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		ssize_t n = hull_read_full(fd, buf, READ_SIZE);
		if (n < 0)
			return (int)n;
		if (EVP_DigestUpdate(c, buf, (size_t)n) != 1)
			return -EIO;
		if (n < READ_SIZE)
			return 0;
	}
}

int hull_sha256_file(int fd, bool sparse, char *hex, struct hull_error *err)
{
	_cleanup_(ctx_free) EVP_MD_CTX *c = EVP_MD_CTX_new();
	_cleanup_free_ uint8_t *buf = malloc(READ_SIZE);
	if (!c || !buf || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1)
		return hull_fail(err, -ENOMEM, "cannot make a SHA-256: out of memory");
	int r = sparse ? feed_sparse(c, fd, buf) : feed_all(c, fd, buf);
	if (r < 0)
		return hull_fail(err, r, "cannot read it: %s", strerror(-r));
	return finish(c, hex, err);
}

int hull_parts_digest(const json_t *parts, char *digest, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	for (size_t i = 0; hull_image_parts[i]; i++) {
		const json_t *part = json_object_get(parts, hull_image_parts[i]);
		const char *sum = json_string_value(json_object_get(part, "sha256"));
		const json_t *size = json_object_get(part, "size");
		if (!sum || strlen(sum) != HULL_SHA256_HEX || !json_is_integer(size))
			return hull_fail(err, -EBADMSG, "image.json does not describe %s", hull_image_parts[i]);
		if (hull_buf_addf(&text, "%s %lld %s\n", hull_image_parts[i], (long long)json_integer_value(size),
				  sum) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
	}
	char hex[HULL_SHA256_HEX + 1];
	int r = hull_sha256(hull_buf_bytes(&text), text.len, hex, err);
	if (r == 0) {
		memcpy(digest, hex, HULL_DIGEST_HEX);
		digest[HULL_DIGEST_HEX] = '\0';
	}
	return r;
}

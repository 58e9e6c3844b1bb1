/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of the parts of an image, in hex. */
#ifndef HULL_IMAGE_DIGEST_H
#define HULL_IMAGE_DIGEST_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { HULL_SHA256_HEX = 64, HULL_DIGEST_HEX = 32 };

/* hex has HULL_SHA256_HEX + 1 bytes. */
int hull_sha256(const void *p, size_t n, char *hex, struct hull_error *err);
/* A file from its start. `sparse` hashes only its blocks that are not all zero, each with its number in front: the
 * same for the same content however the holes lie, and quick for a disk of 4 GiB that is nearly empty. */
int hull_sha256_file(int fd, bool sparse, char *hex, struct hull_error *err);
/* The image's digest from image.json's "parts" ({NAME: {size, sha256}}); digest has HULL_DIGEST_HEX + 1 bytes. */
int hull_parts_digest(const json_t *parts, char *digest, struct hull_error *err);
/* Is this part hashed sparse? */
bool hull_part_is_sparse(const char *name);

#endif

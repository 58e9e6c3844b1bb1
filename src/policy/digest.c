/* SPDX-License-Identifier: Apache-2.0 */
/* The SHA-256 of a policy file's text; see digest.h. A library of its own, so that hull-egress is without OpenSSL. */
#include "policy/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

int hull_policy_digest(const char *text, char *hex)
{
	uint8_t raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (EVP_Digest(text, strlen(text), raw, &n, EVP_sha256(), NULL) != 1 || n != HULL_POLICY_DIGEST / 2)
		return -EIO;
	for (unsigned i = 0; i < n; i++)
		snprintf(hex + 2 * (size_t)i, 3, "%02x", raw[i]);
	return 0;
}

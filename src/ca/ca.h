/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate authorities of a company, as the host's user names them: read, checked, and in the form in which guests
 * get them. The contract; ca.c has the checks, config.c the setting.
 *
 * What a file holds beside certificates (a private key, comments) is not taken over: each certificate is decoded and
 * encoded again. */
#ifndef HULL_CA_CA_H
#define HULL_CA_CA_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum {
	HULL_CA_FILE_MAX = 1024 * 1024,
	HULL_CA_TOTAL_MAX = 512 * 1024, /* all of a sandbox's together, as PEM: half of what one OPEN can carry */
	HULL_CA_COUNT_MAX = 1024,
};

struct hull_ca {
	struct hull_ca_one {
		uint32_t hash; /* of the subject, as `openssl rehash` names files */
		char *pem;     /* owned; "-----BEGIN CERTIFICATE-----\n" ... "-----END CERTIFICATE-----\n" */
	} * all;
	size_t count;
	size_t bytes; /* of PEM */
};

/* Add the certificates of the file at an absolute path; duplicates count once. -EINVAL, -EFBIG or the error of reading;
 * the message names the file, the problem and the remedy. */
int hull_ca_add_file(struct hull_ca *ca, const char *path, struct hull_error *err);
/* Add the files of `ca:` in config.yaml of this directory: one path or a list, relative to the directory. */
int hull_ca_add_config(struct hull_ca *ca, const char *dir, struct hull_error *err);
/* As fields for the guest: CA_HASH and CA for each (wire/service.h). */
int hull_ca_fields(const struct hull_ca *ca, struct hull_buf *out);
void hull_ca_free(struct hull_ca *ca); /* the members; fit for _cleanup_ */

#endif

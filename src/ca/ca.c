/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and checks certificate files: see ca.h. The files are the user's own. They are validated here, so that a
 * mistake is reported at once and not by every client in the guest. */
#include "ca/ca.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

static void free_bio(BIO **b)
{
	BIO_free(*b);
}

static void free_x509(X509 **x)
{
	X509_free(*x);
}

void hull_ca_free(struct hull_ca *ca)
{
	for (size_t i = 0; i < ca->count; i++)
		free(ca->all[i].pem);
	free(ca->all);
	*ca = (struct hull_ca){0};
}

/* Only a regular file: a FIFO or a device would block the start. */
static int read_whole(const char *path, struct hull_buf *text, struct hull_error *err)
{
	int r = hull_read_regular(AT_FDCWD, path, HULL_CA_FILE_MAX, text, NULL);
	if (r == -EINVAL)
		return hull_fail(err, r, "%s is not a file: name a PEM file with certificates", path);
	if (r == -EFBIG)
		return hull_fail(err, r, "%s is larger than 1 MiB: name a file with your own authorities' certificates",
				 path);
	if (r < 0)
		return hull_fail(err, r,
				 "the certificates of %s cannot be read: %s; give the path of a PEM file that is there "
				 "and that you may read",
				 path, strerror(-r));
	return 0;
}

static int no_memory(struct hull_error *err)
{
	return hull_fail(err, -ENOMEM, "out of memory");
}

/* A common mistake is a server's certificate, which no client accepts as an authority. A self-signed one is accepted,
 * as some clients do. */
static bool is_authority(X509 *x)
{
	return X509_check_ca(x) != 0 || (X509_get_extension_flags(x) & EXFLAG_SS);
}

static int take(struct hull_ca *ca, const char *path, unsigned number, X509 *x, struct hull_error *err)
{
	if (!is_authority(x)) {
		char subject[256] = "";
		X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof(subject));
		_cleanup_free_ char *shown = hull_printable(subject, strlen(subject));
		return hull_fail(
			err, -EINVAL,
			"%s: certificate %u (%s) is not an authority's: put the certificate of the authority that "
			"signed it there",
			path, number, shown ? shown : "");
	}
	_cleanup_(free_bio) BIO *out = BIO_new(BIO_s_mem());
	char *text = NULL;
	if (!out || PEM_write_bio_X509(out, x) != 1)
		return no_memory(err);
	long n = BIO_get_mem_data(out, &text);
	for (size_t i = 0; i < ca->count; i++)
		if (strlen(ca->all[i].pem) == (size_t)n && memcmp(ca->all[i].pem, text, (size_t)n) == 0)
			return 0;
	if (ca->count >= HULL_CA_COUNT_MAX || ca->bytes + (size_t)n > HULL_CA_TOTAL_MAX)
		return hull_fail(err, -EFBIG,
				 "%s: the certificates for a sandbox are more than %d KiB or %d: name a file with your "
				 "own authorities' only",
				 path, HULL_CA_TOTAL_MAX / 1024, HULL_CA_COUNT_MAX);
	struct hull_ca_one *more = reallocarray(ca->all, ca->count + 1, sizeof(*more));
	if (!more)
		return no_memory(err);
	ca->all = more;
	char *pem = strndup(text, (size_t)n);
	int ok = 0;
	unsigned long hash = X509_NAME_hash_ex(X509_get_subject_name(x), NULL, NULL, &ok);
	if (!pem || !ok) {
		free(pem);
		return no_memory(err);
	}
	ca->all[ca->count++] = (struct hull_ca_one){.hash = (uint32_t)hash, .pem = pem};
	ca->bytes += (size_t)n;
	return 0;
}

int hull_ca_add_file(struct hull_ca *ca, const char *path, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	int r = read_whole(path, &text, err);
	if (r < 0)
		return r;
	_cleanup_(free_bio) BIO *in = BIO_new_mem_buf(text.len ? (void *)hull_buf_bytes(&text) : "", (int)text.len);
	if (!in)
		return no_memory(err);
	char no_password[] = "";
	unsigned number = 0;
	for (;;) {
		ERR_clear_error();
		/* An empty password prevents a prompt on the terminal. */
		_cleanup_(free_x509) X509 *x = PEM_read_bio_X509(in, NULL, NULL, no_password);
		if (!x)
			break;
		r = take(ca, path, ++number, x, err);
		if (r < 0)
			return r;
	}
	unsigned long why = ERR_peek_last_error();
	bool end = ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	if (!end)
		return hull_fail(err, -EINVAL, "%s: certificate %u is damaged: get the file again", path, number + 1);
	if (number == 0)
		return hull_fail(
			err, -EINVAL,
			"%s has no certificate in PEM form (-----BEGIN CERTIFICATE-----): `openssl x509 -inform "
			"DER -in FILE` makes that of one in DER",
			path);
	return 0;
}

int hull_ca_fields(const struct hull_ca *ca, struct hull_buf *out)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < ca->count; i++) {
		r = hull_args_put_u32(out, HULL_TAG_CA_HASH, ca->all[i].hash);
		if (r == 0)
			r = hull_args_put_str(out, HULL_TAG_CA, ca->all[i].pem);
	}
	return r;
}

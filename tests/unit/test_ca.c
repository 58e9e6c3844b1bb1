/* SPDX-License-Identifier: Apache-2.0 */
/* Files of certificate authorities: what is taken over, and what is refused with a message that helps. */
#include "ca/ca.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/hull-ca.XXXXXX";

static int setup(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	return hull_remove_tree(AT_FDCWD, dir, NULL);
}

static char *at(const char *name)
{
	char *path = hull_fmt("%s/%s", dir, name);
	assert_non_null(path);
	return path;
}

static void put(const char *name, const char *text)
{
	_cleanup_free_ char *path = at(name);
	assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
}

/* A certificate as PEM, owned: an authority's own, or (ca = false) one of a server that another key has signed. *key
 * gets its private key as PEM. */
static char *make(const char *name, bool ca, char **key)
{
	EVP_PKEY *own = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	BIO *out = BIO_new(BIO_s_mem());
	assert_true(own && other && x && out);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
	X509_NAME *issuer = X509_NAME_dup(X509_get_subject_name(x));
	if (!ca)
		X509_NAME_add_entry_by_txt(issuer, "O", MBSTRING_ASC, (const uint8_t *)"issuer", -1, -1, 0);
	X509_set_issuer_name(x, issuer);
	X509_NAME_free(issuer);
	X509_set_pubkey(x, own);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, ca ? "CA:TRUE" : "CA:FALSE");
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	assert_true(X509_sign(x, ca ? own : other, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(out, x), 1);
	char *text = NULL;
	long n = BIO_get_mem_data(out, &text);
	char *pem = strndup(text, (size_t)n);
	if (key) {
		BIO *k = BIO_new(BIO_s_mem());
		assert_int_equal(PEM_write_bio_PrivateKey(k, own, NULL, NULL, 0, NULL, NULL), 1);
		n = BIO_get_mem_data(k, &text);
		*key = strndup(text, (size_t)n);
		BIO_free(k);
	}
	BIO_free(out);
	X509_free(x);
	EVP_PKEY_free(own);
	EVP_PKEY_free(other);
	return pem;
}

static void test_taken(void **state)
{
	_cleanup_(hull_ca_free) struct hull_ca ca = {0};
	_cleanup_(hull_buf_free) struct hull_buf fields = {0};
	_cleanup_free_ char *key = NULL;
	_cleanup_free_ char *one = make("one", true, &key);
	_cleanup_free_ char *two = make("two", true, NULL);
	_cleanup_free_ char *text = hull_fmt("# a comment\n%s%s\r\n%s%s", key, one, two, one);
	_cleanup_free_ char *path = at("good.pem");
	put("good.pem", text);
	assert_int_equal(hull_ca_add_file(&ca, path, NULL), 0);
	/* Once each, and nothing but certificates: no key, no comment. */
	assert_int_equal(ca.count, 2);
	assert_string_equal(ca.all[0].pem, one);
	assert_string_equal(ca.all[1].pem, two);
	assert_int_equal(ca.bytes, strlen(one) + strlen(two));
	assert_int_equal(hull_ca_fields(&ca, &fields), 0);
	assert_null(memmem(hull_buf_bytes(&fields), fields.len, "PRIVATE", 7));
	assert_non_null(memmem(hull_buf_bytes(&fields), fields.len, two, strlen(two)));
}

static void refused(const char *name, const char *why)
{
	_cleanup_(hull_ca_free) struct hull_ca ca = {0};
	struct hull_error err = {0};
	_cleanup_free_ char *path = at(name);
	assert_true(hull_ca_add_file(&ca, path, &err) < 0);
	assert_non_null(strstr(err.msg, path));
	if (!strstr(err.msg, why))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, why);
}

static void test_refused(void **state)
{
	_cleanup_free_ char *key = NULL;
	_cleanup_free_ char *leaf = make("server", false, &key);
	_cleanup_free_ char *good = make("one", true, NULL);
	refused("none.pem", "cannot be read");
	refused("", "is not a file");
	put("empty.pem", "");
	refused("empty.pem", "no certificate in PEM form");
	put("key.pem", key);
	refused("key.pem", "no certificate in PEM form");
	put("der.pem", "0\202\001\002");
	refused("der.pem", "no certificate in PEM form");
	put("leaf.pem", leaf);
	refused("leaf.pem", "not an authority's");
	_cleanup_free_ char *broken = hull_fmt("%s%s", good, good);
	broken[strlen(good) + 100] = '!';
	put("broken.pem", broken);
	refused("broken.pem", "certificate 2 is damaged");
	broken[strlen(good) + 90] = '\0';
	put("cut.pem", broken);
	refused("cut.pem", "certificate 2 is damaged");
	_cleanup_free_ char *large = calloc(1, HULL_CA_FILE_MAX + 2);
	memset(large, '\n', HULL_CA_FILE_MAX + 1);
	put("large.pem", large);
	refused("large.pem", "larger than 1 MiB");
	_cleanup_free_ char *fifo = at("fifo");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	refused("fifo", "is not a file");
}

static int configured(const char *text, struct hull_ca *ca, struct hull_error *err)
{
	put("config.yaml", text);
	hull_ca_free(ca);
	return hull_ca_add_config(ca, dir, err);
}

static void test_config(void **state)
{
	_cleanup_(hull_ca_free) struct hull_ca ca = {0};
	struct hull_error err = {0};
	_cleanup_free_ char *one = make("one", true, NULL);
	_cleanup_free_ char *two = make("two", true, NULL);
	put("1.pem", one);
	put("2.pem", two);
	_cleanup_free_ char *list = hull_fmt("proxy: http://p:1\nca:\n  - 1.pem\n  - %s/2.pem\n", dir);
	assert_int_equal(hull_ca_add_config(&ca, dir, NULL), 0); /* no file */
	assert_int_equal(configured("# nothing\n", &ca, NULL), 0);
	assert_int_equal(configured("proxy: http://p:1\n", &ca, NULL), 0);
	assert_int_equal(configured("ca:\n", &ca, NULL), 0);
	assert_int_equal(ca.count, 0);
	assert_int_equal(configured("ca: 1.pem\n", &ca, NULL), 0);
	assert_int_equal(ca.count, 1);
	if (configured(list, &ca, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(ca.count, 2);
	/* What cannot be read is never nothing. */
	assert_true(configured("ca: {a: b}\n", &ca, &err) < 0);
	assert_non_null(strstr(err.msg, "config.yaml"));
	assert_true(configured("ca: [[1.pem]]\n", &ca, &err) < 0);
	assert_true(configured("ca: [1.pem, gone.pem]\n", &ca, &err) < 0);
	assert_non_null(strstr(err.msg, "gone.pem"));
	assert_true(configured("ca: [1.pem\n", &ca, &err) < 0);
	assert_non_null(strstr(err.msg, "config.yaml"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_config),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

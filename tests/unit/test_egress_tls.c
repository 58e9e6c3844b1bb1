/* SPDX-License-Identifier: Apache-2.0 */
/* hull-egress and TLS handshakes: OpenSSL on both ends, through it. What a guest may change after the first
 * ClientHello, and what it may put in front of one. */
#include "egress_rig.h"

#include "egress/tls.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static int test_resolve(const char *name, struct hull_addr *out, size_t max)
{
	assert_true(hull_addr_parse("127.0.0.1", out));
	return 1;
}

static struct rig rig;

/* One connection: a client's and a server's end of TLS, the client's on a stream, the server's on a socket. */
struct tls {
	SSL_CTX *client_ctx, *server_ctx;
	SSL *client, *server;
	struct end *e;
	int fd;
	size_t taken; /* of e->in */
};

static const char *second_name; /* what the client says after a HelloRetryRequest; NULL = the same */
static unsigned hellos;

static void on_message(int write, int version, int type, const void *p, size_t n, SSL *ssl, void *arg)
{
	const uint8_t *b = p;
	if (write && type == SSL3_RT_HANDSHAKE && n > 0 && b[0] == SSL3_MT_CLIENT_HELLO)
		hellos++;
	/* A HelloRetryRequest is a ServerHello to whoever counts messages. */
	if (!write && type == SSL3_RT_HANDSHAKE && n > 0 && b[0] == SSL3_MT_SERVER_HELLO && second_name)
		SSL_set_tlsext_host_name(ssl, second_name);
}

static void certificate(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)"good.test", -1, -1,
				   0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void tls_make(struct tls *t, int version, const char *server_groups)
{
	t->client_ctx = SSL_CTX_new(TLS_client_method());
	t->server_ctx = SSL_CTX_new(TLS_server_method());
	certificate(t->server_ctx);
	SSL_CTX_set_max_proto_version(t->client_ctx, version);
	SSL_CTX_set1_groups_list(t->client_ctx, "X25519:P-256");
	SSL_CTX_set1_groups_list(t->server_ctx, server_groups);
	SSL_CTX_set_msg_callback(t->client_ctx, on_message);
}

static void tls_begin(struct tls *t, struct rig *r, int listener, uint16_t port, const char *name)
{
	t->client = SSL_new(t->client_ctx);
	t->server = SSL_new(t->server_ctx);
	SSL_set_tlsext_host_name(t->client, name);
	SSL_set_bio(t->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_bio(t->server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(t->client);
	SSL_set_accept_state(t->server);
	hellos = 0;
	t->taken = 0;
	t->e = open_tcp(r, "good.test", port);
	t->fd = world_accept(r, listener);
}

/* Move what both have to say, once; `cut` bytes of the client's at a time. */
static void tls_move(struct tls *t, struct rig *r, size_t cut)
{
	char b[16384];
	int n;
	while ((n = BIO_read(SSL_get_wbio(t->client), b, (int)cut)) > 0) {
		say(r, t->e, b, (size_t)n);
		if (cut < 100)
			turn(r, 0);
	}
	while ((n = (int)recv(t->fd, b, sizeof(b), MSG_DONTWAIT)) > 0)
		BIO_write(SSL_get_rbio(t->server), b, n);
	SSL_do_handshake(t->server);
	while ((n = BIO_read(SSL_get_wbio(t->server), b, sizeof(b))) > 0)
		assert_int_equal(send(t->fd, b, (size_t)n, MSG_NOSIGNAL), n);
	turn(r, 5);
	if (t->e->in.len > t->taken)
		BIO_write(SSL_get_rbio(t->client), hull_buf_bytes(&t->e->in) + t->taken,
			  (int)(t->e->in.len - t->taken));
	t->taken = t->e->in.len;
	SSL_do_handshake(t->client);
}

static void tls_drop(struct tls *t)
{
	/* A session that was not ended in order is not resumed. */
	SSL_set_shutdown(t->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_set_shutdown(t->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(t->client);
	SSL_free(t->server);
	close(t->fd);
}

static void tls_free(struct tls *t)
{
	SSL_CTX_free(t->client_ctx);
	SSL_CTX_free(t->server_ctx);
}

static void second_hello(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0;
	int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	_cleanup_free_ char *policy = hull_fmt("preset: locked\nallow: [{host: good.test, private: true}]\n");
	static const struct {
		const char *groups, *second;
		int version;
		bool want;
		unsigned hellos;
	} t[] = {
		{"X25519", NULL, TLS1_3_VERSION, true, 1},       {"P-256", NULL, TLS1_3_VERSION, true, 2},
		{"P-256", "good.test", TLS1_3_VERSION, true, 2}, {"P-256", "evil.test", TLS1_3_VERSION, false, 2},
		{"P-256", "", TLS1_3_VERSION, false, 2},         {"P-256", "evil.test", TLS1_2_VERSION, true, 1},
	};
	static const size_t cuts[] = {16384, 3};
	rig_start(r, policy);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		for (size_t c = 0; c < 2; c++) {
			struct tls s = {0};
			second_name = t[i].second;
			tls_make(&s, t[i].version, t[i].groups);
			tls_begin(&s, r, l, port, "good.test");
			SSL_do_handshake(s.client);
			time_t end = now_s() + DEADLINE_S;
			while (!s.e->closed && !(SSL_is_init_finished(s.client) && SSL_is_init_finished(s.server))) {
				tls_move(&s, r, cuts[c]);
				assert_true(now_s() < end);
			}
			if (s.e->closed == t[i].want)
				fail_msg("case %zu: %s", i, s.e->message);
			assert_int_equal(hellos, t[i].hellos);
			if (!t[i].want) {
				assert_int_equal(s.e->code, -EACCES);
				assert_non_null(strstr(s.e->message, "second ClientHello"));
			}
			tls_drop(&s);
			tls_free(&s);
		}
	close(l);
	rig_end(r);
}

/* Resumed sessions of TLS 1.2: an encrypted handshake record follows change_cipher_spec. */
static void resumed(void **state)
{
	struct rig *r = &rig;
	uint16_t port = 0;
	int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	SSL_SESSION *session = NULL;
	struct tls s = {0};
	second_name = NULL;
	tls_make(&s, TLS1_2_VERSION, "X25519");
	rig_start(r, "preset: locked\nallow: [{host: good.test, private: true}]\n");
	for (int i = 0; i < 2; i++) {
		tls_begin(&s, r, l, port, "good.test");
		if (session)
			SSL_set_session(s.client, session);
		SSL_do_handshake(s.client);
		time_t end = now_s() + DEADLINE_S;
		while (!(SSL_is_init_finished(s.client) && SSL_is_init_finished(s.server))) {
			tls_move(&s, r, 16384);
			assert_false(s.e->closed);
			assert_true(now_s() < end);
		}
		assert_int_equal(SSL_session_reused(s.client), i);
		SSL_SESSION_free(session);
		session = SSL_get1_session(s.client);
		tls_drop(&s);
	}
	SSL_SESSION_free(session);
	tls_free(&s);
	close(l);
	rig_end(r);
}

/* The first bytes that a client of TLS sends. */
static size_t first_hello(const char *name, uint8_t *out, size_t cap)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	SSL_set_tlsext_host_name(ssl, name);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(ssl);
	SSL_do_handshake(ssl);
	int n = BIO_read(SSL_get_wbio(ssl), out, (int)cap);
	assert_true(n > 0);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return (size_t)n;
}

#define BYTES(s) s, sizeof(s) - 1
/* In front of a ClientHello, and behind one before the server has said anything. */
static void out_of_place(void **state)
{
	static const struct {
		const char *front;
		size_t n;
	} before[] = {
		{BYTES("\x15\x03\x03\x00\x02\x01\x00")}, {BYTES("\x15\x03\x01\x00\x02\x01\x5a")},
		{BYTES("\x14\x03\x03\x00\x01\x01")},     {BYTES("\x17\x03\x03\x00\x01x")},
		{BYTES("\x80\x2e\x01\x00\x02")},         {BYTES("\x80\x2e\x01\x03\x01")},
		{BYTES("\x80\x2e\x01\x03\x03")},         {BYTES("\xff\xff\x01\x03\x04")},
		{BYTES("\x16\x03\x01\x00\x00")},
	};
	static const struct {
		const char *back;
		size_t n;
		bool hello, want;
	} after[] = {
		{BYTES(""), true, false},
		{BYTES("\x14\x03\x03\x00\x01\x01"), false, true},
		{BYTES("\x14\x03\x03\x00\x01\x01"), true, false},
		{BYTES("\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x03"
		       "abc"),
		 false, true},
		{BYTES("\x17\x03\x03\x00\x03"
		       "abc"),
		 true, false},
		{BYTES("\x15\x03\x03\x00\x02\x01\x00"), true, false},
		{BYTES("\x80\x2e\x01\x03\x03"), false, false},
		{BYTES("GET / HTTP/1.1\r\n"), false, false},
	};
	struct rig *r = &rig;
	uint16_t port = 0;
	int l = world_listen("127.0.0.1", &port, SOCK_STREAM);
	uint8_t good[2048], evil[2048], b[8192];
	size_t good_n = first_hello("good.test", good, sizeof(good)), evil_n = first_hello("evil.test", evil, 2048);
	rig_start(r, "preset: locked\nallow: [{host: good.test, private: true}]\n");
	for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++)
		for (int cut = 0; cut < 2; cut++) {
			struct end *e = open_tcp(r, "good.test", port);
			int fd = world_accept(r, l);
			until(r, e->accepted);
			for (size_t k = 0; cut && k < before[i].n && !e->closed; k++) {
				say(r, e, before[i].front + k, 1);
				turn(r, 2);
			}
			if (!cut)
				say(r, e, before[i].front, before[i].n);
			if (!e->closed)
				say(r, e, good, good_n);
			until(r, e->closed);
			assert_int_equal(e->code, -EACCES);
			close(fd);
		}
	for (size_t i = 0; i < sizeof(after) / sizeof(*after); i++) {
		struct end *e = open_tcp(r, "good.test", port);
		int fd = world_accept(r, l);
		size_t n = good_n;
		memcpy(b, good, good_n);
		memcpy(b + n, after[i].back, after[i].n);
		n += after[i].n;
		memcpy(b + n, evil, after[i].hello ? evil_n : 0);
		n += after[i].hello ? evil_n : 0;
		say(r, e, b, n);
		size_t got = 0;
		if (after[i].want) {
			ssize_t k;
			until(r, (k = recv(fd, b, sizeof(b), MSG_DONTWAIT)) > 0 && (got += (size_t)k) == n);
		} else {
			until(r, e->closed);
			assert_int_equal(e->code, -EACCES);
		}
		close(fd);
	}
	/* Another hello in the record of the first one. */
	memcpy(b, good, good_n);
	memcpy(b + good_n, evil + 5, evil_n - 5);
	size_t len = good_n + evil_n - 10;
	b[3] = (uint8_t)(len >> 8);
	b[4] = (uint8_t)len;
	struct end *e = open_tcp(r, "good.test", port);
	int fd = world_accept(r, l);
	say(r, e, b, len + 5);
	until(r, e->closed);
	assert_int_equal(e->code, -EACCES);
	close(fd);
	close(l);
	rig_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(second_hello),
		cmocka_unit_test(resumed),
		cmocka_unit_test(out_of_place),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

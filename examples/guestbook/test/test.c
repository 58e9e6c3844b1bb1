/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the guestbook: TAP on stdout, exit code 1 when one fails. */
#include "../src/guestbook.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int count, failed;

static void ok(bool good, const char *name)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++count, name);
	failed += !good;
}

static void test_text(void)
{
	char s[] = "caf%C3%A9+%26+co";
	ok(url_decode(s) && strcmp(s, "café & co") == 0, "form encoding is undone");
	char broken[] = "50%";
	ok(!url_decode(broken), "a cut-off escape is refused");
	char nul[] = "a%00b";
	ok(!url_decode(nul), "an escaped NUL is refused");

	char out[64];
	ok(html_escape("<b>&\"'", out, sizeof out) > 0 && strcmp(out, "&lt;b&gt;&amp;&quot;&#39;") == 0,
	   "HTML is escaped");
	ok(html_escape("<<<<", out, 8) == -1, "what does not fit is not written past the end");
	ok(json_string("a\"b\\", out, sizeof out) > 0 && strcmp(out, "\"a\\\"b\\\\\"") == 0, "JSON is escaped");
	ok(text_ok("hello") && !text_ok("") && !text_ok("two\nlines"), "an entry is one line with something in it");
	char long_one[TEXT_MAX + 2];
	memset(long_one, 'x', sizeof long_one - 1);
	long_one[sizeof long_one - 1] = 0;
	ok(!text_ok(long_one), "an entry that is too long is refused");
}

static void test_http(void)
{
	static const char post[] = "POST /entries HTTP/1.1\r\nHost: x\r\ncontent-length: 6\r\n\r\ntext=a";
	struct request r;
	size_t head = sizeof post - 1 - 6;
	ok(http_parse(post, sizeof post - 1, &r) == 1 && strcmp(r.method, "POST") == 0 && r.body_length == 6 &&
		   r.head_length == head,
	   "a request is read");
	bool waits = true;
	for (size_t n = 0; n < head; n++)
		waits = waits && http_parse(post, n, &r) == 0;
	ok(waits, "every cut of its head asks for more");
	static const char *bad[] = {"nonsense\r\n\r\n", "GET http://x/ HTTP/1.1\r\n\r\n", "GET / HTTP/2\r\n\r\n",
				    "GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
				    "GET / HTTP/1.1\r\nContent-Length: 1x\r\n\r\n"};
	bool refused = true;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		refused = refused && http_parse(bad[i], strlen(bad[i]), &r) == -1;
	ok(refused, "what is not HTTP is refused");
}

static void test_store(void)
{
	char file_name[] = "/tmp/guestbook-test.XXXXXX", answers[256] = "";
	int file = mkstemp(file_name), p[2];
	if (file < 0 || pipe(p) < 0) {
		ok(false, "a file and a pipe to test with");
		return;
	}
	fcntl(file, F_SETFL, O_APPEND);
	store_command(file, "ADD first", p[1]);
	store_command(file, "ADD second", p[1]);
	store_command(file, "LIST", p[1]);
	store_command(file, "DROP TABLE", p[1]);
	close(p[1]);
	ssize_t n = read(p[0], answers, sizeof answers - 1);
	ok(n > 0 && strcmp(answers, "OK 1\nOK 2\nfirst\nsecond\n.\nERROR unknown command\n") == 0,
	   "the store keeps entries");
	close(p[0]);
	close(file);
	unlink(file_name);
}

int main(void)
{
	test_text();
	test_http();
	test_store();
	printf("1..%d\n", count);
	return failed != 0;
}

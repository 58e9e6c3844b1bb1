/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into a bug report: nothing of the person's, whatever a log says, and whatever a guest wrote into it. */
#include "home_rig.h"

#include "lib/report/bundle.h"
#include "lib/report/redact.h"

#include <archive.h>
#include <archive_entry.h>

static int setup(void **state)
{
	return home_make("true");
}

static void expect(const struct hull_redact *r, const char *in, const char *want)
{
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	assert_int_equal(hull_redact_text(r, in, strlen(in), &out), 0);
	assert_int_equal(hull_buf_add(&out, "", 1), 0);
	assert_string_equal((const char *)hull_buf_bytes(&out), want);
}

static void test_redact(void **state)
{
	_cleanup_(hull_redact_free) struct hull_redact r = {0};
	assert_int_equal(hull_redact_word(&r, "/home/ann", "<home>", HULL_REDACT_PATH), 0);
	assert_int_equal(hull_redact_word(&r, "/home/ann/work/secret project", "<path 1>", HULL_REDACT_PATH), 0);
	assert_int_equal(hull_redact_word(&r, "ann", "<user>", HULL_REDACT_NAME), 0);
	assert_int_equal(hull_redact_word(&r, "x", "<never>", HULL_REDACT_NAME), 0);
	assert_int_equal(hull_redact_word(&r, "tok3n!", "<secret>", HULL_REDACT_SECRET), 0);
	expect(&r, "x is said", "x is said");
	expect(&r, "cannot: xtok3n!y is not ann's, ann-2", "cannot: x<secret>y is not <user>'s, <user>-2");
	expect(&r, "mounted /home/ann/work/secret project/src/a b.c: done", "mounted <path 1>: done");
	expect(&r, "/home/ann/other: no", "<home>: no");
	expect(&r, "user ann, 3", "user <user>, 3");
	expect(&r, "cannot open /srv/My Files/list of names.txt: No such file", "cannot open <path>: No such file");
	expect(&r, "opening \"/srv/a b\" and '/data/x y', then /q", "opening \"<path>\" and '<path>', then <path>");
	expect(&r, "/usr/lib/hull/hull-share --root /srv/x\nnext", "/usr/lib/hull/hull-share --root <path>\nnext");
	expect(&r, "/usrlocal/file: it", "<path>: it");
	expect(&r, "/run/hull/disk, /dev/vdb and 3/4 or a/b", "/run/hull/disk, /dev/vdb and 3/4 or a/b");
	expect(&r, "/etc/ann/x", "/etc/<user>/x");
	expect(&r, "by Ann.Lee+x@example.co.uk, not a@b", "by <mail>, not a@b");
	expect(&r, "\033[2Jbell\a \xff", "?[2Jbell? ?");
	expect(&r, "", "");
	expect(&r, "/", "/");
	expect(&r, "ends in /", "ends in /");
}

/* Its length in *n, and a zero behind it. */
static char *unpack(const char *file, size_t *n, unsigned *members)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	struct hull_buf all = {0};
	archive_read_support_format_tar(a);
	archive_read_support_filter_gzip(a);
	assert_int_equal(archive_read_open_filename(a, file, 65536), ARCHIVE_OK);
	for (*members = 0; archive_read_next_header(a, &e) == ARCHIVE_OK; ++*members) {
		char buf[65536];
		la_ssize_t got;
		const char *name = archive_entry_pathname(e);
		assert_int_equal(hull_buf_add(&all, "== ", 3), 0);
		assert_int_equal(hull_buf_add(&all, name, strlen(name)), 0);
		assert_int_equal(hull_buf_add(&all, "\n", 1), 0);
		while ((got = archive_read_data(a, buf, sizeof buf)) > 0)
			assert_int_equal(hull_buf_add(&all, buf, (size_t)got), 0);
		assert_int_equal(got, 0);
	}
	archive_read_free(a);
	*n = all.len;
	assert_int_equal(hull_buf_add(&all, "", 1), 0);
	char *text = strdup((const char *)hull_buf_bytes(&all));
	hull_buf_free(&all);
	return text;
}

static void put(const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", dir, name);
	_cleanup_fclose_ FILE *f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
}

static void test_bundle(void **state)
{
	_cleanup_free_ char *damaged = hull_fmt("%s/sandboxes/broken-diary", paths.home);
	_cleanup_free_ char *out = hull_fmt("%s/bundle.tar.gz", base);
	char *env[] = {(char *)"TOKEN=sk-very-secret-123", (char *)"A=1", NULL};
	char *entries[] = {(char *)"/srv/ann/love letters:ro", NULL};
	char *none[] = {NULL};
	struct hull_sandbox s = {.name = (char *)"shell-love-letters",
				 .agent = (char *)"shell",
				 .image = (char *)"0123456789abcdef0123456789abcdef",
				 .cpus = 3,
				 .memory = 1 << 30,
				 .disk = 1 << 30,
				 .engine = (char *)"auto",
				 .env = env,
				 .paths = entries,
				 .ports = none,
				 .git_name = (char *)"Ann Lee",
				 .git_email = (char *)"ann@example.org",
				 .last_error = (char *)"cannot serve /srv/ann/love letters: gone",
				 .state = (char *)"crashed",
				 .created = 1};
	struct hull_error err = {0};
	put(base, "seed", "a disk");
	_cleanup_free_ char *seed_path = hull_fmt("%s/seed", base);
	_cleanup_close_ int seed = open(seed_path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(hull_sandbox_create(&paths, &s, seed, true, &err), 0);
	_cleanup_free_ char *dir = hull_sandbox_path(&paths, s.name, NULL);
	put(dir, "keeper.log",
	    "keeper: starting shell-love-letters\n"
	    "keeper: share /srv/ann/love letters/to bob.txt: damaged\n"
	    "guest: \033]0;owned\a said sk-very-secret-123 to /mnt/other place/diary.txt\n");
	put(dir, "egress.log", "{\"name\": \"private.example\"}\n");
	put(dir, "dockerd.log", "pulling private/image\n");
	/* A log that is a link elsewhere, as a hostile disk could have it. */
	put(base, "elsewhere", "contents of elsewhere\n");
	_cleanup_free_ char *serial = hull_fmt("%s/serial.log", dir);
	_cleanup_free_ char *elsewhere = hull_fmt("%s/elsewhere", base);
	assert_int_equal(symlink(elsewhere, serial), 0);
	/* A long one is cut, at a line. */
	_cleanup_free_ char *engine = hull_fmt("%s/engine.log", dir);
	_cleanup_fclose_ FILE *f = fopen(engine, "we");
	for (unsigned i = 0; i < 40000; i++)
		fprintf(f, "engine line %06u\n", i);
	fflush(f);
	assert_int_equal(mkdir(damaged, 0700), 0);
	put(damaged, "sandbox.json", "{not json");

	int fd = open(out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(hull_bundle_write(&paths, "[{\"text\": \"shell-love-letters\"}]", fd, &err), 0);
	close(fd);
	size_t n;
	unsigned members;
	_cleanup_free_ char *all = unpack(out, &n, &members);
	assert_int_equal(strlen(all), n); /* no zero bytes in it */
	/* doctor.json, system, state, keeper and engine log, README */
	assert_int_equal(members, 6);
	static const char *const there[] = {"== README\n",
					    "== doctor.json\n",
					    "== sandbox-2/state\n",
					    "cpus 3",
					    "2 of the environment",
					    "sandbox 1: its state cannot be read",
					    "last error: cannot serve <path 1 of sandbox 2>: gone",
					    "keeper: starting <sandbox 2>",
					    "engine line 039999\n"};
	for (size_t i = 0; i < sizeof there / sizeof *there; i++)
		if (!strstr(all, there[i]))
			fail_msg("missing: %s in:\n%.3000s", there[i], all);
	static const char *const taken[] = {"love",
					    "letters",
					    "diary",
					    "bob",
					    "secret",
					    "ann@",
					    "Ann",
					    "\033",
					    "private",
					    "elsewhere",
					    "sk-",
					    "engine line 000000",
					    "/tmp/hull-test-home"};
	for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
		if (strstr(all, taken[i]))
			fail_msg("still there: %s in:\n%.3000s", taken[i], all);
	assert_null(strstr(all, "\ngine line")); /* cut at a line */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_redact), cmocka_unit_test(test_bundle)};
	return cmocka_run_group_tests(tests, setup, home_drop);
}

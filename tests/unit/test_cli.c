/* SPDX-License-Identifier: Apache-2.0 */
/* The CLI's parts that need no sandbox: option parsing, suggestions, sizes, the terminal filter, tables,
 * and that help and completion cover the whole table of verbs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/sandbox/place.h"
#include "lib/command/ps.h"
#include "cli/signal_name.h"
#include "cli/cli.h"
#include "cli/create.h"
#include "cli/filter.h"
#include "cli/out.h"
#include "lib/command/refused.h"
#include "lib/sandbox/create.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- parsing --- */

static bool flag_a, flag_b;
static const char *text;
static char **list;

static const struct cli_opt options[] = {
	{'a', "all", NULL, "", .flag = &flag_a},
	{'b', "both", NULL, "", .flag = &flag_b},
	{'m', "memory", "SIZE", "", .text = &text},
	{'e', "env", "K=V", "", .list = &list},
	{0},
};
static const struct cli_verb plain = {
	.name = "plain", .usage = "[X...]", .summary = "s", .options = options, .max_words = 3};
static const struct cli_verb command = {.name = "command",
					.usage = "NAME [COMMAND...]",
					.summary = "s",
					.options = options,
					.min_words = 1,
					.max_words = 1,
					.options_end = CLI_OPTIONS_BEFORE_COMMAND,
					.command = true};
static const struct cli_verb named = {.name = "named",
				      .usage = "NAME [X...]",
				      .summary = "s",
				      .options = options,
				      .min_words = 1,
				      .max_words = 1,
				      .options_end = CLI_OPTIONS_BEFORE_NAME,
				      .command = true};
static const struct cli_verb dashes = {.name = "dashes",
				       .usage = "[X...] [-- C...]",
				       .summary = "s",
				       .options = options,
				       .max_words = 3,
				       .command = true};

static struct hull_error err;

/* Parse and write down what came of it: "a b m=512m e=K,L | words | command", or "error". */
static const char *parse(const struct cli_verb *verb, ...)
{
	static char out[1024];
	char *argv[32] = {(char *)"verb"};
	va_list ap;
	size_t n = 1;
	va_start(ap, verb);
	while ((argv[n] = va_arg(ap, char *)) != NULL)
		n++;
	va_end(ap);
	struct cli cli = {0};
	flag_a = flag_b = false;
	text = NULL;
	hull_strv_free(list);
	list = NULL;
	err = (struct hull_error){0};
	int r = cli_parse(&cli, verb, argv, &err);
	size_t at = 0;
	if (r < 0) {
		snprintf(out, sizeof out, "error");
	} else {
		at += (size_t)snprintf(out + at, sizeof out - at, "%s%s%s", flag_a ? "a " : "", flag_b ? "b " : "",
				       cli.help ? "help " : "");
		if (text)
			at += (size_t)snprintf(out + at, sizeof out - at, "m=%s ", text);
		for (char **v = list; v && *v; v++)
			at += (size_t)snprintf(out + at, sizeof out - at, "e=%s ", *v);
		at += (size_t)snprintf(out + at, sizeof out - at, "|");
		for (size_t i = 0; i < cli.word_count; i++)
			at += (size_t)snprintf(out + at, sizeof out - at, " %s", cli.words[i]);
		at += (size_t)snprintf(out + at, sizeof out - at, " |");
		for (size_t i = 0; i < cli.command_count; i++)
			at += (size_t)snprintf(out + at, sizeof out - at, " %s", cli.command[i]);
	}
	cli_free(&cli);
	return out;
}

#define END ((char *)NULL)

static void test_flags(void **state)
{
	assert_string_equal(parse(&plain, END), "| |");
	assert_string_equal(parse(&plain, "-a", "x", "--both", "y", END), "a b | x y |");
	assert_string_equal(parse(&plain, "-ab", END), "a b | |");
	assert_string_equal(parse(&plain, "--all=false", "-b=true", END), "b | |");
	assert_string_equal(parse(&plain, "-a", "--all=0", END), "| |");
	assert_string_equal(parse(&plain, "--memory", "1g", END), "m=1g | |");
	assert_string_equal(parse(&plain, "--memory=1g", END), "m=1g | |");
	assert_string_equal(parse(&plain, "--memory=", END), "m= | |");
	assert_string_equal(parse(&plain, "-m1g", END), "m=1g | |");
	assert_string_equal(parse(&plain, "-m=1g", END), "m=1g | |");
	assert_string_equal(parse(&plain, "-am", "1g", END), "a m=1g | |");
	assert_string_equal(parse(&plain, "-m", "1g", "-m", "2g", END), "m=2g | |");
	assert_string_equal(parse(&plain, "-e", "A=1", "--env=B==", "-eC", END), "e=A=1 e=B== e=C | |");
	assert_string_equal(parse(&plain, "-m", "-1", END), "m=-1 | |"); /* a value is taken as it stands */
	assert_string_equal(parse(&plain, "-", END), "| - |");
	assert_string_equal(parse(&plain, "--", "-a", "--nope", END), "| -a --nope |");
	assert_string_equal(parse(&plain, "-h", END), "help | |");
	assert_string_equal(parse(&plain, "--help", END), "help | |");
	assert_string_equal(parse(&plain, "", END), "|  |");
}

static void test_refusals(void **state)
{
	assert_string_equal(parse(&plain, "--memroy=1", END), "error");
	assert_non_null(strstr(err.msg, "--memory"));
	assert_string_equal(parse(&plain, "-memory", "1g", END), "m=emory | 1g |"); /* as docker takes it */
	assert_string_equal(parse(&plain, "-all", END), "error");
	assert_string_equal(parse(&plain, "-x", END), "error");
	assert_string_equal(parse(&plain, "-ax", END), "error");
	assert_non_null(strstr(err.msg, "-x"));
	assert_string_equal(parse(&plain, "--memory", END), "error");
	assert_non_null(strstr(err.msg, "--memory SIZE"));
	assert_string_equal(parse(&plain, "-am", END), "error");
	assert_string_equal(parse(&plain, "--all=maybe", END), "error");
	assert_string_equal(parse(&plain, "--=x", END), "error");
	assert_string_equal(parse(&plain, "a", "b", "c", "d", END), "error");
	assert_non_null(strstr(err.msg, "\"d\""));
	assert_string_equal(parse(&command, END), "error");
	assert_non_null(strstr(err.msg, "usage"));
	/* Nothing that steers a terminal comes back. */
	assert_string_equal(parse(&plain, "--\033]0;x\007", END), "error");
	assert_null(strchr(err.msg, '\033'));
}

static void test_where_flags_end(void **state)
{
	assert_string_equal(parse(&command, "-a", "n", "ls", "-b", END), "a | n | ls -b");
	assert_string_equal(parse(&command, "n", "-a", "ls", "-b", END), "a | n | ls -b");
	assert_string_equal(parse(&command, "n", "--", "-b", END), "| n | -b");
	assert_string_equal(parse(&command, "n", "sh", "--", "x", END), "| n | sh -- x");
	assert_string_equal(parse(&command, "--", "n", "ls", END), "| n | ls");
	assert_string_equal(parse(&command, "n", END), "| n |");
	assert_string_equal(parse(&named, "-a", "n", "-b", "--help", END), "a | n | -b --help");
	assert_string_equal(parse(&named, "n", "--", "ps", END), "| n | ps");
	assert_string_equal(parse(&named, "n", "run", "--", "ps", END), "| n | run -- ps");
	assert_string_equal(parse(&dashes, "x", "-a", "y", "--", "make", "-b", END), "a | x y | make -b");
	assert_string_equal(parse(&dashes, "--", END), "| |");
}

static void test_verbs(void **state)
{
	assert_string_equal(cli_find_verb(cli_verbs, "", "exec", &err)->name, "exec");
	assert_null(cli_find_verb(cli_verbs, "", "strat", &err));
	assert_non_null(strstr(err.msg, "hull start"));
	assert_null(cli_find_verb(cli_verbs, "", "list", &err));
	assert_non_null(strstr(err.msg, "hull ls"));
	assert_null(cli_find_verb(cli_verbs, "", "", &err));
	assert_null(cli_find_verb(cli_verbs, "", "\033[2J", &err));
	assert_null(strchr(err.msg, '\033'));
}

/* --- the table --- */

static void check_options(const struct cli_verb *v, const struct cli_opt *o, char letters[256])
{
	for (; o && o->name; o++) {
		int targets = (o->flag != NULL) + (o->text != NULL) + (o->list != NULL);
		assert_int_equal(targets, 1);
		assert_int_equal(o->metavar != NULL, o->flag == NULL);
		assert_true(strlen(o->help) > 0);
		assert_ptr_equal(cli_option(v, o->name), o); /* no name twice */
		if (o->letter) {
			assert_int_equal(letters[(unsigned char)o->letter], 0);
			assert_int_not_equal(o->letter, 'h');
			letters[(unsigned char)o->letter] = 1;
		}
	}
}

static void check_verb(const struct cli_verb *v)
{
	char letters[256] = {0};
	assert_true(v->summary && v->summary[0]);
	assert_true(v->usage != NULL);
	assert_true((v->run != NULL) != (v->verbs != NULL));
	check_options(v, v->options, letters);
	check_options(v, v->more_options, letters);
	for (const struct cli_verb *const *w = v->verbs; w && *w; w++)
		check_verb(*w);
}

static void test_table(void **state)
{
	for (const struct cli_verb *const *v = cli_verbs; *v; v++)
		check_verb(*v);
}

/* stdout of fn in a string that the caller frees. */
static char *output_of(int (*fn)(char **argv), char **argv, int *code)
{
	fflush(stdout);
	int saved = dup(STDOUT_FILENO), file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	assert_true(saved >= 0 && file >= 0);
	dup2(file, STDOUT_FILENO);
	*code = fn(argv);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	off_t n = lseek(file, 0, SEEK_END);
	char *all = calloc(1, (size_t)n + 1);
	assert_int_equal(pread(file, all, (size_t)n, 0), n);
	close(file);
	return all;
}
static int call(char **argv)
{
	int n = 0;
	while (argv[n])
		n++;
	return cli_main(n, argv);
}
static char *hull(int *code, ...)
{
	char *argv[16] = {(char *)"hull"};
	va_list ap;
	va_start(ap, code);
	for (int i = 1; i < 15 && (argv[i] = va_arg(ap, char *)); i++)
		;
	va_end(ap);
	return output_of(call, argv, code);
}

static void test_help_and_completion(void **state)
{
	int code;
	_cleanup_free_ char *all = hull(&code, "help", END);
	assert_int_equal(code, 0);
	_cleanup_free_ char *bash = hull(&code, "completion", "bash", END);
	assert_int_equal(code, 0);
	_cleanup_free_ char *zsh = hull(&code, "completion", "zsh", END);
	assert_int_equal(code, 0);
	assert_true(strncmp(zsh, "#compdef hull\n", 14) == 0);
	for (const struct cli_verb *const *v = cli_verbs; *v; v++) {
		char word[64];
		snprintf(word, sizeof word, "  %s ", (*v)->name);
		assert_non_null(strstr(all, word));
		_cleanup_free_ char *help = hull(&code, (*v)->name, "--help", END);
		_cleanup_free_ char *same = hull(&code, "help", (*v)->name, END);
		assert_int_equal(code, 0);
		assert_string_equal(help, same);
		assert_non_null(strstr(help, "Usage: hull "));
		snprintf(word, sizeof word, (*v)->verbs ? "$verb == %s ]]" : "\n\t%s)\n", (*v)->name);
		assert_non_null(strstr(bash, word));
		snprintf(word, sizeof word, "_hull_%s() {", (*v)->name);
		assert_non_null(strstr(zsh, word));
		const struct cli_opt *const tables[] = {(*v)->options, (*v)->more_options};
		for (size_t i = 0; i < 2; i++) {
			for (const struct cli_opt *o = tables[i]; o && o->name; o++) {
				snprintf(word, sizeof word, "--%s", o->name);
				assert_non_null(strstr(help, word));
				assert_non_null(strstr(bash, word));
				assert_non_null(strstr(zsh, word));
			}
		}
	}
}

/* Every command and every flag has its place in docs/cli.md. __FILE__ is relative to the build directory, in which
 * the test runs. */
static void flags_in(const struct cli_opt *o, const char *page)
{
	char want[128];
	for (; o && o->name; o++) {
		snprintf(want, sizeof want, "--%s", o->name);
		if (!strstr(page, want))
			fail_msg("%s is not in docs/cli.md where it belongs", want);
		snprintf(want, sizeof want, "`-%c`", o->letter);
		if (o->letter && !strstr(page, want))
			fail_msg("%s is not in docs/cli.md where it belongs", want);
	}
}

static void in_docs(const struct cli_verb *v, const struct cli_verb *above, const char *docs)
{
	char want[128];
	if (above)
		snprintf(want, sizeof want, "### %s %s", above->name, v->name);
	else
		snprintf(want, sizeof want, "\n## %s\n", v->name);
	const char *section = strstr(docs, want);
	assert_non_null(section);
	const char *next = strstr(section + 3, "\n## ");
	const char *sub = strstr(section + 3, "\n### ");
	if (above && sub && (!next || sub < next))
		next = sub;
	_cleanup_free_ char *page = next ? strndup(section, (size_t)(next - section)) : strdup(section);
	flags_in(v->options, page);
	/* Those it shares with another verb may be in that one's place. */
	const char *shared = strstr(page, "the flags of [create](#create)") ? strstr(docs, "\n## create\n") : NULL;
	const char *end = shared ? strstr(shared + 3, "\n## ") : NULL;
	_cleanup_free_ char *other = end ? strndup(shared, (size_t)(end - shared)) : NULL;
	flags_in(v->more_options, other ? other : page);
	if (!above) {
		snprintf(want, sizeof want, "](#%s)", v->name);
		assert_non_null(strstr(docs, want)); /* the index at the top */
	}
	for (const struct cli_verb *const *w = v->verbs; w && *w; w++)
		in_docs(*w, v, docs);
}

static void test_docs(void **state)
{
	_cleanup_free_ char *path = hull_fmt("%.*s../../docs/cli.md", (int)(strrchr(__FILE__, '/') + 1 - __FILE__),
					     __FILE__);
	_cleanup_(hull_buf_free) struct hull_buf page = {0};
	if (hull_read_file(AT_FDCWD, path, 1 << 20, &page, NULL) < 0) {
		print_message("# skipped: docs/cli.md is not there\n");
		return;
	}
	for (const struct cli_verb *const *v = cli_verbs; *v; v++)
		in_docs(*v, NULL, (const char *)hull_buf_bytes(&page));
}

/* --- sizes --- */

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static void test_memory(void **state)
{
	uint64_t v;
	assert_int_equal(create_memory(NULL, 64 * GIB, &v, &err), 0);
	assert_int_equal(v, 4 * GIB);
	assert_int_equal(create_memory(NULL, 2 * GIB, &v, &err), 0);
	assert_int_equal(v, GIB);
	assert_int_equal(create_memory("256m", GIB, &v, &err), 0);
	assert_int_equal(v, 256 * MIB);
	assert_int_equal(create_memory("257m", GIB, &v, &err), 0);
	assert_int_equal(v % (2 * MIB), 0);
	assert_int_equal(create_memory("1g", GIB, &v, &err), 0);
	const char *const bad[] = {"255m", "1", "0", "", "lots", "-1g", "2g", "99999999999999999999", "1e9", "512m "};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_true(create_memory(bad[i], GIB, &v, &err) < 0);
}

static void test_swap(void **state)
{
	uint64_t v;
	assert_int_equal(create_swap(NULL, 64 * GIB, &v, &err), 0);
	assert_int_equal(v, 0);
	assert_int_equal(create_swap("0", 64 * GIB, &v, &err), 0);
	assert_int_equal(v, 0);
	assert_int_equal(create_swap("1.5g", 64 * GIB, &v, &err), 0);
	assert_int_equal(v, 1536 * MIB);
	const char *const bad[] = {"1k", "33g", "-1", "much", ""};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_true(create_swap(bad[i], 64 * GIB, &v, &err) < 0);
}

static void test_cpus(void **state)
{
	unsigned n;
	assert_int_equal(create_cpus(NULL, 8, &n, &err), 0);
	assert_int_equal(n, 8);
	assert_int_equal(create_cpus("0", 8, &n, &err), 0);
	assert_int_equal(n, 8);
	assert_int_equal(create_cpus("3", 8, &n, &err), 0);
	assert_int_equal(n, 3);
	/* A host with more of them than a machine can have. */
	assert_int_equal(create_cpus(NULL, 384, &n, &err), 0);
	assert_int_equal(n, 255);
	assert_int_equal(create_cpus("255", 384, &n, &err), 0);
	assert_true(create_cpus("256", 384, &n, &err) < 0);
	assert_non_null(strstr(err.msg, "at most 255"));
	const char *const bad[] = {"9", "1.5", "-1", "two", "", "4294967296", "1 "};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_true(create_cpus(bad[i], 8, &n, &err) < 0);
}

/* --- the filter --- */

/* Filter `in` in pieces of `step` bytes. */
static void filtered(const char *in, size_t n, size_t step, const char *want)
{
	struct filter f = {0};
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	for (size_t i = 0; i < n; i += step)
		assert_int_equal(filter_feed(&f, in + i, n - i < step ? n - i : step, &out), 0);
	assert_int_equal(filter_end(&f, &out), 0);
	assert_int_equal(hull_buf_add(&out, "", 1), 0);
	assert_string_equal((const char *)hull_buf_bytes(&out), want);
}

static void test_json_safe(void **state)
{
	(void)state;
	json_t *in = json_pack("{s:s, s:s}", "engine",
			       "qemu \xc2\x9b"
			       "2J \x7f \xe2\x80\xae \xf3\xa0\x81\x81 \033[m",
			       "plain", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
	_cleanup_free_ char *json = json_dumps(in, JSON_INDENT(2) | JSON_SORT_KEYS), *safe = out_json_safe(json);
	assert_string_equal(safe, "{\n  \"engine\": \"qemu \\u009b2J \\u007f \\u202e \\udb40\\udc41 \\u001B[m\",\n"
				  "  \"plain\": \"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"\n}");
	json_t *back = json_loads(safe, 0, NULL);
	assert_true(json_equal(in, back));
	json_decref(back);
	json_decref(in);
}

static void test_filter(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain\ttext\r\n", "plain\ttext\r\n"},
		{"password ok\rdenied\r\r\n", "password ok^Mdenied\r\n"},
		{"denied\b\b\b\b\b\bok", "denied^H^H^H^H^H^Hok"},
		{"a\r", "a"},
		{"\xc3\rx", "?^Mx"},
		{"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		 "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
		{"\033[1;31mred\033[0m", "\033[1;31mred\033[0m"},
		{"\033[31mleft on", "\033[31mleft on\033[0m"},
		{"\033[2Ja\033[Hb\033[6nc", "abc"},
		{"\033[?1049hx\033[>0cy", "xy"},
		{"\033]0;title\007x\033]52;c;AAAA\033\\y", "xy"},
		{"\033Pq#0\033\\z\033_apc\033\\w", "zw"},
		{"\033]unfinished\nnext", "\nnext"},
		{"\033cx\033(0y", "xy"},
		{"\xc2\x9b"
		 "31mx",
		 "?31mx"},
		{"\x9bx\xff\xfe", "?x??"},
		{"\xe2\x82x\xc3", "?x"},
		{"\xc0\xaf\xed\xa0\x80", "???"},
		{"\xe2\x80\xae"
		 "abc",
		 "?abc"},
		{"a\007b\177c", "abc"},
		{"\033[1\033[32mg\033[m", "\033[32mg\033[m"},
		{"\033\033[2Jx", "x"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t step = 1; step < 8; step++)
			filtered(cases[i].in, strlen(cases[i].in), step, cases[i].out);
	/* Of random bytes nothing but colours begins with an escape. */
	srand(1);
	for (int round = 0; round < 200; round++) {
		char bytes[300];
		struct filter f = {0};
		_cleanup_(hull_buf_free) struct hull_buf out = {0};
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = (char)(rand() % 4 ? rand() : "\033[]m;\x9b"[rand() % 6]);
		assert_int_equal(filter_feed(&f, bytes, sizeof bytes, &out), 0);
		const uint8_t *p = hull_buf_bytes(&out);
		for (size_t i = 0; i < out.len; i++) {
			if (p[i] != 033)
				continue;
			assert_true(i + 2 < out.len && p[i + 1] == '[');
			for (i += 2; p[i] != 'm'; i++)
				assert_true(i + 1 < out.len && strchr("0123456789;:", p[i]) && p[i]);
		}
	}
}

/* --- tables --- */

static int print_table(char **argv)
{
	struct cli_table t = {.columns = 3};
	for (; *argv; argv++)
		cli_cell(&t, CLI_BAD, *argv);
	cli_table_print(&t);
	cli_table_free(&t);
	return 0;
}

/* Which hosts a command was refused: those that are denied, once each, a few of them. */
static void test_refused_hosts(void **state)
{
	static const struct {
		const char *log, *want;
	} t[] = {
		{"", NULL},
		{"{\"verdict\":\"allow\",\"name\":\"a.test\",\"port\":443}\n", NULL},
		{"{\"verdict\":\"error\",\"name\":\"a.test\",\"port\":443}\nnot JSON\n{\"lost\":3}\n[]\n", NULL},
		{"{\"verdict\":\"deny\",\"name\":\"a.test\",\"port\":443}\n"
		 "{\"verdict\":\"deny\",\"name\":\"a.test\",\"address\":\"10.0.0.1\",\"port\":443}\n"
		 "{\"verdict\":\"deny\",\"name\":\"test\",\"port\":443}\n"
		 "{\"verdict\":\"deny\",\"address\":\"fd00::1\",\"port\":80}\n"
		 "{\"verdict\":\"deny\",\"name\":\"not.whole\",\"port\":80}",
		 "a.test:443, test:443, [fd00::1]:80"},
		{"{\"verdict\":\"deny\",\"name\":\"a\",\"port\":1}\n{\"verdict\":\"deny\",\"name\":\"b\",\"port\":1}\n"
		 "{\"verdict\":\"deny\",\"name\":\"c\",\"port\":1}\n{\"verdict\":\"deny\",\"name\":\"d\",\"port\":1}\n"
		 "{\"verdict\":\"deny\",\"name\":\"e\",\"port\":1}\n{\"verdict\":\"deny\",\"name\":\"a\",\"port\":1}\n",
		 "a:1, b:1, c:1, d:1 and others"},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		_cleanup_(hull_buf_free) struct hull_buf out = {0};
		refused_hosts(t[i].log, strlen(t[i].log), &out);
		assert_int_equal(out.len, t[i].want ? strlen(t[i].want) : 0);
		if (t[i].want)
			assert_memory_equal(hull_buf_bytes(&out), t[i].want, out.len);
	}
}

static void test_table_output(void **state)
{
	int code;
	char *cells[] = {(char *)"NAME",        (char *)"X",    (char *)"END", (char *)"a\033[2J",
			 (char *)"gr\xc3\xbcn", (char *)"last", NULL};
	_cleanup_free_ char *out = output_of(print_table, cells, &code);
	assert_string_equal(out, "NAME      X     END\na\\x1b[2J  gr\xc3\xbcn  last\n");
}

static void test_ps(void **state)
{
	static const char said[] =
		"      2       0 root                             S     0.0      0  10 0::/ [kthreadd]\n"
		"     40       1 root                             S     0.0   1000  10 0::/init hull-notify\n"
		"    125       1 root                             Ssl   4.9  91000  95 0::/dockerd dockerd -H fd://\n"
		"    126     125 root                             Ssl   0.2  41000  95 0::/containerd containerd\n"
		"    487     485 agent                            Ss    6.2   1900   3 0::/work/sessions/7 sleep  "
		"7777\n"
		"    490       1 agent                            R    99.9     20   0 0::/work/sessions/8 ps -eww\n"
		"    500       1 999                              Ss    0.0    100 200 "
		"0::/work/docker/0123456789abcdef0123456789abcdef postgres \033[2J\n"
		"not a line of ps\n"
		"1 2 u S 1.0 99999999999999999999999 1 0::/work/sessions/7 x\n"
		"1 2 u S inf 1 1 0::/work/sessions/7 x\n"
		"   600  1 u S 1.0 1 1 0::/work/sessions/9 no line end";
	json_t *jobs = json_pack("[{s:s, s:i}]", "id", "007d73f4", "session", 7);
	json_t *found = ps_read(said, sizeof said - 1, 490, jobs);
	assert_int_equal(json_array_size(found), 5);
	const json_t *j = json_array_get(found, 2);
	assert_int_equal(json_integer_value(json_object_get(j, "pid")), 487);
	assert_int_equal(json_integer_value(json_object_get(j, "memory")), 1900 * 1024);
	assert_string_equal(json_string_value(json_object_get(j, "job")), "007d73f4");
	assert_string_equal(json_string_value(json_object_get(j, "command")), "sleep  7777");
	assert_true(json_is_null(json_object_get(j, "container")));
	j = json_array_get(found, 3);
	assert_string_equal(json_string_value(json_object_get(j, "container")), "0123456789ab");
	assert_string_equal(json_string_value(json_object_get(j, "command")), "postgres \\x1b[2J");
	assert_true(json_is_null(json_object_get(j, "job")));
	json_decref(found);
	json_decref(jobs);
}

/* The names by which a person knows a directory. */
static void test_place_link(void **state)
{
	char dir[] = "/tmp/hull-test-link.XXXXXX";
	assert_non_null(mkdtemp(dir));
	_cleanup_free_ char *real = hull_fmt("%s/real", dir);
	_cleanup_free_ char *link = hull_fmt("%s/link", dir);
	_cleanup_free_ char *below = hull_fmt("%s/real/back", dir);
	assert_int_equal(mkdir(real, 0700), 0);
	assert_int_equal(symlink(real, link), 0);
	assert_int_equal(symlink(real, below), 0);
	_cleanup_free_ char *old = getcwd(NULL, 0);
	const char *before = getenv("PWD");
	_cleanup_free_ char *pwd = before ? strdup(before) : NULL;
	assert_int_equal(chdir(link), 0);
	setenv("PWD", link, 1);
	char *got = place_link(".", real);
	assert_string_equal(got, link);
	free(got);
	_cleanup_free_ char *ro = hull_fmt("%s/./:ro", link);
	got = place_link(ro, real);
	assert_string_equal(got, link);
	free(got);
	/* A PWD that is another place's, the real name itself, a step up, and what is there with the directory anyway.
	 */
	setenv("PWD", "/", 1);
	assert_null(place_link(".", real));
	setenv("PWD", link, 1);
	assert_null(place_link(real, real));
	assert_null(place_link("../link", real));
	assert_null(place_link(below, real));
	/* Places that are the sandbox's own. */
	assert_null(place_link("/etc", real));
	assert_null(place_link("/proc/self/cwd", real));
	assert_int_equal(chdir(old), 0);
	if (pwd)
		setenv("PWD", pwd, 1);
	unlink(below);
	unlink(link);
	rmdir(real);
	rmdir(dir);
}

static void test_git_identity(void **state)
{
	char dir[] = "/tmp/hull-test-git.XXXXXX";
	assert_non_null(mkdtemp(dir));
	_cleanup_free_ char *file = hull_fmt("%s/.gitconfig", dir);
	const char *before = getenv("HOME");
	_cleanup_free_ char *home = before ? strdup(before) : NULL;
	static const char config[] = "[user]\n\tname = Ann O\n\temail = a@x.org\n\tsigningkey = SECRET\n"
				     "[credential]\n\thelper = store\n";
	_cleanup_free_ char *name = NULL;
	_cleanup_free_ char *email = NULL;
	setenv("HOME", dir, 1);
	git_identity(&name, &email);
	assert_null(name);
	assert_null(email);
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, config, sizeof config - 1), sizeof config - 1);
	close(fd);
	/* A repository's own settings are not asked for, wherever it is said to be. */
	setenv("GIT_DIR", "/nowhere/.git", 1);
	setenv("GIT_CONFIG_PARAMETERS", "'user.name=Repo'", 1);
	git_identity(&name, &email);
	unsetenv("GIT_DIR");
	unsetenv("GIT_CONFIG_PARAMETERS");
	if (home)
		setenv("HOME", home, 1);
	unlink(file);
	rmdir(dir);
	if (!name)
		skip(); /* no git here */
	assert_string_equal(name, "Ann O");
	assert_string_equal(email, "a@x.org");
}

static void test_signal_names(void **state)
{
	assert_int_equal(signal_number("TERM", &err), 15);
	assert_int_equal(signal_number("sigkill", &err), 9);
	assert_int_equal(signal_number("64", &err), 64);
	const char *const bad[] = {"", "0", "65", "-9", "SIG", "NOPE", "TREM", "9x"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(signal_number(bad[i], &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_where_flags_end),
		cmocka_unit_test(test_verbs),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_help_and_completion),
		cmocka_unit_test(test_docs),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_swap),
		cmocka_unit_test(test_cpus),
		cmocka_unit_test(test_json_safe),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_table_output),
		cmocka_unit_test(test_refused_hosts),
		cmocka_unit_test(test_ps),
		cmocka_unit_test(test_signal_names),
		cmocka_unit_test(test_place_link),
		cmocka_unit_test(test_git_identity),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Messages, tables and progress; see out.h. The current progress line is tracked here, so that messages and errors
 * never appear in the middle of it. */
#include "cli/out.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

enum { SLOW_MS = 3000 };

static struct cli_progress *on_screen;

uint64_t cli_now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void wipe(void)
{
	if (on_screen && on_screen->shown)
		fputs("\r\033[K", stderr);
	if (on_screen)
		on_screen->shown = false;
}

static void say(const char *fmt, va_list ap)
{
	fflush(stdout); /* keep the order of stdout and stderr */
	wipe();
	char line[2048];
	vsnprintf(line, sizeof line, fmt, ap);
	_cleanup_free_ char *shown = hull_printable(line, strlen(line));
	fprintf(stderr, "hull: %s\n", shown ? shown : "");
	fflush(stderr);
}

void cli_error(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void cli_note(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

bool cli_colour(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
	return (!no || !*no) && term && strcmp(term, "dumb") != 0 && isatty(fd);
}

static const char *const tones[] = {[CLI_PLAIN] = "",
				    [CLI_GOOD] = "\033[32m",
				    [CLI_WARN] = "\033[33m",
				    [CLI_BAD] = "\033[31m",
				    [CLI_DIM] = "\033[2m"};

void cli_tone(enum cli_tone tone, const char *text)
{
	bool colour = tone != CLI_PLAIN && cli_colour(STDOUT_FILENO);
	printf("%s%s%s", colour ? tones[tone] : "", text, colour ? "\033[0m" : "");
}

void cli_cell(struct cli_table *t, enum cli_tone tone, const char *text)
{
	if (!(t->count & (t->count - 1)) || !t->cells) { /* grows at powers of two */
		void *more = realloc(t->cells, (t->count ? t->count * 2 : 1) * sizeof *t->cells);
		if (!more)
			return;
		t->cells = more;
	}
	t->cells[t->count++] = (struct cli_cell){.text = hull_printable(text, strlen(text)), .tone = tone};
}

void cli_cellf(struct cli_table *t, enum cli_tone tone, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	cli_cell(t, tone, text);
}

/* Display width of a text: its number of UTF-8 characters. */
static size_t width(const char *s)
{
	size_t n = 0;
	for (; s && *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

void cli_table_print(const struct cli_table *t)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct cli_cell *c = &t->cells[i];
		size_t column = i % t->columns, widest = 0;
		cli_tone(i < t->columns ? CLI_PLAIN : c->tone, c->text ? c->text : "");
		if (column == t->columns - 1) {
			putchar('\n');
			continue;
		}
		for (size_t j = column; j < t->count; j += t->columns)
			if (width(t->cells[j].text) > widest)
				widest = width(t->cells[j].text);
		printf("%*s", (int)(widest - width(c->text) + 2), "");
	}
}

void cli_table_free(struct cli_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i].text);
	free(t->cells);
	*t = (struct cli_table){0};
}

static int add_escape(struct hull_buf *out, uint32_t unit)
{
	return hull_buf_addf(out, "\\u%04x", (unsigned)unit);
}

/* Outside of strings JSON is ASCII, so whatever is not is in one, and may be written as \u and four digits. */
char *out_json_safe(const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	int r = 0;
	for (const uint8_t *p = (const uint8_t *)text; *p && r >= 0;) {
		/* What jansson writes is UTF-8. */
		size_t n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
		uint32_t cp = n == 1 ? *p : *p & (0x7fU >> n);
		for (size_t i = 1; i < n && p[i]; i++)
			cp = cp << 6 | (p[i] & 0x3fU);
		n = strnlen((const char *)p, n);
		if (cp == '\n' || !hull_steers(cp))
			r = hull_buf_add(&out, p, n);
		else if (cp < 0x10000)
			r = add_escape(&out, cp);
		else if ((r = add_escape(&out, 0xd800 + ((cp - 0x10000) >> 10))) >= 0)
			r = add_escape(&out, 0xdc00 + ((cp - 0x10000) & 0x3ff));
		p += n;
	}
	return r < 0 ? NULL : strndup((const char *)hull_buf_bytes(&out), out.len);
}

void cli_json(const json_t *value)
{
	_cleanup_free_ char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
	_cleanup_free_ char *safe = text ? out_json_safe(text) : NULL;
	puts(safe ? safe : "null");
}

void cli_progress_begin(struct cli_progress *p, bool quiet, bool lines, const char *what)
{
	const char *term = getenv("TERM");
	*p = (struct cli_progress){.quiet = quiet, .lines = lines, .begin_ms = cli_now_ms()};
	p->tty = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
	snprintf(p->what, sizeof p->what, "%s", what);
	on_screen = p;
}

static void plain_line(struct cli_progress *p)
{
	if (!p->stage[0] || p->told)
		return;
	fprintf(stderr, "hull: %s: %s\n", p->what, p->stage);
	p->told = true;
}

void cli_progress_stage(struct cli_progress *p, const char *stage)
{
	_cleanup_free_ char *shown = hull_printable(stage, strlen(stage));
	if (p->quiet || !shown || !strcmp(shown, p->stage))
		return;
	snprintf(p->stage, sizeof p->stage, "%s", shown);
	p->told = false;
	if (!p->tty && (p->lines || cli_now_ms() - p->begin_ms >= SLOW_MS))
		plain_line(p);
	else
		cli_progress_tick(p);
}

int cli_progress_tick(struct cli_progress *p)
{
	if (p->quiet || !p->stage[0])
		return -1;
	uint64_t elapsed = cli_now_ms() - p->begin_ms;
	if (!p->tty) {
		if (!p->lines && elapsed < SLOW_MS)
			return (int)(SLOW_MS - elapsed);
		plain_line(p);
		return -1;
	}
	/* A wait that ends quickly gets no line. */
	if (elapsed < 300)
		return (int)(300 - elapsed);
	struct winsize ws = {0};
	int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 10 ? ws.ws_col : 80;
	char line[320];
	snprintf(line, sizeof line, "%s: %s", p->what, p->stage);
	fprintf(stderr, "\r%.*s \033[2m%llus\033[0m\033[K", columns - 8, line, (unsigned long long)(elapsed / 1000));
	fflush(stderr);
	p->shown = true;
	on_screen = p;
	return (int)(1000 - elapsed % 1000);
}

void cli_progress_end(struct cli_progress *p)
{
	if (on_screen == p) {
		wipe();
		fflush(stderr);
		on_screen = NULL;
	}
	p->quiet = true;
}

struct cli_progress *cli_progress_current(void)
{
	return on_screen;
}

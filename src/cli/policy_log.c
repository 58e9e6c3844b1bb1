/* SPDX-License-Identifier: Apache-2.0 */
/* hull policy log: the requests of sandboxes and the decisions on them, from their egress.log files.
 *
 * Without -f the lines of all selected sandboxes are sorted by time. With -f new lines are printed as inotify reports
 * them; after a rotation the new file is opened. */
#include "cli/policy.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/sandbox/life.h"
#include "cli/out.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

static bool as_json, follow;
static const char *tail_text;

static const struct cli_opt options[] = {
	{'f', "follow", NULL, "go on with new lines as they come", .flag = &follow},
	{'n', "tail", "N", "only the last N lines", .text = &tail_text},
	{0, "json", NULL, "as JSON, a line each", .flag = &as_json},
	{0},
};

struct source {
	char *path;
	int fd;
	struct hull_buf rest; /* of a line not complete yet */
};

struct lines {
	char **v;
	size_t n;
};

static json_int_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static const char *word(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s ? s : "";
}

static void print_line(const char *line)
{
	if (as_json) {
		puts(line);
		return;
	}
	json_t *j = json_loads(line, 0, NULL);
	if (!j)
		return;
	if (json_object_get(j, "lost")) {
		printf("(%lld lines were lost: too many at once)\n", (long long)number(j, "lost"));
		json_decref(j);
		return;
	}
	char sent[16], received[16];
	const char *verdict = word(j, "verdict"), *name = word(j, "name"), *addr = word(j, "address");
	_cleanup_free_ char *text = hull_fmt(
		" %s%s%s:%lld/%s%s%s%s%s%s%s%s  [%s]%s%s  %s up, %s down, %lld ms", word(j, "method"),
		*word(j, "method") ? " " : "", *name ? name : addr, (long long)number(j, "port"), word(j, "proto"),
		*name && *addr ? " (" : "", *name ? addr : "", *name && *addr ? ")" : "", *word(j, "path") ? " " : "",
		word(j, "path"), *word(j, "proxy") ? " via " : "", word(j, "proxy"), word(j, "rule"),
		*word(j, "why") ? " " : "", word(j, "why"),
		hull_format_size((uint64_t)number(j, "sent"), sent, sizeof(sent)),
		hull_format_size((uint64_t)number(j, "received"), received, sizeof(received)),
		(long long)number(j, "ms"));
	_cleanup_free_ char *shown = text ? hull_printable(text, strlen(text)) : NULL;
	printf("%.23s %s ", word(j, "time"), word(j, "sandbox"));
	cli_tone(!strcmp(verdict, "allow") ? CLI_GOOD : !strcmp(verdict, "error") ? CLI_WARN : CLI_BAD, verdict);
	printf("%s\n", shown ? shown : "");
	json_decref(j);
}

static int add_line(struct lines *l, const char *s, size_t n)
{
	if (l->n % 256 == 0) {
		char **more = realloc(l->v, (l->n + 256) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		l->v = more;
	}
	char *copy = strndup(s, n);
	if (!copy)
		return -ENOMEM;
	l->v[l->n++] = copy;
	return 0;
}

/* Print the complete lines that are available. */
static int read_lines(struct source *s, struct lines *out)
{
	for (;;) {
		uint8_t *room = hull_buf_room(&s->rest, 64 * 1024);
		ssize_t n = room ? read(s->fd, room, 64 * 1024) : -1;
		if (n <= 0)
			return n < 0 && room ? -errno : room ? 0 : -ENOMEM;
		hull_buf_added(&s->rest, (size_t)n);
		const uint8_t *nl;
		while (s->rest.len && (nl = memchr(hull_buf_bytes(&s->rest), '\n', s->rest.len))) {
			const char *b = (const char *)hull_buf_bytes(&s->rest);
			size_t len = (size_t)((const char *)nl - b);
			if (add_line(out, b, len) < 0)
				return -ENOMEM;
			hull_buf_drain(&s->rest, len + 1);
		}
	}
}

/* The "time" of a line: all have one format, so they are compared as text. */
static int by_time(const void *a, const void *b)
{
	const char *x = strstr(*(char *const *)a, "\"time\":\""), *y = strstr(*(char *const *)b, "\"time\":\"");
	return strncmp(x ? x : "", y ? y : "", 32);
}

static void flush_lines(struct lines *l, size_t most)
{
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_time);
	for (size_t i = 0; i < l->n; i++) {
		if (i + most >= l->n)
			print_line(l->v[i]);
		free(l->v[i]);
	}
	l->n = 0;
	fflush(stdout);
}

static int open_source(struct source *s, struct lines *out)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = !s->path ? -1 : open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return s->fd < 0 ? 0 : read_lines(s, out);
}

static int read_new(struct source *s, struct lines *out)
{
	struct stat here, there;
	int r = s->fd >= 0 ? read_lines(s, out) : 0;
	if (r == 0 && s->path && stat(s->path, &there) == 0 &&
	    (s->fd < 0 || fstat(s->fd, &here) < 0 || here.st_ino != there.st_ino))
		r = open_source(s, out);
	return r;
}

static int go_on(struct cli *cli, char *const *names, struct source *s, size_t n, struct hull_error *err)
{
	struct lines l = {0};
	_cleanup_close_ int in = inotify_init1(IN_CLOEXEC);
	if (in < 0)
		return hull_fail_errno(err, "cannot watch files");
	for (size_t i = 0; names && i < n; i++) {
		_cleanup_free_ char *dir = hull_sandbox_path(cli->paths, names[i], NULL);
		if (dir)
			inotify_add_watch(in, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
	}
	for (;;) {
		for (size_t i = 0; i < n; i++)
			read_new(&s[i], &l);
		flush_lines(&l, SIZE_MAX / 2);
		if (ferror(stdout))
			return 0;
		char events[4096] __attribute__((aligned(8)));
		if (read(in, events, sizeof(events)) < 0 && errno != EINTR)
			return hull_fail_errno(err, "cannot watch files");
	}
}

static void free_strv(char ***v)
{
	hull_strv_free(*v);
}

static int run(struct cli *cli, struct hull_error *err)
{
	_cleanup_(free_strv) char **names = NULL;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	uint64_t most = SIZE_MAX / 2;
	int r = cli_open(cli, cli->quiet, err);
	if (r == 0 && tail_text && hull_parse_u64(tail_text, 1 << 30, &most) < 0)
		r = hull_fail(err, -EINVAL, "--tail takes a number");
	if (r == 0 && cli->word_count) {
		r = life_load(cli->hull, cli->words[0], &sb, err);
		if (r == 0 && (!(names = hull_strv_copy(NULL)) || hull_strv_add(&names, cli->words[0]) < 0))
			r = hull_fail(err, -ENOMEM, "out of memory");
	} else if (r == 0) {
		r = hull_sandbox_list(cli->paths, &names, err);
	}
	if (r < 0)
		return r;
	size_t n = hull_strv_count(names);
	struct source *s = calloc(n + 1, sizeof(*s));
	struct lines l = {0};
	for (size_t i = 0; s && r == 0 && i < n; i++) {
		s[i].fd = -1;
		/* The rotated file first, then the current one. */
		s[i].path = hull_sandbox_path(cli->paths, names[i], "egress.log.1");
		if (s[i].path)
			r = open_source(&s[i], &l);
		free(s[i].path);
		s[i].path = hull_sandbox_path(cli->paths, names[i], "egress.log");
		if (r == 0 && s[i].path)
			r = open_source(&s[i], &l);
	}
	if (!s || r < 0)
		return hull_fail(err, r < 0 ? r : -ENOMEM, "cannot read the log: %s", strerror(r < 0 ? -r : ENOMEM));
	flush_lines(&l, (size_t)most);
	r = follow ? go_on(cli, names, s, n, err) : 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i].fd >= 0)
			close(s[i].fd);
		free(s[i].path);
		hull_buf_free(&s[i].rest);
	}
	free(s);
	free(l.v);
	return r;
}

const struct cli_verb verb_policy_log = {
	.name = "log",
	.usage = "[NAME]",
	.summary = "what sandboxes asked for: time, name, address, request, rule, bytes, duration",
	.aka = "logs audit",
	.options = options,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = run,
};

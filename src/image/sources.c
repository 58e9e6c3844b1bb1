/* SPDX-License-Identifier: Apache-2.0 */
/* See sources.h.
 *
 * An entry is Debian's when it is an enabled `deb` over http(s), has the component main, its suite is a Debian release
 * or one of that release's own side suites, and it is not signed by a key other than Debian's. Its security archive is
 * the one whose suites end in -security. URIs of the form mirror+file:/PATH (Debian's cloud images) stand for the
 * first address in that file. */
#include "image/sources.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCES_FILE_MAX = 1024 * 1024, FILES_MAX = 256 };

void hull_mirrors_free(struct hull_mirrors *m)
{
	free(m->archive);
	free(m->security);
	free(m->from);
	*m = (struct hull_mirrors){0};
}

struct entry {
	char *types, *uris, *suites, *components, *signed_by, *enabled;
};

static void entry_free(struct entry *e)
{
	free(e->types);
	free(e->uris);
	free(e->suites);
	free(e->components);
	free(e->signed_by);
	free(e->enabled);
	*e = (struct entry){0};
}

/* The next word of *list, which is cut up on the way. */
static char *next_word(char **list)
{
	return *list ? strtok_r(NULL, " \t\r\n", list) : NULL;
}

static bool has_word(const char *list, const char *word)
{
	_cleanup_free_ char *copy = list ? strdup(list) : NULL;
	char *rest = copy;
	for (char *w; (w = next_word(&rest));)
		if (strcmp(w, word) == 0)
			return true;
	return false;
}

enum suite { SUITE_OTHER, SUITE_ARCHIVE, SUITE_SECURITY };

static enum suite suite_kind(const char *suite)
{
	static const char *const releases[] = {
		"buster",       "bullseye",  "bookworm", "trixie",  "forky",    "duke", "sid",
		"oldoldstable", "oldstable", "stable",   "testing", "unstable", NULL,
	};
	static const char *const side[] = {"",  "-updates", "-backports", "-proposed-updates", "-backports-sloppy",
					   NULL};
	for (size_t i = 0; releases[i]; i++) {
		if (!hull_starts(suite, releases[i]))
			continue;
		const char *rest = suite + strlen(releases[i]);
		if (strcmp(rest, "-security") == 0 || strcmp(rest, "/updates") == 0)
			return SUITE_SECURITY;
		for (size_t j = 0; side[j]; j++)
			if (strcmp(rest, side[j]) == 0)
				return SUITE_ARCHIVE;
	}
	return SUITE_OTHER;
}

static bool is_http(const char *uri)
{
	return hull_starts(uri, "http://") || hull_starts(uri, "https://");
}

/* An address that may stand in apt's one-line format: nothing that would end the word or start an option. */
static bool is_plain_uri(const char *uri)
{
	if (!is_http(uri) || strlen(uri) > 512)
		return false;
	for (const char *p = uri; *p; p++)
		if (!isgraph((unsigned char)*p) || strchr("[]\"'#\\", *p))
			return false;
	return true;
}

static char *without_slash(const char *uri)
{
	size_t n = strlen(uri);
	while (n > 0 && uri[n - 1] == '/')
		n--;
	return strndup(uri, n);
}

/* The first usable address of a list; owned. */
static char *pick_uri(const char *uris)
{
	_cleanup_free_ char *copy = strdup(uris);
	char *rest = copy;
	for (char *w; (w = next_word(&rest));) {
		if (is_plain_uri(w))
			return without_slash(w);
		if (!hull_starts(w, "mirror+file:"))
			continue;
		const char *path = w + strlen("mirror+file:");
		while (hull_starts(path, "//"))
			path++;
		_cleanup_(hull_buf_free) struct hull_buf text = {0};
		if (hull_read_file(AT_FDCWD, path, SOURCES_FILE_MAX, &text, NULL) < 0)
			continue;
		char *lines = (char *)hull_buf_bytes(&text);
		for (char *line; (line = next_word(&lines));)
			if (is_plain_uri(line))
				return without_slash(line);
	}
	return NULL;
}

static int consider(const struct entry *e, const char *name, struct hull_mirrors *m)
{
	if (!e->types || !e->uris || !e->suites || !has_word(e->types, "deb") || !has_word(e->components, "main"))
		return 0;
	if (e->enabled && (strcasecmp(e->enabled, "no") == 0 || strcasecmp(e->enabled, "false") == 0))
		return 0;
	if (e->signed_by && e->signed_by[0] && !strstr(e->signed_by, "debian-archive"))
		return 0;
	enum suite kind = SUITE_OTHER;
	_cleanup_free_ char *copy = strdup(e->suites);
	if (!copy)
		return -ENOMEM;
	char *rest = copy;
	for (char *w; kind == SUITE_OTHER && (w = next_word(&rest));)
		kind = suite_kind(w);
	char **to = kind == SUITE_ARCHIVE ? &m->archive : kind == SUITE_SECURITY ? &m->security : NULL;
	if (!to || *to)
		return 0;
	*to = pick_uri(e->uris);
	if (*to && !m->from && !(m->from = strdup(name)))
		return -ENOMEM;
	return 0;
}

/* "deb [options] uri suite component..." */
static int parse_line(char *line, const char *name, struct hull_mirrors *m)
{
	line[strcspn(line, "#")] = '\0';
	struct entry e = {0};
	char *rest = line;
	const char *type = next_word(&rest);
	if (!type)
		return 0;
	while (rest && isspace((unsigned char)*rest))
		rest++;
	if (rest && *rest == '[') {
		char *close = strchr(rest, ']');
		if (!close)
			return 0;
		*close = '\0';
		const char *key = strstr(rest, "signed-by=");
		if (key) {
			key += strlen("signed-by=");
			e.signed_by = strndup(key, strcspn(key, " \t"));
		}
		rest = close + 1;
	}
	const char *uri = next_word(&rest);
	const char *suite = next_word(&rest);
	int r = 0;
	if (uri && suite && rest) {
		e.types = strdup(type);
		e.uris = strdup(uri);
		e.suites = strdup(suite);
		e.components = strdup(rest);
		r = consider(&e, name, m);
	}
	entry_free(&e);
	return r;
}

static char **field_of(struct entry *e, const char *key, size_t n)
{
	const struct {
		const char *name;
		char **field;
	} fields[] = {{"types", &e->types},           {"uris", &e->uris},           {"suites", &e->suites},
		      {"components", &e->components}, {"signed-by", &e->signed_by}, {"enabled", &e->enabled}};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strlen(fields[i].name) == n && strncasecmp(fields[i].name, key, n) == 0)
			return fields[i].field;
	return NULL;
}

/* Stanzas of "Key: value" with continuation lines, apart by empty lines. */
static int parse_deb822(char *text, const char *name, struct hull_mirrors *m)
{
	struct entry e = {0};
	char **field = NULL;
	int r = 0;
	for (char *line = text; line && r == 0;) {
		char *next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		size_t blank = strspn(line, " \t\r");
		char *colon = strchr(line, ':');
		if (line[0] == '#') {
			/* a comment, also in the middle of a field */
		} else if (line[blank] == '\0') {
			r = consider(&e, name, m);
			entry_free(&e);
			field = NULL;
		} else if (blank > 0) {
			if (field && *field) {
				char *longer = hull_fmt("%s %s", *field, line + blank);
				free(*field);
				*field = longer;
			}
		} else if (colon) {
			field = field_of(&e, line, (size_t)(colon - line));
			if (field) {
				colon++;
				colon += strspn(colon, " \t");
				colon[strcspn(colon, "\r")] = '\0';
				free(*field);
				*field = strdup(colon);
			}
		}
		line = next;
	}
	if (r == 0)
		r = consider(&e, name, m);
	entry_free(&e);
	return r;
}

int hull_sources_parse(const char *text, int deb822, const char *name, struct hull_mirrors *m)
{
	_cleanup_free_ char *copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	if (deb822)
		return parse_deb822(copy, name, m);
	int r = 0;
	for (char *line = copy; line && r == 0;) {
		char *next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		r = parse_line(line, name, m);
		line = next;
	}
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool ends(const char *s, const char *tail)
{
	size_t n = strlen(s);
	size_t t = strlen(tail);
	return n >= t && strcmp(s + n - t, tail) == 0;
}

static int read_one(const char *path, struct hull_mirrors *m)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	if (hull_read_file(AT_FDCWD, path, SOURCES_FILE_MAX, &text, NULL) < 0)
		return 0; /* a file that cannot be read names no mirror */
	return hull_sources_parse((const char *)hull_buf_bytes(&text), ends(path, ".sources"), path, m);
}

/* sources.list, then sources.list.d in the order of names, as apt reads them. */
static int read_all(const char *etc_apt, struct hull_mirrors *m)
{
	_cleanup_free_ char *list = hull_fmt("%s/sources.list", etc_apt);
	_cleanup_free_ char *parts = hull_fmt("%s/sources.list.d", etc_apt);
	if (!list || !parts)
		return -ENOMEM;
	int r = read_one(list, m);
	_cleanup_closedir_ DIR *dir = opendir(parts);
	char *names[FILES_MAX];
	size_t count = 0;
	for (struct dirent *d; r == 0 && dir && count < FILES_MAX && (d = readdir(dir));) {
		if (d->d_name[0] == '.' || !(ends(d->d_name, ".list") || ends(d->d_name, ".sources")))
			continue;
		names[count] = hull_fmt("%s/%s", parts, d->d_name);
		if (names[count])
			count++;
		else
			r = -ENOMEM;
	}
	qsort(names, count, sizeof(names[0]), by_name);
	for (size_t i = 0; i < count; i++) {
		if (r == 0)
			r = read_one(names[i], m);
		free(names[i]);
	}
	return r;
}

int hull_sources_find(const char *asked, const char *etc_apt, struct hull_mirrors *out, struct hull_error *err)
{
	*out = (struct hull_mirrors){0};
	const char *env = getenv("HULL_MIRROR");
	const char *given = asked ? asked : env && *env ? env : NULL;
	int r = 0;
	if (given) {
		const char *security = getenv("HULL_MIRROR_SECURITY");
		const char *from = asked ? "--mirror" : "HULL_MIRROR";
		if (!is_plain_uri(given))
			return hull_fail(err, -EINVAL,
					 "%s: \"%.100s\" is not the http or https address of a Debian mirror", from,
					 given);
		if (security && *security && !is_plain_uri(security))
			return hull_fail(err, -EINVAL,
					 "HULL_MIRROR_SECURITY: \"%.100s\" is not an http or https address", security);
		out->archive = without_slash(given);
		out->security = security && *security ? without_slash(security) : NULL;
		out->from = strdup(from);
		if (!out->archive || !out->from)
			r = -ENOMEM;
	} else {
		r = read_all(etc_apt, out);
	}
	if (r == 0 && !out->archive)
		r = -ENOENT;
	if (r == 0)
		return 0;
	hull_mirrors_free(out);
	if (r == -ENOENT)
		return hull_fail(
			err, r,
			"no Debian mirror found in %s; name one: HULL_MIRROR=http://MIRROR/debian hull image build",
			etc_apt);
	return hull_fail(err, r, "out of memory");
}

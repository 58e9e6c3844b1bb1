/* SPDX-License-Identifier: Apache-2.0 */
/* -e K=V, -e K (this process's value; nothing when unset) and --env-file. Files first, then -e.
 *
 * A file has one K=V or K per line, as in docker, with quotes as in a shell or docker compose:
 *
 * - Blank lines and lines that begin with # are ignored, and so is `export ` before a name.
 * - A value without quotes extends to the end of the line, including # and blanks.
 * - 'literal'; "with \n \r \t \" \\ \$ and \`", any other backslash is literal. Only blanks and a # comment may follow.
 *   A quote ends on its line. Nothing is expanded: a $ is a $.
 *
 * A file in a directory that a sandbox has, or is about to get, may have been written by the guest or another third
 * party. It determines the sandbox's variables, but must not read this machine's: a symlink in there is not followed,
 * and a K without a value is refused (lib/files/reach.h). */
#include "cli/create.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"
#include "base/text.h"
#include "lib/files/reach.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENV_FILE_MAX = 1024 * 1024 };

static int add(const char *pair, bool theirs, char ***out, const char *where, struct hull_error *err)
{
	size_t key = strcspn(pair, "=");
	_cleanup_free_ char *shown = hull_printable(pair, key < 60 ? key : 60);
	if (!key)
		return hull_fail(err, -EINVAL, "%s: a variable without a name: it takes K=V or K", where);
	if (memchr(pair, ' ', key) || memchr(pair, '\t', key))
		return hull_fail(err, -EINVAL, "%s: variable \"%s\" has a space in its name", where,
				 shown ? shown : "");
	_cleanup_free_ char *full = NULL;
	if (!pair[key]) {
		const char *value = getenv(pair);
		if (!value)
			return 0;
		if (theirs)
			return hull_fail(err, -EPERM,
					 "%s: %s would get its value from this machine, in a file that a sandbox can "
					 "have written: give it as -e %s, or with a value",
					 where, shown ? shown : "", shown ? shown : "");
		full = hull_fmt("%s=%s", pair, value);
		pair = full;
	}
	if (!pair || hull_strv_add(out, pair) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* Unquotes the quoted value at `p` in place. */
static int unquote(char *p, const char *where, struct hull_error *err)
{
	char quote = *p, *to = p, *from = p + 1;
	for (; *from && *from != quote; from++) {
		static const char escapes[] = "nrt\"\\$`", values[] = "\n\r\t\"\\$`";
		const char *e = quote == '"' && *from == '\\' && from[1] ? strchr(escapes, from[1]) : NULL;
		*to++ = e ? values[e - escapes] : *from;
		from += e != NULL;
	}
	if (!*from)
		return hull_fail(err, -EINVAL, "%s: the quote %c is not closed on its line", where, quote);
	from++;
	const char *rest = from + strspn(from, " \t");
	if (*rest && (*rest != '#' || rest == from))
		return hull_fail(err, -EINVAL, "%s: there is something behind the closing quote %c", where, quote);
	*to = '\0';
	return 0;
}

static int add_line(char *line, bool theirs, char ***out, const char *where, struct hull_error *err)
{
	if (hull_starts(line, "export ") || hull_starts(line, "export\t"))
		line += 7 + strspn(line + 7, " \t");
	char *value = line + strcspn(line, "=");
	if (!*value) {
		for (size_t n = strlen(line); n && (line[n - 1] == ' ' || line[n - 1] == '\t'); n--)
			line[n - 1] = '\0';
	} else if (value[1] == '"' || value[1] == '\'') {
		int r = unquote(value + 1, where, err);
		if (r < 0)
			return r;
	}
	return add(line, theirs, out, where, err);
}

static int read_env(const struct hull_paths *p, char *const *given, const char *path, struct hull_buf *text,
		    bool *theirs, struct hull_error *err)
{
	_cleanup_(reach_free) struct reach at = {0};
	_cleanup_close_ int fd = -1;
	char opened[32];
	struct stat st;
	*theirs = false;
	/* A pipe of the shell's, say. */
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return hull_read_file(AT_FDCWD, path, ENV_FILE_MAX, text, err);
	int r = reach_given(p, given, path, &at, err);
	if (r < 0)
		return r;
	*theirs = at.shared;
	fd = hull_path_open(AT_FDCWD, at.path, O_RDONLY | O_NONBLOCK, false);
	if (fd < 0)
		return hull_fail_errno(err, "cannot open %s", path);
	snprintf(opened, sizeof opened, "/proc/self/fd/%d", fd);
	r = hull_read_file(AT_FDCWD, opened, ENV_FILE_MAX, text, err);
	return r == -EFBIG ? hull_fail(err, r, "%s is larger than the %d bytes allowed", path, ENV_FILE_MAX) : r;
}

static int add_file(const struct hull_paths *paths, char *const *given, const char *path, char ***out,
		    struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	bool theirs;
	int r = read_env(paths, given, path, &text, &theirs, err);
	if (r < 0)
		return hull_wrap(err, "--env-file");
	const char *p = (const char *)hull_buf_bytes(&text), *end = p + text.len;
	if (text.len && memchr(p, 0, text.len))
		return hull_fail(err, -EINVAL, "--env-file %s: has a NUL byte: is it a text file?", path);
	if (text.len >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	for (unsigned line = 1; p < end; line++) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((nl ? nl : end) - p);
		const char *next = p + n + (nl != NULL);
		if (n && p[n - 1] == '\r')
			n--;
		while (n && (*p == ' ' || *p == '\t'))
			p++, n--;
		if (n && *p != '#') {
			_cleanup_free_ char *pair = strndup(p, n);
			char where[64];
			snprintf(where, sizeof where, "--env-file line %u", line);
			r = pair ? add_line(pair, theirs, out, where, err) : hull_fail(err, -ENOMEM, "out of memory");
			if (r < 0)
				return r;
		}
		p = next;
	}
	return 0;
}

int create_env(const struct hull_paths *p, char *const *given, char *const *files, char *const *pairs, char ***out,
	       struct hull_error *err)
{
	if (!*out)
		*out = calloc(1, sizeof **out);
	int r = *out ? 0 : hull_fail(err, -ENOMEM, "out of memory");
	for (; r >= 0 && files && *files; files++)
		r = add_file(p, given, *files, out, err);
	for (; r >= 0 && pairs && *pairs; pairs++)
		r = add(*pairs, false, out, "-e", err);
	return r;
}

/* Lines about a repository in a sandbox, taken only in the form expected; see remote.h. */
#include "remote/remote.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <string.h>

enum { NAME_MAX_ = 4096, IDS_SHA1 = 40, IDS_SHA256 = 64 };

bool remote_id_ok(const char *id, size_t n)
{
	return (n == IDS_SHA1 || n == IDS_SHA256) && strspn(id, "0123456789abcdef") >= n;
}

/* git checks the rest (git-check-ref-format(1)); these are what could be more than a name here. */
bool remote_ref_ok(const char *name, size_t n)
{
	static const char head[] = "HEAD", refs[] = "refs/";
	if (n == sizeof(head) - 1 && memcmp(name, head, n) == 0)
		return true;
	if (n < sizeof(refs) || n > NAME_MAX_ || memcmp(name, refs, sizeof(refs) - 1) != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)name[i];
		if (c <= ' ' || c == 127 || strchr("~^:?*[\\", c))
			return false;
	}
	return true;
}

/* The next line at *p, without its end. */
static bool next_line(const char **p, const char *end, const char **line, size_t *n)
{
	if (*p >= end)
		return false;
	const char *stop = memchr(*p, '\n', (size_t)(end - *p));
	*line = *p;
	*n = (size_t)((stop ? stop : end) - *p);
	*p = stop ? stop + 1 : end;
	return true;
}

int remote_list(const char *text, size_t n, struct hull_buf *out)
{
	static const char symref[] = "ref: ";
	const char *end = n ? text + n : text, *line;
	size_t len;
	bool first = true, head_told = false;
	int r = 0;
	while (r == 0 && n && next_line(&text, end, &line, &len)) {
		const char *tab = memchr(line, '\t', len);
		if (!tab)
			continue;
		const char *name = tab + 1;
		size_t left = (size_t)(tab - line), right = len - left - 1;
		if (!remote_ref_ok(name, right))
			continue;
		if (left > sizeof(symref) && memcmp(line, symref, sizeof(symref) - 1) == 0) {
			line += sizeof(symref) - 1;
			left -= sizeof(symref) - 1;
			/* HEAD's own line behind it says the same once more. */
			if (right == strlen("HEAD") && !head_told && (head_told = remote_ref_ok(line, left)))
				r = hull_buf_addf(out, "@%.*s %.*s\n", (int)left, line, (int)right, name);
		} else if (remote_id_ok(line, left) && !(head_told && right == strlen("HEAD"))) {
			if (first && left == IDS_SHA256)
				r = hull_buf_addstr(out, ":object-format sha256\n");
			first = false;
			if (r == 0)
				r = hull_buf_addf(out, "%.*s %.*s\n", (int)left, line, (int)right, name);
		}
	}
	return r;
}

static const char *wanted(char *const *refs, const char *name, size_t n)
{
	for (; *refs; refs++)
		if (strlen(*refs) == n && memcmp(*refs, name, n) == 0)
			return *refs;
	return NULL;
}

int remote_status(const char *text, size_t n, char *const *refs, struct hull_buf *out)
{
	const char *end = n ? text + n : text, *line;
	size_t len;
	int r = 0;
	while (r == 0 && n && next_line(&text, end, &line, &len)) {
		bool ok = len > 3 && memcmp(line, "ok ", 3) == 0;
		bool bad = len > 6 && memcmp(line, "error ", 6) == 0;
		if (!ok && !bad)
			continue;
		const char *name = line + (ok ? 3 : 6);
		const char *space = memchr(name, ' ', len - (size_t)(name - line));
		size_t name_len = space ? (size_t)(space - name) : len - (size_t)(name - line);
		const char *ref = wanted(refs, name, name_len);
		if (!ref)
			continue;
		_cleanup_free_ char *why = space ? hull_printable(space + 1, len - (size_t)(space + 1 - line)) : NULL;
		if (ok)
			r = hull_buf_addf(out, "ok %s\n", ref);
		else
			r = hull_buf_addf(out, "error %s %.500s\n", ref, why ? why : "refused");
	}
	return r;
}

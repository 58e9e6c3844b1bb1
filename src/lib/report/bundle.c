/* SPDX-License-Identifier: Apache-2.0 */
/* See bundle.h. Every member is built in memory and redacted before it goes into the archive. */
#include "lib/report/bundle.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/report/redact.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { LOG_TAIL = 256 * 1024 };

struct bundle {
	struct archive *archive;
	struct hull_redact redact;
	struct hull_buf readme;
	struct hull_error *err;
};

static const char intro[] =
	"This is what `hull doctor --bundle` collected for a bug report. Sandboxes are numbered; their names, the "
	"paths of\n"
	"the person's files, user and host name and e-mail addresses were replaced by words in <>. Output of commands "
	"and\n"
	"containers, connections, policies, environments and disks are not in it. Read it before you send it.\n\n";

static int add(struct bundle *b, const char *name, const struct hull_buf *content)
{
	struct archive_entry *e = archive_entry_new();
	if (!e)
		return hull_fail(b->err, -ENOMEM, "out of memory");
	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0600);
	archive_entry_set_size(e, (la_int64_t)content->len);
	archive_entry_set_mtime(e, time(NULL), 0);
	int r = archive_write_header(b->archive, e);
	archive_entry_free(e);
	if (r == ARCHIVE_OK && content->len &&
	    archive_write_data(b->archive, hull_buf_bytes(content), content->len) != (la_ssize_t)content->len)
		r = ARCHIVE_FATAL;
	return r == ARCHIVE_OK ? 0 : hull_fail(b->err, -EIO, "writing %s: %s", name, archive_error_string(b->archive));
}

static int add_redacted(struct bundle *b, const char *name, const char *text, size_t n)
{
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	if (hull_redact_text(&b->redact, text, n, &out) < 0)
		return hull_fail(b->err, -ENOMEM, "out of memory");
	return add(b, name, &out);
}

__attribute__((format(printf, 2, 3))) static void line(struct hull_buf *to, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0)
		hull_buf_add(to, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

static int learn(struct bundle *b, const char *text, const char *shown, enum hull_redact_kind kind)
{
	return hull_redact_word(&b->redact, text, shown, kind) < 0 ? hull_fail(b->err, -ENOMEM, "out of memory") : 0;
}

/* --- the user's private words --- */

static int learn_person(struct bundle *b, const struct hull_paths *p)
{
	const struct passwd *pw = getpwuid(getuid());
	struct utsname u;
	int r = learn(b, p->home, "<hull home>", HULL_REDACT_PATH);
	if (r == 0)
		r = learn(b, p->runtime, "<runtime>", HULL_REDACT_PATH);
	if (r == 0)
		r = learn(b, p->config, "<config>", HULL_REDACT_PATH);
	if (r == 0 && pw && strcmp(pw->pw_dir, "/") != 0)
		r = learn(b, pw->pw_dir, "<home>", HULL_REDACT_PATH);
	if (r == 0 && pw && strcmp(pw->pw_name, "root") != 0)
		r = learn(b, pw->pw_name, "<user>", HULL_REDACT_NAME);
	if (r == 0 && uname(&u) == 0)
		r = learn(b, u.nodename, "<host>", HULL_REDACT_NAME);
	return r;
}

static int learn_sandbox(struct bundle *b, const char *name, const struct hull_sandbox *s, unsigned number)
{
	char shown[64];
	snprintf(shown, sizeof(shown), "<sandbox %u>", number);
	int r = learn(b, name, shown, HULL_REDACT_NAME);
	for (size_t i = 0; r == 0 && s && s->paths && s->paths[i]; i++) {
		_cleanup_free_ char *path = strndup(s->paths[i], strcspn(s->paths[i], ":"));
		snprintf(shown, sizeof(shown), "<path %zu of sandbox %u>", i + 1, number);
		r = path ? learn(b, path, shown, HULL_REDACT_PATH) : hull_fail(b->err, -ENOMEM, "out of memory");
	}
	snprintf(shown, sizeof(shown), "<repository of sandbox %u>", number);
	if (r == 0 && s && s->clone)
		r = learn(b, s->clone, shown, HULL_REDACT_PATH);
	if (r == 0 && s)
		r = learn(b, s->git_name, "<git name>", HULL_REDACT_NAME);
	if (r == 0 && s)
		r = learn(b, s->git_email, "<git mail>", HULL_REDACT_NAME);
	/* Environment values may be repeated in a message. */
	for (size_t i = 0; r == 0 && s && s->env && s->env[i]; i++) {
		const char *value = strchr(s->env[i], '=');
		if (value && strlen(value + 1) >= 6)
			r = learn(b, value + 1, "<value of the environment>", HULL_REDACT_SECRET);
	}
	return r;
}

/* --- the members --- */

static void first_line(struct hull_buf *to, const char *file, const char *key)
{
	char text[512];
	_cleanup_fclose_ FILE *f = fopen(file, "re");
	while (f && fgets(text, sizeof(text), f))
		if (!strncmp(text, key, strlen(key))) {
			line(to, "%s", text);
			return;
		}
}

static int add_system(struct bundle *b)
{
	_cleanup_(hull_buf_free) struct hull_buf t = {0};
	struct utsname u;
	line(&t, "hull " HULL_VERSION "\n");
	if (uname(&u) == 0)
		line(&t, "%s %s %s\n", u.sysname, u.release, u.machine);
	first_line(&t, "/etc/os-release", "PRETTY_NAME=");
	first_line(&t, "/proc/cpuinfo", "model name");
	first_line(&t, "/proc/meminfo", "MemTotal:");
	line(&t, "processors: %ld, user id %s root\n", sysconf(_SC_NPROCESSORS_ONLN), geteuid() ? "not" : "of");
	for (char **e = environ; *e; e++)
		if (!strncmp(*e, "HULL_", 5))
			line(&t, "%.*s is set\n", (int)strcspn(*e, "="), *e);
	return add_redacted(b, "system", (const char *)hull_buf_bytes(&t), t.len);
}

static int add_state(struct bundle *b, const struct hull_sandbox *s, unsigned number)
{
	_cleanup_(hull_buf_free) struct hull_buf t = {0};
	char name[64];
	line(&t, "state %s, engine %s, image %s\n", s->state, s->engine, s->image);
	line(&t, "cpus %u, memory %" PRIu64 ", disk %" PRIu64 ", swap %" PRIu64 "\n", s->cpus, s->memory, s->disk,
	     s->swap);
	line(&t, "created %" PRIu64 ", started %" PRIu64 "\n", s->created, s->started);
	line(&t, "%zu paths, %zu ports, %zu of the environment, %zu links, %zu certificate authorities\n",
	     hull_strv_count(s->paths), hull_strv_count(s->ports), hull_strv_count(s->env), hull_strv_count(s->links),
	     hull_strv_count(s->ca));
	line(&t, "%s%s%s%s%s%s%s\n", s->no_docker ? "no-docker " : "", s->no_network ? "no-network " : "",
	     s->remove ? "rm " : "", s->clone ? "clone " : "", s->restore ? "restore " : "", s->fresh ? "fresh " : "",
	     s->has_policy ? "own-policy" : "");
	if (s->last_error)
		line(&t, "last error: %s\n", s->last_error);
	snprintf(name, sizeof(name), "sandbox-%u/state", number);
	return add_redacted(b, name, (const char *)hull_buf_bytes(&t), t.len);
}

static int add_log(struct bundle *b, const char *path, const char *member)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return 0;
	off_t from = st.st_size > LOG_TAIL ? st.st_size - LOG_TAIL : 0;
	_cleanup_free_ char *text = malloc(LOG_TAIL);
	if (!text)
		return hull_fail(b->err, -ENOMEM, "out of memory");
	ssize_t n = pread(fd, text, LOG_TAIL, from);
	if (n < 0)
		return hull_fail_errno(b->err, "reading %s", path);
	/* Skip a partial first line: it may begin within a word that must be replaced. */
	const char *begin = from ? memchr(text, '\n', (size_t)n) : text;
	return begin ? add_redacted(b, member, begin, (size_t)(text + n - begin)) : 0;
}

static int add_logs(struct bundle *b, const struct hull_paths *p, const char *name, unsigned number)
{
	static const char *const logs[] = {"keeper.log", "guest.log", "engine.log", "serial.log"};
	int r = 0;
	for (size_t i = 0; r == 0 && i < sizeof(logs) / sizeof(*logs); i++) {
		char member[64];
		_cleanup_free_ char *path = hull_sandbox_path(p, name, logs[i]);
		snprintf(member, sizeof(member), "sandbox-%u/%s", number, logs[i]);
		r = path ? add_log(b, path, member) : hull_fail(b->err, -ENOMEM, "out of memory");
	}
	return r;
}

/* All private words, before any text is redacted: the log of one sandbox may name another. */
static int learn_all(struct bundle *b, const struct hull_paths *p, char *const *names)
{
	int r = learn_person(b, p);
	for (unsigned i = 0; r == 0 && names[i]; i++) {
		_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
		bool whole = hull_sandbox_load(p, names[i], &s, NULL) == 0;
		r = learn_sandbox(b, names[i], whole ? &s : NULL, i + 1);
	}
	return r;
}

static int add_sandbox(struct bundle *b, const struct hull_paths *p, const char *name, unsigned number)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	struct hull_error why = {0};
	int r = 0;
	if (hull_sandbox_load(p, name, &s, &why) == 0)
		r = add_state(b, &s, number);
	else
		line(&b->readme, "sandbox %u: its state cannot be read: %s\n", number, why.msg);
	return r == 0 ? add_logs(b, p, name, number) : r;
}

static int add_all(struct bundle *b, const struct hull_paths *p, const char *findings)
{
	char **names = NULL;
	int r = hull_sandbox_list(p, &names, b->err);
	if (r == 0)
		r = learn_all(b, p, names);
	if (r == 0)
		r = add_redacted(b, "doctor.json", findings, strlen(findings));
	if (r == 0)
		r = add_system(b);
	for (unsigned i = 0; r == 0 && names[i]; i++)
		r = add_sandbox(b, p, names[i], i + 1);
	hull_strv_free(names);
	return r == 0 ? add_redacted(b, "README", (const char *)hull_buf_bytes(&b->readme), b->readme.len) : r;
}

int hull_bundle_write(const struct hull_paths *p, const char *findings, int fd, struct hull_error *err)
{
	struct bundle b = {.archive = archive_write_new(), .err = err};
	if (!b.archive || hull_buf_add(&b.readme, intro, strlen(intro)) < 0) {
		archive_write_free(b.archive);
		return hull_fail(err, -ENOMEM, "out of memory");
	}
	int r = 0;
	if (archive_write_add_filter_gzip(b.archive) != ARCHIVE_OK ||
	    archive_write_set_format_pax_restricted(b.archive) != ARCHIVE_OK ||
	    archive_write_open_fd(b.archive, fd) != ARCHIVE_OK)
		r = hull_fail(err, -EIO, "beginning the archive: %s", archive_error_string(b.archive));
	if (r == 0)
		r = add_all(&b, p, findings);
	if (r == 0 && archive_write_close(b.archive) != ARCHIVE_OK)
		r = hull_fail(err, -EIO, "ending the archive: %s", archive_error_string(b.archive));
	archive_write_free(b.archive);
	hull_redact_free(&b.redact);
	hull_buf_free(&b.readme);
	return r;
}

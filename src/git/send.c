/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the stream of a clone; its format is in git.h. */
#include "git/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

enum { SHALLOW_MAX = 64 << 20 };

/* The value of a key, or of any question with one line for an answer: NULL when there is none. */
static char *line(const char *top, const char *a, const char *b, const char *c, const char *d)
{
	const char *const args[] = {a, b, c, d, NULL};
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	if (hull_git_run(top, args, -1, &out, -1, NULL) != 0 || out.len == 0)
		return NULL;
	const char *text = (const char *)hull_buf_bytes(&out);
	size_t n = strcspn(text, "\n");
	return strndup(text, n);
}

static int put(struct hull_buf *b, const char *key, const char *value)
{
	if (!value)
		return 0;
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < ' ')
			return 0; /* not to be said in a line */
	return hull_buf_addf(b, *value ? "%s %s\n" : "%s%s\n", key, value);
}

static int put_shallow(struct hull_buf *b, const char *top, struct hull_error *err)
{
	_cleanup_free_ char *is = line(top, "rev-parse", "--is-shallow-repository", NULL, NULL);
	if (!hull_streq(is, "true"))
		return 0;
	_cleanup_free_ char *path = line(top, "rev-parse", "--path-format=absolute", "--git-path", "shallow");
	_cleanup_(hull_buf_free) struct hull_buf file = {0};
	int r = path ? hull_read_regular(AT_FDCWD, path, SHALLOW_MAX, &file, err)
		     : hull_fail(err, -EIO, "git does not say where the history ends");
	/* The file may be a symlink to an unrelated one: nothing but ids is taken from it. */
	return r < 0 ? r : hull_git_shallow_ids((char *)hull_buf_bytes(&file), "shallow ", b);
}

/* The checked-out branch or commit of the clone. */
static int put_head(struct hull_buf *b, const char *top, bool *born)
{
	_cleanup_free_ char *head = line(top, "symbolic-ref", "-q", "HEAD", NULL);
	_cleanup_free_ char *id = line(top, "rev-parse", "--verify", "-q", "HEAD^{commit}");
	*born = id != NULL;
	int r = head ? put(b, "head", head) : put(b, "detached", id);
	if (r == 0 && id)
		r = put(b, "born", "");
	if (r < 0 || !head || !hull_starts(head, "refs/heads/"))
		return r;
	_cleanup_free_ char *remote_key = hull_fmt("branch.%s.remote", head + strlen("refs/heads/"));
	_cleanup_free_ char *merge_key = hull_fmt("branch.%s.merge", head + strlen("refs/heads/"));
	if (!remote_key || !merge_key)
		return -ENOMEM;
	_cleanup_free_ char *remote = line(top, "config", "--get", remote_key, NULL);
	_cleanup_free_ char *merge = line(top, "config", "--get", merge_key, NULL);
	return hull_streq(remote, "origin") ? put(b, "upstream", merge) : 0;
}

static int put_settings(struct hull_buf *b, const char *top)
{
	_cleanup_free_ char *format = line(top, "rev-parse", "--show-object-format", NULL, NULL);
	_cleanup_free_ char *url = line(top, "remote", "get-url", "origin", NULL);
	_cleanup_free_ char *plain = url ? hull_git_plain_url(url) : NULL;
	_cleanup_free_ char *origin_head = line(top, "symbolic-ref", "-q", "refs/remotes/origin/HEAD", NULL);
	_cleanup_free_ char *name = line(top, "config", "--get", "user.name", NULL);
	_cleanup_free_ char *email = line(top, "config", "--get", "user.email", NULL);
	int r = put(b, "format", format ? format : "sha1");
	if (r == 0)
		r = put(b, "origin", plain);
	if (r == 0)
		r = put(b, "origin-head", origin_head);
	if (r == 0)
		r = put(b, "name", name);
	return r == 0 ? put(b, "email", email) : r;
}

/* A bundle (gitformat-bundle(5)), as `git bundle create` would make it, which calls another git, and git may call
 * nothing: references and their ids, an empty line, and a pack of what they reach. */
static int send_bundle(const char *top, bool sha256, bool born, int fd, struct hull_error *err)
{
	static const char *const list[] = {"for-each-ref",        "--format=%(objectname) %(refname)",
					   "refs/heads",          "refs/tags",
					   "refs/remotes/origin", NULL};
	static const char *const pack[] = {"pack-objects", "--stdout", "--thin", "--delta-base-offset",
					   "--revs",       "-q",       NULL};
	_cleanup_(hull_buf_free) struct hull_buf refs = {0}, head = {0}, ids = {0};
	_cleanup_close_ int in = memfd_create("git-input", MFD_CLOEXEC);
	if (in < 0)
		return hull_fail_errno(err, "running git");
	int r = hull_git_run(top, list, -1, &refs, -1, err);
	if (r != 0)
		return r < 0 ? r : -EIO;
	r = hull_buf_addstr(&head, sha256 ? "# v3 git bundle\n@object-format=sha256\n" : "# v2 git bundle\n");
	if (r == 0 && refs.len)
		r = hull_buf_add(&head, hull_buf_bytes(&refs), refs.len);
	_cleanup_free_ char *id = born ? line(top, "rev-parse", "--verify", "-q", "HEAD^{commit}") : NULL;
	if (r == 0 && id)
		r = hull_buf_addf(&head, "%s HEAD\n", id);
	if (r == 0 && id)
		r = hull_buf_addf(&ids, "%s\n", id);
	const char *text = (const char *)hull_buf_bytes(&refs), *end = refs.len ? text + refs.len : text;
	while (r == 0 && text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text)),
			   *space = memchr(text, ' ', (size_t)(end - text));
		if (!stop || !space || space > stop)
			break;
		r = hull_buf_addf(&ids, "%.*s\n", (int)(space - text), text);
		text = stop + 1;
	}
	if (r == 0)
		r = hull_buf_addstr(&head, "\n");
	if (r == 0)
		r = hull_write_full(in, hull_buf_bytes(&ids), ids.len);
	if (r == 0 && lseek(in, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		r = hull_write_full(fd, hull_buf_bytes(&head), head.len);
	if (r < 0)
		return hull_fail(err, r, "sending the repository: %s", strerror(-r));
	r = hull_git_run(top, pack, in, NULL, fd, err);
	return r > 0 ? -EIO : r;
}

int hull_git_send(const char *top, int fd, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf head = {0}, nothing = {0};
	bool born = false;
	static const char *const is_one[] = {"rev-parse", "--git-dir", NULL};
	int r = hull_git_run(top, is_one, -1, &nothing, -1, err);
	if (r != 0)
		return r < 0 ? r : -EINVAL;
	r = put_settings(&head, top);
	if (r == 0)
		r = put_head(&head, top, &born);
	if (r == 0)
		r = put_shallow(&head, top, err);
	if (r < 0)
		return err && err->code ? err->code : hull_fail(err, r, "out of memory");
	_cleanup_free_ char *any = line(top, "for-each-ref", "--count=1", "refs/heads", "refs/tags");
	_cleanup_free_ char *theirs = any ? NULL : line(top, "for-each-ref", "--count=1", "refs/remotes/origin", NULL);
	bool bundle = any || theirs || born;
	r = hull_buf_addstr(&head, bundle ? "bundle\n\n" : "\n");
	if (r == 0)
		r = hull_write_full(fd, hull_buf_bytes(&head), head.len);
	if (r < 0)
		return hull_fail(err, r, "sending the repository: %s", strerror(-r));
	if (!bundle)
		return 0;
	_cleanup_free_ char *format = line(top, "rev-parse", "--show-object-format", NULL, NULL);
	return send_bundle(top, hull_streq(format, "sha256"), born, fd, err);
}

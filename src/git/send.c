/* The stream of a clone; git.h says what is in it. */
#include "git/git.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>

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
	int r = path ? hull_read_file(AT_FDCWD, path, SHALLOW_MAX, &file, err)
		     : hull_fail(err, -EIO, "git does not say where the history ends");
	char *text = (char *)hull_buf_bytes(&file);
	for (char *save = NULL, *id = r == 0 && text ? strtok_r(text, "\n", &save) : NULL; id && r == 0;
	     id = strtok_r(NULL, "\n", &save))
		r = put(b, "shallow", id);
	return r;
}

/* What the clone is checked out at. */
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
	const char *const args[] = {
		"bundle", "create", "-q", "-", "--branches", "--tags", "--remotes=origin", born ? "HEAD" : NULL, NULL};
	r = hull_git_run(top, args, -1, NULL, fd, err);
	return r > 0 ? -EIO : r;
}

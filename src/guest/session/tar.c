/* SPDX-License-Identifier: Apache-2.0 */
/* The services tar-in and tar-out: the image's own tar as a child, its standard input or output on the stream.
 *
 * tar-in  PATH [NAME]: unpack into the directory PATH, as root, owners by number. Directories that exist keep their
 *         owner and mode, symlinks to directories are followed, so that unpacking over /bin works. With NAME the
 *         first component of every member's name is replaced by it: one entry, under another name.
 * tar-out PATH: pack the entry PATH, members named from its last component on ("/" and "DIR/." pack what is inside).
 * Both end with EXIT {STATUS, TEXT}: TEXT is the end of what tar said on stderr. */
#include "guest/session/session.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "guest/core/cgroup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/core/pump.h"
#include "wire/args.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum { WORDS_MAX = 1024, ARGS_MAX = 16 };

struct job {
	struct hull_stream stream;
	struct hull_child child;
	struct hull_in in;
	struct hull_out out;
	struct hull_watch err_watch;
	int err_fd; /* tar's stderr; -1 once it ended */
	uint32_t cgroup;
	bool ended, reported;
	int status;
	char words[WORDS_MAX + 1]; /* the last of its stderr */
	size_t words_len;
};

static void job_free(struct job *j)
{
	hull_child_forget(&j->child);
	hull_in_close(&j->in);
	hull_out_close(&j->out);
	hull_watch_del(&j->err_watch);
	if (j->err_fd >= 0)
		close(j->err_fd);
	hull_cgroup_drop(j->cgroup);
	free(j);
}

static void tar_finish(struct job *j)
{
	if (!j->ended || j->reported || j->out.open || j->err_fd >= 0)
		return;
	_cleanup_(hull_buf_free) struct hull_buf m = {0};
	uint8_t kind = HULL_MSG_EXIT;
	int sig;
	j->reported = true;
	hull_in_close(&j->in);
	hull_buf_add(&m, &kind, 1);
	hull_args_put_u32(&m, HULL_TAG_STATUS, (uint32_t)hull_exit_code(j->status, &sig));
	if (sig)
		hull_args_put_u32(&m, HULL_TAG_SIGNAL, (uint32_t)sig);
	while (j->words_len > 0 && j->words[j->words_len - 1] == '\n')
		j->words_len--;
	j->words[j->words_len] = '\0';
	if (j->status != 0 && j->words_len > 0)
		hull_args_put_str(&m, HULL_TAG_TEXT, j->words);
	hull_wire_message(hull_wire, j->stream.id, hull_buf_bytes(&m), m.len);
	hull_wire_eof(hull_wire, j->stream.id);
}

static void err_ready(struct hull_watch *w, uint32_t events)
{
	struct job *j = container_of(w, struct job, err_watch);
	char text[WORDS_MAX];
	ssize_t n = read(j->err_fd, text, sizeof(text));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hull_watch_del(w);
		close(hull_steal_fd(&j->err_fd));
		tar_finish(j);
		return;
	}
	size_t keep = WORDS_MAX - (size_t)n;
	if (j->words_len > keep) {
		memmove(j->words, j->words + j->words_len - keep, keep);
		j->words_len = keep;
	}
	memcpy(j->words + j->words_len, text, (size_t)n);
	j->words_len += (size_t)n;
}

static void tar_out_ended(struct hull_out *o, int error)
{
	tar_finish(container_of(o, struct job, out));
}

static void tar_child_ended(struct hull_child *c, int status)
{
	struct job *j = container_of(c, struct job, child);
	j->ended = true;
	j->status = status;
	tar_finish(j);
}

struct launch {
	char *argv[ARGS_MAX];
	int fd[3];
};

static void tar_run(void *ctx, int status_fd)
{
	static char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
			      "HOME=/root", NULL};
	const struct launch *l = ctx;
	setsid();
	for (int i = 0; i < 3; i++)
		if (dup2(l->fd[i], i) < 0)
			_exit(126);
	hull_put("/proc/self/oom_score_adj", "0");
	umask(022);
	execve("/usr/bin/tar", l->argv, env);
	static const char gone[] = "the sandbox has no /usr/bin/tar that can be executed\n";
	ssize_t n = write(2, gone, sizeof(gone) - 1);
	(void)n;
	_exit(127);
}

static void tar_on_data(void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct job *j = user;
	hull_in_data(&j->in, p, n);
}

static void tar_on_writable(void *user)
{
	struct job *j = user;
	hull_out_resume(&j->out);
}

static void tar_on_eof(void *user)
{
	struct job *j = user;
	hull_in_eof(&j->in);
}

static void tar_on_closed(void *user, int code, const char *message)
{
	struct job *j = user;
	j->stream.id = 0;
	j->in.stream = 0;
	if (!j->ended && j->child.pid > 0)
		kill(j->child.pid, SIGTERM);
	job_free(j);
}

static const struct hull_stream_ops tar_ops = {
	.data = tar_on_data,
	.writable = tar_on_writable,
	.eof = tar_on_eof,
	.closed = tar_on_closed,
};

/* tar's sed expression that replaces the first component; characters that mean something to it are escaped. */
static char *transform(const char *name)
{
	char text[2 * NAME_MAX + 1];
	size_t n = 0;
	for (const char *c = name; *c; c++) {
		if (strchr("\\&,", *c))
			text[n++] = '\\';
		text[n++] = *c;
	}
	text[n] = '\0';
	/* r, h: names of members and targets of hard links; S: symlinks keep their targets. */
	return hull_fmt("--transform=s,^\\(\\./\\)*[^/]*,%s,rhS", text);
}

static int arguments_in(struct launch *l, const char *path, const char *name, char **owned, struct hull_error *err)
{
	size_t n = 0;
	if (name && (!name[0] || strchr(name, '/') || strchr(name, '\n') || !strcmp(name, ".") || !strcmp(name, "..") ||
		     strlen(name) > NAME_MAX))
		return hull_fail(err, -EINVAL, "\"%.100s\" is not the name of a single entry", name);
	l->argv[n++] = "tar";
	l->argv[n++] = "--extract";
	l->argv[n++] = "--file=-";
	l->argv[n++] = "--numeric-owner";
	l->argv[n++] = "--same-owner";
	l->argv[n++] = "--preserve-permissions";
	l->argv[n++] = "--no-overwrite-dir";
	l->argv[n++] = "--keep-directory-symlink";
	l->argv[n++] = owned[0] = hull_fmt("--directory=%s", path);
	if (name)
		l->argv[n++] = owned[1] = transform(name);
	if (!owned[0] || (name && !owned[1]))
		return hull_fail(err, -ENOMEM, "out of memory in the sandbox");
	return 0;
}

static int arguments_out(struct launch *l, const char *path, char **owned, struct hull_error *err)
{
	_cleanup_free_ char *copy = strdup(path);
	size_t n = 0;
	if (!copy)
		return hull_fail(err, -ENOMEM, "out of memory in the sandbox");
	for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
		copy[len - 1] = '\0';
	char *slash = strrchr(copy, '/');
	const char *entry = slash[1] ? slash + 1 : ".";
	l->argv[n++] = "tar";
	l->argv[n++] = "--create";
	l->argv[n++] = "--file=-";
	l->argv[n++] = "--numeric-owner";
	l->argv[n++] = "--sparse";
	owned[1] = strdup(entry);
	*slash = '\0';
	l->argv[n++] = owned[0] = hull_fmt("--directory=%s", slash == copy ? "/" : copy);
	l->argv[n++] = "--";
	l->argv[n++] = owned[1];
	return owned[0] && owned[1] ? 0 : hull_fail(err, -ENOMEM, "out of memory in the sandbox");
}

static int tar_start(struct job *j, bool in, struct launch *l, struct hull_error *err)
{
	int ends[2] = {-1, -1}, errs[2] = {-1, -1};
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "cannot start tar");
	_cleanup_close_ int ours = in ? ends[1] : ends[0];
	_cleanup_close_ int theirs = in ? ends[0] : ends[1];
	if (pipe2(errs, O_CLOEXEC | O_NONBLOCK) < 0)
		return hull_fail_errno(err, "cannot start tar");
	j->err_fd = errs[0];
	_cleanup_close_ int err_theirs = errs[1];
	fcntl(ours, F_SETFL, O_NONBLOCK);
	fcntl(err_theirs, F_SETFL, 0);
	l->fd[0] = in ? theirs : null;
	l->fd[1] = in ? null : theirs;
	l->fd[2] = err_theirs;
	_cleanup_close_ int cgroup = hull_cgroup_make(&j->cgroup);
	int r = hull_spawn(&j->child, cgroup, tar_run, l, NULL, tar_child_ended, err);
	if (r < 0)
		return r;
	r = hull_watch_add(&j->err_watch, j->err_fd, EPOLLIN, err_ready);
	if (r == 0)
		r = in ? hull_in_start(&j->in, hull_steal_fd(&ours), j->stream.id)
		       : hull_out_start(&j->out, hull_steal_fd(&ours), j->stream.id, HULL_CHANNEL_MAIN, tar_out_ended);
	if (r < 0) {
		kill(j->child.pid, SIGKILL);
		return hull_fail(err, r, "cannot watch tar: %s", strerror(-r));
	}
	return 0;
}

void hull_tar_open(uint32_t stream, bool in, const uint8_t *args, size_t len)
{
	struct hull_error err = {0};
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *name = NULL;
	_cleanup_free_ char *owned0 = NULL;
	_cleanup_free_ char *owned1 = NULL;
	char *owned[2] = {0};
	struct launch l = {0};
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_PATH && !path)
			path = hull_arg_str(&a);
		else if (a.tag == HULL_TAG_NAME && !name)
			name = hull_arg_str(&a);
	}
	int r = 0;
	if (cur.bad || !path || path[0] != '/')
		r = hull_fail(&err, -EINVAL, "tar needs an absolute path in the sandbox");
	else
		r = in ? arguments_in(&l, path, name, owned, &err) : arguments_out(&l, path, owned, &err);
	owned0 = owned[0];
	owned1 = owned[1];
	struct job *j = r == 0 ? calloc(1, sizeof(*j)) : NULL;
	if (r == 0 && !j)
		r = hull_fail(&err, -ENOMEM, "out of memory in the sandbox");
	if (r == 0) {
		j->stream = (struct hull_stream){.ops = &tar_ops, .id = stream};
		j->err_fd = -1;
		r = tar_start(j, in, &l, &err);
	}
	if (r < 0) {
		hull_wire_refuse(hull_wire, stream, -r, err.msg);
		if (j)
			job_free(j);
		return;
	}
	hull_wire_set_user(hull_wire, stream, j);
	hull_wire_accept(hull_wire, stream, NULL, 0);
}

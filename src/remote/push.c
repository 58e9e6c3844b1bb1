/* SPDX-License-Identifier: Apache-2.0 */
/* Pushes references and objects from a repository of the host to one in a sandbox; see remote.h.
 *
 * git has already compared both sides, using the references it was given. A reference that changed since is refused,
 * unless forced: git in the sandbox receives the expected old id and checks it again. A jailed git makes the pack and
 * writes it directly to the far end. */
#include "remote/remote.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { REPORT_MAX = 4 << 20, DATA = 1, ID_MAX = 64 };

struct change {
	char before[ID_MAX + 1], after[ID_MAX + 1];
	const char *name; /* borrowed */
	bool skip;        /* nothing to request: refused already, or up to date */
	bool refused;
};

static bool is_none(const char *id)
{
	return strspn(id, "0") == strlen(id);
}

static int input(const struct hull_buf *b, struct hull_error *err)
{
	int fd = memfd_create("git-input", MFD_CLOEXEC);
	if (fd >= 0 && (hull_write_full(fd, hull_buf_bytes(b), b->len) < 0 || lseek(fd, 0, SEEK_SET) < 0))
		close(hull_steal_fd(&fd));
	return fd < 0 ? hull_fail_errno(err, "passing names to git") : fd;
}

/* One line for each name, in order: its id, or "NAME missing". */
static int look_up(const struct hull_git_own *own, const struct hull_buf *names, struct hull_buf *out,
		   struct hull_error *err)
{
	static const char *const args[] = {"cat-file", "--batch-check=%(objectname)", NULL};
	_cleanup_close_ int in = input(names, err);
	int r = in < 0 ? in : hull_git_own_run(own, args, in, out, -1, err);
	return r > 0 ? -EIO : r;
}

static char *next(char **at)
{
	char *line = *at, *stop = line ? strchr(line, '\n') : NULL;
	if (!stop)
		return NULL;
	*stop = '\0';
	*at = stop + 1;
	return line;
}

static int refuse(struct change *c, const char *why, struct hull_buf *answer)
{
	c->skip = c->refused = true;
	return hull_buf_addf(answer, "error %s %s\n", c->name, why);
}

/* Determine the change of each reference. */
static int resolve(const struct hull_git_own *own, const struct remote_push *push, const struct remote_adv *adv,
		   struct change *changes, struct hull_buf *answer, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf names = {0}, ids = {0};
	size_t len = remote_id_len(adv);
	int r = 0;
	for (size_t i = 0; r == 0 && push->specs[i]; i++) {
		const char *s = push->specs[i] + (push->specs[i][0] == '+'), *colon = strrchr(s, ':');
		size_t n = colon ? (size_t)(colon - s) : 0;
		if (!colon || !remote_ref_ok(colon + 1, strlen(colon + 1)) ||
		    (n && !remote_ref_ok(s, n) && !remote_id_ok(s, n)))
			return hull_fail(err, -EPROTO, "git sent an invalid reference name or object id");
		changes[i].name = colon + 1;
		r = hull_buf_addf(&names, "%.*s\n", n ? (int)n : 1, n ? s : "-");
	}
	if (r == 0)
		r = look_up(own, &names, &ids, err);
	if (r == 0)
		r = hull_buf_add(&ids, "", 1);
	if (r < 0)
		return r == -ENOMEM ? hull_fail(err, r, "out of memory") : r;
	char *at = (char *)hull_buf_bytes(&ids);
	for (size_t i = 0; r == 0 && push->specs[i]; i++) {
		struct change *c = &changes[i];
		const char *s = push->specs[i];
		bool forced = *s == '+', away = s[forced] == ':';
		const char *id = next(&at);
		size_t n = 0, told = 0;
		const char *is = remote_find(&adv->refs, c->name, &n);
		const char *was = remote_find(push->told, c->name, &told);
		memset(c->before, '0', len);
		memset(c->after, '0', len);
		if (is)
			memcpy(c->before, is, len);
		if (!away && (!id || strlen(id) != len || !remote_id_ok(id, len)))
			r = refuse(c, "no match", answer);
		else if (!away)
			memcpy(c->after, id, len);
		if (c->refused)
			continue;
		if (!forced && (!is != !was || (is && (told != n || memcmp(is, was, n) != 0))))
			r = refuse(c, "fetch first", answer);
		else if (strcmp(c->before, c->after) == 0) {
			c->skip = true;
			r = hull_buf_addf(answer, "ok %s up to date\n", c->name);
		} else if (away && !adv->delete_refs) {
			r = refuse(c, "git there does not support deleting references", answer);
		}
	}
	return r < 0 ? hull_fail(err, r, "out of memory") : 0;
}

/* Send the pack: new objects, without those that the far end has. */
static int send_pack(struct remote_far *f, const struct hull_git_own *own, const struct remote_adv *adv,
		     const struct change *changes, size_t count, bool shallow, struct hull_error *err)
{
	const char *args[10] = {"pack-objects", "--revs", "--stdout", "-q", "--thin"};
	_cleanup_(hull_buf_free) struct hull_buf theirs = {0}, have = {0}, revs = {0};
	size_t id = remote_id_len(adv), n = 5;
	int r = 0;
	if (adv->ofs_delta)
		args[n++] = "--delta-base-offset";
	if (shallow)
		args[n++] = "--shallow";
	for (size_t i = 0; r == 0 && i < count; i++)
		if (!changes[i].skip && !is_none(changes[i].after))
			r = hull_buf_addf(&revs, "%s\n", changes[i].after);
	const char *at = (const char *)hull_buf_bytes(&adv->refs), *end = adv->refs.len ? at + adv->refs.len : at;
	while (r == 0 && at < end) {
		r = hull_buf_addf(&theirs, "%.*s\n", (int)id, at);
		at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
	}
	if (r == 0 && theirs.len)
		r = look_up(own, &theirs, &have, err);
	if (r == 0)
		r = hull_buf_add(&have, "", 1);
	char *lines = r == 0 ? (char *)hull_buf_bytes(&have) : NULL;
	for (char *l; r == 0 && (l = next(&lines));)
		if (strlen(l) == id && remote_id_ok(l, id))
			r = hull_buf_addf(&revs, "^%s\n", l);
	if (r < 0)
		return r == -ENOMEM ? hull_fail(err, r, "out of memory") : r;
	_cleanup_close_ int in = input(&revs, err);
	r = in < 0 ? in : hull_git_own_run(own, args, in, NULL, f->in, err);
	return r > 0 ? -EIO : r;
}

static int send_commands(struct remote_far *f, const struct remote_adv *adv, const struct remote_push *push,
			 const struct change *changes, size_t count, struct hull_buf *shallow, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	bool first = true;
	char *at = (char *)hull_buf_bytes(shallow);
	int r = 0;
	for (char *l; r == 0 && (l = next(&at));)
		r = remote_line(&out, "shallow %s", l);
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct change *c = &changes[i];
		if (c->skip)
			continue;
		_cleanup_free_ char *line = hull_fmt("%s %s %s", c->before, c->after, c->name);
		_cleanup_free_ char *caps = hull_fmt(" report-status side-band-64k%s%s%s agent=git/hull",
						     adv->quiet ? " quiet" : "", push->atomic ? " atomic" : "",
						     adv->sha256 ? " object-format=sha256" : "");
		size_t n = line ? strlen(line) : 0, m = first && caps ? strlen(caps) : 0;
		r = line && caps ? hull_buf_addf(&out, "%04zx%s", REMOTE_HEAD + n + (m ? m + 1 : 0), line) : -ENOMEM;
		if (r == 0 && m)
			r = hull_buf_add(&out, "", 1);
		if (r == 0 && m)
			r = hull_buf_addstr(&out, caps);
		first = false;
	}
	if (r == 0)
		r = hull_buf_addstr(&out, "0000");
	return r < 0 ? hull_fail(err, r, "out of memory") : remote_far_write(f, &out, err);
}

/* Receive the report: pkt-lines inside side-band packets, converted to lines. */
static int take_report(struct remote_far *f, struct hull_buf *lines, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf report = {0};
	const uint8_t *p;
	size_t n, size;
	int r, inner;
	while ((r = remote_far_read(f, &p, &n, err)) == REMOTE_PKT_LINE) {
		if (n && p[0] != DATA) {
			remote_far_said(f, p + 1, n - 1);
			continue;
		}
		if (n && (report.len + n > REPORT_MAX || hull_buf_add(&report, p + 1, n - 1) < 0))
			return hull_fail(err, -EFBIG, "its report is too long");
	}
	if (r < 0)
		return r;
	while ((inner = remote_pkt(hull_buf_bytes(&report), report.len, &size)) == REMOTE_PKT_LINE) {
		if (hull_buf_add(lines, hull_buf_bytes(&report) + REMOTE_HEAD, size - REMOTE_HEAD) < 0 ||
		    hull_buf_addstr(lines, "\n") < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
		hull_buf_drain(&report, size);
	}
	return inner < 0 ? hull_fail(err, inner, "its report does not follow git's protocol") : 0;
}

static int carry_out(struct remote_far *f, const struct hull_git_own *own, const struct remote_push *push,
		     const struct remote_adv *adv, const struct change *changes, size_t count, struct hull_buf *answer,
		     struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf shallow = {0}, lines = {0};
	_cleanup_free_ char **names = calloc(count + 1, sizeof(*names));
	size_t name_count = 0;
	bool objects = false, any = false;
	int r = names ? hull_git_own_shallow(own, &shallow, err) : hull_fail(err, -ENOMEM, "out of memory");
	bool cut = shallow.len > 0;
	if (r == 0)
		r = hull_buf_add(&shallow, "", 1);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (changes[i].skip)
			continue;
		any = true;
		objects = objects || !is_none(changes[i].after);
		if (push->dry_run)
			r = hull_buf_addf(answer, "ok %s\n", changes[i].name);
		else
			names[name_count++] = (char *)(uintptr_t)changes[i].name;
	}
	if (r == 0 && any && !push->dry_run) {
		r = send_commands(f, adv, push, changes, count, &shallow, err);
		if (r == 0 && objects)
			r = send_pack(f, own, adv, changes, count, cut, err);
		hull_closep(&f->in);
		f->in = -1;
		struct hull_error other = {0};
		int told = take_report(f, &lines, r < 0 ? &other : err);
		/* When the far end has ended, its message explains an incomplete pack better than our write error. */
		if (r < 0 && told == -ENODATA)
			*err = other;
		r = r < 0 ? r : told;
		if (remote_status((const char *)hull_buf_bytes(&lines), lines.len, names, answer) < 0)
			r = hull_fail(err, -ENOMEM, "out of memory");
	}
	return r;
}

int remote_push(struct remote_far *f, const struct hull_git_own *own, const struct remote_push *push,
		struct hull_buf *answer, struct hull_error *err)
{
	_cleanup_(remote_adv_free) struct remote_adv adv = {0};
	_cleanup_free_ struct change *changes = NULL;
	size_t count = 0;
	int r = remote_far_adv(f, &adv, err);
	if (r < 0)
		return r;
	while (push->specs[count])
		count++;
	changes = calloc(count + 1, sizeof(*changes));
	if (!changes)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!adv.sideband || !adv.report)
		return hull_fail(err, -EPROTO, "its git is too old: it has no side-band-64k");
	if (push->atomic && !adv.atomic)
		return hull_fail(err, -EOPNOTSUPP, "its git does not support atomic pushes");
	r = resolve(own, push, &adv, changes, answer, err);
	bool refused = false;
	for (size_t i = 0; i < count; i++)
		refused = refused || changes[i].refused;
	for (size_t i = 0; r == 0 && push->atomic && refused && i < count; i++)
		if (!changes[i].skip && refuse(&changes[i], "atomic push failed", answer) < 0)
			r = hull_fail(err, -ENOMEM, "out of memory");
	return r < 0 ? r : carry_out(f, own, push, &adv, changes, count, answer, err);
}

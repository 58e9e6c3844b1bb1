/* SPDX-License-Identifier: Apache-2.0 */
/* Running copies of a running sandbox.
 *
 * The sandbox is saved once, into a scratch directory, from which every copy is made and started; then the directory is
 * removed. The copies have their own disks and share unmodified memory while any of them runs. They are separate
 * sandboxes: their identities are renewed, and after a stop they boot from their disks. */
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/saved/saved.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "git/git.h"
#include "policy/policy.h"

#include <string.h>
#include <time.h>

enum { COUNT_MAX = 1000, NAME_TRIES = 10000 };

/* NEW for one copy, NEW-1 and so on for several; without NEW the first free name of NAME-2, NAME-3... */
static char *nth_name(const char *name, const char *wish, unsigned n, unsigned count)
{
	if (wish && count == 1)
		return strdup(wish);
	char tail[16];
	int t = snprintf(tail, sizeof(tail), "-%u", wish ? n : n + 1);
	const char *base = wish ? wish : name;
	size_t keep = strlen(base) + (size_t)t > HULL_NAME_MAX ? (size_t)(HULL_NAME_MAX - t) : strlen(base);
	return hull_fmt("%.*s%s", (int)keep, base, tail);
}

/* A copy gets the original's policy: if that cannot be read, no copy is made. */
static int copy_policy(const struct hull *h, const struct hull_sandbox *of, struct hull_sandbox *s,
		       struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	_cleanup_free_ char *path = hull_sandbox_path(&h->paths, of->name, "policy.yaml");
	int r = path ? hull_policy_read(path, &text, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r == -ENOENT && !of->has_policy)
		return 0;
	if (r == -ENOENT)
		return hull_fail(err, r,
				 "%s is gone, so a copy cannot have the policy of %s; `hull policy init` or `hull "
				 "policy reset` with `--sandbox %s` makes it again",
				 path, of->name, of->name);
	if (r < 0)
		return r;
	s->policy = strndup((char *)hull_buf_bytes(&text), text.len);
	return s->policy ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

static int make_copy(const struct hull *h, const struct hull_sandbox *of, const char *rel, const char *wish,
		     unsigned *next, unsigned count, char **made, struct hull_error *err)
{
	struct hull_sandbox s = {.agent = strdup(of->agent),
				 .engine = strdup(of->engine),
				 .env = hull_strv_copy(of->env),
				 .paths = hull_strv_copy(of->paths),
				 .links = hull_strv_copy(of->links),
				 .ca = hull_strv_copy(of->ca),
				 .git_name = of->git_name ? strdup(of->git_name) : NULL,
				 .git_email = of->git_email ? strdup(of->git_email) : NULL,
				 .no_network = of->no_network,
				 .created = (uint64_t)time(NULL)};
	int r = s.agent && s.engine && s.env && s.paths && s.links && s.ca && !s.git_name == !of->git_name &&
				!s.git_email == !of->git_email
			? 0
			: hull_fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = copy_policy(h, of, &s, err);
	if (r == 0 && of->clone) {
		s.clone = strdup(of->clone);
		s.workdir = strdup(of->workdir);
		s.cloned = of->cloned;
		if (!s.clone || !s.workdir)
			r = hull_fail(err, -ENOMEM, "out of memory");
	}
	while (r == 0 && *next < NAME_TRIES) {
		free(s.name);
		s.name = nth_name(of->name, wish, (*next)++, count);
		r = s.name ? hull_name_check(s.name, err) : hull_fail(err, -ENOMEM, "out of memory");
		if (r == 0)
			r = saved_sandbox(h, rel, &s, err);
		struct hull_error why;
		if (r == 0 && s.clone && hull_git_remote_add(s.clone, s.name, &why) < 0)
			lib_note(h, HULL_NOTE_WARNING, "no remote was added for %s: %s", s.name, why.msg);
		if (r == 0) {
			*made = hull_steal_ptr(s.name);
			break;
		}
		if (r == -EEXIST && !(wish && count == 1))
			r = 0;
	}
	hull_sandbox_free(&s);
	return r;
}

static int copies(const struct hull *h, const struct hull_sandbox *of, const char *scratch, const char *wish,
		  unsigned count, void (*made)(void *ctx, const char *name), void *ctx, struct hull_error *err)
{
	const char *slash = strrchr(scratch, '/');
	_cleanup_free_ char *rel = hull_fmt("sandboxes/%s/snapshots/%s", of->name, slash + 1);
	if (!rel)
		return hull_fail(err, -ENOMEM, "out of memory");
	unsigned next = 1;
	for (unsigned i = 0; i < count; i++) {
		_cleanup_free_ char *name = NULL;
		int r = make_copy(h, of, rel, wish, &next, count, &name, err);
		if (r == 0 && !name)
			r = hull_fail(err, -EEXIST, "no free name: give one");
		if (r < 0)
			return r;
		lib_stage(h, of->name, "%s", name);
		r = life_start(h, name, NULL, err);
		if (r >= 0)
			r = client_await(h, name, "exec", err);
		if (r < 0) {
			life_remove(h, name, NULL);
			return hull_wrap(err, "%s", name);
		}
		if (made)
			made(ctx, name);
	}
	return 0;
}

int hull_fork(struct hull *h, const char *name, const char *to, unsigned count,
	      void (*made)(void *ctx, const char *name), void *ctx, double *paused_ms, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox of = {0};
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	if (!count || count > COUNT_MAX)
		return hull_fail(err, -EINVAL, "the number of copies is one from 1 to %d", COUNT_MAX);
	int r = life_load(h, name, &of, err);
	if (r >= 0 && to)
		r = count == 1 ? hull_sandbox_name_new(&h->paths, to, err) : hull_name_check(to, err);
	if (r < 0)
		return r;
	if (!hull_sandbox_running(&h->paths, name))
		return hull_fail(err, -ENOTCONN, "%s is not running: `hull start %s` first", name, name);
	_cleanup_free_ char *parent = hull_sandbox_path(&h->paths, name, "snapshots");
	r = parent ? hull_saved_scratch(parent, &scratch, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r >= 0)
		r = saved_take(h, name, scratch.path, false, paused_ms, err);
	return r < 0 ? r : copies(h, &of, scratch.path, to, count, made, ctx, err);
}

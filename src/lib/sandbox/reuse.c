/* SPDX-License-Identifier: Apache-2.0 */
/* Finds an existing sandbox for the same agent and paths, or of the same name, so that a repeated request returns it.
 * Concurrent requests are serialized. */
#include "lib/sandbox/create.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "image/image.h"

#include <string.h>

static void say_waiting(void *ctx)
{
	lib_note(ctx, HULL_NOTE_WARNING, "waiting for another hull that makes this sandbox");
}

int reuse_turn(const struct hull *h, const struct create *c, struct hull_error *err)
{
	int r;
	const char *name = c->spec->name;
	char **about = hull_strv_copy(name ? NULL : c->paths);
	if (about && hull_strv_add(&about, name ? name : c->agent) == 0 &&
	    (!c->workdir || name || hull_strv_add(&about, c->workdir) == 0))
		r = hull_turn_take(&h->paths, about, say_waiting, (void *)(uintptr_t)h, err);
	else
		r = hull_fail(err, -ENOMEM, "out of memory");
	hull_strv_free(about);
	return r;
}

static bool same_place(const struct hull_sandbox *s, const struct create *c)
{
	size_t n = hull_strv_count(c->paths);
	if (!hull_streq(s->agent, c->agent) || hull_strv_count(s->paths) != n || !hull_streq(s->workdir, c->workdir))
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(s->paths[i], c->paths[i]) != 0)
			return false;
	return true;
}

static bool same_list(char *const *a, char *const *b)
{
	size_t n = hull_strv_count(a);
	if (hull_strv_count(b) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

/* Explicitly requested settings must equal those that the sandbox was made with. */
static int check_same(const struct hull *h, const struct hull_sandbox *s, const struct create *c,
		      struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox want = {0};
	const struct hull_create_spec *spec = c->spec;
	int r = create_fill(c, &want, err);
	if (r < 0)
		return r;
	const char *flag = NULL;
	if (spec->cpus && want.cpus != s->cpus)
		flag = "--cpus";
	if (spec->memory && want.memory != s->memory)
		flag = "--memory";
	if (spec->disk && want.disk != s->disk)
		flag = "--disk";
	if (spec->swap && want.swap != s->swap)
		flag = "--swap";
	if (spec->engine && !hull_streq(want.engine, s->engine))
		flag = "--engine";
	if (spec->image) {
		_cleanup_(hull_image_free) struct hull_image image = {0};
		r = hull_image_find(&h->paths, spec->image, &image, err);
		if (r < 0)
			return r;
		if (!hull_streq(image.digest, s->image))
			flag = "--image";
	}
	if (spec->ca && !same_list(want.ca, s->ca))
		flag = "--ca";
	if (want.no_docker && !s->no_docker)
		flag = "--no-docker";
	if (want.no_network && !s->no_network)
		flag = "--no-network";
	if (flag)
		return hull_fail(err, -EEXIST,
				 "%s is the sandbox of this directory already, made with another %s: `hull rm %s` "
				 "first, or choose "
				 "a --name for a second one",
				 s->name, flag, s->name);
	return 0;
}

int reuse_find(const struct hull *h, const struct create *c, char **name, struct hull_error *err)
{
	const char *wish = c->spec->name;
	*name = NULL;
	int r = wish ? hull_name_check(wish, err) : 0;
	if (r < 0)
		return r;
	char **names = NULL;
	r = hull_sandbox_list(&h->paths, &names, err);
	for (size_t i = 0; r >= 0 && names[i] && !*name; i++) {
		_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
		struct hull_error why;
		if (wish && strcmp(names[i], wish) != 0)
			continue;
		int got = hull_sandbox_load(&h->paths, names[i], &s, &why);
		if (got < 0 && wish && got != -ENOENT)
			r = hull_fail(err, got, "%s", why.msg);
		if (got < 0 || (!wish && s.remove))
			continue;
		if (!same_place(&s, c)) {
			if (wish)
				r = hull_fail(err, -EEXIST,
					      "a sandbox called %s exists already, for %s in %s: choose another "
					      "--name, or `hull exec "
					      "%s` to work in it",
					      s.name, s.agent,
					      s.clone      ? s.clone
					      : s.paths[0] ? s.paths[0]
							   : "no directory",
					      s.name);
			continue;
		}
		r = check_same(h, &s, c, err);
		*name = strdup(s.name);
	}
	hull_strv_free(names);
	if (r < 0) {
		free(*name);
		*name = NULL;
	}
	return r;
}

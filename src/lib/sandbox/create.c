/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a sandbox: its paths, its sizes, its saved machine or image, its name.
 *
 * The default name is made of agent and directory, with -2, -3... appended when another directory already has it. The
 * name appears only when the sandbox is complete. */
#include "lib/sandbox/create.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "ca/ca.h"
#include "image/image.h"
#include "lib/sandbox/place.h"
#include "lib/sandbox/size.h"
#include "lib/saved/saved.h"
#include "policy/port.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAME_TRIES = 1000, TEMPLATE_TRIES = 2 };

/* The agents that the image contains. */
static const char *const agents[] = {"shell"};

/* --- places --- */

static int add_path(const struct hull *h, char ***paths, char ***links, const char *word, struct hull_error *err)
{
	_cleanup_free_ char *real = NULL;
	bool ro;
	int r = place_parse(&h->paths, word, &real, &ro, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *entry = hull_entry_make(real, ro ? HULL_PATH_READONLY : HULL_PATH_WRITABLE);
	_cleanup_free_ char *link = place_link(word, real);
	if (link && (hull_strv_add(links, link) < 0 || hull_strv_add(links, real) < 0))
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!entry || hull_strv_add(paths, entry) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* The first path is the repository to clone. */
static int take_clone(const struct hull *h, struct create *c, struct hull_error *err)
{
	struct stat st;
	char **paths = NULL;
	int r = add_path(h, &paths, &c->links, c->spec->clone, err);
	if (r < 0) {
		hull_strv_free(paths);
		return r;
	}
	char *path = c->workdir = hull_steal_ptr(paths[0]);
	hull_strv_free(paths);
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return hull_fail(err, -ENOTDIR, "%s: --clone takes a directory, and it is always writable", path);
	return hull_git_inspect(path, &c->repo, err);
}

/* Check each path, together with those before it. */
static int check_paths(const struct hull *h, const struct create *c, struct hull_error *err)
{
	char **before = hull_strv_copy(NULL);
	int r = before ? 0 : hull_fail(err, -ENOMEM, "out of memory");
	if (r >= 0 && c->repo.top)
		r = place_allowed(c->repo.top, err);
	for (size_t i = 0; r >= 0 && c->paths && c->paths[i]; i++) {
		const char *entry = c->paths[i];
		_cleanup_free_ char *path = hull_entry_path(entry);
		r = path ? place_check(&h->paths, path, before, err) : hull_fail(err, -ENOMEM, "out of memory");
		if (r >= 0 && c->repo.top)
			r = place_beside_clone(path, c->repo.top, err);
		if (r >= 0 && hull_strv_add(&before, entry) < 0)
			r = hull_fail(err, -ENOMEM, "out of memory");
	}
	hull_strv_free(before);
	return r;
}

/* Add the repositories of linked worktrees, at the end, so that the first path stays the first. */
static int add_worktrees(const struct hull *h, char ***paths, struct hull_error *err)
{
	size_t n = *paths ? hull_strv_count(*paths) : 0;
	int r = 0;
	for (size_t i = 0; r >= 0 && i < n; i++) {
		enum hull_path_mode mode;
		_cleanup_free_ char *path = strndup((*paths)[i], hull_entry_split((*paths)[i], &mode));
		r = path ? place_worktree(h, path, mode != HULL_PATH_WRITABLE, paths, err)
			 : hull_fail(err, -ENOMEM, "out of memory");
	}
	return r < 0 ? r : 0;
}

static int make_real(const struct hull *h, const struct hull_create_spec *spec, struct create *c,
		     struct hull_error *err)
{
	*c = (struct create){.spec = spec, .agent = agents[0]};
	if (spec->agent) {
		c->agent = NULL;
		for (size_t i = 0; i < sizeof agents / sizeof *agents; i++)
			if (!strcmp(spec->agent, agents[i]))
				c->agent = agents[i];
	}
	if (!c->agent) {
		_cleanup_free_ char *shown = hull_printable(spec->agent, strlen(spec->agent));
		return hull_fail(err, -EINVAL, "\"%s\" is no agent (there is: shell)", shown ? shown : "");
	}
	int r = 0;
	for (const char *const *p = spec->paths; r >= 0 && p && *p; p++)
		r = add_path(h, &c->paths, &c->links, *p, err);
	if (r >= 0 && spec->clone)
		r = take_clone(h, c, err);
	return r >= 0 ? add_worktrees(h, &c->paths, err) : r;
}

static void create_free(struct create *c)
{
	hull_strv_free(c->paths);
	hull_strv_free(c->links);
	free(c->workdir);
	hull_git_repo_free(&c->repo);
}

/* --- what the spec says --- */

static int check_engine(const char *engine, struct hull_error *err)
{
	if (!engine || !strcmp(engine, "auto") || !strcmp(engine, "qemu"))
		return 0;
	if (!strcmp(engine, "kvm"))
		return hull_fail(err, -ENOTSUP,
				 "--engine kvm: this version of hull has no monitor of its own; auto and qemu use "
				 "hardware virtualization where it is there");
	return hull_fail(err, -EINVAL, "--engine takes auto or qemu");
}

static int parse_ports(const struct hull_create_spec *spec, char ***out, struct hull_error *err)
{
	if (!(*out = hull_strv_copy(NULL)))
		return hull_fail(err, -ENOMEM, "out of memory");
	for (const char *const *f = spec->publish; f && *f; f++) {
		struct hull_port p;
		int r = hull_port_parse(*f, &p, err);
		_cleanup_free_ char *text = r < 0 ? NULL : hull_port_text(&p);
		if (r < 0)
			return r;
		if (!text || hull_strv_add(out, text) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
	}
	if ((spec->flags & HULL_CREATE_NO_NETWORK) && (*out)[0])
		return hull_fail(err, -EINVAL, "--publish needs the network, which --no-network disables");
	return 0;
}

/* Symlinks are not resolved: the files are read at each start. Errors in them are reported before anything is made. */
static int parse_ca(const struct hull_create_spec *spec, char ***out, struct hull_error *err)
{
	_cleanup_(hull_ca_free) struct hull_ca ca = {0};
	_cleanup_free_ char *here = spec->ca ? getcwd(NULL, 0) : NULL;
	if (!(*out = hull_strv_copy(NULL)))
		return hull_fail(err, -ENOMEM, "out of memory");
	if (spec->ca && !here)
		return hull_fail_errno(err, "the current directory");
	for (const char *const *f = spec->ca; f && *f; f++) {
		_cleanup_free_ char *path = **f == '/' ? strdup(*f) : hull_fmt("%s/%s", here, *f);
		if (!path || hull_strv_add(out, path) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
		if (hull_ca_add_file(&ca, path, err) < 0)
			return hull_wrap(err, "--ca");
	}
	return 0;
}

static int check_env(const struct hull_create_spec *spec, char ***out, struct hull_error *err)
{
	if (!(*out = hull_strv_copy((char *const *)(uintptr_t)spec->env)))
		return hull_fail(err, -ENOMEM, "out of memory");
	for (char **v = *out; *v; v++)
		if (!strchr(*v, '=') || **v == '=')
			return hull_fail(err, -EINVAL, "a variable of the environment is \"NAME=VALUE\"");
	return 0;
}

int create_fill(const struct create *c, struct hull_sandbox *s, struct hull_error *err)
{
	const struct hull_create_spec *spec = c->spec;
	int r = check_engine(spec->engine, err);
	if (r >= 0)
		r = size_cpus(spec->cpus, size_host_cpus(), &s->cpus, err);
	if (r >= 0)
		r = size_memory(spec->memory, size_host_memory(), &s->memory, err);
	if (r >= 0)
		r = size_disk(spec->disk, &s->disk, err);
	if (r >= 0)
		r = size_swap(spec->swap == HULL_NONE ? 0 : spec->swap, s->disk, &s->swap, err);
	if (r >= 0)
		r = check_env(spec, &s->env, err);
	if (r >= 0)
		r = parse_ports(spec, &s->ports, err);
	if (r >= 0)
		r = parse_ca(spec, &s->ca, err);
	if (r < 0)
		return r;
	s->no_network = (spec->flags & HULL_CREATE_NO_NETWORK) != 0;
	s->no_docker = (spec->flags & HULL_CREATE_NO_DOCKER) != 0;
	s->remove = (spec->flags & HULL_CREATE_REMOVE) != 0;
	s->agent = strdup(c->agent);
	s->engine = strdup(spec->engine ? spec->engine : "auto");
	s->state = strdup("created");
	s->paths = hull_strv_copy(c->paths);
	s->links = hull_strv_copy(c->links);
	s->clone = c->repo.top ? strdup(c->repo.top) : NULL;
	s->workdir = c->workdir ? strdup(c->workdir) : NULL;
	s->created = (uint64_t)time(NULL);
	return s->agent && s->engine && s->state && s->paths && s->links && !s->clone == !c->workdir &&
			       !s->workdir == !c->workdir
		       ? 0
		       : hull_fail(err, -ENOMEM, "out of memory");
}

/* --- making --- */

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* The n-th candidate for a name made of agent and directory. */
static char *default_name(const struct create *c, unsigned n)
{
	/* Without a path, the directory that it is made in. */
	const char *first = c->workdir ? c->workdir : c->paths ? c->paths[0] : NULL;
	_cleanup_free_ char *path = !first ? getcwd(NULL, 0) : c->workdir ? strdup(first) : hull_entry_path(first);
	if (!path)
		return NULL;
	_cleanup_free_ char *name = hull_name_from(c->agent, last_part(path));
	if (n < 2 || !name)
		return hull_steal_ptr(name);
	char tail[16];
	int t = snprintf(tail, sizeof tail, "-%u", n);
	if (strlen(name) + (size_t)t > HULL_NAME_MAX)
		name[HULL_NAME_MAX - t] = 0;
	return hull_fmt("%s%s", name, tail);
}

/* Find the saved machine to start from, relative to home; *rel = NULL to boot. Owned by the caller. */
static int choose_start(const struct hull *h, const struct hull_create_spec *spec, const struct hull_sandbox *s,
			char **rel, struct hull_error *err)
{
	_cleanup_free_ char *name = NULL;
	bool cold = (spec->flags & HULL_CREATE_COLD) != 0;
	int r = 0;
	*rel = NULL;
	if (spec->template_name && cold)
		return hull_fail(err, -EINVAL, "--template and --cold exclude each other");
	if (spec->template_name && (spec->cpus || spec->memory || spec->disk || spec->swap || spec->image ||
				    (spec->flags & HULL_CREATE_NO_DOCKER)))
		return hull_fail(
			err, -EINVAL,
			"--template decides about cpus, memory, disk, swap, image and Docker: leave out those flags");
	if (spec->template_name)
		r = hull_template_find(&h->paths, spec->template_name, &name, err);
	else if (!cold)
		r = template_for(h, s, &name, err);
	if (r < 0 || !name)
		return r;
	*rel = hull_fmt("templates/%s", name);
	return *rel ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

/* Report what a clone lacks, and add the remote to the user's repository. */
static void after_clone(const struct hull *h, const struct create *c, const char *name)
{
	struct hull_error err = {0};
	const char *top = c->repo.top;
	if (!top)
		return;
	int r = hull_git_remote_add(top, name, &err);
	if (r < 0)
		lib_note(h, HULL_NOTE_WARNING,
			 "no remote was added: %s; `git fetch hull::%s` fetches from the sandbox all the same", err.msg,
			 name);
	if (c->repo.uncommitted)
		lib_note(h, HULL_NOTE_INFO,
			 "uncommitted changes and untracked files in %s stay here: the sandbox gets what is committed",
			 top);
	if (c->repo.submodules)
		lib_note(
			h, HULL_NOTE_INFO,
			"submodules are not cloned with it: `git submodule update --init` in the sandbox fetches them");
}

/* Make it from a saved machine, or from the image's disk when rel is NULL, under the requested name or the first free
 * one. */
static int make_named(const struct hull *h, const struct create *c, const char *rel, int seed, struct hull_sandbox *s,
		      struct hull_error *err)
{
	int r = 0;
	for (unsigned n = 1; n <= NAME_TRIES; n++) {
		free(s->name);
		s->name = c->spec->name ? strdup(c->spec->name) : default_name(c, n);
		if (!s->name)
			return hull_fail(err, -ENOMEM, "out of memory");
		r = rel ? saved_sandbox(h, rel, s, err) : hull_sandbox_create(&h->paths, s, seed, false, err);
		if (r != -EEXIST || c->spec->name)
			break;
	}
	return r;
}

/* Hull's own template may be removed or damaged after it was checked: look it up, and build it, once more. If that
 * happens again, the sandbox boots. */
static int make_of_choice(const struct hull *h, const struct create *c, int seed, struct hull_sandbox *s,
			  struct hull_error *err)
{
	for (int attempt = 0; attempt < TEMPLATE_TRIES; attempt++) {
		_cleanup_free_ char *rel = NULL;
		int r = choose_start(h, c->spec, s, &rel, err);
		if (r >= 0)
			r = make_named(h, c, rel, seed, s, err);
		if (c->spec->template_name || !rel || (r != -ENOENT && r != -EBADMSG && r != -ENOTSUP))
			return r;
	}
	lib_note(h, HULL_NOTE_WARNING, "no template: %s; booting instead, which takes longer", err->msg);
	*err = (struct hull_error){0};
	free(s->restore);
	s->restore = NULL;
	s->fresh = false;
	return make_named(h, c, NULL, seed, s, err);
}

static int make(const struct hull *h, const struct create *c, char **name, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	_cleanup_(hull_image_free) struct hull_image image = {0};
	const struct hull_create_spec *spec = c->spec;
	int r = spec->name ? hull_sandbox_name_new(&h->paths, spec->name, err) : 0;
	if (r >= 0)
		r = check_paths(h, c, err);
	if (r >= 0)
		r = create_fill(c, &s, err);
	if (r >= 0)
		r = hull_image_find(&h->paths, spec->image, &image, err);
	if (r < 0)
		return r;
	_cleanup_close_ int seed = hull_image_open(&image, "seed.img", err);
	if (seed < 0)
		return seed;
	struct stat st;
	char a[32], b[32];
	if (fstat(seed, &st) == 0 && s.disk < (uint64_t)st.st_size)
		return hull_fail(err, -EINVAL, "disk %s is too little: this image needs at least %s",
				 hull_format_size(s.disk, a, sizeof a),
				 hull_format_size((uint64_t)st.st_size, b, sizeof b));
	if (!(spec->flags & HULL_CREATE_NO_GIT_IDENTITY))
		git_identity(&s.git_name, &s.git_email);
	s.image = strdup(image.digest);
	if (!s.image)
		return hull_fail(err, -ENOMEM, "out of memory");
	r = make_of_choice(h, c, seed, &s, err);
	if (r < 0)
		return r;
	after_clone(h, c, s.name);
	for (char **p = c->paths; p && *p; p++) {
		enum hull_path_mode mode;
		size_t n = hull_entry_split(*p, &mode);
		if (mode == HULL_PATH_GIT)
			lib_note(h, HULL_NOTE_INFO,
				 "the repository of a linked worktree is mounted with it: %.*s, with hooks and "
				 "configuration read-only",
				 (int)n, *p);
	}
	*name = hull_steal_ptr(s.name);
	return 0;
}

int create_given(const struct hull *h, const struct hull_create_spec *spec, char ***paths, struct hull_error *err)
{
	_cleanup_(create_free) struct create c = {0};
	int r = make_real(h, spec, &c, err);
	*paths = r < 0 ? NULL : hull_strv_copy(c.paths);
	if (r >= 0 && (!*paths || (c.repo.top && hull_strv_add(paths, c.repo.top) < 0)))
		r = hull_fail(err, -ENOMEM, "out of memory");
	return r < 0 ? r : 0;
}

int hull_create(struct hull *h, const struct hull_create_spec *given, char **name, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(create_free) struct create c = {0};
	_cleanup_close_ int turn = -1;
	struct hull_create_spec spec;
	*name = NULL;
	int r = lib_spec(given, &spec, sizeof spec, err);
	if (r >= 0)
		r = lib_flags(spec.flags, HULL_CREATE_REUSE * 2 - 1, err);
	if (r >= 0)
		r = make_real(h, &spec, &c, err);
	/* Two callers with the same request share one sandbox. */
	if (r >= 0 && (spec.flags & HULL_CREATE_REUSE)) {
		r = turn = reuse_turn(h, &c, err);
		if (r >= 0)
			r = reuse_find(h, &c, name, err);
		if (r >= 0 && *name)
			return 1;
	}
	return r < 0 ? r : make(h, &c, name, err);
}

/* Making a sandbox out of flags and words.
 *
 * Defaults: all cpus of the host; half of its memory, at most 4 GiB (a limit: only memory the guest touches costs
 * anything); a disk of 64 GiB (sparse: only what is written costs anything). A name is made of agent and directory,
 * with -2, -3... behind it when another directory of the same name has it already. */
#include "cli/create.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "ca/ca.h"
#include "lib/saved/saved.h"
#include "engine/engine.h"
#include "lib/sandbox/place.h"
#include "image/image.h"
#include "policy/port.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const uint64_t MIB = 1024 * 1024, GIB = 1024 * 1024 * 1024ULL;
#define MEMORY_MIN     (256 * MIB)
#define MEMORY_DEFAULT (4 * GIB)
#define MEMORY_STEP    (2 * MIB)
enum { NAME_TRIES = 1000, TEMPLATE_TRIES = 2 };

static const char *flag_name, *flag_cpus, *flag_memory, *flag_disk, *flag_swap, *flag_image, *flag_engine;
static char **flag_env, **flag_env_file, **flag_publish, **flag_ca;
static const char *flag_template;
static bool flag_no_git_identity;
static bool flag_clone, flag_no_network, flag_no_docker, flag_cold, flag_quiet;

const struct cli_opt create_options[] = {
	{0, "name", "NAME", "its name (default: AGENT-DIRECTORY)", .text = &flag_name},
	{0, "cpus", "N", "virtual CPUs, 0 = as many as the host has (the default)", .text = &flag_cpus},
	{'m', "memory", "SIZE",
	 "the most memory it may use, as 512m or 8g (default: half of the host's, at most 4g); only memory it touches "
	 "is "
	 "taken from the host",
	 .text = &flag_memory},
	{0, "disk", "SIZE", "size of its disk (default 64g); only what is written takes space", .text = &flag_disk},
	{0, "swap", "SIZE", "swap on its disk, 0 = none (the default)", .text = &flag_swap},
	{'e', "env", "K[=V]", "set a variable for everything run in it; K alone takes the value it has here",
	 .list = &flag_env},
	{0, "env-file", "FILE", "variables from a file, a line each", .list = &flag_env_file, .complete = CLI_FILE},
	{0, "ca", "FILE", "trust the certificate authorities in this PEM file in it; read at each start",
	 .list = &flag_ca, .complete = CLI_FILE},
	{0, "image", "IMAGE", "base image, by name or digest (default \"default\")", .text = &flag_image,
	 .complete = CLI_IMAGE},
	{0, "engine", "ENGINE", "auto or qemu (default auto: the fastest that works here)", .text = &flag_engine,
	 .complete = CLI_ENGINE},
	{0, "clone", NULL,
	 "do not mount the first PATH (default: this directory): give it a private clone of the git repository there",
	 .flag = &flag_clone},
	{'p', "publish", "PORT", "publish a port on this host: [[IP:]HOST:]PORT[/udp]", .list = &flag_publish},
	{0, "no-network", NULL, "no network at all, whatever the policy says", .flag = &flag_no_network},
	{0, "no-git-identity", NULL, "do not give git in it your user.name and user.email",
	 .flag = &flag_no_git_identity},
	{0, "no-docker", NULL, "do not start Docker in it", .flag = &flag_no_docker},
	{'t', "template", "TEMPLATE",
	 "start from a template of yours (hull template save), its cpus, memory, disk and swap", .text = &flag_template,
	 .complete = CLI_TEMPLATE},
	{0, "cold", NULL, "boot instead of starting from a template", .flag = &flag_cold},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &flag_quiet},
	{0},
};

/* Agents there are in the image. */
static const char *const agents[] = {"shell"};

/* --- words --- */

static bool looks_like_path(const char *word)
{
	struct stat st;
	return strchr(word, '/') || word[0] == '.' || stat(word, &st) == 0;
}

static int add_path(const struct cli *cli, char ***paths, char ***links, const char *word, struct hull_error *err)
{
	_cleanup_free_ char *real = NULL;
	bool ro;
	int r = place_parse(&cli->paths, word, &real, &ro, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *entry = hull_entry_make(real, ro ? HULL_PATH_READONLY : HULL_PATH_WRITABLE);
	_cleanup_free_ char *link = place_link(word, real);
	if (link && ((!*links && !(*links = calloc(1, sizeof **links))) || hull_strv_add(links, link) < 0 ||
		     hull_strv_add(links, real) < 0))
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!entry || (!*paths && !(*paths = calloc(1, sizeof **paths))) || hull_strv_add(paths, entry) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* The first path is the one to clone. */
static int take_clone(const struct cli *cli, struct create_place *place, struct hull_error *err)
{
	struct stat st;
	int r = place->paths ? 0 : add_path(cli, &place->paths, &place->links, ".", err);
	if (r < 0)
		return r;
	char *path = place->paths[0];
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return hull_fail(err, -ENOTDIR, "%s: --clone takes a directory, and it is always writable", path);
	for (char **p = place->paths; *p; p++)
		p[0] = p[1];
	place->workdir = path;
	return hull_git_inspect(path, &place->repo, err);
}

/* Each of them, and with those before it. */
static int check_paths(const struct cli *cli, const struct create_place *place, struct hull_error *err)
{
	char **before = hull_strv_copy(NULL);
	int r = before ? 0 : hull_fail(err, -ENOMEM, "out of memory");
	if (r >= 0 && place->repo.top)
		r = place_allowed(place->repo.top, err);
	for (size_t i = 0; r >= 0 && place->paths && place->paths[i]; i++) {
		const char *entry = place->paths[i];
		_cleanup_free_ char *path = hull_entry_path(entry);
		r = path ? place_check(&cli->paths, path, before, err) : hull_fail(err, -ENOMEM, "out of memory");
		if (r >= 0 && place->repo.top)
			r = place_beside_clone(path, place->repo.top, err);
		if (r >= 0 && hull_strv_add(&before, entry) < 0)
			r = hull_fail(err, -ENOMEM, "out of memory");
	}
	hull_strv_free(before);
	return r;
}

/* What git needs in those of the paths that are linked worktrees; behind them, so that the first stays the first. */
static int add_worktrees(char ***paths, struct hull_error *err)
{
	size_t n = *paths ? hull_strv_count(*paths) : 0;
	int r = 0;
	for (size_t i = 0; r >= 0 && i < n; i++) {
		enum hull_path_mode mode;
		_cleanup_free_ char *path = strndup((*paths)[i], hull_entry_split((*paths)[i], &mode));
		r = path ? place_worktree(path, mode != HULL_PATH_WRITABLE, paths, err)
			 : hull_fail(err, -ENOMEM, "out of memory");
	}
	return r < 0 ? r : 0;
}

int create_place(struct cli *cli, struct create_place *out, struct hull_error *err)
{
	*out = (struct create_place){.agent = agents[0]};
	size_t i = 0;
	if (cli->word_count) {
		const char *word = cli->words[0];
		for (size_t a = 0; a < sizeof agents / sizeof *agents; a++)
			if (!strcmp(word, agents[a])) {
				out->agent = agents[a];
				i = 1;
			}
		if (!i && !looks_like_path(word)) {
			_cleanup_free_ char *shown = hull_printable(word, strlen(word));
			if (hull_streq(cli->verb->name, "run"))
				return hull_fail(err, -EINVAL,
						 "\"%s\" is neither an agent (there is: shell) nor a directory: put a "
						 "command behind --, as in `hull run -- %s`",
						 shown ? shown : "", shown && *shown ? shown : "make");
			return hull_fail(err, -EINVAL, "\"%s\" is neither an agent (there is: shell) nor a directory",
					 shown ? shown : "");
		}
	}
	int r = cli_paths(cli, err);
	for (; r >= 0 && i < cli->word_count; i++)
		r = add_path(cli, &out->paths, &out->links, cli->words[i], err);
	if (r >= 0 && flag_clone)
		r = take_clone(cli, out, err);
	else if (r >= 0 && !out->paths && hull_streq(cli->verb->name, "run"))
		r = add_path(cli, &out->paths, &out->links, ".", err);
	if (r >= 0)
		r = add_worktrees(&out->paths, err);
	if (r < 0)
		create_place_free(out);
	return r;
}

void create_place_free(struct create_place *p)
{
	hull_strv_free(p->paths);
	hull_strv_free(p->links);
	p->links = NULL;
	free(p->workdir);
	hull_git_repo_free(&p->repo);
	p->paths = NULL;
	p->workdir = NULL;
}

/* --- sizes --- */

static const char *size(uint64_t bytes, char out[32])
{
	return hull_format_size(bytes, out, 32);
}

int create_memory(const char *text, uint64_t host, uint64_t *out, struct hull_error *err)
{
	char a[32], b[32];
	uint64_t v = host / 2 < MEMORY_DEFAULT ? host / 2 : MEMORY_DEFAULT;
	if (text) {
		int r = hull_parse_size(text, &v, err);
		if (r < 0)
			return hull_wrap(err, "--memory");
		if (v < MEMORY_MIN)
			return hull_fail(err, -EINVAL, "--memory %s is too little: a sandbox needs %s or more",
					 size(v, a), size(MEMORY_MIN, b));
		if (v > host)
			return hull_fail(err, -EINVAL, "--memory %s is more than this machine has (%s)", size(v, a),
					 size(host, b));
	}
	v = v < MEMORY_MIN ? MEMORY_MIN : v;
	*out = v / MEMORY_STEP * MEMORY_STEP;
	return 0;
}

int create_cpus(const char *text, unsigned host, unsigned *out, struct hull_error *err)
{
	uint64_t v = 0;
	_cleanup_free_ char *shown = text ? hull_printable(text, strlen(text)) : NULL;
	if (text && hull_parse_u64(text, UINT_MAX, &v) < 0)
		return hull_fail(err, -EINVAL, "--cpus %s: it takes a whole number, 0 = all of the host's %u",
				 shown ? shown : "", host);
	if (v > host)
		return hull_fail(err, -EINVAL, "--cpus %llu is more than this machine has (%u)", (unsigned long long)v,
				 host);
	if (v > HULL_ENGINE_CPUS_MAX)
		return hull_fail(err, -EINVAL, "--cpus %llu: a sandbox can have at most %d", (unsigned long long)v,
				 HULL_ENGINE_CPUS_MAX);
	*out = v ? (unsigned)v : host < HULL_ENGINE_CPUS_MAX ? host : HULL_ENGINE_CPUS_MAX;
	return 0;
}

int create_swap(const char *text, uint64_t disk, uint64_t *out, struct hull_error *err)
{
	char a[32], b[32];
	*out = 0;
	int r = text ? hull_parse_size(text, out, err) : 0;
	if (r < 0)
		return hull_wrap(err, "--swap");
	if (*out && *out < MIB)
		return hull_fail(err, -EINVAL, "--swap %s is too little: 1m or more, or 0 for none", size(*out, a));
	if (*out > disk / 2)
		return hull_fail(err, -EINVAL, "--swap %s is more than half of its disk (%s)", size(*out, a),
				 size(disk, b));
	*out = *out / MIB * MIB;
	return 0;
}

int create_disk(const char *text, uint64_t *out, struct hull_error *err)
{
	char a[32];
	*out = 64 * GIB;
	if (!text)
		return 0;
	int r = hull_parse_size(text, out, err);
	if (r < 0)
		return hull_wrap(err, "--disk");
	if (*out > HULL_DISK_MAX)
		return hull_fail(err, -EINVAL, "--disk %s is more than a sandbox can have (16 TiB)", size(*out, a));
	*out = (*out + MIB - 1) / MIB * MIB;
	return 0;
}

uint64_t create_host_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : MEMORY_DEFAULT;
}

unsigned create_host_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned)n : 1;
}

/* --- making --- */

static int check_engine(struct hull_error *err)
{
	if (!flag_engine || !strcmp(flag_engine, "auto") || !strcmp(flag_engine, "qemu"))
		return 0;
	if (!strcmp(flag_engine, "kvm"))
		return hull_fail(err, -ENOTSUP,
				 "--engine kvm: this version of hull has no monitor of its own; auto and qemu use "
				 "hardware virtualization where it is there");
	return hull_fail(err, -EINVAL, "--engine takes auto or qemu");
}

static int parse_ports(char ***out, struct hull_error *err)
{
	if (!(*out = hull_strv_copy(NULL)))
		return hull_fail(err, -ENOMEM, "out of memory");
	for (char **f = flag_publish; f && *f; f++) {
		struct hull_port p;
		int r = hull_port_parse(*f, &p, err);
		_cleanup_free_ char *text = r < 0 ? NULL : hull_port_text(&p);
		if (r < 0)
			return r;
		if (!text || hull_strv_add(out, text) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
	}
	if (flag_no_network && (*out)[0])
		return hull_fail(err, -EINVAL, "--publish needs the network that --no-network takes away");
	return 0;
}

/* The files' own names, not what symlinks lead to now: they are read at each start. What is wrong with one is told
 * before anything is made. */
static int parse_ca(char ***out, struct hull_error *err)
{
	_cleanup_(hull_ca_free) struct hull_ca ca = {0};
	_cleanup_free_ char *here = flag_ca ? getcwd(NULL, 0) : NULL;
	if (!(*out = hull_strv_copy(NULL)))
		return hull_fail(err, -ENOMEM, "out of memory");
	if (flag_ca && !here)
		return hull_fail_errno(err, "the current directory");
	for (char **f = flag_ca; f && *f; f++) {
		_cleanup_free_ char *path = **f == '/' ? strdup(*f) : hull_fmt("%s/%s", here, *f);
		if (!path || hull_strv_add(out, path) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
		if (hull_ca_add_file(&ca, path, err) < 0)
			return hull_wrap(err, "--ca");
	}
	return 0;
}

/* What the flags ask for, the defaults filled in. */
static int from_flags(struct cli *cli, const struct create_place *place, struct hull_sandbox *s, struct hull_error *err)
{
	int r = check_engine(err);
	if (r >= 0)
		r = create_cpus(flag_cpus, create_host_cpus(), &s->cpus, err);
	if (r >= 0)
		r = create_memory(flag_memory, create_host_memory(), &s->memory, err);
	if (r >= 0)
		r = create_disk(flag_disk, &s->disk, err);
	if (r >= 0)
		r = create_swap(flag_swap, s->disk, &s->swap, err);
	if (r >= 0)
		r = create_session_env(cli, place, &s->env, err);
	if (r >= 0)
		r = parse_ports(&s->ports, err);
	if (r >= 0)
		r = parse_ca(&s->ca, err);
	if (r < 0)
		return r;
	s->no_network = flag_no_network;
	s->agent = strdup(place->agent);
	s->engine = strdup(flag_engine ? flag_engine : "auto");
	s->state = strdup("created");
	s->paths = hull_strv_copy(place->paths);
	s->links = hull_strv_copy(place->links);
	s->clone = place->repo.top ? strdup(place->repo.top) : NULL;
	s->workdir = place->workdir ? strdup(place->workdir) : NULL;
	s->no_docker = flag_no_docker;
	s->created = (uint64_t)time(NULL);
	return s->agent && s->engine && s->state && s->paths && s->links && !s->clone == !place->workdir &&
			       !s->workdir == !place->workdir
		       ? 0
		       : hull_fail(err, -ENOMEM, "out of memory");
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* The name made of agent and directory, the n-th attempt at it. */
static char *default_name(const struct create_place *place, unsigned n)
{
	/* Without a path, after where it is made. */
	const char *first = place->workdir ? place->workdir : place->paths ? place->paths[0] : NULL;
	_cleanup_free_ char *path = !first ? getcwd(NULL, 0) : place->workdir ? strdup(first) : hull_entry_path(first);
	if (!path)
		return NULL;
	_cleanup_free_ char *name = hull_name_from(place->agent, last_part(path));
	if (n < 2 || !name)
		return hull_steal_ptr(name);
	char tail[16];
	int t = snprintf(tail, sizeof tail, "-%u", n);
	if (strlen(name) + (size_t)t > HULL_NAME_MAX)
		name[HULL_NAME_MAX - t] = 0;
	return hull_fmt("%s%s", name, tail);
}

/* People who know docker's -t mean a terminal by it. */
static int find_template(struct cli *cli, char **name, struct hull_error *err)
{
	struct hull_error why = {0};
	int r = hull_template_find(&cli->paths, flag_template, name, &why);
	if (r >= 0)
		return r;
	return hull_fail(err, r, "%.800s%s", why.msg,
			 r == -ENOENT && hull_streq(cli->verb->name, "run")
				 ? "; -t names a template here, a terminal is used where there is one"
				 : "");
}

/* Which saved machine it starts from, relative to home; *rel = NULL when it boots. Owned by the caller. */
static int choose_start(struct cli *cli, const struct hull_sandbox *s, char **rel, struct hull_error *err)
{
	_cleanup_free_ char *name = NULL;
	const char *never = getenv("HULL_COLD");
	int r = 0;
	*rel = NULL;
	if (flag_template && flag_cold)
		return hull_fail(err, -EINVAL, "--template and --cold exclude each other");
	if (flag_template && (flag_cpus || flag_memory || flag_disk || flag_swap || flag_image || flag_no_docker))
		return hull_fail(
			err, -EINVAL,
			"--template decides about cpus, memory, disk, swap, image and Docker: leave out those flags");
	if (flag_template)
		r = find_template(cli, &name, err);
	else if (!flag_cold && !(never && *never && strcmp(never, "0") != 0))
		r = template_for(cli, s, flag_quiet, &name, err);
	if (r < 0 || !name)
		return r;
	*rel = hull_fmt("templates/%s", name);
	return *rel ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

/* What a person has to know about a clone, and their remote for it. */
static void after_clone(const struct create_place *place, const char *name)
{
	struct hull_error err = {0};
	const char *top = place->repo.top;
	if (!top)
		return;
	int r = hull_git_remote_add(top, name, &err);
	if (r < 0)
		cli_note("no remote was added: %s; `git fetch hull::%s` fetches from the sandbox all the same", err.msg,
			 name);
	if (place->repo.uncommitted && !flag_quiet)
		cli_note("uncommitted changes and untracked files in %s stay here: the sandbox gets what is committed",
			 top);
	if (place->repo.submodules && !flag_quiet)
		cli_note(
			"submodules are not cloned with it: `git submodule update --init` in the sandbox fetches them");
}

/* Of a saved machine, or of the image's disk when rel is NULL; under the name asked for, or the first that is free. */
static int make_named(struct cli *cli, const struct create_place *place, const char *rel, int seed,
		      struct hull_sandbox *s, struct hull_error *err)
{
	int r = 0;
	for (unsigned n = 1; n <= NAME_TRIES; n++) {
		free(s->name);
		s->name = flag_name ? strdup(flag_name) : default_name(place, n);
		if (!s->name)
			return hull_fail(err, -ENOMEM, "out of memory");
		r = rel ? saved_sandbox(&cli->paths, rel, s, err)
			: hull_sandbox_create(&cli->paths, s, seed, false, err);
		if (r != -EEXIST || flag_name)
			break;
	}
	return r;
}

/* Hull's own template may be removed or damaged after it was looked at: it is looked for again, and built when it is
 * gone; should that happen to it again, the sandbox boots. */
static int make_of_choice(struct cli *cli, const struct create_place *place, int seed, struct hull_sandbox *s,
			  struct hull_error *err)
{
	for (int attempt = 0; attempt < TEMPLATE_TRIES; attempt++) {
		_cleanup_free_ char *rel = NULL;
		int r = choose_start(cli, s, &rel, err);
		if (r >= 0)
			r = make_named(cli, place, rel, seed, s, err);
		if (flag_template || !rel || (r != -ENOENT && r != -EBADMSG && r != -ENOTSUP))
			return r;
	}
	cli_note("no template: %s; booting instead, which takes longer", err->msg);
	*err = (struct hull_error){0};
	free(s->restore);
	s->restore = NULL;
	s->fresh = false;
	return make_named(cli, place, NULL, seed, s, err);
}

int create_make(struct cli *cli, const struct create_place *place, bool remove, char **name, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	_cleanup_(hull_image_free) struct hull_image image = {0};
	int r = cli_paths(cli, err);
	if (r >= 0 && flag_name)
		r = hull_sandbox_name_new(&cli->paths, flag_name, err);
	if (r >= 0)
		r = check_paths(cli, place, err);
	if (r >= 0)
		r = from_flags(cli, place, &s, err);
	if (r >= 0)
		r = hull_image_find(&cli->paths, flag_image, &image, err);
	if (r < 0)
		return r;
	_cleanup_close_ int seed = hull_image_open(&image, "seed.img", err);
	if (seed < 0)
		return seed;
	struct stat st;
	char a[32], b[32];
	if (fstat(seed, &st) == 0 && s.disk < (uint64_t)st.st_size)
		return hull_fail(err, -EINVAL, "--disk %s is too little: this image needs %s or more", size(s.disk, a),
				 size((uint64_t)st.st_size, b));
	s.remove = remove;
	if (!flag_no_git_identity)
		create_git_identity(&s.git_name, &s.git_email);
	s.image = strdup(image.digest);
	if (!s.image)
		return hull_fail(err, -ENOMEM, "out of memory");
	r = make_of_choice(cli, place, seed, &s, err);
	if (r < 0)
		return r;
	after_clone(place, s.name);
	for (char **p = place->paths; p && *p && !flag_quiet; p++) {
		enum hull_path_mode mode;
		size_t n = hull_entry_split(*p, &mode);
		if (mode == HULL_PATH_GIT)
			cli_note("the repository of a linked worktree is mounted with it: %.*s, with hooks and "
				 "configuration read-only",
				 (int)n, *p);
	}
	*name = hull_steal_ptr(s.name);
	return 0;
}

bool create_quiet(void)
{
	return flag_quiet;
}

int create_session_env(struct cli *cli, const struct create_place *place, char ***out, struct hull_error *err)
{
	char **given = hull_strv_copy(place->paths);
	int r = given && (!place->repo.top || hull_strv_add(&given, place->repo.top) == 0)
			? cli_paths(cli, err)
			: hull_fail(err, -ENOMEM, "out of memory");
	if (r >= 0)
		r = create_env(&cli->paths, given, flag_env_file, flag_env, out, err);
	hull_strv_free(given);
	return r;
}

/* --- again --- */

static void say_waiting(void)
{
	cli_note("waiting for another hull that makes this sandbox");
}

int create_turn(struct cli *cli, const struct create_place *place, struct hull_error *err)
{
	int r = cli_paths(cli, err);
	if (r < 0)
		return r;
	char **about = hull_strv_copy(flag_name ? NULL : place->paths);
	if (about && hull_strv_add(&about, flag_name ? flag_name : place->agent) == 0 &&
	    (!place->workdir || flag_name || hull_strv_add(&about, place->workdir) == 0))
		r = hull_turn_take(&cli->paths, about, say_waiting, err);
	else
		r = hull_fail(err, -ENOMEM, "out of memory");
	hull_strv_free(about);
	return r;
}

static bool same_place(const struct hull_sandbox *s, const struct create_place *place)
{
	size_t n = hull_strv_count(place->paths);
	if (!hull_streq(s->agent, place->agent) || hull_strv_count(s->paths) != n ||
	    !hull_streq(s->workdir, place->workdir))
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(s->paths[i], place->paths[i]) != 0)
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

/* The flags must be what the sandbox was made with, when they are given at all. */
static int check_same(struct cli *cli, const struct hull_sandbox *s, const struct create_place *place,
		      struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox want = {0};
	int r = from_flags(cli, place, &want, err);
	if (r < 0)
		return r;
	const char *flag = NULL;
	if (flag_cpus && want.cpus != s->cpus)
		flag = "--cpus";
	if (flag_memory && want.memory != s->memory)
		flag = "--memory";
	if (flag_disk && want.disk != s->disk)
		flag = "--disk";
	if (flag_swap && want.swap != s->swap)
		flag = "--swap";
	if (flag_engine && !hull_streq(want.engine, s->engine))
		flag = "--engine";
	if (flag_image) {
		_cleanup_(hull_image_free) struct hull_image image = {0};
		r = hull_image_find(&cli->paths, flag_image, &image, err);
		if (r < 0)
			return r;
		if (!hull_streq(image.digest, s->image))
			flag = "--image";
	}
	if (flag_ca && !same_list(want.ca, s->ca))
		flag = "--ca";
	if (flag_no_docker && !s->no_docker)
		flag = "--no-docker";
	if (flag_no_network && !s->no_network)
		flag = "--no-network";
	if (flag)
		return hull_fail(err, -EEXIST,
				 "%s is the sandbox of this directory already, made with another %s: `hull rm %s` "
				 "first, or choose "
				 "a --name for a second one",
				 s->name, flag, s->name);
	return 0;
}

int create_again(struct cli *cli, const struct create_place *place, char **name, struct hull_error *err)
{
	*name = NULL;
	int r = cli_paths(cli, err);
	if (r >= 0 && flag_name)
		r = hull_name_check(flag_name, err);
	if (r < 0)
		return r;
	char **names = NULL;
	r = hull_sandbox_list(&cli->paths, &names, err);
	for (size_t i = 0; r >= 0 && names[i] && !*name; i++) {
		_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
		struct hull_error why;
		if (flag_name && strcmp(names[i], flag_name) != 0)
			continue;
		int got = hull_sandbox_load(&cli->paths, names[i], &s, &why);
		if (got < 0 && flag_name && got != -ENOENT)
			r = hull_fail(err, got, "%s", why.msg);
		if (got < 0 || (!flag_name && s.remove))
			continue;
		if (!same_place(&s, place)) {
			if (flag_name)
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
		r = check_same(cli, &s, place, err);
		*name = strdup(s.name);
	}
	hull_strv_free(names);
	if (r < 0) {
		free(*name);
		*name = NULL;
	}
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Converts flags and words to a hull_create_spec, the description of the sandbox to make. The library does the rest. */
#include "cli/create.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/sandbox/create.h"
#include "lib/sandbox/size.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

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

/* --- words --- */

static bool looks_like_path(const char *word)
{
	struct stat st;
	return strchr(word, '/') || word[0] == '.' || stat(word, &st) == 0;
}

/* [AGENT] [PATH...]: is the first word an agent? */
static int first_word(const struct cli *cli, bool *agent, struct hull_error *err)
{
	const char *word = cli->words[0];
	*agent = word && !strcmp(word, "shell");
	if (!word || *agent || looks_like_path(word))
		return 0;
	_cleanup_free_ char *shown = hull_printable(word, strlen(word));
	if (hull_streq(cli->verb->name, "run"))
		return hull_fail(err, -EINVAL,
				 "\"%s\" is neither an agent (there is: shell) nor a directory: put a "
				 "command behind --, as in `hull run -- %s`",
				 shown ? shown : "", shown && *shown ? shown : "make");
	return hull_fail(err, -EINVAL, "\"%s\" is neither an agent (there is: shell) nor a directory",
			 shown ? shown : "");
}

/* --- sizes: error messages of the library name members, here they must name flags --- */

int create_flag_words(struct hull_error *err)
{
	static const char *const members[] = {"cpus ", "memory ", "disk ", "swap "};
	struct hull_error why = *err;
	for (size_t i = 0; i < sizeof members / sizeof *members; i++)
		if (hull_starts(why.msg, members[i]))
			return hull_fail(err, why.code, "--%.1000s", why.msg);
	return why.code;
}

int create_memory(const char *text, uint64_t host, uint64_t *out, struct hull_error *err)
{
	uint64_t v = 0;
	int r = text ? hull_parse_size(text, &v, err) : 0;
	if (r < 0)
		return hull_wrap(err, "--memory");
	r = size_memory(text && !v ? HULL_NONE : v, host, out, err); /* 0 is not the default */
	return r < 0 ? create_flag_words(err) : 0;
}

int create_cpus(const char *text, unsigned host, unsigned *out, struct hull_error *err)
{
	uint64_t v = 0;
	_cleanup_free_ char *shown = text ? hull_printable(text, strlen(text)) : NULL;
	if (text && hull_parse_u64(text, UINT_MAX, &v) < 0)
		return hull_fail(err, -EINVAL, "--cpus %s: it takes a whole number, 0 = all of the host's %u",
				 shown ? shown : "", host);
	return size_cpus(v, host, out, err) < 0 ? create_flag_words(err) : 0;
}

int create_swap(const char *text, uint64_t disk, uint64_t *out, struct hull_error *err)
{
	uint64_t v = 0;
	int r = text ? hull_parse_size(text, &v, err) : 0;
	if (r < 0)
		return hull_wrap(err, "--swap");
	return size_swap(v, disk, out, err) < 0 ? create_flag_words(err) : 0;
}

int create_disk(const char *text, uint64_t *out, struct hull_error *err)
{
	uint64_t v = 0;
	int r = text ? hull_parse_size(text, &v, err) : 0;
	if (r < 0)
		return hull_wrap(err, "--disk");
	return size_disk(text && !v ? HULL_NONE : v, out, err) < 0 ? create_flag_words(err) : 0;
}

/* The flags that were given, validated; the library has the defaults. */
static int sizes(struct hull_create_spec *spec, struct hull_error *err)
{
	unsigned cpus = 0;
	uint64_t memory = 0, disk = 0, swap = 0;
	int r = create_cpus(flag_cpus, size_host_cpus(), &cpus, err);
	if (r >= 0)
		r = create_memory(flag_memory, size_host_memory(), &memory, err);
	if (r >= 0)
		r = create_disk(flag_disk, &disk, err);
	if (r >= 0)
		r = create_swap(flag_swap, disk, &swap, err);
	spec->cpus = flag_cpus ? cpus : 0;
	spec->memory = flag_memory ? memory : 0;
	spec->disk = !flag_disk ? 0 : disk ? disk : HULL_NONE;
	spec->swap = !flag_swap ? 0 : swap ? swap : HULL_NONE;
	return r;
}

/* --- making --- */

static unsigned flags_given(void)
{
	/* For tests, which cannot wait for templates. */
	const char *never = getenv("HULL_COLD");
	bool cold = flag_cold || (!flag_template && never && *never && strcmp(never, "0") != 0);
	return (flag_no_network ? HULL_CREATE_NO_NETWORK : 0) | (flag_no_docker ? HULL_CREATE_NO_DOCKER : 0) |
	       (flag_no_git_identity ? HULL_CREATE_NO_GIT_IDENTITY : 0) | (cold ? HULL_CREATE_COLD : 0);
}

static int fill(struct cli *cli, unsigned flags, struct hull_create_spec *spec, struct hull_error *err)
{
	static const char *const here[] = {".", NULL};
	bool agent;
	int r = first_word(cli, &agent, err);
	if (r < 0)
		return r;
	const char *const *paths = (const char *const *)cli->words + agent;
	*spec = (struct hull_create_spec){.size = sizeof *spec,
					  .name = flag_name,
					  .publish = (const char *const *)flag_publish,
					  .ca = (const char *const *)flag_ca,
					  .image = flag_image,
					  .engine = flag_engine,
					  .template_name = flag_template,
					  .flags = flags | flags_given()};
	if (flag_clone) {
		spec->clone = *paths ? *paths++ : ".";
	} else if (!*paths && hull_streq(cli->verb->name, "run")) {
		paths = here;
	}
	spec->paths = paths;
	return sizes(spec, err);
}

/* -e and --env-file. A file in a directory that the sandbox gets is untrusted. */
static int environment(struct cli *cli, const struct hull_create_spec *spec, char ***env, struct hull_error *err)
{
	char **given = NULL;
	int r = flag_env_file ? create_given(cli->hull, spec, &given, err) : 0;
	if (r >= 0)
		r = create_env(cli->paths, given, flag_env_file, flag_env, env, err);
	hull_strv_free(given);
	return r;
}

int create_make(struct cli *cli, unsigned flags, char **name, char ***env, struct hull_error *err)
{
	struct hull_create_spec spec;
	int r = fill(cli, flags, &spec, err);
	if (r >= 0)
		r = cli_open(cli, flag_quiet, err);
	if (r >= 0)
		r = environment(cli, &spec, env, err);
	if (r >= 0) {
		spec.env = (const char *const *)*env;
		r = hull_create(cli->hull, &spec, name, err);
	}
	if (r < 0)
		r = create_flag_words(err);
	/* Users who know docker's -t expect a terminal. */
	if (r == -ENOENT && flag_template && hull_streq(cli->verb->name, "run") && strstr(err->msg, "template")) {
		struct hull_error why = *err;
		return hull_fail(err, r, "%.800s; -t names a template here, a terminal is used where there is one",
				 why.msg);
	}
	return r;
}

bool create_quiet(void)
{
	return flag_quiet;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hull image build, ls, rm, inspect. */
#include "cli/cli.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "lib/saved/aside.h"
#include "cli/out.h"
#include "lib/saved/seed.h"
#include "image/image.h"

#include <string.h>
#include <time.h>

/* --- build --- */

static const char *build_name, *build_recipe, *build_mirror;
static bool build_again, build_quiet;

static const struct cli_opt build_options[] = {
	{0, "name", "NAME", "the name it gets (default \"default\")", .text = &build_name, .complete = CLI_IMAGE},
	{0, "recipe", "FILE", "the list of packages (default: debian-trixie.packages of hull)", .text = &build_recipe,
	 .complete = CLI_FILE},
	{0, "mirror", "URL", "the Debian mirror (default: HULL_MIRROR, else the one this machine uses)",
	 .text = &build_mirror},
	{0, "rebuild", NULL, "even when there is such an image already", .flag = &build_again},
	{'q', "quiet", NULL, "no progress; only the digest", .flag = &build_quiet},
	{0},
};

static void on_progress(void *ctx, const char *stage, int percent, const char *detail)
{
	char text[160];
	int n = snprintf(text, sizeof text, "%s", stage);
	struct cli_progress *p = cli_progress_current();
	/* Percentages only on a terminal; in a pipe one line per stage. */
	if (p->tty && percent >= 0 && n > 0 && (size_t)n < sizeof text)
		n += snprintf(text + n, sizeof text - (size_t)n, " %d%%", percent);
	if (p->tty && detail && *detail && n > 0 && (size_t)n < sizeof text)
		snprintf(text + n, sizeof text - (size_t)n, " (%s)", detail);
	cli_progress_stage(p, text);
}

/* During a build, signals are handled by the machine that is started for it. */
static int seed(void *ctx, const struct hull_image *unfinished, const char *seed_img, const char *rootfs_tar,
		struct hull_error *err)
{
	struct cli *cli = ctx;
	int r = cli_catch(cli, err);
	return r < 0 ? r : seed_disk(cli->hull, unfinished, seed_img, rootfs_tar, err);
}

static int build(struct cli *cli, struct hull_error *err)
{
	int r = cli_open(cli, cli->quiet, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *init = hull_beside("hull-init", X_OK, err);
	_cleanup_free_ char *keeper = init ? hull_beside("hull-keeper", X_OK, err) : NULL;
	if (!keeper)
		return err->code;
	aside_sweep(cli->paths);
	struct cli_progress progress;
	cli_progress_begin(&progress, build_quiet, true, "image");
	_cleanup_(hull_image_free) struct hull_image image = {0};
	struct hull_image_build ask = {.name = build_name,
				       .recipe = build_recipe,
				       .mirror = build_mirror,
				       .init = init,
				       .rebuild = build_again,
				       .progress = on_progress,
				       .ctx = cli,
				       .seed = seed};
	uint64_t begin = cli_now_ms();
	r = hull_image_build(cli->paths, &ask, &image, err);
	cli_progress_end(&progress);
	if (r == -ECANCELED || r == -EINTR) {
		cli_error("%s", err->msg);
		return 130;
	}
	if (r < 0)
		return r;
	uint64_t seconds = (cli_now_ms() - begin) / 1000;
	if (!build_quiet && seconds)
		cli_note("image %s is ready after %llu s", build_name ? build_name : "default",
			 (unsigned long long)seconds);
	if (!build_quiet && json_is_false(json_object_get(image.about, "docker")))
		cli_note("the recipe has no docker.io: nothing is preloaded, and sandboxes of this image have no "
			 "Docker; make them with --no-docker");
	printf("%s\n", image.digest);
	return 0;
}

static const struct cli_verb verb_build = {
	.name = "build",
	.usage = "",
	.summary = "build the base image",
	.about = "Installs Debian with the packages of the recipe, takes a few minutes and about 1 GiB, and prints the "
		 "image's "
		 "digest. With nothing changed there is nothing to do. Interrupted, it leaves nothing behind.",
	.options = build_options,
	.run = build,
};

/* --- ls --- */

static bool ls_quiet, ls_json;

static const struct cli_opt ls_options[] = {
	{'q', "quiet", NULL, "digests only", .flag = &ls_quiet},
	{0, "json", NULL, "as JSON", .flag = &ls_json},
	{0},
};

/* Disk usage of its files. */
static uint64_t stored(const struct hull_image *im)
{
	uint64_t sum = 0;
	const char *name;
	json_t *part;
	json_object_foreach(json_object_get(im->about, "parts"), name, part)
	{
		json_int_t n = json_integer_value(json_object_get(part, "stored"));
		sum += n > 0 ? (uint64_t)n : 0;
	}
	return sum;
}

static json_t *about(const struct hull_image *im)
{
	json_t *o = json_object();
	json_object_set_new(o, "digest", json_string(im->digest));
	json_object_set_new(o, "dir", json_string(im->dir));
	json_object_update_missing(o, im->about);
	return o;
}

static const char *text_of(const struct hull_image *im, const char *key)
{
	const char *s = json_string_value(json_object_get(im->about, key));
	return s ? s : "-";
}

static int list(struct cli *cli, struct hull_error *err)
{
	struct hull_image *images = NULL;
	size_t count = 0;
	char **skipped = NULL;
	int r = cli_open(cli, cli->quiet, err);
	if (r >= 0)
		r = hull_image_list(cli->paths, &images, &count, &skipped, err);
	if (r < 0)
		return r;
	json_t *all = json_array();
	_cleanup_(cli_table_free) struct cli_table t = {.columns = 5};
	static const char *const heads[] = {"NAME", "DIGEST", "KERNEL", "SIZE", "AGE"};
	for (size_t i = 0; i < 5; i++)
		cli_cell(&t, CLI_PLAIN, heads[i]);
	for (size_t i = 0; i < count; i++) {
		json_array_append_new(all, about(&images[i]));
		if (ls_quiet && !ls_json)
			printf("%s\n", images[i].digest);
		char size[32], age[32];
		time_t now = time(NULL);
		json_int_t created = json_integer_value(json_object_get(images[i].about, "created"));
		cli_cell(&t, CLI_PLAIN, text_of(&images[i], "name"));
		cli_cellf(&t, CLI_PLAIN, "%.12s", images[i].digest);
		cli_cell(&t, CLI_PLAIN, text_of(&images[i], "kernel"));
		cli_cell(&t, CLI_PLAIN, hull_format_size(stored(&images[i]), size, sizeof size));
		cli_cell(&t, CLI_PLAIN,
			 hull_format_age(now > created ? (uint64_t)(now - created) : 0, age, sizeof age));
		hull_image_free(&images[i]);
	}
	if (ls_json)
		cli_json(all);
	else if (!ls_quiet)
		cli_table_print(&t);
	for (char **s = skipped; s && *s; s++)
		cli_note("image %s is damaged: `hull image inspect %s` says how", *s, *s);
	json_decref(all);
	free(images);
	hull_strv_free(skipped);
	return 0;
}

static const struct cli_verb verb_images = {
	.name = "ls",
	.usage = "",
	.summary = "list the base images",
	.aka = "list ps",
	.options = ls_options,
	.run = list,
};

/* --- rm --- */

static bool rm_force;

static const struct cli_opt rm_options[] = {
	{'f', "force", NULL, "even when sandboxes use it: they cannot be started then", .flag = &rm_force},
	{0},
};

static int drop(struct cli *cli, struct hull_error *err)
{
	int r = cli_open(cli, cli->quiet, err);
	if (r < 0)
		return r;
	int worst = 0;
	for (size_t i = 0; i < cli->word_count; i++) {
		struct hull_error why = {0};
		if (hull_image_remove(cli->paths, cli->words[i], rm_force, &why) < 0) {
			cli_error("%s", why.msg);
			worst = CLI_EXIT_HULL;
		} else {
			printf("%s\n", cli->words[i]);
		}
	}
	return worst;
}

static const struct cli_verb verb_drop = {
	.name = "rm",
	.usage = "IMAGE...",
	.summary = "remove base images, by name or digest",
	.aka = "remove delete",
	.options = rm_options,
	.min_words = 1,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_IMAGE,
	.run = drop,
};

/* --- inspect --- */

static bool inspect_verify, inspect_json;

static const struct cli_opt inspect_options[] = {
	{0, "verify", NULL, "read every part and compare its checksum first", .flag = &inspect_verify},
	{0, "json", NULL, "accepted for habit: it is JSON anyway", .flag = &inspect_json},
	{0},
};

static int inspect(struct cli *cli, struct hull_error *err)
{
	_cleanup_(hull_image_free) struct hull_image image = {0};
	int r = cli_open(cli, cli->quiet, err);
	if (r >= 0)
		r = hull_image_find(cli->paths, cli->word_count ? cli->words[0] : NULL, &image, err);
	if (r >= 0 && inspect_verify)
		r = hull_image_verify(&image, err);
	if (r < 0)
		return r;
	json_t *o = about(&image);
	cli_json(o);
	json_decref(o);
	return 0;
}

static const struct cli_verb verb_inspect = {
	.name = "inspect",
	.usage = "[IMAGE]",
	.summary = "show all details of a base image, as JSON",
	.aka = "show info",
	.options = inspect_options,
	.max_words = 1,
	.complete = CLI_IMAGE,
	.run = inspect,
};

static const struct cli_verb *const below[] = {&verb_build, &verb_images, &verb_drop, &verb_inspect, NULL};

const struct cli_verb verb_image = {
	.name = "image",
	.usage = "COMMAND",
	.summary = "build, list, remove and inspect base images",
	.aka = "images",
	.verbs = below,
};

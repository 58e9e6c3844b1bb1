/* SPDX-License-Identifier: Apache-2.0 */
/* hull template ls, inspect, save, rm, export, import: the saved machines that sandboxes start from. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"
#include "cli/signals.h"
#include "lib/files/reach.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

static bool quiet, json_out, replace_it;
static const char *output;

/* --- ls --- */

static const struct cli_opt ls_options[] = {
	{0, "json", NULL, "as JSON", .flag = &json_out},
	{0},
};

static void show(struct cli_table *t, json_t *list, const struct hull_template_info *i)
{
	char text[16];
	uint64_t now = (uint64_t)time(NULL), used = i->used;
	json_array_append_new(list, json_loads(i->json, 0, NULL));
	cli_cellf(t, CLI_PLAIN, "%.*s", i->own ? HULL_NAME_MAX : 12, i->name);
	if (i->error) {
		for (int n = 0; n < 4; n++)
			cli_cell(t, CLI_PLAIN, "-");
		cli_cell(t, CLI_BAD, i->error);
		return;
	}
	cli_cellf(t, CLI_PLAIN, "%u", i->cpus);
	cli_cell(t, CLI_PLAIN, hull_format_size(i->memory, text, sizeof(text)));
	cli_cell(t, CLI_PLAIN, hull_format_size(i->stored, text, sizeof(text)));
	cli_cell(t, CLI_PLAIN, used ? hull_format_age(now > used ? now - used : 0, text, sizeof(text)) : "-");
	cli_cellf(t, CLI_PLAIN, "%s, image %.12s%s", i->engine, i->image, i->no_docker ? ", no Docker" : "");
}

static int ls(struct cli *cli, struct hull_error *err)
{
	static const char *const heading[] = {"TEMPLATE", "CPUS", "MEMORY", "STORED", "USED", "MADE WITH"};
	struct cli_table t = {.columns = 6};
	struct hull_template_info **all = NULL;
	int r = cli_open(cli, cli->quiet, err);
	if (r >= 0)
		r = hull_templates(cli->hull, &all, err);
	if (r < 0)
		return r;
	json_t *list = json_array();
	for (size_t i = 0; i < t.columns; i++)
		cli_cell(&t, CLI_DIM, heading[i]);
	for (struct hull_template_info **i = all; *i; i++)
		show(&t, list, *i);
	if (json_out)
		cli_json(list);
	else
		cli_table_print(&t);
	json_decref(list);
	cli_table_free(&t);
	hull_templates_free(all);
	return 0;
}

static int find(struct cli *cli, const char *word, struct hull_template_info **info, struct hull_error *err)
{
	int r = cli_open(cli, cli->quiet, err);
	return r < 0 ? r : hull_template_inspect(cli->hull, word, info, err);
}

static int inspect(struct cli *cli, struct hull_error *err)
{
	struct hull_template_info *info = NULL;
	int r = find(cli, cli->words[0], &info, err);
	if (r < 0)
		return r;
	if (info->error) {
		r = hull_fail(err, -EBADMSG, "%s", info->error);
	} else {
		json_t *j = json_loads(info->json, 0, NULL);
		cli_json(j);
		json_decref(j);
	}
	hull_template_info_free(info);
	return r;
}

static int rm(struct cli *cli, struct hull_error *err)
{
	for (size_t i = 0; i < cli->word_count; i++) {
		struct hull_template_info *info = NULL;
		int r = find(cli, cli->words[i], &info, err);
		if (r >= 0)
			r = hull_template_remove(cli->hull, info->name, err);
		if (r >= 0)
			printf("%s\n", info->name);
		hull_template_info_free(info);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- save --- */

static const struct cli_opt save_options[] = {
	{'f', "force", NULL, "in place of one of the same name", .flag = &replace_it},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

static int save(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0];
	int r = cli_open(cli, quiet, err);
	if (r >= 0)
		r = cli_catch(cli, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, name);
	r = hull_template_save(cli->hull, name, cli->words[1], replace_it ? HULL_SAVE_REPLACE : 0, err);
	cli_progress_end(&progress);
	if (r >= 0)
		printf("%s\n", cli->words[1]);
	return cli_signals_code(r);
}

/* --- export, import --- */

static const struct cli_opt export_options[] = {
	{'o', "output", "FILE", "where to (default TEMPLATE.hull; - = standard output)", .text = &output,
	 .complete = CLI_FILE},
	{0},
};

/* The file gets its name when it is complete. A sandbox may write to the directory at the same time, and may have
 * created any file there: nothing is written through a symlink. */
static int export_to(struct cli *cli, const char *name, const char *path, struct hull_error *err)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	_cleanup_free_ char *above = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	_cleanup_free_ char *tmp = hull_fmt("%s.partial", base);
	_cleanup_free_ char *real = NULL;
	int r = above && tmp ? reach_real(cli->paths, above, &real, err) : hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int at = r < 0 ? r : reach_open(real, err);
	if (at < 0)
		return at;
	unlinkat(at, tmp, 0); /* of one that was interrupted */
	_cleanup_close_ int fd = openat(at, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return hull_fail_errno(err, "cannot make %s.partial", path);
	r = hull_template_export(cli->hull, name, fd, err);
	if (r >= 0 && fsync(fd) < 0)
		r = hull_fail_errno(err, "cannot write %s.partial", path);
	if (r >= 0 && renameat(at, tmp, at, base) < 0)
		r = hull_fail_errno(err, "cannot name %s", path);
	if (r < 0)
		unlinkat(at, tmp, 0);
	return r;
}

static int export_as(struct cli *cli, const char *name, struct hull_error *err)
{
	_cleanup_free_ char *path = output ? strdup(output) : hull_fmt("%s.hull", name);
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!strcmp(path, "-")) {
		if (isatty(STDOUT_FILENO))
			return hull_fail(err, -EINVAL, "an archive is nothing for a terminal: send it to a file");
		return hull_template_export(cli->hull, name, STDOUT_FILENO, err);
	}
	int r = export_to(cli, name, path, err);
	if (r >= 0)
		printf("%s\n", path);
	return r;
}

static int export(struct cli *cli, struct hull_error *err)
{
	struct hull_template_info *info = NULL;
	int r = find(cli, cli->words[0], &info, err);
	if (r >= 0)
		r = export_as(cli, info->name, err);
	hull_template_info_free(info);
	return r;
}

static int import(struct cli *cli, struct hull_error *err)
{
	const char *file = cli->words[0], *name = cli->words[1];
	_cleanup_close_ int fd = !strcmp(file, "-") ? dup(STDIN_FILENO) : open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return hull_fail_errno(err, "%s", file);
	int r = cli_open(cli, quiet, err);
	if (r >= 0)
		r = hull_template_import(cli->hull, fd, name, replace_it ? HULL_SAVE_REPLACE : 0, err);
	if (r >= 0)
		printf("%s\n", name);
	/* Else it is the name that is wrong. */
	return r < 0 && r != -EEXIST && r != -EINVAL ? hull_wrap(err, "%s", file) : r;
}

/* --- the table --- */

static const struct cli_verb verb_ls_ = {
	.name = "ls", .usage = "", .summary = "list templates", .options = ls_options, .run = ls};
static const struct cli_verb verb_inspect_ = {.name = "inspect",
					      .usage = "TEMPLATE",
					      .summary = "show all about one, as JSON",
					      .min_words = 1,
					      .max_words = 1,
					      .complete = CLI_TEMPLATE,
					      .run = inspect};
static const struct cli_verb verb_rm_ = {
	.name = "rm",
	.usage = "TEMPLATE...",
	.summary = "remove templates",
	.about = "Sandboxes that run on one go on. Hull's own are built again when they are needed.",
	.min_words = 1,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_TEMPLATE,
	.run = rm};
static const struct cli_verb verb_save_ = {
	.name = "save",
	.usage = "NAME TEMPLATE",
	.summary = "make a running sandbox the start of new ones",
	.about = "Tools installed, services running, files in place: `hull run -t TEMPLATE` starts there. What "
		 "is "
		 "in its memory and on its disk is in the template, secrets that you put there as well.",
	.options = save_options,
	.min_words = 2,
	.max_words = 2,
	.complete = CLI_SANDBOX,
	.run = save};
static const struct cli_verb verb_export_ = {.name = "export",
					     .usage = "TEMPLATE",
					     .summary = "write one to a file",
					     .about = "One file, compressed and checksummed. It can be used where the "
						      "same engine and the same base image are.",
					     .options = export_options,
					     .min_words = 1,
					     .max_words = 1,
					     .complete = CLI_TEMPLATE,
					     .run = export};
static const struct cli_verb verb_import_ = {.name = "import",
					     .usage = "FILE TEMPLATE",
					     .summary = "read one from a file (- = standard input)",
					     .about = "A damaged file is refused.",
					     .options = save_options,
					     .min_words = 2,
					     .max_words = 2,
					     .complete = CLI_FILE,
					     .run = import};

static const struct cli_verb *const verbs[] = {&verb_ls_,     &verb_inspect_, &verb_save_, &verb_rm_,
					       &verb_export_, &verb_import_,  NULL};

const struct cli_verb verb_template = {
	.name = "template",
	.usage = "COMMAND",
	.summary = "what sandboxes start from",
	.about = "A template is a booted machine with Docker up, frozen. Hull makes one for each kind of sandbox "
		 "(image, "
		 "cpus, memory, disk) when the first is created; `template save` makes one of a sandbox of yours.",
	.aka = "templates",
	.verbs = verbs,
};

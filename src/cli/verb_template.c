/* hull template ls, inspect, save, rm, export, import: what sandboxes start from. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "cli/out.h"
#include "cli/signals.h"
#include "lib/files/reach.h"
#include "snapshot/snapshot.h"
#include "engine/engine.h"
#include "image/image.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

static bool quiet, json_out, replace_it;
static const char *output;

static uint64_t stored(const struct hull_snapshot *s)
{
	uint64_t sum = 0;
	const char *name;
	json_t *f;
	json_object_foreach(s->files, name, f) sum += (uint64_t)json_integer_value(json_object_get(f, "stored"));
	return sum;
}

static json_t *describe(const struct hull_paths *p, const char *name, const struct hull_snapshot *s, const char *error)
{
	return json_pack("{s:s, s:b, s:s*, s:s*, s:s*, s:s*, s:i, s:I, s:I, s:b, s:I, s:I, s:I, s:s*, s:s*, s:O*}",
			 "name", name, "own", !hull_template_is_key(name), "image", s->image, "engine", s->engine,
			 "accel", s->accel, "hull", s->hull, "cpus", (int)s->cpus, "memory", (json_int_t)s->memory,
			 "disk", (json_int_t)s->disk, "no_docker", s->no_docker, "created", (json_int_t)s->created,
			 "used", (json_int_t)hull_template_used(p, name), "stored", (json_int_t)stored(s), "source",
			 hull_template_is_key(name) ? NULL : s->source, "error", error, "files", s->files);
}

/* --- ls --- */

static const struct cli_opt ls_options[] = {
	{0, "json", NULL, "as JSON", .flag = &json_out},
	{0},
};

static void show(struct cli *cli, struct cli_table *t, json_t *list, const char *name)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	_cleanup_free_ char *dir = hull_template_path(cli->paths, name);
	struct hull_error why = {0};
	char text[16];
	uint64_t now = (uint64_t)time(NULL), used = hull_template_used(cli->paths, name);
	bool ok = dir && hull_snapshot_load(dir, &s, &why) == 0;
	json_array_append_new(list, describe(cli->paths, name, &s, ok ? NULL : why.msg));
	cli_cellf(t, CLI_PLAIN, "%.*s", hull_template_is_key(name) ? 12 : HULL_NAME_MAX, name);
	if (!ok) {
		for (int i = 0; i < 4; i++)
			cli_cell(t, CLI_PLAIN, "-");
		cli_cell(t, CLI_BAD, why.msg);
		return;
	}
	cli_cellf(t, CLI_PLAIN, "%u", s.cpus);
	cli_cell(t, CLI_PLAIN, hull_format_size(s.memory, text, sizeof(text)));
	cli_cell(t, CLI_PLAIN, hull_format_size(stored(&s), text, sizeof(text)));
	cli_cell(t, CLI_PLAIN, used ? hull_format_age(now > used ? now - used : 0, text, sizeof(text)) : "-");
	cli_cellf(t, CLI_PLAIN, "%s, image %.12s%s", s.engine, s.image, s.no_docker ? ", no Docker" : "");
}

static int ls(struct cli *cli, struct hull_error *err)
{
	static const char *const heading[] = {"TEMPLATE", "CPUS", "MEMORY", "STORED", "USED", "MADE WITH"};
	struct cli_table t = {.columns = 6};
	char **names = NULL;
	int r = cli_open(cli, cli->quiet, err);
	if (r >= 0)
		r = hull_template_list(cli->paths, &names, err);
	if (r < 0)
		return r;
	json_t *list = json_array();
	for (size_t i = 0; i < t.columns; i++)
		cli_cell(&t, CLI_DIM, heading[i]);
	for (char **n = names; *n; n++)
		show(cli, &t, list, *n);
	if (json_out)
		cli_json(list);
	else
		cli_table_print(&t);
	json_decref(list);
	cli_table_free(&t);
	hull_strv_free(names);
	return 0;
}

static int find(struct cli *cli, const char *word, char **name, char **dir, struct hull_error *err)
{
	int r = cli_open(cli, cli->quiet, err);
	if (r >= 0)
		r = hull_template_find(cli->paths, word, name, err);
	if (r < 0)
		return r;
	*dir = hull_template_path(cli->paths, *name);
	return *dir ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

static int inspect(struct cli *cli, struct hull_error *err)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	_cleanup_free_ char *name = NULL, *dir = NULL;
	int r = find(cli, cli->words[0], &name, &dir, err);
	if (r >= 0)
		r = hull_snapshot_load(dir, &s, err);
	if (r < 0)
		return r;
	json_t *j = describe(cli->paths, name, &s, NULL);
	cli_json(j);
	json_decref(j);
	return 0;
}

static int rm(struct cli *cli, struct hull_error *err)
{
	for (size_t i = 0; i < cli->word_count; i++) {
		_cleanup_free_ char *name = NULL, *dir = NULL;
		int r = find(cli, cli->words[i], &name, &dir, err);
		_cleanup_free_ char *parent = r < 0 ? NULL : hull_template_path(cli->paths, NULL);
		if (r >= 0)
			r = parent ? hull_saved_remove(parent, name, err) : hull_fail(err, -ENOMEM, "out of memory");
		if (r < 0)
			return r;
		printf("%s\n", name);
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
	return r == -EINTR && cli_signals_ended() ? 128 + cli_signals_ended() : r;
}

/* --- export, import --- */

static const struct cli_opt export_options[] = {
	{'o', "output", "FILE", "where to (default TEMPLATE.hull; - = standard output)", .text = &output,
	 .complete = CLI_FILE},
	{0},
};

/* Under its name only when it is whole. A sandbox may write in the directory at the same time, and have left anything
 * there: nothing is written through a symlink. */
static int export_to(struct cli *cli, const char *dir, const char *path, struct hull_error *err)
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
	r = hull_archive_export(dir, fd, err);
	if (r >= 0 && fsync(fd) < 0)
		r = hull_fail_errno(err, "cannot write %s.partial", path);
	if (r >= 0 && renameat(at, tmp, at, base) < 0)
		r = hull_fail_errno(err, "cannot name %s", path);
	if (r < 0)
		unlinkat(at, tmp, 0);
	return r;
}

static int export(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *name = NULL, *dir = NULL;
	int r = find(cli, cli->words[0], &name, &dir, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = output ? strdup(output) : hull_fmt("%s.hull", name);
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!strcmp(path, "-")) {
		if (isatty(STDOUT_FILENO))
			return hull_fail(err, -EINVAL, "an archive is nothing for a terminal: send it to a file");
		return hull_archive_export(dir, STDOUT_FILENO, err);
	}
	r = export_to(cli, dir, path, err);
	if (r >= 0)
		printf("%s\n", path);
	return r;
}

static int fill_from_file(struct cli *cli, const char *dir, struct hull_error *err)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	_cleanup_(hull_image_free) struct hull_image image = {0};
	bool in = !strcmp(cli->words[0], "-");
	_cleanup_close_ int fd = in ? dup(STDIN_FILENO) : open(cli->words[0], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return hull_fail_errno(err, "%s", cli->words[0]);
	int r = hull_archive_import(fd, dir, err);
	if (r >= 0)
		r = hull_snapshot_load(dir, &s, err);
	if (r < 0)
		return hull_wrap(err, "%s", cli->words[0]);
	_cleanup_free_ char *identity = hull_engine_identity(NULL);
	struct hull_error why = {0};
	struct hull_probe probe;
	hull_engine_probe_cached(cli->paths->runtime, &probe);
	if (hull_snapshot_fits(&s, identity ? identity : "", probe.kvm_usable ? "kvm" : "tcg", &why) < 0)
		cli_note("it cannot be used here: %s", why.msg);
	else if (hull_image_find(cli->paths, s.image, &image, &why) < 0)
		cli_note("it needs the base image %s, which is not here", s.image);
	return 0;
}

/* Under its name only when it is whole. */
static int import(struct cli *cli, struct hull_error *err)
{
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	const char *name = cli->words[1];
	int r = cli_open(cli, quiet, err);
	if (r >= 0)
		r = hull_template_name_check(name, err);
	_cleanup_free_ char *parent = r < 0 ? NULL : hull_template_path(cli->paths, NULL);
	_cleanup_free_ char *path = r < 0 ? NULL : hull_template_path(cli->paths, name);
	if (r >= 0 && (!parent || !path))
		r = hull_fail(err, -ENOMEM, "out of memory");
	if (r >= 0 && !replace_it && access(path, F_OK) == 0)
		r = hull_fail(err, -EEXIST, "there is a template %s already: choose another name, or -f to replace it",
			      name);
	if (r >= 0)
		r = hull_saved_scratch(parent, &scratch, err);
	if (r >= 0)
		r = fill_from_file(cli, scratch.path, err);
	if (r >= 0)
		r = hull_scratch_commit(&scratch, parent, name, replace_it, err);
	if (r >= 0)
		printf("%s\n", name);
	return r < 0 ? r : 0;
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

/* SPDX-License-Identifier: Apache-2.0 */
/* hull snapshot create, ls, rm, restore: snapshots of a sandbox. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"
#include "cli/signals.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static bool quiet, json_out, replace_it;

#define DEFAULT_TAG "latest"

/* NAME[@TAG]; both owned by the caller. */
static int split(const char *word, char **name, char **tag, struct hull_error *err)
{
	const char *at = strchr(word, '@');
	*name = at ? strndup(word, (size_t)(at - word)) : strdup(word);
	*tag = strdup(at ? at + 1 : DEFAULT_TAG);
	return *name && *tag ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

/* --- create --- */

static const struct cli_opt create_options_[] = {
	{'f', "force", NULL, "in place of one of the same tag", .flag = &replace_it},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

static int create(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *name = NULL, *tag = NULL;
	double paused = 0;
	int r = split(cli->words[0], &name, &tag, err);
	if (r >= 0)
		r = cli_open(cli, quiet, err);
	if (r >= 0)
		r = cli_catch(cli, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, name);
	r = hull_snapshot_create(cli->hull, name, tag, replace_it ? HULL_SAVE_REPLACE : 0, &paused, err);
	cli_progress_end(&progress);
	if (r < 0)
		return cli_signals_code(r);
	if (!quiet && isatty(STDERR_FILENO))
		cli_note("%s stood still for %.0f ms", name, paused);
	printf("%s@%s\n", name, tag);
	return 0;
}

/* --- ls --- */

static const struct cli_opt ls_options[] = {
	{0, "json", NULL, "as JSON", .flag = &json_out},
	{0},
};

static void show(struct cli_table *t, json_t *list, const struct hull_saved_info *s)
{
	char size[16] = "-", age[16] = "-";
	uint64_t now = (uint64_t)time(NULL);
	if (!s->error) {
		hull_format_size(s->stored, size, sizeof(size));
		hull_format_age(now > s->created ? now - s->created : 0, age, sizeof(age));
	}
	json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:s*, s:s*}", "sandbox", s->sandbox, "tag", s->tag,
					      "created", (json_int_t)s->created, "stored", (json_int_t)s->stored,
					      "engine", *s->engine ? s->engine : NULL, "error", s->error));
	cli_cellf(t, CLI_PLAIN, "%s@%s", s->sandbox, s->tag);
	cli_cell(t, CLI_PLAIN, size);
	cli_cell(t, CLI_PLAIN, age);
	cli_cell(t, s->error ? CLI_BAD : CLI_PLAIN, s->error ? s->error : s->engine);
}

static int ls(struct cli *cli, struct hull_error *err)
{
	struct cli_table t = {.columns = 4};
	struct hull_saved_info **all = NULL;
	int r = cli_open(cli, true, err);
	if (r >= 0)
		r = hull_snapshots(cli->hull, cli->word_count ? cli->words[0] : NULL, &all, err);
	if (r < 0)
		return r;
	json_t *list = json_array();
	const char *const heading[] = {"SNAPSHOT", "STORED", "AGE", "ENGINE"};
	for (size_t i = 0; i < 4; i++)
		cli_cell(&t, CLI_DIM, heading[i]);
	for (struct hull_saved_info **s = all; *s; s++)
		show(&t, list, *s);
	if (json_out)
		cli_json(list);
	else
		cli_table_print(&t);
	json_decref(list);
	cli_table_free(&t);
	hull_snapshots_free(all);
	return 0;
}

/* --- rm --- */

static int rm(struct cli *cli, struct hull_error *err)
{
	int r = cli_open(cli, false, err);
	for (size_t i = 0; r >= 0 && i < cli->word_count; i++) {
		_cleanup_free_ char *name = NULL, *tag = NULL;
		r = split(cli->words[i], &name, &tag, err);
		if (r >= 0)
			r = hull_snapshot_remove(cli->hull, name, tag, err);
		if (r >= 0)
			printf("%s@%s\n", name, tag);
	}
	return r < 0 ? r : 0;
}

/* --- restore --- */

static int restore(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *name = NULL, *tag = NULL;
	int r = split(cli->words[0], &name, &tag, err);
	if (r >= 0)
		r = cli_open(cli, quiet, err);
	if (r >= 0)
		r = cli_catch(cli, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, name);
	r = hull_snapshot_restore(cli->hull, name, tag, err);
	cli_progress_end(&progress);
	if (r >= 0)
		printf("%s\n", name);
	return cli_signals_code(r);
}

/* --- the table --- */

static const struct cli_verb verb_create_ = {
	.name = "create",
	.usage = "NAME[@TAG]",
	.summary = "save a running sandbox as it is now",
	.about = "Processes, memory, containers and disk together. The sandbox stands still only while the memory it "
		 "has "
		 "changed is copied. Without a tag it is \"" DEFAULT_TAG "\".",
	.options = create_options_,
	.min_words = 1,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = create,
};
static const struct cli_verb verb_ls_ = {
	.name = "ls",
	.usage = "[NAME]",
	.summary = "list snapshots",
	.options = ls_options,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = ls,
};
static const struct cli_verb verb_rm_ = {
	.name = "rm",
	.usage = "NAME[@TAG]...",
	.summary = "remove snapshots",
	.about = "A sandbox that was restored from it goes on.",
	.min_words = 1,
	.max_words = CLI_WORDS_ANY,
	.complete = CLI_SANDBOX,
	.run = rm,
};
static const struct cli_opt restore_options[] = {
	{'q', "quiet", NULL, "no progress", .flag = &quiet},
	{0},
};
static const struct cli_verb verb_restore_ = {
	.name = "restore",
	.usage = "NAME[@TAG]",
	.summary = "put a sandbox back to a snapshot",
	.about = "What happened in it since is lost, on its disk too. It runs afterwards, with the processes of the "
		 "snapshot.",
	.options = restore_options,
	.min_words = 1,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = restore,
};

static const struct cli_verb *const verbs[] = {&verb_create_, &verb_ls_, &verb_rm_, &verb_restore_, NULL};

const struct cli_verb verb_snapshot = {
	.name = "snapshot",
	.usage = "COMMAND",
	.summary = "moments of a sandbox to come back to",
	.about = "A snapshot is a sandbox's memory, processes, containers and disk at one moment. It is kept with the "
		 "sandbox, and removed with it; `hull template save` makes one that outlives it.",
	.aka = "checkpoint save commit",
	.verbs = verbs,
};

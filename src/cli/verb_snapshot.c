/* hull snapshot create, ls, rm, restore: moments of a sandbox to come back to. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/saved/saved.h"
#include "engine/engine.h"
#include "image/image.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static bool quiet, json_out, replace_it;

#define DEFAULT_TAG "latest"

/* NAME[@TAG], checked; both owned by the caller. */
static int split(const char *word, char **name, char **tag, struct hull_error *err)
{
	const char *at = strchr(word, '@');
	*name = at ? strndup(word, (size_t)(at - word)) : strdup(word);
	*tag = strdup(at ? at + 1 : DEFAULT_TAG);
	if (!*name || !*tag)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_name_check(*tag, err);
	return r < 0 ? hull_wrap(err, "the tag") : 0;
}

/* The sandbox and where its snapshots are. */
static int open_place(struct cli *cli, const char *name, struct hull_sandbox *sb, char **parent, struct hull_error *err)
{
	int r = life_load(cli, name, sb, err);
	if (r < 0)
		return r;
	*parent = hull_sandbox_path(&cli->paths, name, "snapshots");
	return *parent ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

/* --- create --- */

static const struct cli_opt create_options_[] = {
	{'f', "force", NULL, "in place of one of the same tag", .flag = &replace_it},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

static int create(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *name = NULL, *tag = NULL, *parent = NULL;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	struct stat st;
	double paused = 0;
	int r = split(cli->words[0], &name, &tag, err);
	if (r >= 0)
		r = open_place(cli, name, &sb, &parent, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = hull_fmt("%s/%s", parent, tag);
	if (!replace_it && path && lstat(path, &st) == 0)
		return hull_fail(err, -EEXIST, "there is a snapshot %s@%s: choose another tag, or -f to replace it",
				 name, tag);
	if (!hull_sandbox_running(&cli->paths, name))
		return hull_fail(err, -ENOTCONN, "%s is not running: `hull start %s` first", name, name);
	if (cli_signals_catch() < 0)
		return hull_fail_errno(err, "catching signals");
	r = hull_saved_scratch(parent, &scratch, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, name);
	r = saved_take(&cli->paths, name, scratch.path, false, &progress, &paused, err);
	cli_progress_end(&progress);
	if (r >= 0)
		r = hull_scratch_commit(&scratch, parent, tag, replace_it, err);
	if (r < 0)
		return r == -EINTR && cli_signals_ended() ? 128 + cli_signals_ended() : r;
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

static void show(struct cli_table *t, json_t *list, const char *name, const char *tag, const char *dir)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	struct hull_error why = {0};
	char size[16] = "-", age[16] = "-";
	uint64_t stored = 0;
	bool ok = hull_snapshot_load(dir, &s, &why) == 0;
	const char *file;
	json_t *f;
	json_object_foreach(s.files, file, f) stored += (uint64_t)json_integer_value(json_object_get(f, "stored"));
	if (ok) {
		uint64_t now = (uint64_t)time(NULL);
		hull_format_size(stored, size, sizeof(size));
		hull_format_age(now > s.created ? now - s.created : 0, age, sizeof(age));
	}
	json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:s*, s:s*}", "sandbox", name, "tag", tag,
					      "created", (json_int_t)s.created, "stored", (json_int_t)stored, "engine",
					      s.engine, "error", ok ? NULL : why.msg));
	cli_cellf(t, CLI_PLAIN, "%s@%s", name, tag);
	cli_cell(t, CLI_PLAIN, size);
	cli_cell(t, CLI_PLAIN, age);
	cli_cell(t, ok ? CLI_PLAIN : CLI_BAD, ok ? s.engine : why.msg);
}

static void show_all(struct cli *cli, struct cli_table *t, json_t *list, const char *name)
{
	_cleanup_free_ char *parent = hull_sandbox_path(&cli->paths, name, "snapshots");
	struct dirent **found = NULL;
	int n = parent ? scandir(parent, &found, NULL, alphasort) : 0;
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *dir = hull_fmt("%s/%s", parent, found[i]->d_name);
		if (dir && hull_name_check(found[i]->d_name, NULL) == 0)
			show(t, list, name, found[i]->d_name, dir);
		free(found[i]);
	}
	free(found);
}

static int ls(struct cli *cli, struct hull_error *err)
{
	struct cli_table t = {.columns = 4};
	char **names = NULL;
	int r = cli_paths(cli, err);
	if (r >= 0 && cli->word_count) {
		_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
		r = life_load(cli, cli->words[0], &sb, err);
	} else if (r >= 0) {
		r = hull_sandbox_list(&cli->paths, &names, err);
	}
	if (r < 0)
		return r;
	json_t *list = json_array();
	const char *const heading[] = {"SNAPSHOT", "STORED", "AGE", "ENGINE"};
	for (size_t i = 0; i < 4; i++)
		cli_cell(&t, CLI_DIM, heading[i]);
	if (cli->word_count)
		show_all(cli, &t, list, cli->words[0]);
	for (char **n = names; n && *n; n++)
		show_all(cli, &t, list, *n);
	if (json_out)
		cli_json(list);
	else
		cli_table_print(&t);
	json_decref(list);
	cli_table_free(&t);
	hull_strv_free(names);
	return 0;
}

/* --- rm --- */

static int rm(struct cli *cli, struct hull_error *err)
{
	for (size_t i = 0; i < cli->word_count; i++) {
		_cleanup_free_ char *name = NULL, *tag = NULL, *parent = NULL;
		_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
		int r = split(cli->words[i], &name, &tag, err);
		if (r >= 0)
			r = open_place(cli, name, &sb, &parent, err);
		if (r >= 0)
			r = hull_saved_remove(parent, tag, err);
		if (r == -ENOENT)
			return hull_fail(err, r, "there is no snapshot %s@%s: `hull snapshot ls %s` lists them", name,
					 tag, name);
		if (r < 0)
			return r;
		printf("%s@%s\n", name, tag);
	}
	return 0;
}

/* --- restore --- */

/* Can the snapshot be restored, all of it, into this sandbox and by what is installed now? Everything is read that has
 * to be. */
static int check_all(struct cli *cli, const struct hull_sandbox *sb, const char *dir, const struct hull_snapshot *snap,
		     struct hull_error *err)
{
	static const char *const files[] = {HULL_SNAPSHOT_MEMORY, HULL_SNAPSHOT_DEVICE, HULL_SNAPSHOT_DISK};
	_cleanup_(hull_image_free) struct hull_image image = {0};
	_cleanup_free_ char *identity = hull_engine_identity(err);
	struct hull_probe probe;
	hull_engine_probe_cached(cli->paths.runtime, &probe);
	int r = identity ? hull_snapshot_fits(snap, identity, probe.kvm_usable ? "kvm" : "tcg", err) : err->code;
	if (r >= 0 && (!hull_streq(snap->image, sb->image) || snap->no_docker != sb->no_docker))
		r = hull_fail(err, -ENOTSUP, "%s was saved from another sandbox than %s", dir, sb->name);
	if (r >= 0)
		r = hull_image_find(&cli->paths, snap->image, &image, err);
	for (size_t i = 0; r >= 0 && i < sizeof files / sizeof *files; i++) {
		_cleanup_close_ int fd = hull_snapshot_open(dir, snap, files[i], NULL, err);
		r = fd < 0 ? fd : 0;
	}
	return r;
}

/* A copy of the snapshot's disk beside the sandbox's, on the host's disk when this returns. */
static int copy_disk(const char *dir, const struct hull_snapshot *snap, const char *home, struct hull_scratch *scratch,
		     struct hull_error *err)
{
	_cleanup_close_ int from = hull_snapshot_open(dir, snap, HULL_SNAPSHOT_DISK, NULL, err);
	return from < 0 ? from : hull_disk_clone(from, snap->disk, home, scratch, err);
}

static int set_restore(struct hull_sandbox *s, char *restore, const char *id, struct hull_error *err)
{
	char *state = strdup("stopped"), *copy = id ? strdup(id) : NULL;
	if (!state || !restore != !id || !copy != !id) {
		free(state);
		free(copy);
		free(restore);
		return hull_fail(err, -ENOMEM, "out of memory");
	}
	free(s->state);
	free(s->restore);
	free(s->restore_id);
	s->state = state;
	s->restore = restore;
	s->restore_id = copy;
	return 0;
}

/* Under the sandbox's lock: its disk becomes the snapshot's, its next start restores the memory. */
static int go_back(struct cli *cli, const char *name, const char *tag, const struct hull_snapshot *snap,
		   const struct hull_scratch *scratch, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	_cleanup_close_ int lock = hull_sandbox_lock(&cli->paths, name, err);
	if (lock < 0)
		return lock;
	_cleanup_free_ char *home = hull_sandbox_path(&cli->paths, name, NULL);
	_cleanup_close_ int dir = home ? open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir < 0)
		return hull_fail_errno(err, "cannot open %s", name);
	int r = hull_sandbox_load(&cli->paths, name, &s, err);
	/* Memory that it has aside (of a pause) is of the disk it has now: it is given up before that is replaced. The
	 * word that other memory belongs to the new disk comes after it. Between each two of these it boots. */
	if (r >= 0)
		r = set_restore(&s, NULL, NULL, err);
	if (r >= 0)
		r = hull_sandbox_save(&cli->paths, &s, err);
	if (r < 0)
		return r;
	if (renameat(scratch->fd, "disk.img", dir, "disk.img") < 0 || fsync(dir) < 0)
		return hull_fail_errno(err, "cannot replace the disk of %s", name);
	s.fresh = false;
	free(s.disk_boot);
	s.disk_boot = NULL;
	s.cpus = snap->cpus;
	s.memory = snap->memory;
	s.disk = snap->disk;
	s.swap = snap->swap;
	r = set_restore(&s, hull_fmt("sandboxes/%s/snapshots/%s", name, tag), snap->digest, err);
	return r < 0 ? r : hull_sandbox_save(&cli->paths, &s, err);
}

static int restore(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *name = NULL, *tag = NULL, *parent = NULL;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_(hull_snapshot_free) struct hull_snapshot snap = {0};
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	int r = split(cli->words[0], &name, &tag, err);
	if (r >= 0)
		r = open_place(cli, name, &sb, &parent, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *dir = hull_fmt("%s/%s", parent, tag);
	_cleanup_free_ char *home = hull_sandbox_path(&cli->paths, name, NULL);
	r = dir && home ? hull_snapshot_load(dir, &snap, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r == -ENOENT)
		return hull_fail(err, r, "there is no snapshot %s@%s: `hull snapshot ls %s` lists them", name, tag,
				 name);
	if (r >= 0 && sb.remove && hull_sandbox_running(&cli->paths, name))
		r = hull_fail(err, -EINVAL, "%s was made with --rm: it would be gone once it is stopped", name);
	if (r < 0)
		return r;
	if (cli_signals_catch() < 0)
		return hull_fail_errno(err, "catching signals");
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, name);
	/* Whatever can fail does so before anything is given up for it. */
	cli_progress_stage(&progress, "checking the snapshot");
	r = check_all(cli, &sb, dir, &snap, err);
	if (r >= 0) {
		cli_progress_stage(&progress, "copying its disk");
		r = copy_disk(dir, &snap, home, &scratch, err);
	}
	if (r >= 0 && cli_signals_ended())
		r = hull_fail(err, -EINTR, "interrupted");
	if (r >= 0 && hull_sandbox_running(&cli->paths, name))
		r = life_stop(&cli->paths, name, -1, &progress, err);
	if (r >= 0)
		r = go_back(cli, name, tag, &snap, &scratch, err);
	if (r >= 0)
		r = life_start(&cli->paths, name, NULL, &progress, err);
	if (r >= 0)
		r = client_ask(&cli->paths, name, json_pack("{s:s, s:s}", "do", "wait", "for", "exec"), -1, &progress,
			       NULL, err);
	cli_progress_end(&progress);
	if (r >= 0)
		printf("%s\n", name);
	return r == -EINTR && cli_signals_ended() ? 128 + cli_signals_ended() : r < 0 ? r : 0;
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

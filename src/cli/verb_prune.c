/* hull prune: give back the disk space of what nobody needs. Templates that Hull made and that can be made again: those
 * that no new sandbox could use any more (the engine, hull or the image has changed), those not used for a month, with
 * --all every one. What interrupted commands left goes too. Nothing of a person's own is touched. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"
#include "cli/saved.h"
#include "engine/engine.h"
#include "image/image.h"
#include "snapshot/snapshot.h"

#include <string.h>
#include <time.h>

static bool all, dry_run, json_out;

static const struct cli_opt options[] = {
	{'a', "all", NULL, "every template that Hull made, also those in use: sandboxes go on", .flag = &all},
	{'n', "dry-run", NULL, "only say what would go", .flag = &dry_run},
	{0, "json", NULL, "as JSON", .flag = &json_out},
	{0},
};

enum { KEEP_S = 30 * 24 * 3600 };

/* What there is on this host; a member that cannot be told is NULL, and nothing is removed for it. */
struct host {
	char *identity; /* of the engine */
	const char *accel;
};

/* Why it may go; NULL = it stays. */
static const char *reason(struct cli *cli, const char *name, const struct hull_snapshot *s, int loaded,
			  const struct host *host)
{
	_cleanup_(hull_image_free) struct hull_image image = {0};
	_cleanup_free_ char *initramfs = NULL;
	uint64_t now = (uint64_t)time(NULL), used = hull_template_used(&cli->paths, name);
	if (loaded == -ENOTSUP)
		return "made by another version of Hull";
	if (loaded < 0)
		return "damaged";
	if (host->identity && !hull_streq(s->identity, host->identity))
		return "made by another engine";
	if (host->identity && hull_snapshot_fits(s, host->identity, host->accel, NULL) < 0)
		return "made for another processor";
	if (hull_image_find(&cli->paths, s->image, &image, NULL) < 0)
		return "its image is gone";
	struct hull_error why;
	if (template_initramfs(&image, &initramfs, &why) == 0 && !hull_streq(initramfs, s->initramfs))
		return "made by another version of Hull";
	if (now > used && now - used > KEEP_S)
		return "not used for a month";
	return all ? "asked for" : NULL;
}

/* What a save that was killed left; a pause leaves it beside the disk. One under way holds its directory. */
static void sweep_sandboxes(const struct hull_paths *p)
{
	char **names = NULL;
	if (hull_sandbox_list(p, &names, NULL) < 0)
		return;
	for (char **n = names; *n; n++) {
		_cleanup_free_ char *snapshots = hull_sandbox_path(p, *n, "snapshots");
		_cleanup_free_ char *home = hull_sandbox_path(p, *n, NULL);
		if (snapshots)
			hull_scratch_sweep(snapshots);
		if (home)
			hull_scratch_sweep(home);
	}
	hull_strv_free(names);
}

static int run(struct cli *cli, struct hull_error *err)
{
	char **names = NULL;
	uint64_t freed = 0;
	char size[16];
	int r = cli_paths(cli, err);
	if (r >= 0)
		r = hull_template_list(&cli->paths, &names, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *parent = hull_template_path(&cli->paths, NULL);
	_cleanup_free_ char *identity = hull_engine_identity(NULL);
	struct hull_probe probe;
	hull_engine_probe_cached(cli->paths.runtime, &probe);
	const struct host host = {.identity = identity, .accel = probe.kvm_usable ? "kvm" : "tcg"};
	json_t *list = json_array();
	for (char **n = names; parent && r >= 0 && *n; n++) {
		_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
		_cleanup_free_ char *dir = hull_template_path(&cli->paths, *n);
		if (!hull_template_is_key(*n) || !dir)
			continue;
		int loaded = hull_snapshot_load(dir, &s, NULL);
		const char *why = reason(cli, *n, &s, loaded, &host);
		if (!why)
			continue;
		uint64_t stored = 0;
		const char *file;
		json_t *f;
		json_object_foreach(s.files, file, f)
			stored += (uint64_t)json_integer_value(json_object_get(f, "stored"));
		if (!dry_run)
			r = hull_saved_remove(parent, *n, err);
		if (r == -ENOENT) { /* somebody else was quicker */
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		freed += stored;
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I}", "kind", "template", "name", *n, "reason",
						      why, "stored", (json_int_t)stored));
		if (!json_out)
			printf("template %.12s: %s, %s\n", *n, why, hull_format_size(stored, size, sizeof(size)));
	}
	if (parent && !dry_run) {
		hull_scratch_sweep(parent);
		hull_template_build_sweep(&cli->paths);
		template_sweep(&cli->paths);
		sweep_sandboxes(&cli->paths);
	}
	if (json_out)
		cli_json(list);
	else if (r >= 0)
		printf("%s: %s\n", dry_run ? "would be freed" : "freed", hull_format_size(freed, size, sizeof(size)));
	json_decref(list);
	hull_strv_free(names);
	return r < 0 ? r : 0;
}

const struct cli_verb verb_prune = {
	.name = "prune",
	.usage = "",
	.summary = "remove templates that are of no use any more",
	.about =
		"Those that Hull made and that no new sandbox would start from, and leftovers of interrupted commands. "
		"Sandboxes, snapshots and templates of your own are not touched.",
	.aka = "gc clean cleanup",
	.options = options,
	.run = run,
};

/* hull prune: give back the disk space of what nobody needs. What that is, prunable.c says. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"
#include "lib/saved/prunable.h"
#include "snapshot/snapshot.h"

#include <string.h>

static bool all, dry_run, json_out;

static const struct cli_opt options[] = {
	{'a', "all", NULL, "every template that Hull made, also those in use: sandboxes go on", .flag = &all},
	{'n', "dry-run", NULL, "only say what would go", .flag = &dry_run},
	{0, "json", NULL, "as JSON", .flag = &json_out},
	{0},
};

static int run(struct cli *cli, struct hull_error *err)
{
	_cleanup_(prunable_free) struct prunable_list found = {0};
	uint64_t freed = 0;
	char size[16];
	int r = cli_open(cli, cli->quiet, err);
	if (r >= 0)
		r = prunable_find(cli->paths, all, &found, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *parent = hull_template_path(cli->paths, NULL);
	if (!parent)
		return hull_fail(err, -ENOMEM, "out of memory");
	json_t *list = json_array();
	for (size_t i = 0; i < found.count; i++) {
		const struct prunable *p = &found.items[i];
		bool template = p->where == PRUNABLE_TEMPLATE;
		if (template && !dry_run)
			r = hull_saved_remove(parent, p->name, err);
		if (r == -ENOENT) { /* somebody else was quicker */
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		freed += p->size;
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:I, s:I}", "kind", template ? "template" : "leftover",
						"name", p->name, "reason", p->reason, "stored", (json_int_t)p->stored,
						"size", (json_int_t)p->size));
		hull_format_size(p->size, size, sizeof(size));
		if (!json_out && template)
			printf("template %.12s: %s, %s\n", p->name, p->reason, size);
		else if (!json_out)
			printf("%s: %s, %s\n", p->name, p->reason, size);
	}
	if (!dry_run)
		prunable_sweep(cli->paths);
	if (json_out)
		cli_json(list);
	else if (r >= 0)
		printf("%s: %s\n", dry_run ? "would be freed" : "freed", hull_format_size(freed, size, sizeof(size)));
	json_decref(list);
	return r < 0 ? r : 0;
}

const struct cli_verb verb_prune = {
	.name = "prune",
	.usage = "",
	.summary = "remove templates that are of no use any more",
	.about =
		"Those that Hull made and that no new sandbox would start from, and leftovers of interrupted commands. "
		"Sandboxes, snapshots and templates of your own are not touched. `hull df` tells how much that is.",
	.aka = "gc clean cleanup",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* hull prune: give back the disk space of what nobody needs. */
#include "cli/cli.h"

#include "base/text.h"
#include "cli/out.h"

#include <string.h>

static bool all, dry_run, json_out;

static const struct cli_opt options[] = {
	{'a', "all", NULL, "every template that Hull made, also those in use: sandboxes go on", .flag = &all},
	{'n', "dry-run", NULL, "only say what would go", .flag = &dry_run},
	{0, "json", NULL, "as JSON", .flag = &json_out},
	{0},
};

static void gone(void *ctx, const struct hull_pruned *p)
{
	char size[16];
	json_array_append_new(ctx, json_pack("{s:s, s:s, s:s, s:I, s:I}", "kind", p->kind, "name", p->name, "reason",
					     p->reason, "stored", (json_int_t)p->stored, "size", (json_int_t)p->size));
	hull_format_size(p->size, size, sizeof(size));
	if (!json_out && !strcmp(p->kind, "template"))
		printf("template %.12s: %s, %s\n", p->name, p->reason, size);
	else if (!json_out)
		printf("%s: %s, %s\n", p->name, p->reason, size);
}

static int run(struct cli *cli, struct hull_error *err)
{
	uint64_t freed = 0;
	char size[16];
	json_t *list = json_array();
	int r = cli_open(cli, false, err);
	if (r >= 0)
		r = hull_prune(cli->hull, (all ? HULL_PRUNE_ALL : 0) | (dry_run ? HULL_PRUNE_DRY_RUN : 0), gone, list,
			       &freed, err);
	if (json_out)
		cli_json(list);
	else if (r >= 0)
		printf("%s: %s\n", dry_run ? "would be freed" : "freed", hull_format_size(freed, size, sizeof(size)));
	json_decref(list);
	return r;
}

const struct cli_verb verb_prune = {
	.name = "prune",
	.usage = "",
	.summary = "remove templates that are of no use any more",
	.about =
		"Those that Hull made and that no new sandbox would start from, and leftovers of interrupted commands. "
		"Sandboxes, snapshots and templates of your own are not touched. `hull df` shows how much space that "
		"is.",
	.aka = "gc clean cleanup",
	.options = options,
	.run = run,
};

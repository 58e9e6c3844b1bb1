/* SPDX-License-Identifier: Apache-2.0 */
/* hull version. */
#include "cli/cli.h"
#include "cli/out.h"

#include <stdio.h>
#include <sys/utsname.h>

static bool as_json;

static const struct cli_opt options[] = {
	{0, "json", NULL, "as JSON", .flag = &as_json},
	{0},
};

static int run(struct cli *cli, struct hull_error *err)
{
	struct utsname u = {0};
	uname(&u);
	if (as_json) {
		json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "version", HULL_VERSION, "compiler", __VERSION__,
				      "kernel", u.release, "machine", u.machine);
		cli_json(o);
		json_decref(o);
		return 0;
	}
	printf("hull %s\n", HULL_VERSION);
	return 0;
}

const struct cli_verb verb_version = {
	.name = "version",
	.usage = "",
	.summary = "the version of hull",
	.options = options,
	.run = run,
};

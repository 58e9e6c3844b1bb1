/* SPDX-License-Identifier: Apache-2.0 */
/* What images, templates, sandboxes and their snapshots take on the host's disk. See df.c. */
#ifndef HULL_LIB_REPORT_DF_H
#define HULL_LIB_REPORT_DF_H

#include "lib/handle.h"
#include "lib/saved/prunable.h"
#include "store/usage.h"

#include <jansson.h>

enum { DF_IMAGES, DF_TEMPLATES, DF_SANDBOXES, DF_SNAPSHOTS, DF_OTHER, DF_KINDS };
extern const char *const df_kinds[DF_KINDS]; /* "images"... */

struct df {
	const struct hull_paths *paths;
	struct hull_usage usage; /* problems, and whether something could not be measured */
	struct prunable_list prunable;
	bool prunable_known; /* else what could be freed cannot be told, and is not counted */
	struct df_row {
		uint64_t count, size, reclaimable; /* bytes */
		json_t *items;                     /* an array of what there is, with sizes */
	} rows[DF_KINDS];
};
/* Measure everything once. df_free() in any case. */
int df_measure(const struct hull *h, struct df *df, struct hull_error *err);
void df_free(struct df *df);

#endif

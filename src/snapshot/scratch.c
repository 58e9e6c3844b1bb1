/* SPDX-License-Identifier: Apache-2.0 */
/* Templates, snapshots and suspended memory are made in scratch directories with a common prefix, in the directory that
 * will contain the result; see base/scratch.h. */
#include "snapshot/snapshot.h"

#include "base/io.h"

#define PREFIX ".tmp-"

int hull_saved_scratch(const char *parent, struct hull_scratch *out, struct hull_error *err)
{
	*out = (struct hull_scratch){.fd = -1};
	int r = hull_mkdir_all(parent, 0700, err);
	if (r < 0)
		return r;
	hull_saved_sweep(parent);
	return hull_scratch_make(parent, PREFIX, out, err);
}

int hull_saved_remove(const char *parent, const char *name, struct hull_error *err)
{
	hull_saved_sweep(parent);
	return hull_scratch_remove(parent, name, PREFIX, err);
}

void hull_saved_sweep(const char *parent)
{
	hull_scratch_sweep(parent, PREFIX);
}

void hull_saved_each(const char *parent, void (*found)(void *ctx, int root, const char *name), void *ctx)
{
	hull_scratch_each(parent, PREFIX, found, ctx);
}

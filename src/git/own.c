/* SPDX-License-Identifier: Apache-2.0 */
/* A repository given by its own directory, as git passes it to its helpers ($GIT_DIR). */
#include "git/internal.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { SHALLOW_MAX = 64 << 20 };

int hull_git_own_open(const char *dir, const char *objects, struct hull_git_own *out, struct hull_error *err)
{
	*out = (struct hull_git_own){.dir = realpath(dir, NULL), .stop_fd = -1, .peer_fd = -1};
	if (!out->dir)
		return hull_fail_errno(err, "the repository %s", dir);
	out->common = hull_git_path_in(out->dir, "commondir", "");
	if (!out->common)
		out->common = strdup(out->dir);
	_cleanup_free_ char *usual = out->common ? hull_fmt("%s/objects", out->common) : NULL;
	if (!usual)
		return hull_fail(err, -ENOMEM, "out of memory");
	out->objects = realpath(objects && *objects ? objects : usual, NULL);
	return out->objects ? 0 : hull_fail_errno(err, "the repository's objects, %s", usual);
}

void hull_git_own_free(struct hull_git_own *o)
{
	free(o->dir);
	free(o->common);
	free(o->objects);
	*o = (struct hull_git_own){0};
}

int hull_git_shallow_ids(char *text, const char *before, struct hull_buf *out)
{
	int r = 0;
	char *save = NULL;
	for (char *id = strtok_r(text, "\n", &save); id && r == 0; id = strtok_r(NULL, "\n", &save)) {
		size_t n = strlen(id);
		if ((n == 40 || n == 64) && strspn(id, "0123456789abcdef") == n)
			r = hull_buf_addf(out, "%s%s\n", before, id);
	}
	return r;
}

int hull_git_own_shallow(const struct hull_git_own *o, struct hull_buf *out, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf file = {0};
	int r = hull_git_read(o->common, "shallow", SHALLOW_MAX, &file, err);
	if (r <= 0)
		return r;
	r = hull_git_shallow_ids((char *)hull_buf_bytes(&file), "", out);
	return r < 0 ? hull_fail(err, r, "out of memory") : 0;
}

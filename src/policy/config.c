/* SPDX-License-Identifier: Apache-2.0 */
/* Reading config.yaml. What its keys mean is known where they are used. A file that cannot be read is an error, never
 * nothing: it may hold a setting that somebody relies on. */
#include "policy/config.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <libfyaml.h>
#include <string.h>

void hull_config_free(struct fy_document **doc)
{
	if (*doc)
		fy_document_destroy(*doc);
	*doc = NULL;
}

/* Nothing but blanks and comments is no document, and fine. */
static bool blank(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '#')
			i += strcspn(text + i, "\n");
		else if (!strchr(" \t\r\n", text[i]))
			return false;
	}
	return true;
}

int hull_config_read(const char *dir, struct fy_document **doc, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_fmt("%s/config.yaml", dir);
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	*doc = NULL;
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_read_file(AT_FDCWD, path, 1 << 20, &text, err);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = hull_yaml_readable(path, (char *)hull_buf_bytes(&text), text.len, err);
	if (r < 0)
		return r;
	if (blank((char *)hull_buf_bytes(&text), text.len))
		return 0;
	/* A document borrows from its text: it owns this one. */
	struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET};
	char *copy = strndup((char *)hull_buf_bytes(&text), text.len);
	if (!copy)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_(hull_config_free) struct fy_document *d = fy_document_build_from_malloc_string(&cfg, copy, text.len);
	struct fy_node *root = d ? fy_document_root(d) : NULL;
	if (d && (!root || fy_node_is_null(root)))
		return 0;
	if (!root || !fy_node_is_mapping(root))
		return hull_fail(err, -EINVAL, "%s is not YAML with \"key: value\" lines", path);
	*doc = hull_steal_ptr(d);
	return 0;
}

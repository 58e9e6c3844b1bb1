/* SPDX-License-Identifier: Apache-2.0 */
/* config.yaml's `ca:`; see ca.h. */
#include "ca/ca.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "policy/config.h"

#include <libfyaml.h>
#include <string.h>

static int bad(const char *dir, struct hull_error *err)
{
	return hull_fail(err, -EINVAL,
			 "ca: in %s/config.yaml must be the path of a file or a list of paths: correct it", dir);
}

static int add_node(struct hull_ca *ca, const char *dir, struct fy_node *node, struct hull_error *err)
{
	size_t n = 0;
	const char *s = fy_node_is_scalar(node) ? fy_node_get_scalar(node, &n) : NULL;
	if (!s || n == 0)
		return bad(dir, err);
	_cleanup_free_ char *path = s[0] == '/' ? strndup(s, n) : hull_fmt("%s/%.*s", dir, (int)n, s);
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_ca_add_file(ca, path, err);
	return r < 0 ? hull_wrap(err, "ca: in config.yaml") : 0;
}

int hull_ca_add_config(struct hull_ca *ca, const char *dir, struct hull_error *err)
{
	_cleanup_(hull_config_free) struct fy_document *doc = NULL;
	int r = hull_config_read(dir, &doc, err);
	if (r < 0)
		return hull_wrap(err, "cannot determine the certificate authorities");
	struct fy_node *node = doc ? fy_node_mapping_lookup_by_string(fy_document_root(doc), "ca", (size_t)-1) : NULL;
	if (!node || fy_node_is_null(node))
		return 0;
	if (!fy_node_is_sequence(node))
		return add_node(ca, dir, node, err);
	void *at = NULL;
	for (struct fy_node *one; r == 0 && (one = fy_node_sequence_iterate(node, &at));)
		r = add_node(ca, dir, one, err);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The upstream proxy that hull-egress is told of: config.yaml's, else the environment's; see gateway_proxy.h. */
#include "keeper/network/gateway_proxy.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "policy/config.h"

#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

static const char *env_either(const char *upper, const char *lower)
{
	const char *v = getenv(lower);
	return v && v[0] ? v : getenv(upper);
}

/* A word of config.yaml, owned, or NULL when it is not there. False when there is something else. */
static bool config_word(struct fy_node *root, const char *key, char **out)
{
	struct fy_node *v = root ? fy_node_mapping_lookup_by_string(root, key, (size_t)-1) : NULL;
	size_t n = 0;
	const char *s = v && fy_node_is_scalar(v) ? fy_node_get_scalar(v, &n) : NULL;
	*out = s && n && strcmp(s, "null") != 0 && strcmp(s, "~") != 0 ? strndup(s, n) : NULL;
	return !v || fy_node_is_scalar(v);
}

/* config.yaml's proxy: and no_proxy:, which go before the environment. A file that cannot be read may hold a proxy that
 * somebody relies on: then what to mend is returned, owned. NULL = all is well. */
static char *read_config(const struct keeper *k, char **all, char **no)
{
	_cleanup_(hull_config_free) struct fy_document *doc = NULL;
	struct hull_error err = {0};
	if (hull_config_read(k->paths.config, &doc, &err) < 0)
		return hull_fmt(
			"the upstream proxy's setting cannot be read: %s; correct it, then start the sandbox again",
			err.msg);
	struct fy_node *root = doc ? fy_document_root(doc) : NULL;
	if (config_word(root, "proxy", all) && config_word(root, "no_proxy", no))
		return NULL;
	return hull_fmt("proxy: and no_proxy: in %s/config.yaml have to be strings; correct it, then start the sandbox "
			"again",
			k->paths.config);
}

json_t *gateway_proxy(const struct keeper *k)
{
	_cleanup_free_ char *all = NULL;
	_cleanup_free_ char *no = NULL;
	_cleanup_free_ char *bad = read_config(k, &all, &no);
	const char *env_no = env_either("NO_PROXY", "no_proxy");
	if (bad) {
		hull_log("nothing can leave: %s", bad);
		return json_pack("{s:s}", "bad", bad);
	}
	if (all)
		return json_pack("{s:s,s:b,s:s*}", "all", all, "config", 1, "no", no ? no : env_no);
	return json_pack("{s:s*,s:s*,s:s*,s:s*}", "http", getenv("http_proxy"), "https",
			 env_either("HTTPS_PROXY", "https_proxy"), "all", env_either("ALL_PROXY", "all_proxy"), "no",
			 no ? no : env_no);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A policy file and questions about it: the first byte says where the file ends and a rule, a name and a path begin. */
#include "policy/path.h"
#include "policy/policy.h"
#include "policy/port.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7 does not free its list of the pieces of a quoted text when there are many (corpus: many-quotes). */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	size_t cut = 1 + (size_t)data[0] * (size - 1) / 255;
	_cleanup_free_ char *word = strndup((const char *)data + 1, cut - 1);
	_cleanup_free_ char *text = strndup((const char *)data + cut, size - cut);
	if (!word || !text)
		return 0;
	struct hull_rule r;
	struct hull_port port;
	struct hull_policy p = {0};
	char normal[512], name[HULL_HOST_MAX + 1];
	bool plain = hull_path_normal(word, strlen(word), normal, sizeof(normal));
	if (plain && (normal[0] != '/' || strstr(normal, "/../") || strstr(normal, "//")))
		abort();
	/* What is surely below a directory may be there, and leads nowhere else. */
	char *below[] = {(char *)"/v1/**", NULL};
	static struct hull_path path;
	hull_path_read(word, &path);
	if (hull_path_must_match(&path, below) &&
	    (!hull_path_may_match(&path, below) || strncmp(word, "/v1/", 4) != 0 || strstr(word, "/../") ||
	     strstr(word, "//") || strchr(word, '\\')))
		abort();
	hull_glob(text, word);
	hull_port_parse(word, &port, NULL);
	for (int allow = 0; allow < 2; allow++)
		if (hull_rule_parse(word, allow, &r, NULL) == 0) {
			/* What is shown means the same. */
			struct hull_rule again;
			struct hull_buf out = {0};
			if (hull_rule_parse(r.text, allow, &again, NULL) < 0 || !hull_rule_same(&r, &again))
				abort();
			hull_policy_edit_add(text, &r, &out, NULL);
			hull_buf_free(&out);
			hull_rule_free(&again);
			hull_rule_free(&r);
		}
	struct hull_error err;
	if (hull_policy_build(text, NULL, &p, NULL, &err) == 0 && hull_host_name(word, strlen(word), name)) {
		struct hull_target t = {.name = name, .port = 80, .proto = HULL_PROTO_TCP};
		hull_policy_connect(&p, &t);
		hull_policy_request(&p, &t, "GET", word);
		hull_addr_parse("10.0.0.1", &t.addr);
		hull_policy_address(&p, &t);
	}
	hull_policy_free(&p);
	return 0;
}

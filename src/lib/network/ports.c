/* SPDX-License-Identifier: Apache-2.0 */
/* Publishes ports of a sandbox on this host. In a running sandbox the keeper publishes the port and updates
 * sandbox.json; for a stopped one the file is changed under the sandbox's lock. */
#include "lib/client.h"
#include "lib/sandbox/life.h"

#include "base/cleanup.h"
#include "policy/port.h"

#include <string.h>

enum { ANSWER_MS = 30 * 1000 };

/* Changes the list of a stopped sandbox. -EBUSY when it runs. */
static int change_file(const struct hull *h, const char *name, const char *spec, bool add, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	struct hull_port want;
	int r = hull_port_parse(spec, &want, err);
	if (r < 0)
		return r;
	_cleanup_close_ int lock = hull_sandbox_lock(&h->paths, name, err);
	r = lock < 0 ? lock : hull_sandbox_load(&h->paths, name, &sb, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *text = hull_port_text(&want);
	if (!text)
		return hull_fail(err, -ENOMEM, "out of memory");
	size_t keep = 0, n = hull_strv_count(sb.ports);
	for (size_t i = 0; i < n; i++) {
		struct hull_port p;
		bool same = hull_port_parse(sb.ports[i], &p, NULL) == 0 && p.guest == want.guest && p.udp == want.udp &&
			    (!want.host || want.host == p.host) && (!want.ip[0] || !strcmp(want.ip, p.ip));
		if (same && add)
			return hull_fail(err, -EEXIST, "%s is published already", spec);
		if (same)
			free(sb.ports[i]);
		else
			sb.ports[keep++] = sb.ports[i];
	}
	if (sb.ports)
		sb.ports[keep] = NULL;
	if (!add && keep == n)
		return hull_fail(err, -ENOENT, "no such port is published; `hull ports %s` shows those that are",
				 sb.name);
	if (add && hull_strv_add(&sb.ports, text) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return hull_sandbox_save(&h->paths, &sb, err);
}

static int change(const struct hull *h, const char *name, const char *spec, bool add, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = life_load(h, name, &sb, err);
	if (r < 0)
		return r;
	if (!hull_sandbox_running(&h->paths, name))
		return change_file(h, name, spec, add, err);
	return client_ask(h, name, json_pack("{s:s,s:s}", "do", add ? "publish" : "unpublish", "port", spec), ANSWER_MS,
			  NULL, err);
}

int hull_publish(struct hull *h, const char *name, const char *port, struct hull_error *err)
{
	LIB_CALL(err);
	return change(h, name, port, true, err);
}

int hull_unpublish(struct hull *h, const char *name, const char *port, struct hull_error *err)
{
	LIB_CALL(err);
	return change(h, name, port, false, err);
}

/* --- listing: the strings of the public struct point into the JSON --- */

struct port {
	struct hull_port_info pub; /* first */
	json_t *json;
	char *text;
	const char **bound;
};

static void port_free(struct hull_port_info *pub)
{
	struct port *p = (struct port *)pub;
	if (!p)
		return;
	json_decref(p->json);
	free(p->text);
	free(p->bound);
	free(p);
}

void hull_ports_free(struct hull_port_info **list)
{
	for (struct hull_port_info **p = list; p && *p; p++)
		port_free(*p);
	free(list);
}

static struct hull_port_info *make_port(json_t *o)
{
	const json_t *bound = json_object_get(o, "bound");
	const char *spec = json_string_value(json_object_get(o, "spec"));
	struct port *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->json = json_incref(o);
	p->text = json_dumps(o, JSON_COMPACT);
	p->bound = calloc(json_array_size(bound) + 1, sizeof(*p->bound));
	if (!p->text || !p->bound) {
		port_free(&p->pub);
		return NULL;
	}
	size_t n = 0;
	for (size_t i = 0; i < json_array_size(bound); i++) {
		const char *text = json_string_value(json_array_get(bound, i));
		if (text)
			p->bound[n++] = text;
	}
	p->pub = (struct hull_port_info){.spec = spec ? spec : "",
					 .bound = p->bound,
					 .error = json_string_value(json_object_get(o, "error")),
					 .note = json_string_value(json_object_get(o, "note")),
					 .json = p->text};
	return &p->pub;
}

int hull_ports(struct hull *h, const char *name, struct hull_port_info ***list, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	json_t *answer = NULL, *ports = NULL;
	*list = NULL;
	int r = life_load(h, name, &sb, err);
	if (r < 0)
		return r;
	if (hull_sandbox_running(&h->paths, name)) {
		r = client_ask(h, name, json_pack("{s:s}", "do", "ports"), ANSWER_MS, &answer, err);
		if (r < 0)
			return r;
		ports = json_incref(json_object_get(answer, "ports"));
	} else {
		ports = json_array();
		for (char **p = sb.ports; p && *p; p++)
			json_array_append_new(ports, json_pack("{s:s}", "spec", *p));
	}
	size_t n = json_array_size(ports);
	*list = calloc(n + 1, sizeof(struct hull_port_info *));
	for (size_t i = 0; *list && i < n; i++)
		if (!((*list)[i] = make_port(json_array_get(ports, i)))) {
			hull_ports_free(*list);
			*list = NULL;
		}
	json_decref(ports);
	json_decref(answer);
	return *list ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

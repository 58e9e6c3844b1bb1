/* SPDX-License-Identifier: Apache-2.0 */
/* The policy's files as the gateway has them; see gateway_policy.h.
 *
 * 1. A valid text stays in force until another valid one replaces it.
 * 2. A file that becomes missing, empty, truncated, unreadable, a symlink or writable by others is an error of this
 *    file: its last valid text stays in force. Changes of the other file are still accepted.
 * 3. A file that has never been valid denies everything. So does a sandbox's file that is missing at the start although
 *    it existed before (sandbox.json records that).
 * 4. A file that has never existed counts as none, which is what a new user has: the preset is in force then. */
#include "keeper/network/gateway_policy.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "policy/digest.h"
#include "policy/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The file's text (NULL = none, and there was none), checked. */
static int read_file(const struct policy_file *f, unsigned which, char **out, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	*out = NULL;
	int r = hull_policy_read(f->path, &b, err);
	if (r == -ENOENT && !f->good && !f->expected)
		return 0;
	if (r == -ENOENT)
		return hull_fail(err, r, "%s is gone; `hull policy init%s` or `hull policy reset%s` makes it again",
				 f->path, which == POLICY_SANDBOX ? " --sandbox" : "",
				 which == POLICY_SANDBOX ? " --sandbox" : "");
	if (r < 0)
		return r;
	_cleanup_free_ char *text = strndup((char *)hull_buf_bytes(&b), b.len);
	if (!text)
		return hull_fail(err, -ENOMEM, "out of memory");
	r = hull_policy_build(which == POLICY_GLOBAL ? text : NULL, which == POLICY_SANDBOX ? text : NULL, &p, NULL,
			      err);
	if (r == 0)
		*out = hull_steal_ptr(text);
	return r;
}

/* Say once what is wrong. */
static void set_error(struct policy_state *p, char *error, size_t cap, const char *why)
{
	if (why[0] && strcmp(error, why) != 0)
		hull_log("policy: %s; %s", why,
			 p->loaded ? "the old one stays in force" : "everything is denied until it is corrected");
	snprintf(error, cap, "%s", why);
}

/* What the files say, if that differs from what was sent. */
static void apply(struct policy_state *p)
{
	_cleanup_(hull_policy_free) struct hull_policy built = {0};
	struct hull_error err = {0};
	for (unsigned i = 0; i < POLICY_FILES; i++)
		if (p->files[i].error[0] && !p->files[i].good) {
			bool first = !p->loaded && strcmp(p->error, p->files[i].error) != 0;
			snprintf(p->error, sizeof(p->error), "%s", p->files[i].error);
			if (first)
				p->changed(p->ctx);
			return;
		}
	const char *global = p->files[POLICY_GLOBAL].good, *sandbox = p->files[POLICY_SANDBOX].good;
	if (p->loaded && hull_streq(global, p->text[POLICY_GLOBAL]) && hull_streq(sandbox, p->text[POLICY_SANDBOX])) {
		p->error[0] = '\0';
		return;
	}
	char *texts[POLICY_FILES] = {global ? strdup(global) : NULL, sandbox ? strdup(sandbox) : NULL};
	/* Each was checked by itself when it was read; the preset is built in. */
	int r = global && sandbox ? hull_policy_build(global, sandbox, &built, NULL, &err) : 0;
	if (r == 0 && ((global && !texts[0]) || (sandbox && !texts[1])))
		r = hull_fail(&err, -ENOMEM, "out of memory");
	if (r < 0) {
		free(texts[0]);
		free(texts[1]);
		set_error(p, p->error, sizeof(p->error), err.msg);
		return;
	}
	for (unsigned i = 0; i < POLICY_FILES; i++) {
		free(p->text[i]);
		p->text[i] = texts[i];
	}
	p->loaded = true;
	p->error[0] = '\0';
	p->changed(p->ctx);
}

/* Only this one: the other one may be in the middle of a change. */
static void read_one(struct policy_state *p, unsigned which)
{
	struct policy_file *f = &p->files[which];
	struct hull_error err = {0};
	char *text;
	int r = read_file(f, which, &text, &err);
	p->watch.bad[which] = r < 0;
	set_error(p, f->error, sizeof(f->error), r < 0 ? err.msg : "");
	if (r < 0)
		return;
	free(f->good);
	f->good = text;
}

void policy_state_read(struct policy_state *p, unsigned which)
{
	read_one(p, which);
	apply(p);
}

static void on_file(void *ctx, unsigned which)
{
	policy_state_read(ctx, which);
}

int policy_state_open(struct policy_state *p, uv_loop_t *loop, char *const paths[POLICY_FILES], void *ctx,
		      void (*changed)(void *ctx), struct hull_error *err)
{
	const char *watched[POLICY_FILES];
	p->ctx = ctx;
	p->changed = changed;
	for (unsigned i = 0; i < POLICY_FILES; i++) {
		p->files[i].path = paths[i];
		watched[i] = paths[i];
	}
	if (!paths[POLICY_GLOBAL] || !paths[POLICY_SANDBOX])
		return hull_fail(err, -ENOMEM, "out of memory");
	path_watch_start(&p->watch, loop, watched, POLICY_FILES, p, on_file);
	for (unsigned i = 0; i < POLICY_FILES; i++)
		read_one(p, i);
	apply(p);
	return 0;
}

void policy_state_close(struct policy_state *p)
{
	path_watch_stop(&p->watch);
}

json_t *policy_state_send(struct policy_state *p)
{
	p->sent++;
	p->refused[0] = '\0';
	if (p->loaded)
		return json_pack("{s:{s:I,s:s?,s:s?}}", "policy", "number", p->sent, "global", p->text[POLICY_GLOBAL],
				 "sandbox", p->text[POLICY_SANDBOX]);
	return json_pack("{s:{s:I,s:s}}", "policy", "number", p->sent, "closed", p->error);
}

void policy_state_answered(struct policy_state *p, const json_t *answer)
{
	const char *error = json_string_value(json_object_get(answer, "error"));
	if (json_integer_value(json_object_get(answer, "number")) != p->sent)
		return;
	if (json_is_true(json_object_get(answer, "ok")))
		p->accepted = p->sent;
	else if (error)
		set_error(p, p->refused, sizeof(p->refused), error);
}

bool policy_state_settled(const struct policy_state *p)
{
	return p->sent && (p->accepted == p->sent || p->refused[0]);
}

static json_t *file_json(const struct policy_state *p, unsigned which, bool text)
{
	const struct policy_file *f = &p->files[which];
	char hex[HULL_POLICY_DIGEST + 1];
	json_t *j = json_pack("{s:s}", "path", f->path);
	if (p->text[which] && hull_policy_digest(p->text[which], hex) == 0)
		json_object_set_new(j, "digest", json_string(hex));
	if (text)
		json_object_set_new(j, "text", p->text[which] ? json_string(p->text[which]) : json_null());
	if (f->error[0])
		json_object_set_new(j, "error", json_string(f->error));
	if (p->watch.error[which])
		json_object_set_new(j, "watch", json_string(strerror(p->watch.error[which])));
	return j;
}

json_t *policy_state_json(const struct policy_state *p, bool texts)
{
	const char *error = p->error[0] ? p->error : p->refused[0] ? p->refused : NULL;
	return json_pack("{s:b,s:b,s:b,s:s*,s:o,s:o}", "network", 1, "closed", !p->loaded, "taken",
			 p->sent && p->accepted == p->sent, "why", error, "global", file_json(p, POLICY_GLOBAL, texts),
			 "sandbox", file_json(p, POLICY_SANDBOX, texts));
}

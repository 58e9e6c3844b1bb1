/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that a policy is in force in running sandboxes by asking their keepers; see policy.h.
 *
 * A keeper answers with the digest of the policy that hull-egress applies. After changing a file, a verb asks the
 * keepers to read it now. So it does not depend on the file watch, which may be late or missing. */
#include "lib/network/policy.h"

#include "base/cleanup.h"
#include "lib/client.h"
#include "policy/digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { AT_ONCE = 32, PATIENCE_MS = 10 * 1000 };

static void stopped_or(struct policy_force *f, const struct hull_paths *p, int code, const char *why)
{
	if (code == -ENOTCONN || !hull_sandbox_running(p, f->name))
		f->state = FORCE_STOPPED;
	else
		snprintf(f->why, sizeof(f->why), "%s", why);
}

static void ask_some(const struct hull_paths *p, struct policy_force *f, size_t n, const char *changed, bool texts)
{
	struct ask *asks = calloc(n, sizeof(*asks)), *all[AT_ONCE];
	uint64_t until = lib_now_ms() + PATIENCE_MS;
	struct hull_error err;
	for (size_t i = 0; asks && i < n; i++) {
		json_t *request = json_pack("{s:s,s:s*,s:b}", "do", "policy", "changed", changed, "texts",
					    texts && !changed);
		int r = ask_begin(&asks[i], p, f[i].name, PATIENCE_MS, request, &err);
		if (r < 0) {
			stopped_or(&f[i], p, r, err.msg);
			asks[i].done = true;
			asks[i].client.fd = -1;
		}
		all[i] = &asks[i];
	}
	ask_all(all, asks ? n : 0, until);
	for (size_t i = 0; asks && i < n; i++) {
		if (!asks[i].done)
			snprintf(f[i].why, sizeof(f[i].why),
				 changed ? "its gateway has not taken it within %d s (`hull logs %s`)"
					 : "its keeper did not answer within %d s (`hull logs %s`)",
				 PATIENCE_MS / 1000, f[i].name);
		else if (asks[i].code == -EINVAL)
			snprintf(f[i].why, sizeof(f[i].why), "it was started by an older Hull; stop it and start it");
		else if (asks[i].code < 0)
			stopped_or(&f[i], p, asks[i].code, asks[i].error.msg);
		else if (asks[i].result)
			f[i].told = json_incref(asks[i].result);
		if (asks[i].client.fd >= 0)
			ask_end(&asks[i]);
	}
	free(asks);
}

/* Is the text in force the text of the file? */
static bool file_in_force(const json_t *file, char *why, size_t cap)
{
	char hex[HULL_POLICY_DIGEST + 1] = "";
	struct hull_error err = {0};
	_cleanup_free_ char *text = NULL;
	const char *path = json_string_value(json_object_get(file, "path"));
	const char *error = json_string_value(json_object_get(file, "error"));
	const char *digest = json_string_value(json_object_get(file, "digest"));
	int r = path ? policy_text(path, &text, &err) : -EINVAL;
	if (!error && r < 0)
		error = err.msg;
	if (!error && text && hull_policy_digest(text, hex) < 0)
		error = "the digest cannot be made";
	if (!error && strcmp(hex, digest ? digest : "") != 0)
		error = "another text is in force than the one in the file";
	snprintf(why, cap, "%s", error ? error : "");
	return !error;
}

/* Does the sandbox read the changed file? It may have been started with another configuration directory. */
static bool reads(const struct hull *h, const struct policy_force *f, bool own)
{
	struct hull_error err;
	struct stat here, there;
	const char *path = json_string_value(
		json_object_get(json_object_get(f->told, own ? "sandbox" : "global"), "path"));
	_cleanup_free_ char *ours = policy_path(h, own ? f->name : NULL, &err);
	if (!path || !ours || strcmp(path, ours) == 0)
		return true;
	return stat(path, &there) == 0 && stat(ours, &here) == 0 && here.st_dev == there.st_dev &&
	       here.st_ino == there.st_ino;
}

static void judge(struct policy_force *f)
{
	static const char *const keys[] = {"global", "sandbox"};
	if (!f->told)
		return;
	const char *why = json_string_value(json_object_get(f->told, "why"));
	if (!json_is_true(json_object_get(f->told, "network"))) {
		f->state = FORCE_NO_NETWORK;
		return;
	}
	bool all = !why;
	snprintf(f->why, sizeof(f->why), "%s", why ? why : "");
	for (unsigned i = 0; i < 2; i++) {
		const json_t *file = json_object_get(f->told, keys[i]);
		char because[sizeof(f->why)];
		/* without it: the policy has not been read yet */
		if (!file || file_in_force(file, because, sizeof(because)))
			continue;
		all = false;
		if (!f->why[0])
			memcpy(f->why, because, sizeof(because));
	}
	f->state = all ? FORCE_YES : json_is_true(json_object_get(f->told, "closed")) ? FORCE_CLOSED : FORCE_OTHER;
}

int policy_force_ask(const struct hull *h, const char *sandbox, const char *changed, bool texts,
		     struct policy_force **out, size_t *count, struct hull_error *err)
{
	char **names = NULL;
	*out = NULL;
	*count = 0;
	int r = 0;
	if (sandbox) {
		names = hull_strv_copy(NULL);
		if (!names || hull_strv_add(&names, sandbox) < 0)
			r = hull_fail(err, -ENOMEM, "out of memory");
	} else {
		r = hull_sandbox_list(&h->paths, &names, err);
	}
	if (r < 0) {
		hull_strv_free(names);
		return r;
	}
	struct policy_force *f = calloc(hull_strv_count(names) + 1, sizeof(*f));
	size_t n = 0;
	for (char **name = names; f && name && *name; name++)
		if (hull_sandbox_running(&h->paths, *name) && (f[n].name = strdup(*name)))
			n++;
	hull_strv_free(names);
	if (!f)
		return hull_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i += AT_ONCE)
		ask_some(&h->paths, f + i, n - i < AT_ONCE ? n - i : AT_ONCE, changed, texts);
	for (size_t i = 0; i < n; i++)
		judge(&f[i]);
	*out = f;
	*count = n;
	return 0;
}

void policy_force_free(struct policy_force *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(f[i].name);
		json_decref(f[i].told);
	}
	free(f);
}

int policy_force_wait(const struct hull *h, const char *sandbox, struct hull_error *err)
{
	struct policy_force *f;
	size_t n, failed = 0;
	struct hull_error why;
	int r = policy_force_ask(h, sandbox, sandbox ? "sandbox" : "global", false, &f, &n, err);
	if (r < 0)
		return r;
	_cleanup_(hull_buf_free) struct hull_buf list = {0};
	for (size_t i = 0; i < n; i++) {
		/* Only the changed file counts: the other one may have been invalid before. */
		const json_t *file = json_object_get(f[i].told, sandbox ? "sandbox" : "global");
		char because[sizeof(f[i].why)];
		bool other = f[i].state == FORCE_OTHER && json_is_true(json_object_get(f[i].told, "taken")) &&
			     !json_object_get(f[i].told, "why") && file_in_force(file, because, sizeof(because));
		if (!reads(h, &f[i], sandbox != NULL))
			continue;
		if (f[i].state == FORCE_YES || f[i].state == FORCE_NO_NETWORK || f[i].state == FORCE_STOPPED || other) {
			if (other)
				lib_note(h, HULL_NOTE_WARNING, "%s: %s", f[i].name, f[i].why);
			else if (file && json_object_get(file, "watch"))
				lib_note(h, HULL_NOTE_WARNING, "%s does not see what an editor changes in the file: %s",
					 f[i].name, json_string_value(json_object_get(file, "watch")));
			continue;
		}
		failed++;
		hull_buf_addf(&list, "%s%s: %s", failed > 1 ? "; " : "", f[i].name,
			      f[i].why[0] ? f[i].why : "it does not say why");
	}
	policy_force_free(f, n);
	if (!failed)
		return 0;
	hull_buf_add(&list, "", 1);
	hull_fail(&why, -EBUSY, "%s", (const char *)hull_buf_bytes(&list));
	return hull_fail(err, -EBUSY, "the file is written, but it is not in force in %s", why.msg);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Changes the rules of a policy file under the lock of its directory. When the call returns, the change is in force in
 * all running sandboxes that it concerns. */
#include "lib/network/rules.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/network/policy.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

typedef void done_fn(void *ctx, const struct hull_rule_spec *rule, const char *text);

/* Record in sandbox.json that it has a policy; for a running sandbox the keeper does. */
static int mark(const struct hull *h, const char *sandbox, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_close_ int lock = hull_sandbox_lock(&h->paths, sandbox, err);
	if (lock < 0)
		return lock == -EBUSY ? 0 : lock;
	int r = hull_sandbox_load(&h->paths, sandbox, &sb, err);
	if (r < 0 || sb.has_policy)
		return r;
	sb.has_policy = true;
	return hull_sandbox_save(&h->paths, &sb, err);
}

/* Replace the file atomically and wait until the new text is in force in running sandboxes. */
static int put(const struct hull *h, const char *sandbox, const char *path, const struct hull_buf *text,
	       struct hull_error *err)
{
	int r = hull_write_file_atomic(AT_FDCWD, path, hull_buf_bytes(text), text->len, 0600, err);
	if (r >= 0 && sandbox)
		r = mark(h, sandbox, err);
	return r < 0 ? r : policy_force_wait(h, sandbox, err);
}

/* An empty file may have been truncated: its content is not guessed. */
static int says_something(const char *path, const char *text, struct hull_error *err)
{
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	struct hull_error why;
	if (text && hull_policy_build(text, NULL, &p, NULL, &why) == -ENODATA)
		return hull_fail(err, -ENODATA, "%s: %s", path, why.msg);
	return 0;
}

static int parse(const struct hull_rule_spec *spec, bool allow, struct hull_rule *out, struct hull_error *err)
{
	int r = hull_rule_parse(spec->rule, allow, out, err);
	if (r == 0)
		r = hull_rule_restrict(out, (char *const *)(uintptr_t)spec->methods,
				       (char *const *)(uintptr_t)spec->paths, err);
	return r;
}

static bool has(const struct hull_policy *p, const struct hull_rule *rule)
{
	for (size_t i = 0; i < p->count; i++)
		if (hull_rule_same(&p->rules[i], rule) && p->rules[i].private_ok == rule->private_ok)
			return true;
	return false;
}

/* Add one rule to *text. 1 = it is there already. */
static int add(const struct hull *h, const char *path, const struct hull_rule_spec *spec, char **text, done_fn *done,
	       void *ctx, struct hull_error *err)
{
	_cleanup_(hull_rule_free) struct hull_rule rule = {0};
	_cleanup_(hull_policy_free) struct hull_policy now = {0};
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	int r = parse(spec, spec->allow, &rule, err);
	if (r == 0 && spec->private_ok && (!spec->allow || rule.kind == HULL_RULE_NET || rule.kind == HULL_RULE_HOST))
		r = hull_fail(err, -EINVAL, "--private is for names that are allowed");
	rule.private_ok = spec->private_ok;
	if (r == 0 && *text)
		r = hull_policy_add(&now, "file", path, *text, strlen(*text), NULL, err);
	if (r == 0 && has(&now, &rule)) {
		lib_note(h, HULL_NOTE_WARNING, "%s is there already", rule.text);
		return 1;
	}
	if (r == 0)
		r = hull_policy_edit_add(*text, &rule, &out, err);
	if (r < 0)
		return r;
	free(*text);
	*text = strndup((char *)hull_buf_bytes(&out), out.len);
	if (!*text)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (done)
		done(ctx, spec, rule.text);
	return 0;
}

int rules_set(const struct hull *h, const char *sandbox, const struct hull_rule_spec *const *rules, done_fn *done,
	      void *ctx, struct hull_error *err)
{
	_cleanup_free_ char *path = policy_path(h, sandbox, err);
	_cleanup_free_ char *text = NULL;
	if (!path)
		return err->code;
	_cleanup_close_ int lock = policy_lock(path, err);
	int r = lock < 0 ? lock : policy_text(path, &text, err);
	if (r >= 0)
		r = says_something(path, text, err);
	bool changed = false;
	for (; r >= 0 && *rules; rules++) {
		r = add(h, path, *rules, &text, done, ctx, err);
		changed = changed || r == 0;
	}
	if (r < 0)
		return r;
	if (!changed) /* it may not be in force yet */
		return policy_force_wait(h, sandbox, err);
	struct hull_buf out = {.data = (uint8_t *)text, .len = strlen(text)};
	return put(h, sandbox, path, &out, err);
}

/* Does the rule allow or deny? -ENOENT if it is not there. */
static int drop(const char *path, const struct hull_rule_spec *spec, char **text, struct hull_error *err)
{
	size_t removed = 0;
	for (int allow = 1; allow >= 0; allow--) {
		_cleanup_(hull_rule_free) struct hull_rule rule = {0};
		_cleanup_(hull_buf_free) struct hull_buf out = {0};
		size_t n = 0;
		int r = parse(spec, allow == 1, &rule, err);
		if (r == 0 && *text)
			r = hull_policy_edit_remove(*text, &rule, &out, &n, err);
		if (r < 0)
			return r;
		if (n == 0)
			continue;
		removed += n;
		free(*text);
		*text = strndup((char *)hull_buf_bytes(&out), out.len);
	}
	return removed ? 0
		       : hull_fail(err, -ENOENT, "no rule \"%s\" is in %s; `hull policy ls` shows those there are",
				   spec->rule, path);
}

int rules_unset(const struct hull *h, const char *sandbox, const struct hull_rule_spec *const *rules, done_fn *done,
		void *ctx, struct hull_error *err)
{
	_cleanup_free_ char *path = policy_path(h, sandbox, err);
	_cleanup_free_ char *text = NULL;
	if (!path)
		return err->code;
	_cleanup_close_ int lock = policy_lock(path, err);
	int r = lock < 0 ? lock : policy_text(path, &text, err);
	for (; r >= 0 && *rules; rules++) {
		r = drop(path, *rules, &text, err);
		if (r >= 0 && done)
			done(ctx, *rules, (*rules)->rule);
	}
	if (r < 0)
		return r;
	if (!text)
		return hull_fail(err, -ENOMEM, "out of memory");
	struct hull_buf out = {.data = (uint8_t *)text, .len = strlen(text)};
	return put(h, sandbox, path, &out, err);
}

/* --- the calls --- */

static int one(struct hull *h, const char *sandbox, const struct hull_rule_spec *given, bool set,
	       struct hull_error *err)
{
	struct hull_rule_spec rule;
	const struct hull_rule_spec *const rules[] = {&rule, NULL};
	int r = lib_spec(given, &rule, sizeof(rule), err);
	if (r >= 0 && !rule.rule)
		r = hull_fail(err, -EINVAL, "there is no rule");
	if (r < 0)
		return r;
	return set ? rules_set(h, sandbox, rules, NULL, NULL, err) : rules_unset(h, sandbox, rules, NULL, NULL, err);
}

int hull_policy_set_rule(struct hull *h, const char *sandbox, const struct hull_rule_spec *rule, struct hull_error *err)
{
	LIB_CALL(err);
	return one(h, sandbox, rule, true, err);
}

int hull_policy_unset_rule(struct hull *h, const char *sandbox, const struct hull_rule_spec *rule,
			   struct hull_error *err)
{
	LIB_CALL(err);
	return one(h, sandbox, rule, false, err);
}

int hull_policy_allow(struct hull *h, const char *sandbox, const char *rule, struct hull_error *err)
{
	LIB_CALL(err);
	const struct hull_rule_spec spec = {.size = sizeof(spec), .rule = rule, .allow = true};
	return one(h, sandbox, &spec, true, err);
}

int hull_policy_deny(struct hull *h, const char *sandbox, const char *rule, struct hull_error *err)
{
	LIB_CALL(err);
	const struct hull_rule_spec spec = {.size = sizeof(spec), .rule = rule};
	return one(h, sandbox, &spec, true, err);
}

int hull_policy_preset(struct hull *h, const char *sandbox, const char *preset, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_free_ char *path = policy_path(h, sandbox, err);
	_cleanup_free_ char *text = NULL;
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	if (!path)
		return err->code;
	if (!hull_preset_text(preset))
		return hull_fail(err, -EINVAL, "the presets are open, balanced and locked");
	_cleanup_close_ int lock = policy_lock(path, err);
	int r = lock < 0 ? lock : policy_text(path, &text, err);
	if (r == 0)
		r = hull_policy_edit_preset(text, preset, &out, err);
	return r < 0 ? r : put(h, sandbox, path, &out, err);
}

int hull_policy_reset(struct hull *h, const char *sandbox, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_free_ char *path = policy_path(h, sandbox, err);
	if (!path)
		return err->code;
	_cleanup_close_ int lock = policy_lock(path, err);
	if (lock < 0)
		return lock;
	/* The file is emptied, not removed: a running sandbox keeps the policy of a removed file. */
	static const char none[] = "# Hull's network policy; docs/network.md. It was reset.\nallow: []\n";
	struct hull_buf out = {.data = (uint8_t *)(uintptr_t)none, .len = sizeof(none) - 1};
	return put(h, sandbox, path, &out, err);
}

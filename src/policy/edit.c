/* SPDX-License-Identifier: Apache-2.0 */
/* Changing a policy file without losing what a person wrote in it; see policy.h.
 *
 * A change is made to the lines of the text where the list is written one rule a line, as `hull policy` itself writes
 * it. The result is then read again: when it does not hold exactly the rules that it should, or when the file is
 * written in another style, the whole file is written anew from its rules (its comments are lost then). */
#include "policy/policy.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <string.h>

static const char *key_of(const struct hull_rule *r)
{
	return r->allow ? "allow" : "deny";
}

/* --- writing --- */

static int put_quoted(struct hull_buf *b, const char *s)
{
	int r = hull_buf_addstr(b, "\"");
	for (; r == 0 && *s; s++) {
		if (*s == '"' || *s == '\\')
			r = hull_buf_addstr(b, "\\");
		if (r == 0)
			r = hull_buf_add(b, s, 1);
	}
	return r == 0 ? hull_buf_addstr(b, "\"") : r;
}

static int put_list(struct hull_buf *b, const char *indent, const char *key, char *const *list)
{
	if (!list)
		return 0;
	int r = hull_buf_addf(b, "%s  %s: [", indent, key);
	for (size_t i = 0; r == 0 && list[i]; i++) {
		if (i)
			r = hull_buf_addstr(b, ", ");
		if (r == 0)
			r = put_quoted(b, list[i]);
	}
	return r == 0 ? hull_buf_addstr(b, "]\n") : r;
}

static int put_rule(struct hull_buf *b, const char *indent, const struct hull_rule *rule)
{
	bool map = rule->methods || rule->paths || rule->private_ok;
	int r = hull_buf_addf(b, "%s- %s", indent, map ? "host: " : "");
	if (r == 0)
		r = put_quoted(b, rule->text);
	if (r == 0)
		r = hull_buf_addstr(b, "\n");
	if (r == 0)
		r = put_list(b, indent, "methods", rule->methods);
	if (r == 0)
		r = put_list(b, indent, "paths", rule->paths);
	if (r == 0 && rule->private_ok)
		r = hull_buf_addf(b, "%s  private: true\n", indent);
	return r;
}

static int put_all(struct hull_buf *b, const char *preset, const struct hull_policy *p)
{
	int r = hull_buf_addstr(b,
				"# Hull's network policy; docs/network.md. `hull policy ls` shows what is in force.\n");
	if (r == 0 && preset)
		r = hull_buf_addf(b, "preset: %s\n", preset);
	/* A file has to say something: one without anything in it could have been cut short. */
	if (r == 0 && !preset && !p->count)
		r = hull_buf_addstr(b, "allow: []\n");
	for (int allow = 1; r == 0 && allow >= 0; allow--) {
		bool any = false;
		for (size_t i = 0; r == 0 && i < p->count; i++) {
			if (p->rules[i].allow != (allow == 1))
				continue;
			if (!any)
				r = hull_buf_addf(b, "%s:\n", allow ? "allow" : "deny");
			any = true;
			if (r == 0)
				r = put_rule(b, "  ", &p->rules[i]);
		}
	}
	return r;
}

static int end_text(struct hull_buf *b)
{
	if (!hull_buf_room(b, 1))
		return -ENOMEM;
	*(char *)(hull_buf_bytes(b) + b->len) = '\0';
	return 0;
}

/* --- the file's rules, and what is in it besides --- */

struct file {
	struct hull_policy p;
	char *preset;
};

static void file_free(struct file *f)
{
	hull_policy_free(&f->p);
	free(f->preset);
}

static int file_read(const char *text, struct file *f, struct hull_error *err)
{
	return text ? hull_policy_add(&f->p, "file", "policy.yaml", text, strlen(text), &f->preset, err) : 0;
}

static bool same_set(const struct file *a, const struct file *b)
{
	if (a->p.count != b->p.count || !hull_streq(a->preset, b->preset))
		return false;
	for (size_t i = 0; i < a->p.count; i++) {
		size_t na = 0, nb = 0;
		for (size_t j = 0; j < a->p.count; j++) {
			na += hull_rule_same(&a->p.rules[i], &a->p.rules[j]);
			nb += hull_rule_same(&a->p.rules[i], &b->p.rules[j]);
		}
		if (na != nb)
			return false;
	}
	return true;
}

/* A text without rules and preset that is not blank. */
static bool says_something(const struct hull_buf *text)
{
	struct hull_policy p = {0};
	int r = hull_policy_build((const char *)hull_buf_bytes(text), NULL, &p, NULL, NULL);
	hull_policy_free(&p);
	return r == 0;
}

/* Take the edited text if it says what it should, else write the file anew. */
static int settle(const struct file *want, struct hull_buf *edited, struct hull_buf *out, struct hull_error *err)
{
	_cleanup_(file_free) struct file got = {0};
	if (edited->len > 0 && end_text(edited) == 0 && (want->preset || want->p.count || says_something(edited)) &&
	    file_read((const char *)hull_buf_bytes(edited), &got, NULL) == 0 && same_set(want, &got)) {
		*out = *edited;
		*edited = (struct hull_buf){0};
		return 0;
	}
	if (put_all(out, want->preset, &want->p) < 0 || end_text(out) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* --- lines --- */

static size_t line_length(const char *s)
{
	size_t n = strcspn(s, "\n");
	return s[n] ? n + 1 : n;
}

/* "key:" alone on its line. */
static bool heads(const char *s, const char *key)
{
	size_t n = strlen(key);
	if (strncmp(s, key, n) != 0 || s[n] != ':')
		return false;
	s += n + 1;
	s += strspn(s, " \t\r");
	return *s == '\n' || *s == '\0' || *s == '#';
}

static bool idle(const char *s)
{
	s += strspn(s, " \t\r");
	return *s == '\n' || *s == '\0' || *s == '#';
}

/* Lines of the text with the rule put behind the last of its list. Leaves `out` empty when there is no such list. */
static int insert(const char *text, const struct hull_rule *rule, struct hull_buf *out)
{
	const char *s = text, *at = NULL;
	char indent[16] = "  ";
	while (*s && !heads(s, key_of(rule)))
		s += line_length(s);
	if (!*s) {
		const char *nl = *text && text[strlen(text) - 1] != '\n' ? "\n" : "";
		if (hull_buf_addf(out, "%s%s%s:\n", text, nl, key_of(rule)) < 0)
			return -ENOMEM;
		return put_rule(out, indent, rule);
	}
	s += line_length(s);
	at = s;
	bool first = true;
	for (; *s && (idle(s) || *s == ' ' || *s == '-'); s += line_length(s)) {
		if (idle(s))
			continue;
		size_t n = strspn(s, " ");
		if (first && s[n] == '-' && n < sizeof(indent)) {
			memset(indent, ' ', n);
			indent[n] = '\0';
		}
		first = false;
		at = s + line_length(s);
	}
	if (hull_buf_add(out, text, (size_t)(at - text)) < 0)
		return -ENOMEM;
	if (at > text && at[-1] != '\n' && hull_buf_addstr(out, "\n") < 0)
		return -ENOMEM;
	return put_rule(out, indent, rule) < 0 || hull_buf_addstr(out, at) < 0 ? -ENOMEM : 0;
}

/* Lines of the text without the items that begin on the lines where a rule like this stands. */
static int drop(const char *text, const struct file *f, const struct hull_rule *rule, struct hull_buf *out)
{
	unsigned number = 1;
	bool dropping = false;
	size_t dash = 0;
	for (const char *s = text; *s; s += line_length(s), number++) {
		size_t n = strspn(s, " ");
		if (dropping && !(n > dash && !idle(s)))
			dropping = false;
		for (size_t i = 0; i < f->p.count; i++)
			if (f->p.rules[i].line == number && hull_rule_same(&f->p.rules[i], rule) && s[n] == '-') {
				dropping = true;
				dash = n;
			}
		if (!dropping && hull_buf_add(out, s, line_length(s)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* --- the three changes --- */

int hull_policy_edit_add(const char *text, const struct hull_rule *rule, struct hull_buf *out, struct hull_error *err)
{
	_cleanup_(file_free) struct file f = {0};
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_(hull_buf_free) struct hull_buf one = {0};
	int r = file_read(text, &f, err);
	if (r < 0)
		return r;
	/* The rule as it would be read back. */
	if (hull_buf_addf(&one, "%s:\n", key_of(rule)) < 0 || put_rule(&one, "  ", rule) < 0 || end_text(&one) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_free_ char *preset = f.preset;
	f.preset = NULL;
	r = hull_policy_add(&f.p, "file", "the rule", (char *)hull_buf_bytes(&one), one.len, &f.preset, err);
	f.preset = hull_steal_ptr(preset);
	if (r < 0)
		return r;
	if (!text || !text[strspn(text, " \t\r\n")]) {
		if (put_all(out, f.preset, &f.p) < 0 || end_text(out) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
		return 0;
	}
	if (insert(text, rule, &b) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return settle(&f, &b, out, err);
}

int hull_policy_edit_remove(const char *text, const struct hull_rule *rule, struct hull_buf *out, size_t *removed,
			    struct hull_error *err)
{
	_cleanup_(file_free) struct file f = {0};
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	int r = file_read(text, &f, err);
	if (r < 0)
		return r;
	if (drop(text ? text : "", &f, rule, &b) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	size_t keep = 0;
	for (size_t i = 0; i < f.p.count; i++) {
		if (hull_rule_same(&f.p.rules[i], rule))
			hull_rule_free(&f.p.rules[i]);
		else
			f.p.rules[keep++] = f.p.rules[i];
	}
	*removed = f.p.count - keep;
	f.p.count = keep;
	return settle(&f, &b, out, err);
}

int hull_policy_edit_preset(const char *text, const char *preset, struct hull_buf *out, struct hull_error *err)
{
	_cleanup_(file_free) struct file f = {0};
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	int r = file_read(text, &f, err);
	if (r < 0)
		return r;
	bool done = false;
	for (const char *s = text ? text : ""; r == 0 && *s; s += line_length(s)) {
		if (hull_starts(s, "preset:") && !done) {
			done = true;
			r = hull_buf_addf(&b, "preset: %s\n", preset);
		} else {
			r = hull_buf_add(&b, s, line_length(s));
		}
	}
	if (!done) {
		hull_buf_free(&b); /* no line to change: in front of everything, below the comments of the top */
		const char *s = text ? text : "";
		while (*s == '#')
			s += line_length(s);
		size_t top = text ? (size_t)(s - text) : 0;
		if (text && text[strspn(text, " \t\r\n")])
			r = hull_buf_add(&b, text, top) < 0 || hull_buf_addf(&b, "preset: %s\n%s", preset, s) < 0
				    ? -ENOMEM
				    : 0;
	}
	free(f.preset);
	f.preset = strdup(preset);
	if (r < 0 || !f.preset)
		return hull_fail(err, -ENOMEM, "out of memory");
	return settle(&f, &b, out, err);
}

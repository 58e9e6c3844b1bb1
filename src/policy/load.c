/* SPDX-License-Identifier: Apache-2.0 */
/* Policy files: read from disk and from YAML; see policy.h.
 *
 * A file is small and written by a person, so what is wrong with it is told with its place, and nothing of a file that
 * is wrong anywhere is used. Aliases and anchors are refused: `- *.x` without quotes is an alias to YAML. */
#include "policy/policy.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "store/store.h"

#include <fcntl.h>
#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_PRESET "balanced"

/* --- from disk --- */

int hull_policy_read(const char *path, struct hull_buf *out, struct hull_error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == ELOOP)
		return hull_fail(err, -ELOOP, "%s is a symbolic link: a policy has to be the file itself", path);
	if (fd < 0)
		return errno == ENOENT ? hull_fail(err, -ENOENT, "there is no %s", path)
				       : hull_fail_errno(err, "cannot read %s", path);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return hull_fail_errno(err, "cannot read %s", path);
	if (!S_ISREG(st.st_mode))
		return hull_fail(err, -EINVAL, "%s is not a regular file", path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return hull_fail(err, -EPERM, "%s must belong to you or root: `chown` it", path);
	if (st.st_mode & 022)
		return hull_fail(err, -EPERM, "others may write %s; `chmod go-w` it", path);
	for (;;) {
		uint8_t *p = hull_buf_room(out, 4096);
		if (!p)
			return hull_fail(err, -ENOMEM, "out of memory");
		ssize_t n = read(fd, p, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return hull_fail_errno(err, "cannot read %s", path);
		if (n == 0) {
			p[0] = '\0';
			return 0;
		}
		hull_buf_added(out, (size_t)n);
		if (out->len > HULL_POLICY_FILE_MAX)
			return hull_fail(err, -EFBIG, "%s is too large", path);
	}
}

/* --- from YAML --- */

struct load {
	struct hull_policy *p;
	const char *label, *source;
	struct hull_error *err;
	char *preset;
};

static void free_doc(struct fy_document **d)
{
	if (*d)
		fy_document_destroy(*d);
}

static void free_diag(struct fy_diag **d)
{
	if (*d)
		fy_diag_destroy(*d);
}

/* Where a node begins: the first scalar in it. */
static struct fy_mark place(struct fy_node *n)
{
	for (int depth = 0; n && depth < 32; depth++) {
		void *it = NULL;
		if (fy_node_is_scalar(n)) {
			struct fy_token *t = fy_node_get_scalar_token(n);
			const struct fy_mark *m = t ? fy_token_start_mark(t) : NULL;
			return m ? *m : (struct fy_mark){0};
		}
		if (fy_node_is_sequence(n)) {
			n = fy_node_sequence_iterate(n, &it);
		} else {
			struct fy_node_pair *pair = fy_node_mapping_iterate(n, &it);
			n = pair ? fy_node_pair_key(pair) : NULL;
		}
	}
	return (struct fy_mark){0};
}

static int wrong(struct load *l, struct fy_node *n, const char *what)
{
	struct fy_mark m = n ? place(n) : (struct fy_mark){0};
	return hull_fail(l->err, -EINVAL, "%s:%d:%d: %s", l->label, m.line + 1, m.column + 1, what);
}

/* Owned copy of a scalar; NULL when it is none. */
static char *scalar(struct fy_node *n)
{
	size_t len = 0;
	if (!n || !fy_node_is_scalar(n) || fy_node_is_alias(n))
		return NULL;
	const char *s = fy_node_get_scalar(n, &len);
	if (!s || memchr(s, '\0', len))
		return NULL;
	return strndup(s, len);
}

static bool is_nothing(struct fy_node *n)
{
	size_t len = 0;
	if (!n)
		return true;
	if (!fy_node_is_scalar(n) || fy_node_is_alias(n))
		return false;
	fy_node_get_scalar(n, &len);
	return len == 0;
}

static int wrong_scalar(struct load *l, struct fy_node *n, const char *what)
{
	return wrong(l, n,
		     n && fy_node_is_alias(n)
			     ? "a pattern that begins with * has to stand in quotes, as \"*.example.com\""
			     : what);
}

/* One word or a list of words. */
static int words(struct load *l, struct fy_node *n, char ***out)
{
	*out = hull_strv_copy(NULL);
	if (!*out)
		return hull_fail(l->err, -ENOMEM, "out of memory");
	void *it = NULL;
	bool list = fy_node_is_sequence(n);
	for (struct fy_node *e = list ? fy_node_sequence_iterate(n, &it) : n; e;
	     e = list ? fy_node_sequence_iterate(n, &it) : NULL) {
		_cleanup_free_ char *s = scalar(e);
		if (!s)
			return wrong_scalar(l, e, "a word or a list of words is wanted here");
		if (hull_strv_add(out, s) < 0)
			return hull_fail(l->err, -ENOMEM, "out of memory");
	}
	return 0;
}

static void free_strv(char ***v)
{
	hull_strv_free(*v);
}

static int read_map(struct load *l, struct fy_node *n, bool allow, struct hull_rule *r)
{
	_cleanup_free_ char *host = NULL;
	_cleanup_(free_strv) char **methods = NULL;
	_cleanup_(free_strv) char **paths = NULL;
	struct fy_node *host_node = NULL;
	bool private_ok = false;
	void *it = NULL;
	for (struct fy_node_pair *pair; (pair = fy_node_mapping_iterate(n, &it));) {
		_cleanup_free_ char *key = scalar(fy_node_pair_key(pair));
		struct fy_node *v = fy_node_pair_value(pair);
		int e = 0;
		if (hull_streq(key, "host") && !host) {
			host_node = v;
			host = scalar(v);
			if (!host)
				e = wrong_scalar(l, v ? v : n, "host: wants the text of a rule");
		} else if ((hull_streq(key, "methods") || hull_streq(key, "method")) && v && !methods) {
			e = words(l, v, &methods);
		} else if ((hull_streq(key, "paths") || hull_streq(key, "path")) && v && !paths) {
			e = words(l, v, &paths);
		} else if (hull_streq(key, "private")) {
			_cleanup_free_ char *s = scalar(v);
			private_ok = hull_streq(s, "true");
			if (!private_ok && !hull_streq(s, "false"))
				e = wrong(l, v ? v : n, "private: is true or false");
		} else {
			e = wrong(l, fy_node_pair_key(pair), "a rule has host, methods, paths and private");
		}
		if (e < 0)
			return e;
	}
	if (!host)
		return wrong(l, n, "a rule needs host:");
	struct hull_error why;
	if (hull_rule_parse(host, allow, r, &why) < 0)
		return wrong(l, host_node, why.msg);
	r->private_ok = private_ok;
	if (private_ok && (!allow || r->kind == HULL_RULE_NET || r->kind == HULL_RULE_HOST))
		return wrong(l, n, "private: is for names that are allowed");
	if (hull_rule_restrict(r, methods, paths, &why) < 0)
		return wrong(l, n, why.msg);
	return 0;
}

static int add_rule(struct load *l, struct hull_rule *r)
{
	struct hull_policy *p = l->p;
	if (p->count >= HULL_RULES_MAX)
		return hull_fail(l->err, -E2BIG, "%s: more than %d rules", l->label, HULL_RULES_MAX);
	if (p->count % 64 == 0) {
		struct hull_rule *more = realloc(p->rules, (p->count + 64) * sizeof(*more));
		if (!more)
			return hull_fail(l->err, -ENOMEM, "out of memory");
		p->rules = more;
	}
	r->source = l->source;
	p->rules[p->count++] = *r;
	*r = (struct hull_rule){0};
	return 0;
}

static int read_rules(struct load *l, struct fy_node *n, bool allow)
{
	if (is_nothing(n))
		return 0;
	if (!fy_node_is_sequence(n))
		return wrong_scalar(l, n, "a list of rules is wanted here, each behind \"- \"");
	void *it = NULL;
	for (struct fy_node *e; (e = fy_node_sequence_iterate(n, &it));) {
		_cleanup_(hull_rule_free) struct hull_rule r = {0};
		int c = 0;
		if (fy_node_is_mapping(e)) {
			c = read_map(l, e, allow, &r);
		} else {
			_cleanup_free_ char *s = scalar(e);
			struct hull_error why;
			if (!s)
				c = wrong_scalar(l, e, "a rule is wanted here");
			else if (hull_rule_parse(s, allow, &r, &why) < 0)
				c = wrong(l, e, why.msg);
		}
		r.line = (unsigned)place(e).line + 1;
		if (c == 0)
			c = add_rule(l, &r);
		if (c < 0)
			return c;
	}
	return 0;
}

static int read_top(struct load *l, struct fy_node *root)
{
	if (is_nothing(root))
		return 0;
	if (!fy_node_is_mapping(root))
		return wrong(l, root, "a policy has the keys preset, allow and deny");
	void *it = NULL;
	for (struct fy_node_pair *pair; (pair = fy_node_mapping_iterate(root, &it));) {
		_cleanup_free_ char *key = scalar(fy_node_pair_key(pair));
		struct fy_node *v = fy_node_pair_value(pair);
		int e;
		if (hull_streq(key, "allow") || hull_streq(key, "deny")) {
			e = read_rules(l, v, key[0] == 'a');
		} else if (hull_streq(key, "preset") && !l->preset) {
			l->preset = scalar(v);
			e = l->preset && hull_preset_text(l->preset)
				    ? 0
				    : wrong(l, v ? v : root, "preset: is open, balanced or locked");
		} else {
			e = wrong(l, fy_node_pair_key(pair), "unknown key; a policy has preset, allow and deny");
		}
		if (e < 0)
			return e;
	}
	return 0;
}

/* What the parser said, in one line; a hint when it stumbled over a `*`. */
static int syntax_error(struct load *l, struct fy_diag *diag, const char *text)
{
	void *it = NULL;
	struct fy_diag_error *e = diag ? fy_diag_errors_iterate(diag, &it) : NULL;
	if (!e)
		return hull_fail(l->err, -EINVAL, "%s:1:1: this is not YAML", l->label);
	const char *line = text;
	for (int i = 1; i < e->line && line; i++) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	size_t n = line ? strcspn(line, "\n") : 0;
	size_t lead = line ? strspn(line, " -\t") : 0;
	bool star = lead < n && line[lead] == '*';
	_cleanup_free_ char *msg = hull_printable(e->msg ? e->msg : "", e->msg ? strcspn(e->msg, "\n") : 0);
	return hull_fail(l->err, -EINVAL, "%s:%d:%d: %s%s", l->label, e->line, e->column, msg ? msg : "",
			 star ? "; a pattern that begins with * has to stand in quotes" : "");
}

static bool blank(const char *text)
{
	while (*text) {
		text += strspn(text, " \t\r\n");
		if (*text && *text != '#')
			return false;
		text += strcspn(text, "\n");
	}
	return true;
}

static const char *keep_source(struct hull_policy *p, const char *source)
{
	char **more = realloc(p->sources, (p->source_count + 1) * sizeof(*more));
	if (!more)
		return NULL;
	p->sources = more;
	char *s = strdup(source);
	if (s)
		p->sources[p->source_count++] = s;
	return s;
}

/* file: it has to say something. */
static int add_text(struct hull_policy *p, const char *source, const char *label, const char *text, size_t n, bool file,
		    char **preset, struct hull_error *err)
{
	if (preset)
		*preset = NULL;
	int r = hull_yaml_readable(label, text, n, err);
	if (r < 0)
		return r;
	struct load l = {.p = p, .label = label, .source = keep_source(p, source), .err = err};
	if (!l.source)
		return hull_fail(err, -ENOMEM, "out of memory");
	size_t before = p->count;
	struct fy_diag_cfg dcfg;
	fy_diag_cfg_default(&dcfg);
	dcfg.fp = NULL;
	dcfg.colorize = false;
	_cleanup_(free_diag) struct fy_diag *diag = fy_diag_create(&dcfg);
	if (!diag)
		return hull_fail(err, -ENOMEM, "out of memory");
	fy_diag_set_collect_errors(diag, true);
	struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET, .diag = diag};
	_cleanup_(free_doc) struct fy_document *doc = fy_document_build_from_string(&cfg, text, n);
	r = doc ? read_top(&l, fy_document_root(doc)) : 0;
	/* A text without a document in it (empty, only comments) is a policy without rules. */
	if (!doc && !blank(text))
		r = syntax_error(&l, diag, text);
	/* It was cut short, or has yet to be written: what it should say is not known. */
	if (r == 0 && file && (!doc || is_nothing(fy_document_root(doc))))
		r = hull_fail(err, -ENODATA,
			      "%s says nothing (it is empty, or has only comments); `hull policy init PRESET` makes it "
			      "say what rules begin with",
			      label);
	if (r < 0) {
		while (p->count > before)
			hull_rule_free(&p->rules[--p->count]);
		free(l.preset);
		return r;
	}
	if (preset)
		*preset = l.preset;
	else
		free(l.preset);
	return 0;
}

int hull_policy_add(struct hull_policy *p, const char *source, const char *label, const char *text, size_t n,
		    char **preset, struct hull_error *err)
{
	return add_text(p, source, label, text, n, false, preset, err);
}

void hull_policy_free(struct hull_policy *p)
{
	for (size_t i = 0; i < p->count; i++)
		hull_rule_free(&p->rules[i]);
	for (size_t i = 0; i < p->source_count; i++)
		free(p->sources[i]);
	free(p->rules);
	free(p->sources);
	*p = (struct hull_policy){0};
}

/* --- the whole --- */

int hull_policy_build(const char *global, const char *sandbox, struct hull_policy *out, const char **preset_used,
		      struct hull_error *err)
{
	_cleanup_(hull_policy_free) struct hull_policy p = {0};
	_cleanup_free_ char *from_global = NULL;
	_cleanup_free_ char *from_sandbox = NULL;
	int r = 0;
	if (sandbox)
		r = add_text(&p, "sandbox", "the sandbox's policy.yaml", sandbox, strlen(sandbox), true, &from_sandbox,
			     err);
	if (r == 0 && global)
		r = add_text(&p, "global", "policy.yaml", global, strlen(global), true, &from_global, err);
	if (r < 0)
		return r;
	const char *name = from_sandbox ? from_sandbox : from_global ? from_global : DEFAULT_PRESET;
	const char *text = hull_preset_text(name);
	_cleanup_free_ char *source = hull_fmt("preset %s", name);
	_cleanup_free_ char *label = hull_fmt("presets/%s.yaml", name);
	if (!source || !label)
		return hull_fail(err, -ENOMEM, "out of memory");
	r = hull_policy_add(&p, source, label, text, strlen(text), NULL, err);
	if (r < 0)
		return r;
	for (const char *const *n = hull_preset_names(); preset_used && *n; n++)
		if (strcmp(*n, name) == 0)
			*preset_used = *n;
	*out = p;
	p = (struct hull_policy){0};
	return 0;
}

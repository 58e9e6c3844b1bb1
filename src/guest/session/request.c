/* SPDX-License-Identifier: Apache-2.0 */
/* See request.h. The environment is the defaults of a login, overridden by what the request gives; of several entries
 * with one name the last wins, and entries that are no "K=V" are refused.
 *
 * A PATH that was asked for comes as HULL_PATH, too: a login shell sets its own in /etc/profile, and the file that
 * setup.c puts into /etc/profile.d takes it from there. */
#include "guest/session/request.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "guest/identity/identity.h"
#include "wire/args.h"
#include "wire/service.h"

#include <string.h>

/* Far above any real use; the wire bounds the bytes to 1 MiB, this bounds the pointers they can cost. */
enum { STRINGS_MAX = 65536 };

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Append an owned string to a NULL-terminated list that grows by doubling. */
static int request_list_add(char ***list, size_t *count, char *s)
{
	if (!s)
		return -ENOMEM;
	if ((*count & (*count + 1)) == 0) { /* full: 2^k - 1 strings and the NULL */
		char **more = reallocarray(*list, 2 * (*count + 1), sizeof(**list));
		if (!more) {
			free(s);
			return -ENOMEM;
		}
		*list = more;
	}
	(*list)[(*count)++] = s;
	(*list)[*count] = NULL;
	return 0;
}

static void set_str(char **slot, char *s)
{
	free(*slot);
	*slot = s;
}

static int read_field(struct hull_request *r, const struct hull_arg *a, struct hull_error *err)
{
	char *s;
	switch (a->tag) {
	case HULL_TAG_TTY:
		r->tty = hull_arg_u32(a) != 0;
		return 0;
	case HULL_TAG_KEEP:
		r->keep = hull_arg_u32(a) != 0;
		return 0;
	case HULL_TAG_ROWS:
		r->rows = hull_arg_u32(a);
		return 0;
	case HULL_TAG_COLS:
		r->cols = hull_arg_u32(a);
		return 0;
	case HULL_TAG_ATTACH:
		r->attach = hull_arg_u32(a) != 0;
		return 0;
	case HULL_TAG_ID:
		if (a->n != HULL_SESSION_ID)
			return hull_fail(err, -EINVAL, "the session's id is not of %d characters", HULL_SESSION_ID);
		memcpy(r->id, a->p, a->n);
		if (strspn(r->id, "0123456789abcdef") != a->n)
			return hull_fail(err, -EINVAL, "the session's id is none");
		return 0;
	case HULL_TAG_ARGV:
	case HULL_TAG_ENV:
	case HULL_TAG_CWD:
	case HULL_TAG_WORKDIR:
	case HULL_TAG_LINKDIR:
	case HULL_TAG_USER:
		break;
	default:
		return 0;
	}
	if (memchr(a->p, 0, a->n))
		return hull_fail(err, -EINVAL, "the request holds a NUL byte");
	s = hull_arg_str(a);
	if (!s)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (a->tag == HULL_TAG_CWD) {
		set_str(&r->cwd, s);
		if (s[0] != '/')
			return hull_fail(err, -EINVAL, "the working directory \"%s\" is not an absolute path", s);
		return 0;
	}
	if (a->tag == HULL_TAG_WORKDIR) {
		set_str(&r->workdir, s);
		return 0;
	}
	if (a->tag == HULL_TAG_LINKDIR) {
		set_str(&r->linkdir, s);
		return 0;
	}
	if (a->tag == HULL_TAG_USER) {
		set_str(&r->user, s);
		return 0;
	}
	if (a->tag == HULL_TAG_ENV && (s[0] == '=' || !strchr(s, '='))) {
		hull_fail(err, -EINVAL, "the environment entry \"%.100s\" is not of the form NAME=VALUE", s);
		free(s);
		return -EINVAL;
	}
	if (r->argc + r->envc >= STRINGS_MAX) {
		free(s);
		return hull_fail(err, -E2BIG, "more than %d arguments and variables", STRINGS_MAX);
	}
	int e = a->tag == HULL_TAG_ARGV ? request_list_add(&r->argv, &r->argc, s)
					: request_list_add(&r->env, &r->envc, s);
	return e < 0 ? hull_fail(err, e, "out of memory") : 0;
}

int hull_request_read(const uint8_t *args, size_t len, struct hull_request *out, struct hull_error *err)
{
	_cleanup_(hull_request_free) struct hull_request r = {0};
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	while (hull_args_next(&cur, &a)) {
		int e = read_field(&r, &a, err);
		if (e < 0)
			return e;
	}
	if (cur.bad)
		return hull_fail(err, -EINVAL, "the request is malformed");
	if (r.argc > 0 && !r.argv[0][0])
		return hull_fail(err, -EINVAL, "the command is empty");
	*out = r;
	r = (struct hull_request){0};
	return 0;
}

static const char *env_value(const struct hull_request *r, const char *name)
{
	size_t n = strlen(name);
	for (size_t i = r->envc; i-- > 0;)
		if (strncmp(r->env[i], name, n) == 0 && r->env[i][n] == '=')
			return r->env[i] + n + 1;
	return NULL;
}

static int env_default(struct hull_request *r, const char *name, const char *value)
{
	return env_value(r, name) ? 0 : request_list_add(&r->env, &r->envc, hull_fmt("%s=%s", name, value));
}

static int request_by_name(const void *a, const void *b)
{
	const char *x = **(char *const *const *)a, *y = **(char *const *const *)b;
	size_t nx = strcspn(x, "="), ny = strcspn(y, "=");
	int c = memcmp(x, y, nx < ny ? nx : ny);
	if (c == 0 && nx != ny)
		c = nx < ny ? -1 : 1;
	if (c != 0)
		return c;
	/* the same name: in the order given, which is the order in memory */
	return *(char **const *)a < *(char **const *)b ? -1 : 1;
}

/* Of the entries with one name keep the last. Sorting pointers to the slots keeps this n log n for a hostile list. */
static int env_unique(struct hull_request *r)
{
	_cleanup_free_ char ***sorted = calloc(r->envc + 1, sizeof(*sorted));
	size_t kept = 0;
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < r->envc; i++)
		sorted[i] = &r->env[i];
	qsort(sorted, r->envc, sizeof(*sorted), request_by_name);
	for (size_t i = 0; i + 1 < r->envc; i++) {
		size_t n = strcspn(*sorted[i], "=") + 1;
		if (strncmp(*sorted[i], *sorted[i + 1], n) == 0) {
			free(*sorted[i]);
			*sorted[i] = NULL;
		}
	}
	for (size_t i = 0; i < r->envc; i++)
		if (r->env[i])
			r->env[kept++] = r->env[i];
	r->envc = kept;
	if (r->env)
		r->env[kept] = NULL;
	return 0;
}

int hull_request_complete(struct hull_request *r, const struct hull_user *u, struct hull_error *err)
{
	int e = env_unique(r);
	const char *path = env_value(r, "PATH");
	if (e == 0 && path)
		e = env_default(r, "HULL_PATH", path);
	/* What `pwd` says: shells take it when it leads to where they are. */
	if (e == 0 && r->linkdir && r->workdir && !r->cwd)
		e = env_default(r, "PWD", r->linkdir);
	const struct {
		const char *name, *value;
	} defaults[] = {
		{"HOME", u->home},
		{"USER", u->name},
		{"LOGNAME", u->name},
		{"SHELL", u->shell},
		{"LANG", "C.UTF-8"},
		{"PATH", DEFAULT_PATH},
		{"TERM", r->tty ? "xterm-256color" : NULL},
		/* These try again whatever the error was, and wait before they do: 70 s, 7.5 s and 11 s in all by their
		 * own settings. A host that is denied stays so. What is set here still gets over a failure that passes:
		 * two more tries each, after 3 s, 0.5 s and 5 s in all. */
		{"npm_config_fetch_retry_mintimeout", "1000"},
		{"npm_config_fetch_retry_maxtimeout", "2000"},
		{"PIP_RETRIES", "2"},
		{"CARGO_NET_RETRY", "2"},
		/* Node adds to its own store, the others take another instead. */
		{"NODE_EXTRA_CA_CERTS", r->authorities ? HULL_CA_GIVEN : NULL},
		{"SSL_CERT_FILE", r->authorities ? HULL_CA_BUNDLE : NULL},
		{"REQUESTS_CA_BUNDLE", r->authorities ? HULL_CA_BUNDLE : NULL},
		{"PIP_CERT", r->authorities ? HULL_CA_BUNDLE : NULL},
	};
	for (size_t i = 0; e == 0 && i < sizeof(defaults) / sizeof(defaults[0]); i++)
		if (defaults[i].value)
			e = env_default(r, defaults[i].name, defaults[i].value);
	if (e == 0 && r->argc == 0) {
		const char *slash = strrchr(u->shell, '/');
		e = request_list_add(&r->argv, &r->argc, hull_fmt("-%s", slash ? slash + 1 : u->shell));
		r->program = strdup(u->shell);
	} else if (e == 0) {
		r->program = strdup(r->argv[0]);
	}
	if (e < 0 || !r->program)
		return hull_fail(err, -ENOMEM, "out of memory");
	return 0;
}

static void free_list(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

void hull_request_free(struct hull_request *r)
{
	free_list(r->argv);
	free_list(r->env);
	free(r->cwd);
	free(r->workdir);
	free(r->linkdir);
	free(r->user);
	free(r->program);
	*r = (struct hull_request){0};
}

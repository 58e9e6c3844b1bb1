/* SPDX-License-Identifier: Apache-2.0 */
/* See users.h. */
#include "guest/session/users.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "guest/core/own.h"

#include <fcntl.h>
#include <string.h>

enum { FILE_MAX_BYTES = 4 * 1024 * 1024, FIELDS_MAX = 7 };

/* Split at colons in place; the number of fields. The last takes the rest. */
static int users_split(char *line, char *fields[FIELDS_MAX])
{
	int n = 0;
	for (;;) {
		fields[n++] = line;
		char *colon = n < FIELDS_MAX ? strchr(line, ':') : NULL;
		if (!colon)
			return n;
		*colon = '\0';
		line = colon + 1;
	}
}

static int parse_id(const char *s, unsigned *id)
{
	uint64_t v;
	/* (uid_t)-1 means "leave it" to the kernel. */
	if (!s[0] || hull_parse_u64(s, UINT32_MAX - 1, &v) < 0)
		return -EINVAL;
	*id = (unsigned)v;
	return 0;
}

/* Call `line` for each line's fields until it says 1. */
static int each_line(const char *path, int (*line)(void *ctx, char **fields, int n), void *ctx, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	int r = hull_read_regular(AT_FDCWD, path, FILE_MAX_BYTES, &text, err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	char *save = NULL;
	char *l = text.len ? strtok_r((char *)hull_buf_bytes(&text), "\n", &save) : NULL;
	for (; l; l = strtok_r(NULL, "\n", &save)) {
		char *fields[FIELDS_MAX];
		int n = users_split(l, fields);
		if (line(ctx, fields, n))
			break;
	}
	return 0;
}

struct search {
	const char *name; /* what to look for, as a name... */
	bool by_id;       /* ...or as a number */
	unsigned id;
	bool found;
	bool failed; /* out of memory */
	struct hull_user *user;
};

static int passwd_line(void *ctx, char **f, int n)
{
	struct search *s = ctx;
	unsigned uid, gid;
	if (n < 7 || parse_id(f[2], &uid) < 0 || parse_id(f[3], &gid) < 0)
		return 0;
	if (s->by_id ? uid != s->id : strcmp(f[0], s->name) != 0)
		return 0;
	s->user->uid = uid;
	s->user->gid = gid;
	s->user->name = strdup(f[0]);
	s->user->home = strdup(f[5][0] == '/' ? f[5] : "/");
	s->user->shell = strdup(f[6][0] == '/' ? f[6] : "/bin/sh");
	s->found = true;
	return 1;
}

static int group_line(void *ctx, char **f, int n)
{
	struct search *s = ctx;
	unsigned gid;
	if (n < 3 || strcmp(f[0], s->name) != 0 || parse_id(f[2], &gid) < 0)
		return 0;
	s->id = gid;
	s->found = true;
	return 1;
}

/* A group the user is a member of: name:password:gid:member,member */
static int member_line(void *ctx, char **f, int n)
{
	struct hull_user *u = ctx;
	unsigned gid;
	char *save = NULL;
	if (n < 4 || parse_id(f[2], &gid) < 0 || u->group_count >= HULL_USER_GROUPS_MAX)
		return 0;
	for (char *m = strtok_r(f[3], ",", &save); m; m = strtok_r(NULL, ",", &save)) {
		if (strcmp(m, u->name) == 0) {
			u->groups[u->group_count++] = gid;
			break;
		}
	}
	return 0;
}

static int find_group(const char *name, const char *group, struct hull_user *out, struct hull_error *err)
{
	struct search s = {.name = name};
	if (parse_id(name, &out->gid) == 0)
		return 0;
	int r = each_line(group, group_line, &s, err);
	if (r < 0)
		return hull_wrap(err, "cannot look up the group \"%s\"", name);
	if (!s.found)
		return hull_fail(err, -ESRCH, "there is no group \"%s\" in the sandbox", name);
	out->gid = s.id;
	return 0;
}

int hull_user_find(const char *spec, const char *passwd, const char *group, struct hull_user *out,
		   struct hull_error *err)
{
	_cleanup_(hull_user_free) struct hull_user u = {0};
	_cleanup_free_ char *name = strdup(spec);
	if (!name)
		return hull_fail(err, -ENOMEM, "out of memory");
	char *colon = strchr(name, ':');
	if (colon)
		*colon = '\0';
	struct search s = {.name = name, .user = &u};
	s.by_id = parse_id(name, &s.id) == 0;
	int r = each_line(passwd, passwd_line, &s, err);
	if (r < 0)
		return hull_wrap(err, "cannot look up the user \"%s\"", name);
	if (!s.found && !s.by_id)
		return hull_fail(err, -ESRCH, "there is no user \"%s\" in the sandbox", name);
	if (!s.found) {
		u.uid = s.id;
		u.gid = 0; /* docker's choice too */
		u.name = strdup(name);
		u.home = strdup("/");
		u.shell = strdup("/bin/sh");
	}
	if (!u.name || !u.home || !u.shell)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (colon) {
		/* A group that was named is the only one, as with docker. */
		r = find_group(colon + 1, group, &u, err);
	} else if (s.found) {
		r = each_line(group, member_line, &u, err);
	}
	if (r < 0)
		return r;
	*out = u;
	u = (struct hull_user){0};
	return 0;
}

int hull_user_find_own(const char *spec, struct hull_user *out, struct hull_error *err)
{
	static const char *const files[] = {"/etc/passwd", "/etc/group"};
	char paths[2][32];
	int fds[2], r = 0;
	for (int i = 0; i < 2; i++) {
		fds[i] = hull_own_open(files[i], O_RDONLY | O_NONBLOCK, 0);
		hull_own_path(fds[i], paths[i]); /* one that is missing is as good as empty */
		if (fds[i] < 0 && fds[i] != -ENOENT)
			r = hull_fail(err, fds[i], "cannot look up the user \"%s\": %s: %s", spec, files[i],
				      fds[i] == -EXDEV ? "something is mounted there" : strerror(-fds[i]));
	}
	if (r == 0)
		r = hull_user_find(spec, paths[0], paths[1], out, err);
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return r;
}

void hull_user_free(struct hull_user *u)
{
	free(u->name);
	free(u->home);
	free(u->shell);
	*u = (struct hull_user){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Hull's directories, and the rules for names of sandboxes; see store.h.
 *
 * The runtime directory holds sockets that give full control of a sandbox. In shared /tmp it is used only if it is a
 * real directory, owned by this user and closed to others: another user may have placed a symlink there. Whoever can
 * rename a directory above it can replace it. So every directory on the path must belong to root or this user and be
 * writable by no other user, except sticky directories such as /tmp, where names belong to their owners. */
#include "store/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A directory from the environment; as XDG requires, relative and empty values are ignored. */
static const char *env_dir(const char *name)
{
	const char *v = getenv(name);
	return v && v[0] == '/' ? v : NULL;
}

/* xdg/hull, or HOME/fallback/hull. */
static char *xdg_dir(const char *variable, const char *fallback)
{
	const char *base = env_dir(variable);
	if (base)
		return hull_fmt("%s/hull", base);
	const char *home = env_dir("HOME");
	if (!home) {
		const struct passwd *pw = getpwuid(geteuid());
		home = pw && pw->pw_dir && pw->pw_dir[0] == '/' ? pw->pw_dir : NULL;
	}
	return home ? hull_fmt("%s/%s/hull", home, fallback) : NULL;
}

static char *runtime_dir(void)
{
	const char *base = env_dir("XDG_RUNTIME_DIR");
	if (base)
		return hull_fmt("%s/hull", base);
	_cleanup_free_ char *run = hull_fmt("/run/user/%u", (unsigned)geteuid());
	struct stat st;
	if (run && stat(run, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid())
		return hull_fmt("%s/hull", run);
	return hull_fmt("/tmp/hull-%u", (unsigned)geteuid());
}

int hull_check_private(const char *dir, struct hull_error *err)
{
	struct stat st;
	if (lstat(dir, &st) < 0)
		return hull_fail_errno(err, "cannot use the runtime directory %s", dir);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return hull_fail(err, -EPERM,
				 "cannot use the runtime directory %s: it is not a directory of yours; set "
				 "XDG_RUNTIME_DIR to one",
				 dir);
	if ((st.st_mode & 077) && chmod(dir, 0700) < 0)
		return hull_fail_errno(err, "cannot close the runtime directory %s to others", dir);
	return 0;
}

/* In a user namespace without all ids, the host's root appears as this id. */
static bool is_hosts_root(uid_t uid)
{
	enum { OVERFLOW = 65534 };
	unsigned inside = 0, outside = 0, count = UINT32_MAX;
	if (uid != OVERFLOW)
		return uid == 0;
	_cleanup_fclose_ FILE *f = fopen("/proc/self/uid_map", "re");
	return f && fscanf(f, "%u %u %u", &inside, &outside, &count) == 3 && count != UINT32_MAX;
}

/* Which users besides root and us can rename or replace entries of this directory? NULL = none; otherwise a
 * description, owned. */
static char *who_could(const struct stat *st)
{
	if (st->st_uid != geteuid() && !is_hosts_root(st->st_uid)) {
		const struct passwd *pw = getpwuid(st->st_uid);
		return pw ? hull_fmt("belongs to %s", pw->pw_name) : hull_fmt("belongs to user %u", st->st_uid);
	}
	if (st->st_mode & S_ISVTX)
		return NULL;
	if (st->st_mode & S_IWOTH)
		return strdup("can be written to by everybody");
	/* A user's private group, as many distributions create it, contains no other user. */
	if ((st->st_mode & S_IWGRP) && st->st_gid != getegid() && st->st_gid != 0)
		return hull_fmt("can be written to by group %u", st->st_gid);
	return NULL;
}

/* Check `path` and all directories above it, as written. */
static int check_way(const char *path, const char *what, const char *variable, struct hull_error *err)
{
	_cleanup_free_ char *part = strdup(path);
	if (!part)
		return hull_fail(err, -ENOMEM, "out of memory");
	for (char *end = part + strlen(part);;) {
		struct stat st;
		const char *dir = end == part ? "/" : part;
		if (stat(dir, &st) < 0)
			return hull_fail_errno(err, "cannot use %s", path);
		_cleanup_free_ char *who = who_could(&st);
		if (who)
			return hull_fail(err, -EPERM,
					 "cannot keep %s in %s: %s %s, so another user could replace it; "
					 "set %s to a directory of your own, or change the owner or mode of %s",
					 what, path, dir, who, variable, dir);
		if (end == part)
			return 0;
		while (end > part && *--end != '/')
			;
		while (end > part && end[-1] == '/')
			end--;
		*end = '\0';
	}
}

/* Check the path as written, because its symlinks could be replaced, and the resolved path. */
static int check_parents(const char *path, const char *what, const char *variable, struct hull_error *err)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	if (!real)
		return hull_fail_errno(err, "cannot use %s", path);
	int r = path[0] == '/' ? check_way(path, what, variable, err) : 0;
	return r < 0 ? r : check_way(real, what, variable, err);
}

int hull_paths_open(struct hull_paths *out, struct hull_error *err)
{
	_cleanup_(hull_paths_free) struct hull_paths p = {0};
	const char *home = getenv("HULL_HOME");
	/* Resolve a relative HULL_HOME now: the keeper changes its working directory. */
	p.home = home && home[0] ? strdup(home) : xdg_dir("XDG_DATA_HOME", ".local/share");
	p.config = xdg_dir("XDG_CONFIG_HOME", ".config");
	p.runtime = runtime_dir();
	if (!p.home || !p.config || !p.runtime)
		return hull_fail(
			err, -ENOENT,
			"cannot determine the state directory: there is no home directory; set HOME or HULL_HOME");
	int r = hull_mkdir_all(p.home, 0700, err);
	if (r < 0)
		return r;
	r = check_parents(p.home, "sandboxes", home && home[0] ? "HULL_HOME" : "HULL_HOME or XDG_DATA_HOME", err);
	if (r < 0)
		return r;
	char *real = realpath(p.home, NULL);
	if (!real)
		return hull_fail_errno(err, "cannot use %s", p.home);
	free(p.home);
	p.home = real;
	_cleanup_free_ char *sandboxes = hull_fmt("%s/sandboxes", p.home);
	if (!sandboxes)
		return hull_fail(err, -ENOMEM, "out of memory");
	r = hull_mkdir_all(sandboxes, 0700, err);
	if (r == 0)
		r = hull_mkdir_all(p.config, 0700, err);
	if (r == 0)
		r = hull_mkdir_all(p.runtime, 0700, err);
	if (r == 0)
		r = hull_check_private(p.runtime, err);
	if (r == 0)
		r = check_parents(p.config, "the policy", "XDG_CONFIG_HOME", err);
	if (r == 0)
		r = check_parents(p.runtime, "sockets", "XDG_RUNTIME_DIR", err);
	if (r < 0)
		return r;
	*out = p;
	p = (struct hull_paths){0};
	return 0;
}

void hull_paths_free(struct hull_paths *p)
{
	free(p->home);
	free(p->runtime);
	free(p->config);
	*p = (struct hull_paths){0};
}

char *hull_sandbox_path(const struct hull_paths *p, const char *name, const char *file)
{
	return file ? hull_fmt("%s/sandboxes/%s/%s", p->home, name, file) : hull_fmt("%s/sandboxes/%s", p->home, name);
}

static bool lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

int hull_name_check(const char *name, struct hull_error *err)
{
	if (!name || !name[0])
		return hull_fail(err, -EINVAL, "a sandbox needs a name");
	size_t n = strlen(name);
	if (n > HULL_NAME_MAX)
		return hull_fail(err, -EINVAL, "the name is too long: %zu characters; at most %d", n, HULL_NAME_MAX);
	bool ok = lower_alnum(name[0]);
	for (size_t i = 1; ok && i < n; i++)
		ok = lower_alnum(name[i]) || name[i] == '_' || name[i] == '.' || name[i] == '-';
	if (ok)
		return 0;
	_cleanup_free_ char *shown = hull_printable(name, n);
	return hull_fail(err, -EINVAL,
			 "bad name \"%s\": use a-z, 0-9, '_', '.' and '-', starting with a letter or digit",
			 shown ? shown : "");
}

void hull_hostname(const char *name, char out[HULL_NAME_MAX + 1])
{
	size_t n = 0;
	for (; *name && n < HULL_NAME_MAX; name++) {
		bool fine = lower_alnum(*name) || (*name == '.' && n > 0 && lower_alnum(out[n - 1]));
		/* No label is empty, or starts or ends with '-'. */
		if (fine && *name == '.' && !lower_alnum(name[1]))
			fine = false;
		if (fine)
			out[n++] = *name;
		else if (n > 0 && lower_alnum(out[n - 1]))
			out[n++] = '-';
	}
	while (n > 0 && !lower_alnum(out[n - 1]))
		n--;
	out[n] = '\0';
	if (n == 0)
		strcpy(out, "sandbox");
}

char *hull_name_from(const char *agent, const char *directory)
{
	const char *parts[] = {agent ? agent : "", directory ? directory : ""};
	char name[HULL_NAME_MAX + 1];
	size_t n = 0;
	for (size_t k = 0; k < 2; k++) {
		if (k == 1 && n > 0 && parts[1][0] && n < HULL_NAME_MAX)
			name[n++] = '-';
		for (const char *c = parts[k]; *c && n < HULL_NAME_MAX; c++) {
			char l = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
			bool fine = lower_alnum(l) || (n > 0 && (l == '_' || l == '.'));
			/* One '-' for each run of other bytes, none at the start. */
			if (fine)
				name[n++] = l;
			else if (n > 0 && name[n - 1] != '-')
				name[n++] = '-';
		}
	}
	while (n > 0 && !lower_alnum(name[n - 1]))
		n--;
	name[n] = '\0';
	return strdup(n ? name : "sandbox");
}

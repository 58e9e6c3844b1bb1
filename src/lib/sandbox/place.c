/* SPDX-License-Identifier: Apache-2.0 */
/* Validates host paths for a sandbox, mounted at the same path inside: real and absolute, so that a name means the same
 * on both sides. A path that would expose Hull's own state, or cover a directory that the sandbox needs, is refused. */
#include "lib/sandbox/place.h"

#include "base/cleanup.h"
#include "base/path.h"
#include "base/text.h"
#include "git/git.h"
#include "lib/files/reach.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Users can say ":ro" only; ":git" is set by Hull. */
static size_t argument_length(const char *word)
{
	enum hull_path_mode mode;
	size_t n = hull_entry_split(word, &mode);
	return mode == HULL_PATH_READONLY ? n : strlen(word);
}

int place_parse(const struct hull_paths *p, const char *word, char **path, bool *readonly, struct hull_error *err)
{
	struct stat st;
	size_t n = argument_length(word);
	*readonly = word[n] != '\0';
	_cleanup_free_ char *plain = strndup(word, n);
	_cleanup_free_ char *shown = hull_printable(word, strlen(word));
	if (!plain || !shown)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_free_ char *real = NULL;
	int r = reach_real(p, plain, &real, err);
	if (r < 0)
		return r;
	if (stat(real, &st) < 0)
		return hull_fail(err, -errno, "%s: %s", *shown ? shown : "an empty path", strerror(errno));
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return hull_fail(err, -ENOTDIR, "%s is neither a directory nor a file", shown);
	if (S_ISREG(st.st_mode) && !*readonly)
		return hull_fail(err, -ENOTDIR,
				 "%s: the workspace has to be a directory; a file can be mounted "
				 "read-only, as %s:ro",
				 shown, shown);
	if (hull_entry_split(real, NULL) != strlen(real))
		return hull_fail(err, -EINVAL, "%s: a name that ends in \":ro\" or \":git\" cannot be mounted", shown);
	*path = hull_steal_ptr(real);
	return 0;
}

/* The current directory as the user's shell names it ($PWD). */
static char *logical_cwd(void)
{
	const char *pwd = getenv("PWD");
	struct stat a, b;
	if (pwd && pwd[0] == '/' && stat(pwd, &a) == 0 && stat(".", &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino)
		return strdup(pwd);
	return getcwd(NULL, 0);
}

char *place_link(const char *word, const char *real)
{
	size_t n = argument_length(word);
	_cleanup_free_ char *here = word[0] == '/' ? strdup("") : logical_cwd();
	_cleanup_free_ char *whole = here ? hull_fmt("%s/%.*s", here, (int)n, word) : NULL;
	_cleanup_free_ char *path = whole ? calloc(1, strlen(whole) + 2) : NULL;
	char *save = NULL;
	for (char *part = path ? strtok_r(whole, "/", &save) : NULL; part; part = strtok_r(NULL, "/", &save)) {
		/* ".." after a symlink means another directory textually than physically. */
		if (!strcmp(part, ".."))
			return NULL;
		if (strcmp(part, ".") != 0) {
			strcat(path, "/");
			strcat(path, part);
		}
	}
	struct hull_error err;
	if (!path || !*path || !strcmp(path, real) || hull_path_in(path, real) || place_allowed(path, &err) < 0)
		return NULL;
	return hull_steal_ptr(path);
}

static int keep_apart(const char *path, const char *own, const char *what, struct hull_error *err)
{
	_cleanup_free_ char *real = realpath(own, NULL);
	if (!real)
		return 0; /* not there yet */
	if (hull_path_in(path, real))
		return hull_fail(err, -EPERM, "%s lies in %s, %s: it cannot be given to a sandbox", path, real, what);
	if (hull_path_in(real, path))
		return hull_fail(err, -EPERM,
				 "%s contains %s, %s: a sandbox could change it from there; choose a directory below",
				 path, real, what);
	return 0;
}

int place_allowed(const char *path, struct hull_error *err)
{
	/* Directories that the sandbox itself provides. */
	static const char *const whole[] = {"/",     "/bin", "/boot", "/etc", "/home", "/lib", "/lib64",     "/opt",
					    "/root", "/run", "/sbin", "/srv", "/usr",  "/var", "/home/agent"};
	static const char *const all[] = {"/dev", "/proc", "/sys", "/run/hull"};
	for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
		if (!strcmp(path, whole[i]))
			return hull_fail(err, -EPERM,
					 "%s cannot be mounted as a whole: the sandbox has its own; choose a directory "
					 "below it",
					 path);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (hull_path_in(path, all[i]))
			return hull_fail(err, -EPERM, "%s belongs to the system and cannot be mounted", path);
	return 0;
}

int place_beside_clone(const char *path, const char *clone, struct hull_error *err)
{
	if (clone && (hull_path_in(path, clone) || hull_path_in(clone, path)))
		return hull_fail(err, -EBUSY, "%s and the sandbox's private clone %s lie in one another", path, clone);
	return 0;
}

int place_check(const struct hull_paths *p, const char *path, char *const *entries, struct hull_error *err)
{
	int r = place_allowed(path, err);
	if (r >= 0)
		r = keep_apart(path, p->home, "where Hull keeps its sandboxes", err);
	if (r >= 0)
		r = keep_apart(path, p->runtime, "where Hull has its sockets", err);
	/* They may be created here later, and must not have been created by a sandbox. */
	_cleanup_free_ char *other = hull_runtime_short(p, "", NULL);
	if (r >= 0 && other && (*strrchr(other, '/') = '\0', hull_path_in(other, path)))
		r = hull_fail(err, -EPERM,
			      "%s contains %s, where Hull may have its sockets: a sandbox could change it from there; "
			      "choose a directory below",
			      path, other);
	if (r >= 0 && other)
		r = keep_apart(path, other, "where Hull has its sockets", err);
	if (r >= 0)
		r = keep_apart(path, p->config, "where Hull has its settings", err);
	if (r < 0)
		return r;
	if (entries && entries[hull_entry_find(entries, path)])
		return hull_fail(err, -EEXIST, "%s is there already", path);
	return 0;
}

/* Is it in one of the entries? */
static bool covered(char *const *entries, const char *path)
{
	for (; *entries; entries++) {
		_cleanup_free_ char *dir = hull_entry_path(*entries);
		if (dir && hull_path_in(path, dir))
			return true;
	}
	return false;
}

static int add_entry(const char *path, enum hull_path_mode mode, char ***entries, struct hull_error *err)
{
	_cleanup_free_ char *entry = hull_entry_make(path, mode);
	return entry && hull_strv_add(entries, entry) >= 0 ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

int place_worktree(const struct hull *h, const char *path, bool readonly, char ***entries, struct hull_error *err)
{
	_cleanup_(hull_git_worktree_free) struct hull_git_worktree w = {0};
	struct hull_error why = {0};
	int r = hull_git_worktree(path, &w, &why);
	if (r == -EINVAL) {
		lib_note(h, HULL_NOTE_WARNING, "git will not work in %s: %s", path, why.msg);
		return 0;
	}
	if (r <= 0)
		return r < 0 ? hull_fail(err, r, "%s", why.msg) : 0;
	bool there = (*entries)[hull_entry_find(*entries, w.common)] != NULL;
	if (!there && covered(*entries, w.common))
		return 0; /* already mounted as a whole, or at the user's request */
	if (!there)
		r = add_entry(w.common, readonly ? HULL_PATH_READONLY : HULL_PATH_GIT, entries, err);
	if (r < 0)
		return r;
	/* Or added for another worktree of the same repository. */
	enum hull_path_mode mode;
	hull_entry_split((*entries)[hull_entry_find(*entries, w.common)], &mode);
	if (readonly || mode != HULL_PATH_GIT || (*entries)[hull_entry_find(*entries, w.own)])
		return !there;
	r = add_entry(w.own, HULL_PATH_WRITABLE, entries, err);
	return r < 0 ? r : 1;
}

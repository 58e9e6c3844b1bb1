/* SPDX-License-Identifier: Apache-2.0 */
/* See recipe.h. The program's own files are looked for from where the program is, so that it runs from the build
 * directory and installed alike: images/ in that directory or up to three above it, share/hull/images beside bin/.
 * HULL_SHARE, when set, is the directory with images/ in it instead. */
#include "image/recipe.h"

#include "base/beside.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "store/store.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

enum { RECIPE_MAX = 1024 * 1024, SCRIPT_MAX = 100 * 1024 /* one argument of a program holds at most 128 KiB */ };

#define RECIPE "debian-trixie.packages"

void hull_recipe_free(struct hull_recipe *r)
{
	free(r->path);
	free(r->name);
	hull_strv_free(r->packages);
	free(r->node);
	free(r->customize);
	free(r->kernel);
	free(r->pack);
	*r = (struct hull_recipe){0};
}

/* Debian policy 5.6.7: at least two of [a-z0-9+.-], the first a letter or digit; here "=version" may follow. */
static bool is_package(const char *w)
{
	size_t n = strspn(w, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
	if (n < 2 || !isalnum((unsigned char)w[0]))
		return false;
	if (w[n] == '\0')
		return true;
	const char *version = w + n + 1;
	return w[n] == '=' && *version &&
	       version[strspn(version, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789+.~:-")] == '\0';
}

static bool has(char *const *list, const char *s)
{
	for (; list && *list; list++)
		if (strcmp(*list, s) == 0)
			return true;
	return false;
}

int hull_recipe_parse(const char *text, const char *path, char ***packages, struct hull_error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	char **list = NULL;
	int r = copy ? 0 : hull_fail(err, -ENOMEM, "out of memory");
	unsigned number = 1;
	for (char *line = copy; line && r == 0; number++) {
		char *next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		line[strcspn(line, "#")] = '\0';
		char *rest = line;
		for (char *w; r == 0 && (w = strtok_r(NULL, " \t\r", &rest));) {
			if (!is_package(w)) {
				_cleanup_free_ char *shown = hull_printable(w, strnlen(w, 80));
				r = hull_fail(err, -EINVAL, "%s line %u: \"%s\" is not the name of a Debian package",
					      path, number, shown ? shown : "?");
			} else if (!has(list, w) && hull_strv_add(&list, w) < 0) {
				r = hull_fail(err, -ENOMEM, "out of memory");
			}
		}
		line = next;
	}
	if (r == 0 && !list)
		r = hull_fail(err, -EINVAL, "%s names no package", path);
	if (r < 0)
		hull_strv_free(list);
	else
		*packages = list;
	return r;
}

/* One of the program's own files; owned. */
static char *own_file(const char *name)
{
	static const char *const places[] = {
		"images", "../images", "../../images", "../../../images", "../share/hull/images", NULL,
	};
	const char *share = getenv("HULL_SHARE");
	if (share && *share) {
		char *path = hull_fmt("%s/images/%s", share, name);
		if (path && access(path, R_OK) == 0)
			return path;
		free(path);
		return NULL;
	}
	_cleanup_free_ char *exe = hull_self(NULL);
	char *slash = exe ? strrchr(exe, '/') : NULL;
	if (!slash)
		return NULL;
	*slash = '\0';
	for (size_t i = 0; places[i]; i++) {
		char *path = hull_fmt("%s/%s/%s", exe, places[i], name);
		if (path && access(path, R_OK) == 0) {
			char *real = realpath(path, NULL);
			free(path);
			return real;
		}
		free(path);
	}
	return NULL;
}

static int read_text(const char *path, size_t max, char **out, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	int r = hull_read_file(AT_FDCWD, path, max, &text, err);
	if (r < 0)
		return r;
	*out = strdup((const char *)hull_buf_bytes(&text));
	return *out ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

/* A script: from `dir` when it is there, else the program's own. */
static int read_script(const char *dir, const char *name, char **out, struct hull_error *err)
{
	_cleanup_free_ char *path = dir ? hull_fmt("%s/%s", dir, name) : NULL;
	if (!path || access(path, R_OK) != 0) {
		free(path);
		path = own_file(name);
	}
	if (!path)
		return hull_fail(
			err, -ENOENT,
			"images/%s is missing: it is installed in share/hull/images; reinstall hull, or run it from "
			"its build directory",
			name);
	return read_text(path, SCRIPT_MAX, out, err);
}

int hull_recipe_load(const char *path, struct hull_recipe *out, struct hull_error *err)
{
	*out = (struct hull_recipe){0};
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char *dir = NULL;
	out->path = path ? strdup(path) : own_file(RECIPE);
	if (!out->path)
		return hull_fail(
			err, -ENOENT,
			"images/%s is missing: it is installed in share/hull/images; name a recipe with --recipe FILE",
			RECIPE);
	const char *slash = strrchr(out->path, '/');
	out->name = strdup(slash ? slash + 1 : out->path);
	dir = slash ? strndup(out->path, (size_t)(slash - out->path)) : strdup(".");
	int r = !out->name || !dir ? hull_fail(err, -ENOMEM, "out of memory")
				   : read_text(out->path, RECIPE_MAX, &text, err);
	if (r == 0)
		r = hull_recipe_parse(text, out->path, &out->packages, err);
	if (r == 0)
		r = read_script(dir, "customize.sh", &out->customize, err);
	if (r == 0)
		r = read_script(NULL, "node.sh", &out->node, err);
	if (r == 0)
		r = read_script(NULL, "kernel.sh", &out->kernel, err);
	if (r == 0)
		r = read_script(NULL, "pack.sh", &out->pack, err);
	if (r < 0)
		hull_recipe_free(out);
	return r;
}

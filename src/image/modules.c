/* SPDX-License-Identifier: Apache-2.0 */
/* See modules.h.
 *
 * modules.dep has one line a module: "path: dep dep ...", the dependencies already complete (transitive) and written
 * so that the last is to be loaded first. Rather than trust that order, the lines are followed depth first: a module
 * is put down after everything on its line has been. A circle (a damaged file) ends at a depth no real chain has. */
#include "image/modules.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/spawn.h"
#include "base/text.h"
#include "image/cpio.h"
#include "store/store.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>

enum { INDEX_FILE_MAX = 16 * 1024 * 1024, MODULE_MAX = 64 * 1024 * 1024, DEPTH_MAX = 64 };

const char *const hull_boot_modules[] = {
	"virtio_blk", "virtio_mmio", "virtio_rng", "virtio_balloon", "erofs", "overlay", NULL,
};

/* "kernel/fs/overlayfs/overlay.ko.xz" is "overlay". A module's name has '_' where its file may have '-'. */
static bool names_module(const char *path, size_t n, const char *name)
{
	const char *base = path;
	for (size_t i = 0; i < n; i++)
		if (path[i] == '/')
			base = path + i + 1;
	size_t left = n - (size_t)(base - path);
	size_t i = 0;
	for (; name[i]; i++) {
		if (i >= left || (base[i] == '-' ? '_' : base[i]) != (name[i] == '-' ? '_' : name[i]))
			return false;
	}
	return left - i >= 3 && strncmp(base + i, ".ko", 3) == 0 && (left - i == 3 || base[i + 3] == '.');
}

/* One module's line in modules.dep, by its exact path or by its name; NULL when there is none. *n is the line's length
 * up to the colon. */
static const char *find_line(const char *dep, const char *path, size_t path_len, const char *name, size_t *n)
{
	for (const char *line = dep; *line;) {
		const char *end = strchrnul(line, '\n');
		const char *colon = memchr(line, ':', (size_t)(end - line));
		if (colon) {
			size_t len = (size_t)(colon - line);
			if (name ? names_module(line, len, name) : len == path_len && memcmp(line, path, len) == 0) {
				*n = len;
				return line;
			}
		}
		line = *end ? end + 1 : end;
	}
	return NULL;
}

static bool is_builtin(const char *builtin, const char *name)
{
	for (const char *line = builtin; *line;) {
		const char *end = strchrnul(line, '\n');
		if (names_module(line, (size_t)(end - line), name))
			return true;
		line = *end ? end + 1 : end;
	}
	return false;
}

/* A path out of modules.dep is used below a directory of ours: it must stay there. */
static bool safe_path(const char *p, size_t n)
{
	if (n == 0 || n > 512 || p[0] == '/')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)p[i]) && !strchr("/._+-", p[i]))
			return false;
		if (p[i] == '.' && i + 1 < n && p[i + 1] == '.')
			return false;
	}
	return true;
}

static int put_down(const char *dep, const char *line, size_t n, unsigned depth, char ***paths, struct hull_error *err)
{
	_cleanup_free_ char *path = strndup(line, n);
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!safe_path(line, n) || depth > DEPTH_MAX)
		return hull_fail(err, -EBADMSG, "the kernel's modules.dep is damaged near \"%.60s\"", path);
	for (char **p = *paths; p && *p; p++)
		if (strcmp(*p, path) == 0)
			return 0;
	const char *end = strchrnul(line, '\n');
	for (const char *p = line + n + 1; p < end;) {
		while (p < end && *p == ' ')
			p++;
		size_t len = 0;
		while (p + len < end && p[len] != ' ')
			len++;
		size_t found = 0;
		/* A module on its own line (a circle) is passed over. */
		if (len > 0 && !(len == n && memcmp(p, line, n) == 0)) {
			const char *other = find_line(dep, p, len, NULL, &found);
			if (!other)
				return hull_fail(err, -EBADMSG,
						 "the kernel's modules.dep does not list %.*s, which %s needs",
						 (int)len, p, path);
			int r = put_down(dep, other, found, depth + 1, paths, err);
			if (r < 0)
				return r;
		}
		p += len;
	}
	for (char **p = *paths; p && *p; p++)
		if (strcmp(*p, path) == 0)
			return 0;
	return hull_strv_add(paths, path) < 0 ? hull_fail(err, -ENOMEM, "out of memory") : 0;
}

int hull_modules_order(const char *dep, const char *builtin, const char *const *wanted, char ***paths,
		       struct hull_error *err)
{
	char **list = NULL;
	for (size_t i = 0; wanted[i]; i++) {
		size_t n = 0;
		const char *line = find_line(dep, NULL, 0, wanted[i], &n);
		int r = 0;
		if (line)
			r = put_down(dep, line, n, 0, &list, err);
		else if (!is_builtin(builtin, wanted[i]))
			r = hull_fail(err, -ENOENT, "the kernel has no module %s, neither built in nor loadable",
				      wanted[i]);
		if (r < 0) {
			hull_strv_free(list);
			return r;
		}
	}
	*paths = list ? list : calloc(1, sizeof(*list));
	return *paths ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

/* kernel/a/b.ko of the unpacked package, where it may be packed as .ko.xz (modules.dep was made after unpacking). */
static int read_module(const char *dir, const char *path, struct hull_buf *out, struct hull_error *err)
{
	_cleanup_free_ char *plain = hull_fmt("%s/%s", dir, path);
	_cleanup_free_ char *packed = hull_fmt("%s/%s.xz", dir, path);
	if (!plain || !packed)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (access(plain, F_OK) != 0) {
		const char *const argv[] = {"xz", "-d", packed, NULL};
		struct hull_spawn s = {.argv = (char *const *)argv, .log_fd = -1, .cancel_fd = -1};
		int status = 0;
		int r = hull_spawn_run(&s, &status, err);
		if (r < 0)
			return hull_wrap(err, "cannot unpack a kernel module");
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			return hull_fail(err, -EBADMSG, "xz cannot unpack the kernel module %s", packed);
	}
	return hull_read_file(AT_FDCWD, plain, MODULE_MAX, out, err);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

int hull_modules_cpio(const char *dir, const char *dep, const char *const *wanted, struct hull_buf *out,
		      struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf builtin = {0};
	_cleanup_(hull_buf_free) struct hull_buf list = {0};
	_cleanup_free_ char *builtin_path = hull_fmt("%s/modules.builtin", dir);
	if (!builtin_path)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_read_file(AT_FDCWD, builtin_path, INDEX_FILE_MAX, &builtin, err);
	if (r < 0)
		return r;
	char **paths = NULL;
	r = hull_modules_order(dep, (const char *)hull_buf_bytes(&builtin), wanted, &paths, err);
	if (r < 0)
		return r;
	struct hull_cpio cpio = {.out = out};
	r = hull_cpio_dir(&cpio, "modules", 0755);
	for (size_t i = 0; paths[i] && r == 0; i++) {
		_cleanup_(hull_buf_free) struct hull_buf content = {0};
		r = read_module(dir, paths[i], &content, err);
		if (r < 0)
			goto out;
		const char *name = base_name(paths[i]);
		_cleanup_free_ char *member = hull_fmt("modules/%s", name);
		r = member ? hull_cpio_file(&cpio, member, 0644, hull_buf_bytes(&content), content.len) : -ENOMEM;
		if (r == 0)
			r = hull_buf_addf(&list, "/modules/%s\n", name);
	}
	if (r == 0)
		r = hull_cpio_file(&cpio, "modules.list", 0644, hull_buf_bytes(&list), list.len);
	if (r == 0)
		r = hull_cpio_end(&cpio);
	if (r < 0)
		hull_fail(err, r, "cannot make the archive of kernel modules: %s", strerror(-r));
out:
	hull_strv_free(paths);
	return r;
}

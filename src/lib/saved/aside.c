/* SPDX-License-Identifier: Apache-2.0 */
/* A build that needs a machine (seed.c, template_build.c) has its own runtime directory, .KIND-XXXXXX, next to those of
 * the sandboxes, because socket paths must be short. It contains hull/KIND while the machine runs.
 *
 * The build holds a lock on the directory, the machine's keeper one on its part of it. If neither is held, the build
 * was killed, and the next command sweeps the directory. The keeper ends by itself then: it is started with
 * HULL_KEEPER_LEASE. */
#include "lib/saved/aside.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/scratch.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

static const char *const kinds[] = {"seed", "template", NULL};

int aside_remove(const char *path, struct hull_error *err)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	_cleanup_free_ char *dir = slash ? strndup(path, (size_t)(slash - path)) : NULL;
	_cleanup_close_ int fd = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	return fd >= 0 ? hull_remove_tree(fd, slash + 1, err) : 0;
}

/* No build is in progress: neither the build nor a keeper holds its lock. */
static bool abandoned(const char *parent, const char *kind)
{
	_cleanup_free_ char *keeper = hull_fmt("%s/hull/%s", parent, kind);
	const char *const dirs[] = {parent, keeper};
	for (size_t i = 0; i < 2; i++) {
		_cleanup_close_ int fd = dirs[i] ? open(dirs[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		if (fd < 0 ? errno != ENOENT : flock(fd, LOCK_EX | LOCK_NB) < 0)
			return false;
	}
	return true;
}

static const char *kind_of(const char *name)
{
	for (size_t i = 0; kinds[i]; i++) {
		size_t n = strlen(kinds[i]);
		if (name[0] == '.' && !strncmp(name + 1, kinds[i], n) && name[n + 1] == '-')
			return kinds[i];
	}
	return NULL;
}

void aside_sweep(const struct hull_paths *p)
{
	_cleanup_closedir_ DIR *d = opendir(p->runtime);
	for (const struct dirent *e; d && (e = readdir(d));) {
		const char *kind = kind_of(e->d_name);
		_cleanup_free_ char *path = kind ? hull_fmt("%s/%s", p->runtime, e->d_name) : NULL;
		if (path && abandoned(path, kind))
			aside_remove(path, NULL);
	}
}

int aside_make(const struct hull_paths *p, const char *kind, char **path, struct hull_error *err)
{
	aside_sweep(p);
	_cleanup_free_ char *prefix = hull_fmt(".%s-", kind);
	struct hull_scratch made;
	int r = prefix ? hull_scratch_make(p->runtime, prefix, &made, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	*path = made.path;
	return made.fd;
}

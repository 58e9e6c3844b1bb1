/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts host paths in a sandbox. In a running sandbox the keeper mounts the path and updates sandbox.json; for a
 * stopped one the file is changed under the sandbox's lock. */
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/sandbox/place.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Changes the list of a stopped sandbox. -EBUSY when it runs. */
static int change_file(const struct hull *h, const char *name, const char *path, const char *entry,
		       struct hull_error *err)
{
	_cleanup_close_ int lock = hull_sandbox_lock(&h->paths, name, err);
	if (lock < 0)
		return lock;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = hull_sandbox_load(&h->paths, name, &sb, err);
	if (r < 0)
		return r;
	size_t i = hull_entry_find(sb.paths, path);
	if (entry) {
		r = place_check(&h->paths, path, sb.paths, err);
		if (r >= 0)
			r = place_beside_clone(path, sb.clone, err);
		if (r < 0)
			return r;
		if (hull_strv_add(&sb.paths, entry) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
	} else {
		if (!sb.paths[i])
			return hull_fail(err, -ENOENT, "%s is not mounted in %s", path, name);
		free(sb.paths[i]);
		for (; sb.paths[i + 1]; i++)
			sb.paths[i] = sb.paths[i + 1];
		sb.paths[i] = NULL;
	}
	return hull_sandbox_save(&h->paths, &sb, err);
}

/* Adds an entry: to the file of a stopped sandbox, or through the keeper of a running one. */
static int mount_one(const struct hull *h, const char *name, const char *entry, struct hull_error *err)
{
	enum hull_path_mode mode;
	_cleanup_free_ char *path = strndup(entry, hull_entry_split(entry, &mode));
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!hull_sandbox_running(&h->paths, name))
		return change_file(h, name, path, entry, err);
	return client_ask(h, name,
			  json_pack("{s:s, s:s+, s:b, s:b}", "do", "mount", "path", path, "", "readonly",
				    mode == HULL_PATH_READONLY, "git", mode == HULL_PATH_GIT),
			  -1, NULL, err);
}

/* Also adds the repository of a linked worktree, if the sandbox does not have it. */
static int mount_repository(const struct hull *h, struct hull_sandbox *sb, const char *path, bool readonly,
			    struct hull_error *err)
{
	size_t had = hull_strv_count(sb->paths);
	int r = place_worktree(h, path, readonly, &sb->paths, err);
	for (char **p = sb->paths + had; r > 0 && *p; p++) {
		_cleanup_free_ char *more = hull_entry_path(*p);
		r = more ? place_check(&h->paths, more, NULL, err) : hull_fail(err, -ENOMEM, "out of memory");
		if (r >= 0)
			r = mount_one(h, sb->name, *p, err);
		if (r < 0)
			return r;
		lib_note(h, HULL_NOTE_WARNING, "%s is mounted with it", more);
		r = 1;
	}
	return r;
}

int hull_mount(struct hull *h, const char *name, const char *word, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_free_ char *path = NULL;
	bool readonly;
	int r = life_load(h, name, &sb, err);
	if (r >= 0)
		r = place_parse(&h->paths, word, &path, &readonly, err);
	if (r >= 0)
		r = place_check(&h->paths, path, NULL, err);
	if (r >= 0)
		r = place_beside_clone(path, sb.clone, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *entry = hull_entry_make(path, readonly ? HULL_PATH_READONLY : HULL_PATH_WRITABLE);
	r = entry ? mount_one(h, name, entry, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r >= 0 && hull_strv_add(&sb.paths, entry) < 0)
		r = hull_fail(err, -ENOMEM, "out of memory");
	if (r >= 0)
		r = mount_repository(h, &sb, path, readonly, err);
	return r < 0 ? r : 0;
}

int hull_unmount(struct hull *h, const char *name, const char *word, unsigned flags, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = lib_flags(flags, HULL_UNMOUNT_FORCE, err);
	if (r >= 0)
		r = life_load(h, name, &sb, err);
	if (r < 0)
		return r;
	/* The path may no longer exist on the host: then the name must match the entry literally. */
	_cleanup_free_ char *real = realpath(word, NULL);
	const char *path = real ? real : word;
	if (!hull_sandbox_running(&h->paths, name))
		return change_file(h, name, path, NULL, err);
	return client_ask(h, name,
			  json_pack("{s:s, s:s+, s:b}", "do", "unmount", "path", path, "", "force",
				    (flags & HULL_UNMOUNT_FORCE) != 0),
			  -1, NULL, err);
}

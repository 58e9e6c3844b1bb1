/* SPDX-License-Identifier: Apache-2.0 */
/* Changes the size of an existing sandbox.
 *
 * A stopped sandbox is changed on disk under its lock, so that no start can intervene. The disk's file is extended
 * before sandbox.json is updated: after a kill in between, the file has a hole at its end that the next attempt uses.
 * The guest grows its file system at the next start. For a running sandbox the keeper enlarges the disk; cpus, memory
 * and swap belong to the machine and require a restart. */
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/sandbox/size.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "snapshot/snapshot.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Apply the requested sizes to the sandbox's current ones. */
static int wanted(const struct hull_sandbox *sb, const struct hull_set_spec *spec, struct hull_sandbox *out,
		  struct hull_error *err)
{
	char now[32], asked[32];
	int r = 0;
	out->cpus = sb->cpus;
	out->memory = sb->memory;
	out->disk = sb->disk;
	out->swap = sb->swap;
	if (spec->cpus)
		r = size_cpus(spec->cpus, size_host_cpus(), &out->cpus, err);
	if (r >= 0 && spec->memory)
		r = size_memory(spec->memory, size_host_memory(), &out->memory, err);
	if (r >= 0 && spec->disk)
		r = size_disk(spec->disk, &out->disk, err);
	if (r >= 0 && spec->swap)
		r = size_swap(spec->swap == HULL_NONE ? 0 : spec->swap, out->disk, &out->swap, err);
	if (r >= 0 && out->disk < sb->disk)
		return hull_fail(err, -EINVAL, "disk %s is less than %s has (%s): a disk can be made larger only",
				 hull_format_size(out->disk, asked, sizeof(asked)), sb->name,
				 hull_format_size(sb->disk, now, sizeof(now)));
	return r;
}

static int lengthen(const struct hull_paths *p, const char *name, uint64_t bytes, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_sandbox_path(p, name, "disk.img");
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd < 0 && errno == ENOENT)
		return 0; /* the first start makes it with the size in sandbox.json */
	if (fd < 0 || fstat(fd, &st) < 0)
		return hull_fail_errno(err, "cannot open %s", path);
	/* Never shorten it, whatever sandbox.json says. */
	if ((uint64_t)st.st_size < bytes && (ftruncate(fd, (off_t)bytes) < 0 || fsync(fd) < 0))
		return hull_fail_errno(err, "cannot make %s larger", path);
	return 0;
}

/* It does not run. */
static int change_stopped(const struct hull *h, const char *name, const struct hull_set_spec *spec,
			  struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0}, want = {0};
	_cleanup_close_ int lock = hull_sandbox_lock(&h->paths, name, err);
	int r = lock < 0 ? lock : hull_sandbox_load(&h->paths, name, &sb, err);
	if (r >= 0)
		r = wanted(&sb, spec, &want, err);
	if (r < 0)
		return r;
	bool machine = want.cpus != sb.cpus || want.memory != sb.memory || want.disk != sb.disk;
	if (!machine && want.swap == sb.swap)
		return 0;
	/* Saved memory fits only a machine of its own size, and may be swapped out in part. Losing a template's memory
	 * is harmless: the disk boots instead. */
	if (sb.restore && !hull_starts(sb.restore, "templates/"))
		return hull_fail(
			err, -EBUSY,
			"%s has saved memory, of a machine of the size that it has: `hull resume %s` and `hull "
			"stop %s` it first, or give the memory up with `hull start --cold %s`",
			name, name, name, name);
	r = want.disk > sb.disk ? lengthen(&h->paths, name, want.disk, err) : 0;
	if (r < 0)
		return r;
	sb.cpus = want.cpus;
	sb.memory = want.memory;
	sb.disk = want.disk;
	sb.swap = want.swap;
	r = hull_sandbox_save(&h->paths, &sb, err);
	/* Hull's own templates have no swap: it is set up after the restore. */
	if (r >= 0 && sb.restore && (machine || !hull_template_is_hulls(sb.restore)))
		lib_note(h, HULL_NOTE_INFO, "%s boots at its next start: its template is of another size", name);
	return r;
}

static int change_running(const struct hull *h, const struct hull_sandbox *sb, const struct hull_set_spec *spec,
			  struct hull_error *err)
{
	const char *name = sb->name;
	struct hull_sandbox want = {0};
	int r = wanted(sb, spec, &want, err);
	if (r < 0)
		return r;
	if (want.cpus != sb->cpus || want.memory != sb->memory || want.swap != sb->swap)
		return hull_fail(err, -EBUSY,
				 "%s is running, and a machine keeps its cpus, memory and swap: `hull stop %s` first",
				 name, name);
	if (want.disk == sb->disk)
		return 0;
	lib_stage(h, name, "growing its disk");
	return client_ask(h, name, json_pack("{s:s, s:I}", "do", "grow", "bytes", (json_int_t)want.disk), -1, NULL,
			  err);
}

int hull_set(struct hull *h, const char *name, const struct hull_set_spec *given, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	struct hull_set_spec spec;
	int r = lib_spec(given, &spec, sizeof(spec), err);
	if (r >= 0)
		r = life_load(h, name, &sb, err);
	if (r < 0)
		return r;
	return hull_sandbox_running(&h->paths, name) ? change_running(h, &sb, &spec, err)
						     : change_stopped(h, name, &spec, err);
}

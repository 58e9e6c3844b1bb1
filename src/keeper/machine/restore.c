/* SPDX-License-Identifier: Apache-2.0 */
/* Finds, checks and opens what a sandbox is restored from; see machine.h.
 *
 * It must be undamaged, and made by this engine for a machine like this one. If it is not:
 * - a template is not used: the disk, a copy of the template's as after a power failure, is booted instead
 * - what a person saved (a snapshot, a pause) makes the start fail with the reason; `hull start --cold` boots the disk */
#include "keeper/machine/machine.h"
#include "keeper/workspace/share.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "image/image.h"
#include "snapshot/snapshot.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

void restore_close(struct restore *r)
{
	hull_closep(&r->memory_fd);
	hull_closep(&r->device_fd);
	hull_closep(&r->disk_fd);
	free(r->shim);
	free(r->initramfs);
	json_decref(r->names);
	json_decref(r->sessions);
	*r = (struct restore){.memory_fd = -1, .device_fd = -1, .disk_fd = -1};
}

/* What a sandbox of its own was saved with swap has it still; Hull's own templates have none, and every sandbox made of
 * one sets up its own. */
static int check_shape(const struct keeper *k, const struct hull_snapshot *s, struct hull_error *err)
{
	const struct hull_sandbox *sb = &k->sb;
	if (hull_streq(s->image, sb->image) && s->cpus == sb->cpus && s->memory == (sb->memory & ~((2ull << 20) - 1)) &&
	    s->disk == sb->disk && s->no_docker == sb->no_docker &&
	    (s->swap == sb->swap || hull_template_is_hulls(k->origin.restore)))
		return 0;
	return hull_fail(err, -ENOTSUP, "it was saved from a machine of another size than this one, or another image");
}

void restore_nodes(struct keeper *k)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	struct hull_error err = {0};
	/* No workspace, nothing to know; and what a template says, which may be a stranger's, is not asked for. */
	if (!k->origin.restore || !k->sb.paths || !k->sb.paths[0] || hull_starts(k->origin.restore, "templates/"))
		return;
	_cleanup_free_ char *dir = hull_fmt("%s/%s", k->paths.home, k->origin.restore);
	if (!dir || hull_snapshot_load(dir, &s, &err) < 0 || !hull_streq(s.digest, k->sb.restore_id) ||
	    !json_object_get(s.files, HULL_SNAPSHOT_NODES))
		return;
	k->workspace->nodes.fd = hull_snapshot_open(dir, &s, HULL_SNAPSHOT_NODES, NULL, &err);
	if (k->workspace->nodes.fd < 0)
		hull_log("what stood in the workspace has to be entered anew: %s", err.msg);
}

static int open_all(struct keeper *k, const char *dir, const char *identity, const char *accel,
		    void (*stage)(const char *text), struct restore *out, struct hull_error *err)
{
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	int r = hull_snapshot_load(dir, &s, err);
	/* The sandbox's disk is of one save, and the memory of another would destroy it. */
	if (r == 0 && !hull_streq(s.digest, k->sb.restore_id))
		r = hull_fail(err, -ESTALE, "%s is not what its disk was made with: it has been replaced since",
			      k->origin.restore);
	if (r == 0)
		r = hull_snapshot_fits(&s, identity, accel, err);
	if (r == 0)
		r = check_shape(k, &s, err);
	if (r < 0)
		return r;
	out->memory_fd = hull_snapshot_open(dir, &s, HULL_SNAPSHOT_MEMORY, stage, err);
	if (out->memory_fd < 0)
		return out->memory_fd;
	out->device_fd = hull_snapshot_open(dir, &s, HULL_SNAPSHOT_DEVICE, stage, err);
	if (out->device_fd < 0)
		return out->device_fd;
	if (disk_missing(k) && (out->disk_fd = hull_snapshot_open(dir, &s, HULL_SNAPSHOT_DISK, stage, err)) < 0)
		return out->disk_fd;
	out->names = json_incref(s.names);
	out->sessions = json_incref(s.sessions);
	out->initramfs = hull_steal_ptr(s.initramfs);
	out->shim = hull_beside("hull-qemu-shim.so", R_OK, err);
	return out->shim ? 0 : err->code;
}

int restore_open(struct keeper *k, const char *identity, const char *accel, void (*stage)(const char *text),
		 struct restore *out, struct hull_error *err)
{
	_cleanup_free_ char *dir = hull_fmt("%s/%s", k->paths.home, k->origin.restore);
	struct hull_error why = {0};
	if (!dir)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = open_all(k, dir, identity, accel, stage, out, &why);
	if (r == 0)
		return 0;
	restore_close(out);
	if (!hull_starts(k->origin.restore, "templates/"))
		return hull_fail(err, r, "%s cannot be restored: %.600s; `hull start --cold %s` boots it from its disk",
				 k->sb.name, why.msg, k->sb.name);
	snprintf(k->origin.note, sizeof(k->origin.note), "%.400s; it was booted instead", why.msg);
	hull_log("%s; booting instead", why.msg);
	stage("the template cannot be used: booting");
	return 1;
}

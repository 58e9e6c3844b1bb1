/* SPDX-License-Identifier: Apache-2.0 */
/* The disk of a sandbox that has never run; see machine.h.
 *
 * It is a copy of its template's, or of the image's. Where the file system can make it by reflink it is there from the
 * beginning. Where not, `create` leaves the copy of a template of Hull's own to the first start, which makes it while
 * the engine loads the saved machine and has no use for a second processor:
 *
 *     disk_copy_open -> the engine starts on the new file -> disk_copy_start: a worker copies
 *                       the engine has loaded, and the worker is done -> the file gets its name -> the machine runs
 *
 * Until it is whole it stands in a scratch directory of the sandbox, which the next start sweeps away. So there is
 * either no disk.img, or a whole one; but nobody has flushed it yet when the host goes down, and therefore sandbox.json
 * says in which boot of the host it was copied, until it runs. */
#include "keeper/machine/machine.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "image/image.h"
#include "snapshot/snapshot.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

bool disk_missing(const struct keeper *k)
{
	_cleanup_free_ char *path = hull_sandbox_path(&k->paths, k->sb.name, "disk.img");
	return path && access(path, F_OK) < 0 && errno == ENOENT;
}

/* What it is copied from: the disk of the save that it has to be, or, where Hull's own template is gone, the image's,
 * which that one began with. */
static int open_source(struct keeper *k, struct hull_error *err)
{
	struct hull_sandbox *sb = &k->sb;
	struct hull_error why = {0};
	if (sb->restore) {
		int fd = hull_disk_source(&k->paths, sb, &why);
		if (fd >= 0)
			return fd;
		if (!hull_template_is_hulls(sb->restore))
			return hull_fail(
				err, -EIO,
				"the host went down before %s had run and before its disk was written, and %s, "
				"of which that was a copy, is gone: `hull rm %s`, and make it again",
				sb->name, sb->restore, sb->name);
		free(sb->restore);
		sb->restore = NULL;
	}
	_cleanup_(hull_image_free) struct hull_image image = {0};
	int r = hull_image_find(&k->paths, sb->image, &image, err);
	sb->fresh = false;
	return r < 0 ? r : hull_image_open(&image, "seed.img", err);
}

/* Nobody has flushed it: in which boot of the host it was copied stands in sandbox.json before it has its name. */
static int place_unflushed(struct keeper *k, const struct hull_scratch *scratch, struct hull_error *err)
{
	_cleanup_free_ char *home = hull_sandbox_path(&k->paths, k->sb.name, NULL);
	char boot[37];
	hull_boot_id(boot);
	free(k->sb.disk_boot);
	k->sb.disk_boot = boot[0] ? strdup(boot) : NULL;
	int r = keeper_save(k, k->sb.state, k->sb.last_error);
	if (r < 0 || !home)
		return hull_fail(err, r < 0 ? r : -ENOMEM, "cannot write down that it is there: %s",
				 strerror(r < 0 ? -r : ENOMEM));
	return hull_disk_place(scratch, home, err);
}

static int failed(const struct keeper *k, int code, const struct hull_error *why, struct hull_error *err)
{
	return hull_fail(err, code, "cannot make the disk of %s: %.600s%s", k->sb.name, why->msg,
			 code == -ENOSPC ? "; free some space, and start it again" : "");
}

int disk_make(struct keeper *k, void (*stage)(const char *text), struct hull_error *err)
{
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	_cleanup_free_ char *home = hull_sandbox_path(&k->paths, k->sb.name, NULL);
	struct hull_error why = {0};
	char boot[37];
	bool missing = disk_missing(k);
	hull_boot_id(boot);
	if (!missing && (!k->sb.disk_boot || !strcmp(k->sb.disk_boot, boot)))
		return 0;
	if (!home)
		return hull_fail(err, -ENOMEM, "out of memory");
	stage(missing ? "copying its disk" : "the host went down since it was made: copying its disk again");
	_cleanup_close_ int from = open_source(k, err);
	if (from < 0)
		return from;
	int r = hull_disk_clone(from, k->sb.disk, home, &scratch, &why);
	if (r == 0)
		r = hull_disk_place(&scratch, home, &why);
	if (r < 0)
		return failed(k, r, &why, err);
	free(k->sb.disk_boot);
	k->sb.disk_boot = boot[0] ? strdup(boot) : NULL;
	return 0;
}

/* --- beside the engine --- */

struct disk_copy {
	struct keeper *k;
	uv_work_t work;
	struct hull_scratch scratch;
	int from, to;
	int result;
	struct hull_error err;
	void (*done)(struct keeper *k, const struct hull_error *err);
};

void disk_copy_free(struct disk_copy *c)
{
	if (!c)
		return;
	hull_closep(&c->from);
	hull_closep(&c->to);
	hull_scratch_drop(&c->scratch);
	free(c);
}

int disk_copy_open(struct keeper *k, int from, struct disk_copy **out, struct hull_error *err)
{
	_cleanup_free_ char *home = hull_sandbox_path(&k->paths, k->sb.name, NULL);
	struct disk_copy *c = calloc(1, sizeof(*c));
	struct hull_error why = {0};
	*out = c;
	if (!c || !home)
		return hull_fail(err, -ENOMEM, "out of memory");
	*c = (struct disk_copy){.k = k, .scratch = {.fd = -1}, .to = -1};
	c->from = fcntl(from, F_DUPFD_CLOEXEC, 3);
	if (c->from < 0)
		return hull_fail_errno(err, "cannot copy the disk of %s", k->sb.name);
	c->to = hull_disk_new(home, &c->scratch, &why);
	/* The engine looks at its size when it starts. */
	if (c->to >= 0 && ftruncate(c->to, (off_t)k->sb.disk) == 0)
		return 0;
	return c->to < 0 ? failed(k, c->to, &why, err) : hull_fail_errno(err, "cannot make the disk of %s", k->sb.name);
}

int disk_copy_fd(const struct disk_copy *c)
{
	return c->to;
}

static void copy(uv_work_t *work)
{
	struct disk_copy *c = work->data;
	c->result = hull_clone_file(c->from, c->to, &c->err);
}

static void copied(uv_work_t *work, int status)
{
	struct disk_copy *c = work->data;
	struct keeper *k = c->k;
	if (c->result == 0)
		c->result = place_unflushed(k, &c->scratch, &c->err);
	struct hull_error err = {0};
	if (c->result < 0)
		failed(k, c->result, &c->err, &err);
	c->done(k, c->result < 0 ? &err : NULL);
	disk_copy_free(c);
}

int disk_copy_start(struct disk_copy *c, void (*done)(struct keeper *k, const struct hull_error *err),
		    struct hull_error *err)
{
	c->done = done;
	c->work.data = c;
	int r = uv_queue_work(&c->k->loop.uv, &c->work, copy, copied);
	return r < 0 ? hull_fail(err, r, "cannot copy the disk of %s: %s", c->k->sb.name, uv_strerror(r)) : 0;
}

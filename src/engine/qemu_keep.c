/* SPDX-License-Identifier: Apache-2.0 */
/* Copy-before-write: preserves the content of a disk at one point in time while the machine continues; see engine.h.
 *
 * It is QEMU's backup job with sync=none, which copies nothing by itself: before a block is overwritten, its old
 * content is written to another file, in units of 64 KiB. A unit with some data is written as data; a hole is written
 * as zeros, which stay a hole where the file system can do that. The caller copies the remaining units from outside.
 * QEMU receives the file as a descriptor.
 *
 *     BEGINNING   add-fd, blockdev-add, blockdev-backup are in flight
 *     ON          the job runs
 *     ENDING      it was cancelled, its normal end, and has not ended yet
 *     CLOSING     it has ended; the file is being closed
 *
 * If that file cannot be written (the host's disk is full), the guest's own write fails with the same error and stops
 * the machine: the guest's disk loses nothing, the preserved content is lost. */
#include "engine/qemu_internal.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define NAME "keep"

static void tell(struct hull_engine *e, const char *error)
{
	if (e->events.kept)
		e->events.kept(e->ctx, error);
}

int hull_engine_keep_begin(struct hull_engine *e, size_t disk, int fd, struct hull_error *err)
{
	char args[160];
	if (e->state != HULL_ENGINE_PAUSED || e->keep != KEEP_NOT)
		return hull_fail(err, -EBUSY, "the machine is not paused, or a disk of it is being kept already");
	if (hull_qmp_command(e->qmp, "add-fd", "{\"fdset-id\": 101}", NULL) < 0)
		return hull_fail(err, -EPIPE, "QEMU's control socket is broken");
	int r = hull_qemu_send_fd(e, fd);
	if (r < 0)
		return hull_fail(err, r, "cannot give QEMU the file for what it overwrites: %s", strerror(-r));
	snprintf(args, sizeof(args),
		 "{\"job-id\": \"" NAME "\", \"device\": \"disk%zu\", \"target\": \"" NAME "\", \"sync\": \"none\"}",
		 disk);
	if (hull_qmp_command(e->qmp, "blockdev-add",
			     "{\"driver\": \"raw\", \"node-name\": \"" NAME "\", \"file\": {\"driver\": \"file\", "
			     "\"filename\": \"/dev/fdset/101\", \"aio\": \"threads\", \"locking\": \"off\"}}",
			     NULL) < 0 ||
	    hull_qmp_command(e->qmp, "remove-fd", "{\"fdset-id\": 101}", NULL) < 0 ||
	    hull_qmp_command(e->qmp, "blockdev-backup", args, &e->keep_id) < 0)
		return hull_fail(err, -EPIPE, "QEMU's control socket is broken");
	e->keep = KEEP_BEGINNING;
	e->keep_broken = false;
	hull_qemu_flush(e);
	return 0;
}

int hull_engine_keep_end(struct hull_engine *e, struct hull_error *err)
{
	if (e->keep != KEEP_ON || e->state == HULL_ENGINE_STOPPED)
		return hull_fail(err, -ESRCH, "no disk of the machine is being kept");
	if (hull_qmp_command(e->qmp, "job-cancel", "{\"id\": \"" NAME "\"}", NULL) < 0)
		return hull_fail(err, -EPIPE, "QEMU's control socket is broken");
	e->keep = KEEP_ENDING;
	hull_qemu_flush(e);
	return 0;
}

bool hull_qemu_keep_reply(struct hull_engine *e, uint64_t id, const char *error)
{
	if (!e->keep_id || id != e->keep_id)
		return false;
	e->keep_id = 0;
	if (e->keep == KEEP_BEGINNING) {
		e->keep = error ? KEEP_NOT : KEEP_ON;
		tell(e, error);
	} else if (e->keep == KEEP_CLOSING) {
		e->keep = KEEP_NOT;
		tell(e, error ? error : e->keep_broken ? "it ended by itself" : NULL);
	}
	return true;
}

void hull_qemu_keep_event(struct hull_engine *e, const char *name, const json_t *data)
{
	if (e->keep == KEEP_NOT)
		return;
	const char *id = json_string_value(json_object_get(data, "id"));
	const char *status = json_string_value(json_object_get(data, "status"));
	if (!hull_streq(name, "JOB_STATUS_CHANGE") || !hull_streq(id, NAME) || !hull_streq(status, "null"))
		return;
	/* The job has ended and released the file. */
	if (e->keep != KEEP_ENDING)
		e->keep_broken = true;
	if (e->keep != KEEP_BEGINNING) {
		e->keep = KEEP_CLOSING;
		hull_qmp_command(e->qmp, "blockdev-del", "{\"node-name\": \"" NAME "\"}", &e->keep_id);
	}
}

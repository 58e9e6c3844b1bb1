/* SPDX-License-Identifier: Apache-2.0 */
/* Making the disk of a running sandbox larger; see grow.h.
 *
 *     grow_begin    the engine makes the image file longer and tells the guest's driver
 *     grow_resized  that is done and cannot be undone: the new size is written down; GROW to the guest
 *     grow_answered GROWN from the guest: its file system has the size, or not
 *
 * The size is written down before the guest is asked, because every later start brings the file system to the size that
 * stands there: whatever dies in between, nothing is lost and the next start finishes it. A disk is never made smaller.
 *
 * Meanwhile nothing may be saved of the machine, so a guest that does not answer is given up after WAIT_MS. */
#include "keeper/keeper.h"
#include "keeper/machine/grow.h"
#include "keeper/guest/guest.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

/* It takes seconds, of a big disk on a slow host. */
enum { WAIT_MS = 300 * 1000 };

void grow_init(struct keeper *k)
{
	uv_timer_init(&k->loop.uv, &k->grow->timer);
	k->grow->timer.data = k;
	k->grow->wait_ms = WAIT_MS;
}

int grow_begin(struct keeper *k, uint64_t bytes, struct hull_error *err)
{
	char now[32];
	if (k->life.phase != PHASE_RUNNING || !k->guest->configured || !k->machine_ops->grow)
		return hull_fail(err, -EAGAIN, "only a sandbox that is up can be grown: try again in a moment");
	if (k->grow->bytes)
		return hull_fail(err, -EBUSY, "the disk is being grown already");
	if (bytes > HULL_DISK_MAX || bytes % (1024 * 1024))
		return hull_fail(err, -EINVAL, "grow: \"bytes\" is out of range");
	if (bytes <= k->sb.disk)
		return hull_fail(err, -EINVAL, "the disk has %s already, and cannot be made smaller",
				 hull_format_size(k->sb.disk, now, sizeof(now)));
	int r = k->machine_ops->grow(k, bytes, err);
	if (r == 0) {
		k->grow->bytes = bytes;
		k->grow->asked = false;
	}
	return r;
}

static void done(struct keeper *k, int code, const char *error)
{
	uv_timer_stop(&k->grow->timer);
	k->grow->bytes = 0;
	if (error)
		hull_log("growing the disk failed: %s", error);
	k->events->grown(k, code, error);
}

static void on_late(uv_timer_t *timer)
{
	char text[200];
	struct keeper *k = timer->data;
	snprintf(text, sizeof(text),
		 "the disk has its new size, but the guest has not said for %llu s whether its file system has; the "
		 "next start grows it",
		 (unsigned long long)(k->grow->wait_ms / 1000));
	done(k, ETIMEDOUT, text);
}

void grow_resized(struct keeper *k, const char *error)
{
	if (!k->grow->bytes)
		return;
	if (error) {
		done(k, EIO, error);
		return;
	}
	k->sb.disk = k->grow->bytes;
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_GROW;
	if (keeper_save(k, k->sb.state, k->sb.last_error) < 0)
		done(k, EIO, "the disk has its new size, but sandbox.json cannot be written");
	else if (hull_buf_add(&b, &kind, 1) < 0 || hull_args_put_u64(&b, HULL_TAG_DISK_BYTES, k->sb.disk) < 0)
		done(k, ENOMEM, "out of memory");
	else {
		k->grow->asked = true;
		uv_update_time(&k->loop.uv);
		uv_timer_start(&k->grow->timer, on_late, k->grow->wait_ms, 0);
		loop_stream_message(&k->guest->control, hull_buf_bytes(&b), b.len);
	}
}

void grow_answered(struct keeper *k, struct hull_cur *cur)
{
	struct hull_arg a;
	uint32_t code = 0;
	_cleanup_free_ char *text = NULL;
	while (hull_args_next(cur, &a)) {
		if (a.tag == HULL_TAG_ERRNO)
			code = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_TEXT && !text)
			text = hull_printable((const char *)a.p, a.n);
	}
	if (!k->grow->bytes || !k->grow->asked || cur->bad)
		return;
	_cleanup_free_ char *why = hull_fmt(
		"the disk has its new size, but its file system does not: %.300s; the next start grows it",
		text ? text : "");
	done(k, code > 0 && code < 4096 ? (int)code : EIO, code ? why ? why : "out of memory" : NULL);
}

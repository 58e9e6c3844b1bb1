/* SPDX-License-Identifier: Apache-2.0 */
/* dockerd.log: the guest's dockerd log, followed into the sandbox's directory while the machine runs, so that it can
 * be read after it has stopped; see dockerlog.h.
 *
 * The guest runs `tail -F` for us as an ordinary exec stream: credit bounds what is on the way, nothing runs on the
 * host while dockerd is quiet, and nothing needs to be known about the log in hull-init. The stream ends with the
 * machine; should tail end before, the log is what it was until the next start. */
#include "keeper/keeper.h"
#include "keeper/guest/dockerlog.h"
#include "keeper/guest/guest.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/service.h"

#include <string.h>

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct keeper *k = container_of(s, struct dockerlog, tail)->k;
	if (channel == HULL_CHANNEL_MAIN)
		logfile_write(&k->dockerlog->file, p, n);
	loop_stream_grant(s, n);
}

static void on_eof(struct loop_stream *s)
{
	loop_stream_eof(s);
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct keeper *k = container_of(s, struct dockerlog, tail)->k;
	if (code < 0 && code != -ECANCELED && code != -ECONNRESET) {
		_cleanup_free_ char *text = hull_printable(message, strlen(message));
		keeper_log_guest(k, "dockerd's log cannot be followed: %s", text ? text : "");
	}
}

static const struct loop_stream_ops OPS = {.data = on_data, .eof = on_eof, .closed = on_closed};

void dockerlog_start(struct keeper *k)
{
	static const char *const argv[] = {"tail", "-n", "+1", "-F", HULL_GUEST_DOCKER_LOG};
	if (k->sb.no_docker || k->dockerlog->tail.id)
		return;
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	_cleanup_free_ char *path = hull_sandbox_path(&k->paths, k->sb.name, "dockerd.log");
	struct hull_error err = {0};
	int r = path ? logfile_open(&k->dockerlog->file, path, LOG_CAP, true, &err) : -ENOMEM;
	if (r == 0)
		r = guest_root_command(argv, sizeof(argv) / sizeof(*argv), &args);
	k->dockerlog->tail.ops = &OPS;
	if (r == 0)
		r = loop_stream_open(&k->dockerlog->tail, &k->guest->link, HULL_SVC_EXEC, &args);
	if (r < 0)
		hull_log("dockerd's log cannot be followed: %s", err.code ? err.msg : strerror(-r));
}

void dockerlog_stop(struct keeper *k)
{
	loop_stream_reset(&k->dockerlog->tail, ECANCELED, "not followed any more");
}

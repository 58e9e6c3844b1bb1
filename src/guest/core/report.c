/* SPDX-License-Identifier: Apache-2.0 */
/* What hull-init reports to the host by itself, on the stream control. The host's own messages: guest/control.c.
 *
 * Nothing waits for the host: a report that finds control closed is dropped, and so is a service's state or a log line
 * before the host has configured the guest. Whoever has state to report says it again in each epoch. */
#include "guest/core/core.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "wire/args.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <string.h>

enum { TEXT_MAX = 1024, PATH_LEN_MAX = 3072, DEBUG_QUEUED_MAX = 1024 * 1024 };

static uint32_t control; /* 0 = closed */
static bool configured;
static bool stopping;

void hull_report_open(uint32_t stream)
{
	control = stream;
}

void hull_report_closed(void)
{
	control = 0;
	configured = false;
}

void hull_report_configured(void)
{
	configured = true;
}

void hull_report(uint8_t kind, const struct hull_buf *fields)
{
	_cleanup_(hull_buf_free) struct hull_buf m = {0};
	if (hull_buf_add(&m, &kind, 1) == 0 &&
	    (!fields || hull_buf_add(&m, hull_buf_bytes(fields), fields->len) == 0) && control)
		hull_wire_message(hull_wire, control, hull_buf_bytes(&m), m.len);
}

void hull_report_uptime(uint8_t kind)
{
	_cleanup_(hull_buf_free) struct hull_buf fields = {0};
	hull_args_put_u64(&fields, HULL_TAG_UPTIME_MS, hull_uptime_ms());
	hull_report(kind, &fields);
}

static void put_text(struct hull_buf *fields, const char *text)
{
	hull_args_put(fields, HULL_TAG_TEXT, text, strnlen(text, TEXT_MAX));
}

void hull_report_service(const char *service, const char *state, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf fields = {0};
	if (!configured)
		return;
	hull_args_put_str(&fields, HULL_TAG_SERVICE, service);
	hull_args_put_str(&fields, HULL_TAG_STATE, state);
	hull_args_put_u64(&fields, HULL_TAG_UPTIME_MS, hull_uptime_ms());
	if (text && text[0])
		put_text(&fields, text);
	hull_report(HULL_MSG_SERVICE, &fields);
}

void hull_report_log(const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf fields = {0};
	if (!configured)
		return;
	put_text(&fields, text);
	hull_report(HULL_MSG_LOG, &fields);
}

void hull_report_grown(int error, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf fields = {0};
	hull_args_put_u32(&fields, HULL_TAG_ERRNO, (uint32_t)error);
	put_text(&fields, text);
	hull_report(HULL_MSG_GROWN, &fields);
}

void hull_report_mounted(bool mounted, const char *path, int error, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf fields = {0};
	if (strlen(path) < PATH_LEN_MAX) /* a longer one does not fit a message, nor came in one */
		hull_args_put_str(&fields, HULL_TAG_PATH, path);
	hull_args_put_u32(&fields, HULL_TAG_ERRNO, (uint32_t)error);
	if (text)
		put_text(&fields, text);
	hull_report(mounted ? HULL_MSG_MOUNTED : HULL_MSG_UNMOUNTED, &fields);
}

void hull_report_stopping(void)
{
	stopping = true;
	hull_report_uptime(HULL_MSG_STOPPING);
}

bool hull_shutting_down(void)
{
	return stopping;
}

void hull_report_debug(const char *line)
{
	static bool busy;
	if (busy || hull_wire_queued(hull_wire) > DEBUG_QUEUED_MAX)
		return;
	busy = true;
	hull_report_log(line);
	busy = false;
}
